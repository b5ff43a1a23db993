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
mews_valgrind_test(owners $<TARGET_FILE:owners_static> --kind default)
