/* SPDX-License-Identifier: MIT */
/*
 * Hints about lines (layer 2): asked for before they are written, or sent to where others take them
 * sooner. No hint can fault, whatever became of the line.
 */
#ifndef MEWS_LIB_LINES_H
#define MEWS_LIB_LINES_H

/*
 * mews_near: to this CPU, to be written. gcc emits prefetchw for __builtin_prefetch only with -mprfchw; a CPU
 * that does not know it passes it over. mews_far: to the caches that all CPUs share.
 */
#if defined(__x86_64__)
#define mews_near(line) __asm__ volatile ("prefetchw %0" : : "m" (*(const char *)(line)))
#define mews_far(line) __asm__ volatile ("cldemote %0" : : "m" (*(const char *)(line)))
#else
#define mews_near(line) __builtin_prefetch((line), 1)
#define mews_far(line) ((void)(line)) /* nothing does it */
#endif

#endif
