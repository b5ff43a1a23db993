# SPDX-License-Identifier: MIT
#
# Bugs planted in include/mews/rseq_aarch64.h. Included by mutants.cmake.
mews_header_mutant(not-armed [=["str x16, [x17, %[cs]]\n"]=] [=["\n"]=])
mews_header_mutant(commit-outside [=[3f - 2f]=] [=[3f - 2f - 4]=])
mews_header_mutant(starts-late [=[".quad 2f, 3f - 2f]=] [=[".quad 2f + 8, 3f - 2f - 8]=])
mews_header_mutant(abort-to-end [=["4:\tb 1b\n\t"]=] [=["4:\tb 3b\n"]=])
mews_header_mutant(restart-not-armed [=["4:\tb 1b\n\t"]=]
	[=["4:\tmrs x17, tpidr_el0\n\tadd x17, x17, %[rseq]\n\tb 2b\n"]=])
mews_header_mutant(commits-twice [=["ldr %[block], [x17, #-8]!\n\t"]=]
	[=["sub x17, x17, #8\n\tstr x17, [x16, %[cur]]\n\tldr %[block], [x17]\n\t"]=])
mews_header_mutant(bulk-lease-no-base [=["csel %[taken], %[count], %[taken], hi\n\t"]=]
	[=["mov %[taken], %[count]\n\t"]=])
mews_header_mutant(bulk-return-no-limit [=["csel %[put], %[count], %[put], hi\n\t"]=]
	[=["mov %[put], %[count]\n\t"]=])
