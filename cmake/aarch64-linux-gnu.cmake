# SPDX-License-Identifier: MIT
#
# A build for aarch64 on another machine, with Debian's cross compiler and the libraries
# that tests/vm/run --arch aarch64 --fetch has unpacked. Used by the preset aarch64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# The cache of tests/vm/run.
if(DEFINED ENV{MEWS_VM_CACHE})
	set(cache $ENV{MEWS_VM_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
	set(cache $ENV{XDG_CACHE_HOME}/mews-vm)
else()
	set(cache $ENV{HOME}/.cache/mews-vm)
endif()
set(CMAKE_SYSROOT ${cache}/sysroot-arm64)
if(NOT EXISTS ${CMAKE_SYSROOT})
	message(FATAL_ERROR "${CMAKE_SYSROOT} is not there: type tests/vm/run --arch aarch64 --fetch")
endif()

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
	${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
