# SPDX-License-Identifier: MIT
#
# Leases with owners: the contract on every kind of pool, with the static and the shared library.
set(owners owners.c owners_life.c owners_thread.c)
mews_suite(owners_static ${owners})
mews_suite(owners_shared SHARED ${owners})
foreach(kind ${MEWS_KINDS})
	mews_run_test(suite/owners-${kind} LABELS suite COMMAND owners_static --kind ${kind})
endforeach()
mews_run_test(suite/owners-shared LABELS suite COMMAND owners_shared --kind rseq)
foreach(kind rseq fallback)
	mews_run_test(suite/two-nodes-owners-${kind} LABELS suite
		ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1" COMMAND owners_static --kind ${kind})
endforeach()
mews_valgrind_test(owners $<TARGET_FILE:owners_static> --kind default thread)

# Under load: threads that die with leases, and owners that change hands.
mews_suite(owner_stress owner_stress.c)
foreach(kind rseq fallback checked)
	mews_run_test(stress/owners-${kind} LABELS stress COMMAND owner_stress --kind ${kind})
endforeach()
mews_run_test(stress/two-nodes-owners LABELS stress
	ENVIRONMENT "HWLOC_SYNTHETIC=node:2 pu:1" COMMAND owner_stress)
foreach(scenario deaths mix)
	mews_run_test(stress/owners-planted-${scenario} LABELS stress
		COMMAND owner_stress --plant keep ${scenario})
endforeach()
mews_run_test(stress/owners-long LABELS stress long TIMEOUT 900 COMMAND owner_stress --long)

# A thread killed at each instruction of the hit path, and bugs that this must find.
if(MEWS_SANITIZE)
	return()
endif()
mews_suite(owner_deaths owner_deaths.c)
mews_run_test(suite/owner-deaths LABELS suite COMMAND owner_deaths)

# mews_owner_mutant(name FILE FROM TO): a header, or a file of lib/, with a bug.
function(mews_owner_mutant name file from to)
	mews_mutate(${name} FILE ${file} FROM "${from}" TO "${to}")
	if(NOT MEWS_MUTATED)
		mews_run_test(suite/owner-deaths-planted-${name} LABELS suite
			COMMAND ${CMAKE_COMMAND} -E cat "mutant-${name}-does-not-apply")
		return()
	endif()
	set(mutant ${CMAKE_CURRENT_BINARY_DIR}/mutants/${name})
	if(file MATCHES "^lib/")
		mews_suite(deaths_${name} owner_deaths.c ${mutant}/${file})
		target_include_directories(deaths_${name} PRIVATE ${PROJECT_SOURCE_DIR}/lib)
		set(plant built)
	else()
		mews_suite(deaths_${name} owner_deaths.c)
		target_include_directories(deaths_${name} BEFORE PRIVATE ${mutant}/include)
		set(plant header)
	endif()
	mews_run_test(suite/owner-deaths-planted-${name} LABELS suite
		COMMAND deaths_${name} --plant ${plant})
endfunction()

mews_owner_mutant(words-are-believed lib/owned.c [=[return word & MEWS_WORD_SLOT &&]=]
	[=[return word & 1 && word & MEWS_WORD_SLOT &&]=])
mews_owner_mutant(close-does-not-settle lib/cache.c [=[mews_owned_settle(control, blocks, count);]=]
	[=[(void)blocks;]=])
mews_owner_mutant(forgets-no-word lib/owner_group.c [=[!(seen & MEWS_WORD_SETTLED))]=]
	[=[!(seen | MEWS_WORD_SETTLED))]=])

if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64)
	return()
endif()
set(owned include/mews/owned_x86_64.h)
mews_owner_mutant(word-of-another-slot ${owned} [=["movl %%eax, (%[words],%%r10,8)\n\t")]=]
	[=["movl %%eax, (%[words],%%r10,8)\n\taddl $8, (%[words],%%r10,8)\n\t")]=])
mews_owner_mutant(word-after-commit ${owned} [=[write									\
	"movq %[block], (%%rax)\n\t"						\
	"addq $8, %%rax\n\t"							\
	"movq %%rax, %c[cur](%%rdx)\n"						\
	MEWS_SEQ_END]=] [=["movq %[block], (%%rax)\n\t"						\
	"addq $8, %%rax\n\t"							\
	"movq %%rax, %c[cur](%%rdx)\n"						\
	MEWS_SEQ_END								\
	"subq $8, %%rax\n\t" write]=])
mews_owner_mutant(lease-of-anybodys ${owned} [=["cmpl %k[tag], 4(%[words],%[at],8)\n\t"
			"jne 5f\n\t"]=] [=["cmpl %k[tag], 4(%[words],%[at],8)\n\t"]=])
