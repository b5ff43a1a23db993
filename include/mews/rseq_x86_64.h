/* SPDX-License-Identifier: MIT */
/*
 * The restartable sequences of x86-64 (layer 4): one block and many, out of and into the cache of
 * the CPU that runs them. Included by mews/inline.h only. Each has one store that commits, its last
 * instruction; whatever comes before may be done in vain and again. Nothing dereferences a block.
 *
 *   arm:    rseq_cs <- descriptor{start, length, abort}
 *   start:  c <- pool + cpu_id * 8192
 *           ... check, copy ...
 *   commit: [c].cur <- t
 *   abort:  (the kernel comes here, behind the signature) goto arm
 *
 * start stands directly behind the arming store: an interrupt between the two would find an armed
 * descriptor outside its range, and the kernel would disarm it. A lease in a row does not store where
 * the thread's last sequence was the same one, and then start stands before the look at that, for the
 * same reason: who is interrupted behind the look begins again, and looks again.
 *
 *   start:  rseq_cs is descriptor? goto armed
 *           rseq_cs <- descriptor
 *   armed:  c <- ...
 *
 * Registers are written only after the inputs were read (early clobbers), so that a restart finds
 * the inputs as they were. asm goto is used without outputs only: gcc before 12.4 miscompiles it.
 */
#ifndef MEWS_RSEQ_X86_64_H
#define MEWS_RSEQ_X86_64_H

/* The CPU this thread runs on, a moment ago; negative where it has no restartable sequences. */
static inline __attribute__((always_inline)) int mews_seq_cpu(ptrdiff_t rseq)
{
	int cpu;

	__asm__ volatile ("movl %%fs:4(%[rseq]), %[cpu]" : [cpu] "=r" (cpu) : [rseq] "r" (rseq));
	return cpu;
}

/* What the kernel reads of a sequence: from where to where it goes, and where it begins again. */
#define MEWS_SEQ_DESCRIPTOR							\
	".pushsection __rseq_cs, \"aw?\"\n\t"					\
	".balign 32\n"								\
	"9:\t.long 0, 0\n\t"							\
	".quad 2f, 3f - 2f, 99f\n\t"						\
	".popsection\n"

#define MEWS_SEQ_ARM								\
	"movq %%rax, %%fs:%c[cs](%[rseq])\n"

/* Leaves the address of this CPU's cache in a register. */
#define MEWS_SEQ_FIND(cache)							\
	"movslq %%fs:%c[cpu](%[rseq]), " cache "\n\t"				\
	"shlq %[shift], " cache "\n\t"						\
	"addq %[pool], " cache "\n\t"

/* The descriptor, the arming store, and label 2, where the sequence begins. Clobbers rax. */
#define MEWS_SEQ_BEGIN_IN(cache)						\
	MEWS_SEQ_DESCRIPTOR							\
	"1:\tleaq 9b(%%rip), %%rax\n\t"						\
	MEWS_SEQ_ARM								\
	"2:\t"									\
	MEWS_SEQ_FIND(cache)
#define MEWS_SEQ_BEGIN MEWS_SEQ_BEGIN_IN("%%rcx")

/*
 * The same, with the store left out where the thread's last sequence was this one. Compared in a register: with
 * the word in memory, a lease behind a return makes a pair take 6.2 cycles for 6.0 on Golden Cove.
 */
#define MEWS_SEQ_BEGIN_ROW							\
	MEWS_SEQ_DESCRIPTOR							\
	"1:\n"									\
	"2:\tmovq %%fs:%c[cs](%[rseq]), %%rcx\n\t"				\
	"leaq 9b(%%rip), %%rax\n\t"						\
	"cmpq %%rax, %%rcx\n\t"							\
	"je 4f\n\t"								\
	MEWS_SEQ_ARM								\
	"4:\t"									\
	MEWS_SEQ_FIND("%%rcx")

/*
 * Label 3 ends the sequence; the abort lands behind its signature and starts again. The section is our
 * own: in one that the compiler uses too, as for a cold function, the signature would stand right
 * behind the commit.
 */
#define MEWS_SEQ_END								\
	"3:\n\t"								\
	".pushsection .text.mews_abort, \"ax?\"\n\t"			\
	".byte 0x0f, 0xb9, 0x3d\n\t"						\
	".long 0x53053053\n"							\
	"99:\tjmp 1b\n\t"							\
	".popsection\n"

/*
 * Asks for the first line of the block that is leased four leases later, to be written. Below the bottom lie
 * slots, too, or the header before this cache's: whatever stands there, a prefetch faults nowhere.
 */
#define MEWS_SEQ_ASK_AHEAD							\
	"movq -40(%%rax), %[block]\n\t"					\
	"prefetchw (%[block])\n\t"

#define MEWS_SEQ_LEASE(begin, ahead)						\
	begin									\
	"movq %c[cur](%%rcx), %%rax\n\t"					\
	"cmpq %c[base](%%rcx), %%rax\n\t"					\
	"jbe 5f\n\t"								\
	ahead									\
	"movq -8(%%rax), %[block]\n\t"						\
	"subq $8, %%rax\n\t"							\
	"movq %%rax, %c[cur](%%rcx)\n"						\
	MEWS_SEQ_END								\
	".pushsection .text.mews_abort, \"ax?\"\n"				\
	"5:\txorl %k[block], %k[block]\n\t"					\
	"jmp 3b\n\t"								\
	".popsection\n"

/* Takes the top block of this CPU's cache; NULL where it is empty or closed. */
static inline __attribute__((always_inline)) void *
mews_seq_lease(struct mews_pool *pool, ptrdiff_t rseq)
{
	void *block;

	__asm__ volatile (MEWS_SEQ_LEASE(MEWS_SEQ_BEGIN, "")
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS
		: "rax", "rcx", "memory", "cc");
	return block;
}

/*
 * The same, for code that leases several in a row: a store less in each but the first, since stores wait in
 * line, and who hands blocks to another CPU has lines on the way that those behind wait for; and the line of
 * a block to come is asked for.
 */
static inline __attribute__((always_inline)) void *
mews_seq_lease_row(struct mews_pool *pool, ptrdiff_t rseq)
{
	void *block;

	__asm__ volatile (MEWS_SEQ_LEASE(MEWS_SEQ_BEGIN_ROW, MEWS_SEQ_ASK_AHEAD)
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS
		: "rax", "rcx", "memory", "cc");
	return block;
}

/* Puts block on this CPU's cache. False where it is full, closed, or of another node's blocks. */
static inline __attribute__((always_inline)) int
mews_seq_return(struct mews_pool *pool, ptrdiff_t rseq, void *block)
{
	__asm__ goto (
		MEWS_SEQ_BEGIN
		"movq %[block], %%rax\n\t"
		"subq %c[lo](%%rcx), %%rax\n\t"
		"cmpq %c[span](%%rcx), %%rax\n\t"
		"jae %l[elsewhere]\n\t"
		"movq %c[cur](%%rcx), %%rax\n\t"
		"cmpq %%rcx, %%rax\n\t"
		"je %l[elsewhere]\n\t"
		"movq %[block], (%%rax)\n\t"
		"addq $8, %%rax\n\t"
		"movq %%rax, %c[cur](%%rcx)\n"
		MEWS_SEQ_END
		:
		: MEWS_SEQ_INPUTS, [block] "r" (block)
		: "rax", "rcx", "memory", "cc"
		: elsewhere);
	return 1;
elsewhere:
	return 0;
}

/*
 * Takes up to count (<= 1,016) blocks, the top ones, into out[], the coldest first. Returns how many.
 * That count fits is guessed and branched on, so that cur runs through a subtraction and nothing
 * else; the way that clamps it (7) stands within the sequence too, since it comes back into it: the
 * kernel disarms a sequence that it interrupts outside of its range. That way reads the bound a second
 * time, and begins again where it has moved meanwhile and count fits after all: no fence comes before a
 * cache wakes.
 * Eight pointers at a time; below eight one by one, since a wide load of slots that were just
 * written singly misses the store forwarding.
 */
static inline __attribute__((always_inline)) size_t
mews_seq_lease_many(struct mews_pool *pool, ptrdiff_t rseq, void **out, size_t count)
{
	size_t taken;
	void **from, **spare;

	__asm__ volatile (
		MEWS_SEQ_BEGIN
		"movq %c[cur](%%rcx), %[from]\n\t"
		"leaq (,%[count],8), %%rax\n\t"
		"movq %[count], %[taken]\n\t"
		"subq %%rax, %[from]\n\t"
		"jc 7f\n\t"
		"cmpq %c[base](%%rcx), %[from]\n\t"
		"jb 7f\n"
		"4:\txorl %%eax, %%eax\n\t"
		"movq %[taken], %[spare]\n\t"
		"andq $-8, %[spare]\n\t"
		"jz 6f\n"
		"5:\tmovups (%[from],%%rax,8), %%xmm0\n\t"
		"movups 16(%[from],%%rax,8), %%xmm1\n\t"
		"movups 32(%[from],%%rax,8), %%xmm2\n\t"
		"movups 48(%[from],%%rax,8), %%xmm3\n\t"
		"movups %%xmm0, (%[out],%%rax,8)\n\t"
		"movups %%xmm1, 16(%[out],%%rax,8)\n\t"
		"movups %%xmm2, 32(%[out],%%rax,8)\n\t"
		"movups %%xmm3, 48(%[out],%%rax,8)\n\t"
		"addq $8, %%rax\n\t"
		"cmpq %[spare], %%rax\n\t"
		"jb 5b\n"
		"6:\tcmpq %[taken], %%rax\n\t"
		"jae 8f\n\t"
		"movq (%[from],%%rax,8), %[spare]\n\t"
		"movq %[spare], (%[out],%%rax,8)\n\t"
		"incq %%rax\n\t"
		"jmp 6b\n"
		"7:\tmovq %c[cur](%%rcx), %[taken]\n\t"
		"movq %c[base](%%rcx), %[from]\n\t"
		"subq %[from], %[taken]\n\t"
		"jbe 10f\n\t"
		"shrq $3, %[taken]\n\t"
		"cmpq %[count], %[taken]\n\t"
		"ja 1b\n\t"
		"jmp 4b\n"
		"8:\tmovq %[from], %c[cur](%%rcx)\n"
		MEWS_SEQ_END
		".pushsection .text.mews_abort, \"ax?\"\n"
		"10:\txorl %k[taken], %k[taken]\n\t"
		"jmp 3b\n\t"
		".popsection\n"
		: [taken] "=&r" (taken), [from] "=&r" (from), [spare] "=&r" (spare)
		: MEWS_SEQ_INPUTS, [out] "r" (out), [count] "r" (count)
		: "rax", "rcx", "xmm0", "xmm1", "xmm2", "xmm3", "memory", "cc");
	return taken;
}

/*
 * Puts the first count (<= 1,016) blocks of in[] on this CPU's cache, as many as fit, and returns how
 * many: 0 also where one of them lies outside the window whose blocks this cache keeps. That is found in
 * passing: a window is aligned to its size, so the differences to its start, or-ed, show it in their high
 * bits.
 * What was written above cur by then is nothing to anybody. But of a closed cache, whose cur or whose bottom
 * someone may be about to move, nothing is written at all.
 */
static inline __attribute__((always_inline)) size_t
mews_seq_return_many(struct mews_pool *pool, ptrdiff_t rseq, void *const *in, size_t count)
{
	size_t put;
	void **to, **spare;

	__asm__ volatile (
		MEWS_SEQ_BEGIN
		"cmpq $0, %c[span](%%rcx)\n\t"
		"je 7f\n\t"
		"movq %c[cur](%%rcx), %[to]\n\t"
		"movq %[count], %[put]\n\t"
		"leaq (%[to],%[count],8), %%rax\n\t"
		"cmpq %%rcx, %%rax\n\t"
		"ja 10f\n"
		"4:\tmovq %c[lo](%%rcx), %%xmm4\n\t"
		"punpcklqdq %%xmm4, %%xmm4\n\t"
		"pxor %%xmm5, %%xmm5\n\t"
		"xorl %%eax, %%eax\n\t"
		"movq %[put], %[spare]\n\t"
		"andq $-8, %[spare]\n\t"
		"jz 6f\n"
		"5:\tmovups (%[in],%%rax,8), %%xmm0\n\t"
		"movups 16(%[in],%%rax,8), %%xmm1\n\t"
		"movups 32(%[in],%%rax,8), %%xmm2\n\t"
		"movups 48(%[in],%%rax,8), %%xmm3\n\t"
		"movups %%xmm0, (%[to],%%rax,8)\n\t"
		"movups %%xmm1, 16(%[to],%%rax,8)\n\t"
		"movups %%xmm2, 32(%[to],%%rax,8)\n\t"
		"movups %%xmm3, 48(%[to],%%rax,8)\n\t"
		"pxor %%xmm4, %%xmm0\n\t"
		"pxor %%xmm4, %%xmm1\n\t"
		"pxor %%xmm4, %%xmm2\n\t"
		"pxor %%xmm4, %%xmm3\n\t"
		"por %%xmm0, %%xmm1\n\t"
		"por %%xmm2, %%xmm3\n\t"
		"por %%xmm1, %%xmm5\n\t"
		"por %%xmm3, %%xmm5\n\t"
		"addq $8, %%rax\n\t"
		"cmpq %[spare], %%rax\n\t"
		"jb 5b\n"
		"6:\tcmpq %[put], %%rax\n\t"
		"jae 8f\n\t"
		"movq (%[in],%%rax,8), %%xmm0\n\t"
		"movq %%xmm0, (%[to],%%rax,8)\n\t"
		"pxor %%xmm4, %%xmm0\n\t"
		"movq %%xmm0, %%xmm0\n\t"
		"por %%xmm0, %%xmm5\n\t"
		"incq %%rax\n\t"
		"jmp 6b\n"
		"10:\tmovq %%rcx, %[put]\n\t"
		"subq %[to], %[put]\n\t"
		"je 7f\n\t"
		"shrq $3, %[put]\n\t"
		"jmp 4b\n"
		"7:\txorl %k[put], %k[put]\n\t"
		"jmp 3f\n"
		"8:\tmovhlps %%xmm5, %%xmm0\n\t"
		"por %%xmm5, %%xmm0\n\t"
		"movq %%xmm0, %%rax\n\t"
		"cmpq %c[span](%%rcx), %%rax\n\t"
		"jae 7b\n\t"
		"leaq (%[to],%[put],8), %%rax\n\t"
		"movq %%rax, %c[cur](%%rcx)\n"
		MEWS_SEQ_END
		: [put] "=&r" (put), [to] "=&r" (to), [spare] "=&r" (spare)
		: MEWS_SEQ_INPUTS, [in] "r" (in), [count] "r" (count)
		: "rax", "rcx", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "memory", "cc");
	return put;
}

#endif
