# SPDX-License-Identifier: MIT
#
# Bugs planted in include/mews/rseq_x86_64.h. Included by mutants.cmake.
mews_header_mutant(not-armed [=["movq %%rax, %%fs:%c[cs](%[rseq])\n"]=] [=["\n"]=])
mews_header_mutant(commit-outside [=[3f - 2f]=] [=[3f - 2f - 3]=])
mews_header_mutant(starts-late [=[".quad 2f, 3f - 2f]=] [=[".quad 2f + 5, 3f - 2f - 5]=])
mews_header_mutant(abort-to-end [=["99:\tjmp 1b\n\t"]=] [=["99:\tjmp 3b\n\t"]=])
mews_header_mutant(restart-not-armed [=["99:\tjmp 1b\n\t"]=] [=["99:\tjmp 2b\n\t"]=])
mews_header_mutant(looks-outside
[=[	"2:\tmovq %%fs:%c[cs](%[rseq]), %%rcx\n\t"				\
	"leaq 9b(%%rip), %%rax\n\t"						\
	"cmpq %%rax, %%rcx\n\t"							\
	"je 4f\n\t"								\]=]
[=[	"\tmovq %%fs:%c[cs](%[rseq]), %%rcx\n\t"				\
	"leaq 9b(%%rip), %%rax\n\t"						\
	"cmpq %%rax, %%rcx\n\t"							\
	"2:\tje 4f\n\t"								\]=])
mews_header_mutant(commits-twice [=["movq -8(%%rax), %[block]\n\t"]=]
	[=["leaq -8(%%rax), %[block]\n\tmovq %[block], %c[cur](%%rcx)\n\tmovq -8(%%rax), %[block]\n\t"]=])
mews_header_mutant(bulk-lease-no-base [=["jb 7f\n"]=] [=["nop\n"]=])
mews_header_mutant(bulk-return-no-limit [=["ja 10f\n"]=] [=["nop\n"]=])

# A bound that moves between two looks of a bulk sequence: unit/cache finds it.
mews_mutate(clamps-once FILE include/mews/rseq_x86_64.h FROM [=["ja 1b\n\t"]=] TO "")
set(command ${CMAKE_COMMAND} -E true) # where it does not apply: does not fail, as it must
if(MEWS_MUTATED)
	mews_suite(test_cache_clamps-once unit/test_cache.c)
	target_include_directories(test_cache_clamps-once BEFORE PRIVATE
		${CMAKE_CURRENT_BINARY_DIR}/mutants/clamps-once/include)
	target_compile_definitions(test_cache_clamps-once PRIVATE BOUNDS_SECONDS=800)
	set(command test_cache_clamps-once)
endif()
mews_run_test(unit/cache-planted-clamps-once LABELS unit COMMAND ${command})
set_tests_properties(unit/cache-planted-clamps-once PROPERTIES WILL_FAIL TRUE TIMEOUT 900 COST 30)
