/* SPDX-License-Identifier: MIT */
/*
 * A kernel table that counts calls and refuses the ones it is told to. One plan of refusal at a
 * time, for the whole process; the calls may come from any thread and from signal handlers.
 */
#ifndef TESTS_SUPPORT_FAULTS_H
#define TESTS_SUPPORT_FAULTS_H

/* Stands for each call, in the functions below. */
#define FAULTS_ANY (-1)

/* How many calls the table has, and the name of each: 0 .. faults_calls() - 1. */
int faults_calls(void);
const char *faults_name(int call);

/* The number of a call by its name, as in struct mews_kernel; a wrong name ends the process. */
int faults_call(const char *name);

/* Puts the table in the place of the real one; nothing is refused yet. Counts begin at 0. */
void faults_install(void);

/* Puts the real table back. */
void faults_remove(void);

/*
 * From now on the nth call (1 = the next) of this kind fails with this errno, once; with
 * faults_refuse_from, it and all after it. Counts begin at 0 again. A refused close closes all the
 * same, as on Linux; every other refused call does nothing.
 */
void faults_refuse(int call, unsigned long nth, int error);
void faults_refuse_from(int call, unsigned long nth, int error);

/* Calls of this kind, and calls refused, since the counts began. */
unsigned long faults_counted(int call);
unsigned long faults_refused(void);

#endif
