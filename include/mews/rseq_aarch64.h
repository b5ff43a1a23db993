/* SPDX-License-Identifier: MIT */
/*
 * The restartable sequences of aarch64 (layer 4): the same four as in rseq_x86_64.h, in the same
 * form; read that file first. Included by mews/inline.h only.
 *
 * Only program order is needed here: the sequence and what may interrupt it share one CPU, and who
 * closes a cache from another one fences it by membarrier, a full barrier on both.
 * A conditional branch reaches 1 MiB, and the compiler may put a label further away: what leaves a
 * sequence does so by an unconditional one. x16 is this CPU's cache, x17 the rseq area until it is read.
 */
#ifndef MEWS_RSEQ_AARCH64_H
#define MEWS_RSEQ_AARCH64_H

/* The CPU this thread runs on, a moment ago; negative where it has no restartable sequences. */
static inline __attribute__((always_inline)) int mews_seq_cpu(ptrdiff_t rseq)
{
	int cpu;

	__asm__ volatile (
		"mrs x17, tpidr_el0\n\t"
		"add x17, x17, %[rseq]\n\t"
		"ldr %w[cpu], [x17, #4]"
		: [cpu] "=r" (cpu) : [rseq] "r" (rseq) : "x17", "memory");
	return cpu;
}

/* The descriptor, the arming store, and label 2, where the sequence begins. Clobbers x16, x17. */
#define MEWS_SEQ_BEGIN								\
	".pushsection __rseq_cs, \"aw?\"\n\t"					\
	".balign 32\n"								\
	"9:\t.long 0, 0\n\t"							\
	".quad 2f, 3f - 2f, 4f\n\t"						\
	".popsection\n"								\
	"1:\tadrp x16, 9b\n\t"							\
	"add x16, x16, :lo12:9b\n\t"						\
	"mrs x17, tpidr_el0\n\t"						\
	"add x17, x17, %[rseq]\n\t"						\
	"str x16, [x17, %[cs]]\n"						\
	"2:\tldrsw x16, [x17, %[cpu]]\n\t"					\
	"add x16, %[pool], x16, lsl %[shift]\n\t"

/* Label 3 ends the sequence; the abort lands behind its signature and starts again. */
#define MEWS_SEQ_END								\
	"3:\n\t"								\
	".subsection 1\n\t"							\
	".inst 0xd428bc00\n"							\
	"4:\tb 1b\n\t"								\
	".previous\n"

/* Takes the top block of this CPU's cache; NULL where it is empty or closed. */
static inline __attribute__((always_inline)) void *
mews_seq_lease(struct mews_pool *pool, ptrdiff_t rseq)
{
	void *block;

	__asm__ volatile (
		MEWS_SEQ_BEGIN
		"mov %[block], xzr\n\t"
		"ldr x17, [x16, %[cur]]\n\t"
		"ldr x15, [x16, %[base]]\n\t"
		"cmp x17, x15\n\t"
		"b.ls 3f\n\t"
		"ldr %[block], [x17, #-8]!\n\t"
		"str x17, [x16, %[cur]]\n"
		MEWS_SEQ_END
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS
		: "x15", "x16", "x17", "memory", "cc");
	return block;
}

/* The same: whether what x86-64 does otherwise in a row is worth it here was not measured. */
static inline __attribute__((always_inline)) void *
mews_seq_lease_row(struct mews_pool *pool, ptrdiff_t rseq)
{
	return mews_seq_lease(pool, rseq);
}

/* Puts block on this CPU's cache. False where it is full, closed, or of another node's blocks. */
static inline __attribute__((always_inline)) int
mews_seq_return(struct mews_pool *pool, ptrdiff_t rseq, void *block)
{
	__asm__ goto (
		MEWS_SEQ_BEGIN
		"ldp x17, x15, [x16, %[lo]]\n\t"        /* lo, span */
		"sub x17, %[block], x17\n\t"
		"cmp x17, x15\n\t"
		"b.lo 5f\n\t"
		"b %l[elsewhere]\n"
		"5:\tldr x17, [x16, %[cur]]\n\t"
		"cmp x17, x16\n\t"
		"b.ne 6f\n\t"
		"b %l[elsewhere]\n"
		"6:\tstr %[block], [x17], #8\n\t"
		"str x17, [x16, %[cur]]\n"
		MEWS_SEQ_END
		:
		: MEWS_SEQ_INPUTS, [block] "r" (block)
		: "x15", "x16", "x17", "memory", "cc"
		: elsewhere);
	return 1;
elsewhere:
	return 0;
}

/* Takes up to count blocks, the top ones, into out[], the coldest first. Returns how many. */
static inline __attribute__((always_inline)) size_t
mews_seq_lease_many(struct mews_pool *pool, ptrdiff_t rseq, void **out, size_t count)
{
	size_t taken, left;
	void **from;

	__asm__ volatile (
		MEWS_SEQ_BEGIN
		"mov %[taken], xzr\n\t"
		"ldr %[from], [x16, %[cur]]\n\t"
		"ldr x15, [x16, %[base]]\n\t"
		"cmp %[from], x15\n\t"
		"b.ls 3f\n\t"
		"sub %[taken], %[from], x15\n\t"
		"lsr %[taken], %[taken], #3\n\t"
		"cmp %[taken], %[count]\n\t"
		"csel %[taken], %[count], %[taken], hi\n\t"
		"sub %[from], %[from], %[taken], lsl #3\n\t"
		"mov %[left], %[taken]\n\t"
		"mov x17, %[from]\n\t"
		"mov x15, %[out]\n"
		"5:\tsubs %[left], %[left], #4\n\t"
		"b.lo 6f\n\t"
		"ldp q0, q1, [x17], #32\n\t"
		"stp q0, q1, [x15], #32\n\t"
		"b 5b\n"
		"6:\tadds %[left], %[left], #4\n\t"
		"b.eq 8f\n"
		"7:\tldr x14, [x17], #8\n\t"
		"str x14, [x15], #8\n\t"
		"subs %[left], %[left], #1\n\t"
		"b.ne 7b\n"
		"8:\tstr %[from], [x16, %[cur]]\n"
		MEWS_SEQ_END
		: [taken] "=&r" (taken), [from] "=&r" (from), [left] "=&r" (left)
		: MEWS_SEQ_INPUTS, [out] "r" (out), [count] "r" (count)
		: "x14", "x15", "x16", "x17", "v0", "v1", "memory", "cc");
	return taken;
}

/* Puts the first blocks of in[] on this CPU's cache, as many as fit: see rseq_x86_64.h. */
static inline __attribute__((always_inline)) size_t
mews_seq_return_many(struct mews_pool *pool, ptrdiff_t rseq, void *const *in, size_t count)
{
	uintptr_t window, differs;
	size_t put, left;
	void **to;

	__asm__ volatile (
		MEWS_SEQ_BEGIN
		"ldr x14, [x16, %[span]]\n\t"
		"cbz x14, 7f\n\t"
		"ldr %[to], [x16, %[cur]]\n\t"
		"subs %[put], x16, %[to]\n\t"
		"b.eq 7f\n\t"
		"lsr %[put], %[put], #3\n\t"
		"cmp %[put], %[count]\n\t"
		"csel %[put], %[count], %[put], hi\n\t"
		"ldr %[window], [x16, %[lo]]\n\t"
		"mov %[differs], xzr\n\t"
		"mov %[left], %[put]\n\t"
		"mov x17, %[in]\n"
		"5:\tsubs %[left], %[left], #2\n\t"
		"b.lo 6f\n\t"
		"ldp x14, x15, [x17], #16\n\t"
		"stp x14, x15, [%[to]], #16\n\t"
		"eor x14, x14, %[window]\n\t"
		"eor x15, x15, %[window]\n\t"
		"orr %[differs], %[differs], x14\n\t"
		"orr %[differs], %[differs], x15\n\t"
		"b 5b\n"
		"6:\tadds %[left], %[left], #2\n\t"
		"b.eq 8f\n\t"
		"ldr x14, [x17]\n\t"
		"str x14, [%[to]], #8\n\t"
		"eor x14, x14, %[window]\n\t"
		"orr %[differs], %[differs], x14\n\t"
		"b 8f\n"
		"7:\tmov %[put], xzr\n\t"
		"b 3f\n"
		"8:\tldr x14, [x16, %[span]]\n\t"
		"cmp %[differs], x14\n\t"
		"b.hs 7b\n\t"
		"str %[to], [x16, %[cur]]\n"
		MEWS_SEQ_END
		: [put] "=&r" (put), [to] "=&r" (to), [left] "=&r" (left), [window] "=&r" (window),
		  [differs] "=&r" (differs)
		: MEWS_SEQ_INPUTS, [in] "r" (in), [count] "r" (count)
		: "x14", "x15", "x16", "x17", "memory", "cc");
	return put;
}

#endif
