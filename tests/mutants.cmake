# SPDX-License-Identifier: MIT
#
# Planted bugs: a source or header with one piece of text replaced, built into a test that must find
# it. A piece that is not there any more stops the configuration, so that no mutant goes stale.

# mews_mutate(out FILE path FROM text TO text): writes the mutant below mutants/<name>/<path>, and
# sets out to that folder.
function(mews_mutate name)
	cmake_parse_arguments(arg "" "FILE;FROM;TO" "" ${ARGN})
	set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${arg_FILE})
	file(READ ${PROJECT_SOURCE_DIR}/${arg_FILE} text)
	string(FIND "${text}" "${arg_FROM}" at)
	if(at EQUAL -1)
		message(FATAL_ERROR "mutant ${name}: ${arg_FILE} has no «${arg_FROM}»")
	endif()
	string(REPLACE "${arg_FROM}" "${arg_TO}" text "${text}")
	file(CONFIGURE OUTPUT mutants/${name}/${arg_FILE} CONTENT "${text}" @ONLY)
endfunction()

# mews_header_mutant(name FROM TO): include/mews/rseq_x86_64.h with a bug; test_boundaries finds it.
function(mews_header_mutant name from to)
	mews_mutate(${name} FILE include/mews/rseq_x86_64.h FROM "${from}" TO "${to}")
	mews_suite(boundaries_${name} boundaries.c)
	target_include_directories(boundaries_${name} BEFORE PRIVATE
		${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}/include)
	mews_run_test(suite/boundaries-planted-${name} LABELS suite
		COMMAND boundaries_${name} --plant header)
endfunction()

mews_header_mutant(not-armed [=["movq %%rax, %%fs:%c[cs](%[rseq])\n"]=] [=["\n"]=])
mews_header_mutant(commit-outside [=[3f - 2f]=] [=[3f - 2f - 3]=])
mews_header_mutant(starts-late [=[".quad 2f, 3f - 2f]=] [=[".quad 2f + 5, 3f - 2f - 5]=])
mews_header_mutant(abort-to-end [=["4:\tjmp 1b\n\t"]=] [=["4:\tjmp 3b\n\t"]=])
mews_header_mutant(restart-not-armed [=["4:\tjmp 1b\n\t"]=] [=["4:\tjmp 2b\n\t"]=])
mews_header_mutant(commits-twice [=["movq -8(%%rax), %[block]\n\t"]=]
	[=["leaq -8(%%rax), %[block]\n\tmovq %[block], %c[cur](%%rcx)\n\tmovq -8(%%rax), %[block]\n\t"]=])
mews_header_mutant(bulk-lease-no-base [=["jbe 3f\n\t"]=] [=["nop\n\t"]=])
mews_header_mutant(bulk-return-no-limit [=["jbe 7f\n\t"]=] [=["nop\n\t"]=])
