# SPDX-License-Identifier: MIT
#
# The suites: programs that run on each kind of pool, see support/kinds.h. What a plain name cannot
# say is said beside it.
file(GLOB MEWS_SUPPORT_SOURCES CONFIGURE_DEPENDS support/*.c)
list(FILTER MEWS_SUPPORT_SOURCES EXCLUDE REGEX "_(x86_64|aarch64)")
list(APPEND MEWS_SUPPORT_SOURCES support/step_${CMAKE_SYSTEM_PROCESSOR}.c
	support/breakpoint_${CMAKE_SYSTEM_PROCESSOR}.c)
add_library(tests_support STATIC ${MEWS_SUPPORT_SOURCES})
target_compile_options(tests_support PRIVATE -Wall -Wextra -Werror)
target_compile_definitions(tests_support PRIVATE _GNU_SOURCE)
target_include_directories(tests_support PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}
	PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)

# mews_suite(name [SHARED] sources...): a program with what is in support/.
function(mews_suite name)
	cmake_parse_arguments(arg "SHARED" "" "" ${ARGN})
	set(shared)
	set(library mews::mews_static)
	if(arg_SHARED)
		set(shared SHARED)
		set(library mews::mews)
	endif()
	mews_test_program(${name} ${shared} SOURCES ${arg_UNPARSED_ARGUMENTS})
	target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
	target_link_libraries(${name} PRIVATE tests_support ${library}) # support calls the library
endfunction()

set(MEWS_KINDS rseq inline fallback fallback-inline checked checked-inline workstation
	workstation-fallback default)

# Conformance: every kind, with the static library and with the shared one.
set(conformance conformance.c conformance_lease.c conformance_life.c conformance_config.c
	conformance_wait.c)
mews_suite(conformance_static ${conformance})
mews_suite(conformance_shared SHARED ${conformance})
foreach(kind ${MEWS_KINDS})
	foreach(linkage static shared)
		set(long)
		if(MEWS_SANITIZE AND linkage STREQUAL shared AND NOT kind MATCHES "^(rseq|default)$")
			set(long long) # what differs is how the functions are found
		endif()
		mews_run_test(suite/conformance-${linkage}-${kind} LABELS suite ${long}
			COMMAND conformance_${linkage} --kind ${kind})
	endforeach()
endforeach()
mews_valgrind_test(conformance $<TARGET_FILE:conformance_static> --kind default)

# Stress: every kind on all scenarios; each ends in the audit.
mews_suite(stress stress.c stress_arena.c stress_mix.c stress_life.c stress_signal.c stress_wait.c
	stress_keeper.c stress_stopped.c)
foreach(kind ${MEWS_KINDS})
	set(long)
	set(seconds)
	if(NOT kind MATCHES "^(rseq|inline|fallback|checked)$") # code that these four run
		set(seconds --seconds 0.2)
		if(MEWS_SANITIZE)
			set(long long)
		endif()
	endif()
	mews_run_test(stress/${kind} LABELS stress ${long} TIMEOUT 900 COST 12
		COMMAND stress --kind ${kind} ${seconds})
endforeach()
foreach(plant double lost late-write)
	mews_run_test(stress/planted-${plant} LABELS stress
		COMMAND stress --plant ${plant} threads limit births drain)
endforeach()
# Those who give back, stopped at their instructions: to list these takes seconds.
if(NOT MEWS_SANITIZE)
	foreach(kind rseq fallback workstation)
		set(long)
		if(kind STREQUAL workstation)
			set(long long)
		endif()
		mews_run_test(stress/stopped-within-${kind} LABELS stress ${long} TIMEOUT 900 COST 8
			COMMAND stress --kind ${kind} --seconds 1 stopped-within)
	endforeach()
endif()
if(NOT MEWS_SANITIZE)
	mews_run_test(stress/long LABELS stress long TIMEOUT 900 COST 400 COMMAND stress --seconds 2)
endif()

# No OOM kill in a container with a limit.
if(NOT MEWS_SANITIZE)
	mews_suite(container container.c)
	mews_run_test(suite/container LABELS suite COMMAND container)
endif()

# Many who wait for few blocks.
mews_suite(waiters waiters.c)
set(leases 100000)
if(MEWS_SANITIZE)
	set(leases 20000)
endif()
foreach(kind rseq fallback checked)
	mews_run_test(stress/waiters-${kind} LABELS stress
		COMMAND waiters --kind ${kind} --operations ${leases})
endforeach()
if(NOT MEWS_SANITIZE)
	mews_run_test(stress/waiters-long LABELS stress long TIMEOUT 1800 COMMAND waiters --long)
endif()

# What programs do around a pool, with either library.
mews_suite(embedded_static embedded.c)
mews_suite(embedded_shared SHARED embedded.c)
foreach(linkage static shared)
	mews_run_test(suite/embedded-${linkage} LABELS suite COMMAND embedded_${linkage})
endforeach()

# What programs limit, close, lock and cancel around it.
mews_suite(host host.c)
mews_run_test(suite/host LABELS suite COMMAND host)

# The same on two nodes, as hwloc is told: every other block is foreign to the CPU that returns it. The
# machine need not have the second node: binding to it is refused, and counted.
foreach(kind rseq fallback checked)
	mews_run_test(suite/two-nodes-conformance-${kind} LABELS suite
		ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1"
		COMMAND conformance_static --kind ${kind} lease life wait)
	mews_run_test(stress/two-nodes-${kind} LABELS stress TIMEOUT 900 COST 8
		ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1"
		COMMAND stress --kind ${kind} --seconds 0.2)
endforeach()

# Each instruction of the hit path interrupted, and headers with bugs that this must find.
if(NOT MEWS_SANITIZE)
	mews_suite(boundaries boundaries.c)
	mews_run_test(suite/boundaries LABELS suite COMMAND boundaries)
	mews_run_test(suite/two-nodes-boundaries LABELS suite
		ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1" COMMAND boundaries)
	include(mutants.cmake)
	if(CMAKE_BUILD_TYPE MATCHES "Rel")
		mews_suite(instructions instructions.c)
		set(golden ${CMAKE_CURRENT_SOURCE_DIR}/golden/hit-path.${CMAKE_SYSTEM_PROCESSOR}.txt)
		mews_run_test(suite/instructions LABELS suite COMMAND instructions --file ${golden})
		mews_run_test(suite/instructions-planted-grown LABELS suite
			COMMAND instructions --file ${golden} --plant grown)
	endif()
endif()

# Misuse, by kind; and what only tools for memory errors see. ThreadSanitizer is told of each pointer
# that is returned, and crashes on wild ones.
mews_suite(misuse misuse.c misuse_memory.c)
if(NOT MEWS_SANITIZE MATCHES "thread")
	foreach(kind ${MEWS_KINDS})
		mews_run_test(suite/misuse-${kind} LABELS suite COMMAND misuse --kind ${kind})
	endforeach()
	mews_run_test(suite/misuse-planted LABELS suite COMMAND misuse --plant none)
endif()
if(MEWS_SANITIZE MATCHES "address")
	mews_run_test(suite/misuse-memory LABELS suite COMMAND misuse --kind checked memory)
endif()
if(MEWS_VALGRIND AND NOT MEWS_SANITIZE)
	mews_run_test(valgrind/misuse-memory LABELS valgrind
		COMMAND ${MEWS_VALGRIND} --quiet $<TARGET_FILE:misuse> --kind checked memory)
endif()

# Every kernel call refused, at every point.
mews_suite(faults_sweep faults_sweep.c)
set(long)
if(MEWS_SANITIZE MATCHES "thread")
	set(long long) # a minute and more for each
endif()
foreach(kind rseq fallback checked)
	mews_run_test(suite/faults-${kind} LABELS suite ${long} TIMEOUT 900 COST 20
		COMMAND faults_sweep --kind ${kind})
endforeach()
# What one window has lost for good another makes up for.
if(NOT MEWS_SANITIZE)
	mews_run_test(suite/two-nodes-faults LABELS suite TIMEOUT 900 COST 20
		ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1"
		COMMAND faults_sweep --kind rseq)
endif()
if(NOT MEWS_SANITIZE MATCHES "thread")
	mews_run_test(suite/faults-planted-leak LABELS suite COMMAND faults_sweep --plant leak)
endif()

if(NOT MEWS_SANITIZE)
	include(environment/environment.cmake)
endif()

if(NOT MEWS_SANITIZE)
	include(vm/vm.cmake)
endif()

# Memory beside the blocks: as it is shipped, not under a sanitizer's own tables.
if(NOT MEWS_SANITIZE)
	mews_suite(memory memory.c)
	foreach(kind rseq fallback)
		mews_run_test(suite/memory-${kind} LABELS suite COMMAND memory --kind ${kind})
	endforeach()
	mews_run_test(suite/memory-planted LABELS suite COMMAND memory --plant fat)
endif()
