# SPDX-License-Identifier: MIT
#
# The unit tests of lib/: one file a module, of the same name.
function(mews_lib_test name)
	mews_unit_test(${name} unit/test_${name}.c ${ARGN})
	target_compile_definitions(test_${name} PRIVATE _GNU_SOURCE)
	target_link_libraries(test_${name} PRIVATE tests_support)
endfunction()

mews_lib_test(tagstack)
mews_lib_test(slab)
mews_lib_test(depot)
mews_lib_test(oversize)
mews_lib_test(side NO_VALGRIND) # spinning threads take minutes there
mews_lib_test(trim NO_VALGRIND)
mews_lib_test(shrink NO_VALGRIND)
mews_lib_test(keeper NO_VALGRIND)
mews_lib_test(environment)
mews_lib_test(cache NO_VALGRIND)
mews_lib_test(audit NO_VALGRIND)
mews_lib_test(exchange NO_VALGRIND)
mews_lib_test(detour)
mews_lib_test(process NO_VALGRIND)
mews_lib_test(claims NO_VALGRIND)
mews_lib_test(extents NO_VALGRIND)
mews_lib_test(sites)
target_link_libraries(test_sites PRIVATE ${CMAKE_DL_LIBS})
mews_lib_test(waiters NO_VALGRIND)
mews_lib_test(wait NO_VALGRIND)
mews_lib_test(owner_pool)
mews_lib_test(budget)
mews_lib_test(limit)
mews_lib_test(pressure)

# The same on two nodes, as hwloc is told, whose caches nobody knows: what goes back, comes again and is
# refused does so by window, and depots are small.
foreach(name trim shrink keeper sites wait owner_pool budget limit pressure)
	mews_run_test(unit/two-nodes-${name} LABELS unit TIMEOUT 120
		ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1" COMMAND test_${name})
endforeach()
