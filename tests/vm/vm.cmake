# SPDX-License-Identifier: MIT
#
# What wants several nodes: run here where the machine has them, and in a machine that tests/vm/check
# boots. Two CPUs each, so that the virtual ones are not starved, but for the one that runs by default.
mews_suite(nodes vm/nodes.c)
mews_run_test(suite/nodes LABELS suite COMMAND nodes)
set_tests_properties(suite/nodes PROPERTIES RUN_SERIAL TRUE) # uses up the huge pages that are free
mews_suite(hotplug vm/hotplug.c stress_arena.c)
mews_suite(containers vm/containers.c stress_arena.c)

# mews_vm_test(machine [LABELS l...] [TIMEOUT s] [PROCESSORS n] [COST s]): a machine of tests/vm/check's table.
function(mews_vm_test machine)
	cmake_parse_arguments(arg "" "TIMEOUT;PROCESSORS;COST" "LABELS" ${ARGN})
	if(NOT arg_TIMEOUT)
		set(arg_TIMEOUT 600)
	endif()
	if(NOT arg_PROCESSORS)
		set(arg_PROCESSORS 2)
	endif()
	mews_run_test(vm/${machine} LABELS vm ${arg_LABELS} TIMEOUT ${arg_TIMEOUT} COST ${arg_COST}
		COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/vm/check ${machine} ${PROJECT_BINARY_DIR})
	set_tests_properties(vm/${machine} PROPERTIES PROCESSORS ${arg_PROCESSORS})
endfunction()

if(CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64 AND MEWS_BUILD_TOOLS)
	mews_vm_test(nodes PROCESSORS 1 COST 120) # one of its CPUs works at a time, mostly
	set(machines older-kernel oldest-kernel no-memory gigantic eight sixteen-conformance
		sixteen-stress hotplug containers)
	if(TARGET launch) # wants libseccomp
		list(APPEND machines no-rseq)
	endif()
	foreach(machine ${machines})
		mews_vm_test(${machine} LABELS long TIMEOUT 1800)
	endforeach()
endif()
