# SPDX-License-Identifier: MIT
#
# Environments: what a machine, a container or an administrator may refuse. In each, the probe says
# what the pool must report, and the conformance suite passes.
pkg_check_modules(SECCOMP IMPORTED_TARGET libseccomp)
if(NOT SECCOMP_FOUND)
	mews_run_test(environment/all LABELS environment COMMAND sh -c
		"echo skip: libseccomp-dev is not installed, no environment is tried; exit 77")
	return()
endif()
add_executable(launch environment/launch.c)
target_compile_options(launch PRIVATE -Wall -Wextra -Werror)
target_compile_definitions(launch PRIVATE _GNU_SOURCE)
target_link_libraries(launch PRIVATE tests_support PkgConfig::SECCOMP)
mews_suite(probe environment/probe.c)

# mews_environment(name SETTINGS s... EXPECT e... [PARTS conformance parts] [ALONE])
function(mews_environment name)
	cmake_parse_arguments(arg "ALONE" "" "SETTINGS;EXPECT;PARTS" ${ARGN})
	mews_run_test(environment/${name} LABELS environment
		COMMAND launch ${arg_SETTINGS} -- $<TARGET_FILE:probe> ${arg_EXPECT})
	mews_run_test(environment/${name}-conformance LABELS environment
		COMMAND launch ${arg_SETTINGS} -- $<TARGET_FILE:conformance_static> --kind default ${arg_PARTS})
	if(arg_ALONE)
		set_tests_properties(environment/${name} environment/${name}-conformance
			PROPERTIES RUN_SERIAL TRUE) # any pool beside it would take the pages
	endif()
endfunction()

mews_environment(plain SETTINGS cpus:1024 EXPECT path=rseq mode=server)
mews_environment(tunables SETTINGS tunables:glibc.pthread.rseq=0
	EXPECT path=fallback "reason=glibc did not register")
mews_environment(no-rseq SETTINGS refuse:rseq=ENOSYS
	EXPECT path=fallback "reason=glibc did not register")
mews_environment(no-membarrier SETTINGS refuse:membarrier=EPERM
	EXPECT path=fallback "reason=membarrier refused")
mews_environment(no-membarrier-call SETTINGS refuse:membarrier=ENOSYS
	EXPECT path=fallback "reason=membarrier refused")
mews_environment(no-mbind SETTINGS refuse:mbind refuse:set_mempolicy refuse:move_pages EXPECT path=rseq)
mews_environment(no-madvise SETTINGS refuse:madvise=EINVAL EXPECT path=rseq)
mews_environment(no-memfd SETTINGS refuse:memfd_create EXPECT path=rseq)
mews_environment(no-io-uring SETTINGS refuse:io_uring_setup EXPECT path=rseq)
mews_environment(no-getcpu SETTINGS refuse:getcpu EXPECT path=rseq)
mews_environment(no-affinity SETTINGS refuse:sched_getaffinity EXPECT path=rseq PARTS config)
mews_environment(no-files SETTINGS tunables:glibc.pthread.rseq=0 refuse:mbind refuse:membarrier
	refuse:memfd_create refuse:move_pages EXPECT path=fallback)
mews_environment(address-space SETTINGS address-space:1024 EXPECT path=rseq PARTS lease config)
mews_environment(address-space-small SETTINGS address-space:256 EXPECT path=rseq PARTS config)
mews_environment(one-cpu SETTINGS cpus:1 EXPECT path=rseq mode=workstation pages=base)
mews_environment(nobody SETTINGS user:65534 EXPECT path=rseq)
mews_environment(nobody-refused SETTINGS user:65534 refuse:membarrier refuse:mbind
	EXPECT path=fallback)
mews_environment(thp-off SETTINGS thp:off EXPECT path=rseq)
mews_environment(hugepages SETTINGS hugepages:200 EXPECT path=rseq pages=2m ALONE)
mews_environment(few-hugepages SETTINGS hugepages:2 EXPECT path=rseq pages=2m ALONE)

# The checker itself: a pool that says something else must fail.
mews_run_test(environment/planted LABELS environment COMMAND launch refuse:membarrier --
	$<TARGET_FILE:probe> path=rseq)
set_tests_properties(environment/planted PROPERTIES WILL_FAIL TRUE)
