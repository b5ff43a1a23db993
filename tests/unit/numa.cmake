# SPDX-License-Identifier: MIT
#
# The unit tests of numa/: one file a module, of the same name.
function(mews_numa_test name)
	mews_unit_test(${name} unit/test_${name}.c ${ARGN})
	target_compile_definitions(test_${name} PRIVATE _GNU_SOURCE)
	target_link_libraries(test_${name} PRIVATE tests_support)
endfunction()

mews_numa_test(kernel)
mews_numa_test(fence)
mews_numa_test(limits)
mews_numa_test(topology)
mews_numa_test(plan)
# Reserves huge pages, which other tests would take; looks at its own mappings, which valgrind adds to.
# clang's ThreadSanitizer maps memory of its own meanwhile.
if(NOT (MEWS_SANITIZE STREQUAL thread AND CMAKE_C_COMPILER_ID STREQUAL Clang))
	mews_numa_test(place NO_VALGRIND)
	mews_numa_test(place_refused NO_VALGRIND)
	set_tests_properties(unit/place unit/place_refused PROPERTIES RUN_SERIAL TRUE)
	if(MEWS_SANITIZE STREQUAL thread)
		set_tests_properties(unit/place_refused PROPERTIES LABELS "unit;long")
	endif()
endif()
if(MEWS_SANITIZE STREQUAL thread)
	set_tests_properties(unit/plan PROPERTIES LABELS "unit;long") # a minute, and has no thread
endif()
