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
mews_header_mutant(clamps-once [=["ja 1b\n\t"]=] [=["nop\n\t"]=])
