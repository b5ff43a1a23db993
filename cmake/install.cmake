# SPDX-License-Identifier: MIT
#
# What `cmake --install` puts where: the libraries, the headers, mews.pc, the CMake package, the man
# pages, the documents, mews-topo. Three components, which are also the Debian packages of
# `cpack -G DEB`: runtime (the shared library), tools (mews-topo), development (all the rest).
include(CMakePackageConfigHelpers)

set(MEWS_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/mews)

install(TARGETS mews EXPORT mews-shared
	LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
		COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS mews_static EXPORT mews-static
	ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/mews DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
	COMPONENT development FILES_MATCHING PATTERN "*.h")

# The shared library stands alone; only who links the static one needs hwloc and liburcu as well.
install(EXPORT mews-shared NAMESPACE mews:: DESTINATION ${MEWS_CMAKE_DIR} COMPONENT development)
install(EXPORT mews-static NAMESPACE mews:: DESTINATION ${MEWS_CMAKE_DIR} COMPONENT development)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/mewsConfig.cmake.in
	${PROJECT_BINARY_DIR}/mewsConfig.cmake INSTALL_DESTINATION ${MEWS_CMAKE_DIR}
	NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mewsConfigVersion.cmake
	COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mewsConfig.cmake ${PROJECT_BINARY_DIR}/mewsConfigVersion.cmake
	DESTINATION ${MEWS_CMAKE_DIR} COMPONENT development)

# Its paths are relative to itself, so that the same file serves any prefix, the .deb's included.
file(RELATIVE_PATH MEWS_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" MEWS_PC_PREFIX "${MEWS_PC_PREFIX}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/mews.pc.in ${PROJECT_BINARY_DIR}/mews.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mews.pc
	DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

foreach(section 1 3 7)
	file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.${section})
	install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT development)
endforeach()
file(GLOB MEWS_DOCS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
list(FILTER MEWS_DOCS EXCLUDE REGEX "/docs/README.md$")
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE ${MEWS_DOCS}
	DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)

if(PROJECT_IS_TOP_LEVEL)
	set(CPACK_GENERATOR DEB)
	set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
	set(CPACK_PACKAGE_CONTACT "the mews developers <mews@localhost>")
	set(CPACK_COMPONENTS_ALL runtime development)
	if(MEWS_BUILD_TOOLS)
		list(APPEND CPACK_COMPONENTS_ALL tools)
	endif()
	set(CPACK_DEB_COMPONENT_INSTALL ON)
	set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
	set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libmews${MEWS_SOVERSION})
	set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
	set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
	set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/triggers)
	set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libmews-dev)
	set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
	set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libmews${MEWS_SOVERSION} (= ${PROJECT_VERSION})")
	string(APPEND CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS ", libhwloc-dev, liburcu-dev, libudev-dev")
	set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME mews-tools)
	set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
	set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
	include(CPack)
endif()
