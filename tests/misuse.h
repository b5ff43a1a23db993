/* SPDX-License-Identifier: MIT */
/* The part of the misuse matrix that needs AddressSanitizer or valgrind. */
#ifndef TESTS_MISUSE_H
#define TESTS_MISUSE_H

/* Runs it; the exit code. Skips where neither is there. */
int misuse_of_memory(void);

#endif
