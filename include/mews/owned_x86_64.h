/* SPDX-License-Identifier: MIT */
/*
 * The restartable sequences of x86-64 for pools whose leases have owners (layer 4): those of
 * rseq_x86_64.h, with the block's owner word written before the commit. Included by
 * mews/owner_inline.h only, which says what a word holds; read rseq_x86_64.h first.
 *
 *   lease:  ... v <- [t - 8];  t <- t - 8
 *           at <- words + index(v) * 8
 *           high half of [at] is not tag? goto miss
 *   commit: [c].cur <- t
 *
 *   return: ... t <- [c].cur
 *           at <- words + index(block) * 8
 *           high half of [at] is not tag, or [t - 8] is block? goto elsewhere
 *           low half of [at] <- low half of t;  [t] <- block
 *   commit: [c].cur <- t + 8
 *
 * The word tells a slot, and the block is out if it does not lie there. So a lease of the owner's own
 * last block need not write it, and a word that was written by a run that was aborted then, or whose
 * thread died there, is no harm.
 * A return of the owner's own lease changes the half of the word that tells the slot, and no more: it has
 * looked at the other. Two operations less in each of the two.
 * An index is a shift by what the pool's stride is; as a product and a constant shift, since a shift by
 * a register is three operations here, which wait for the flags, and costs a pair a cycle.
 */
#ifndef MEWS_OWNED_X86_64_H
#define MEWS_OWNED_X86_64_H

/* index(block) = block / 2^shift, as its low bits are: by = 2^(26 - shift). */
static inline __attribute__((always_inline)) uint64_t mews_word_by(unsigned shift)
{
	return (uint64_t)1 << (26 - shift);
}

static inline __attribute__((always_inline)) uint64_t mews_word_index(uint64_t by, const void *block)
{
	return (uintptr_t)block * by >> 26;
}

#define MEWS_SEQ_OWNED_INPUTS							\
	[words] "r" (bound.words), [by] "r" (bound.by), [key] "r" (bound.key),	\
	[owned_base] "i" (offsetof(struct mews_cpu_cache, owned_base)),		\
	[owned_span] "i" (offsetof(struct mews_cpu_cache, owned_span))

#define MEWS_SEQ_OWNED_LEASE(check, write)					\
	MEWS_SEQ_BEGIN_IN("%%rdx")						\
	"movq %c[cur](%%rdx), %%rax\n\t"					\
	"cmpq %c[owned_base](%%rdx), %%rax\n\t"					\
	"jbe 5f\n\t"								\
	"movq -8(%%rax), %[block]\n\t"						\
	"subq $8, %%rax\n\t"							\
	"movq %[by], %[at]\n\t"							\
	"imulq %[block], %[at]\n\t"						\
	"shrq $26, %[at]\n\t"							\
	check									\
	write									\
	"movq %%rax, %c[cur](%%rdx)\n"						\
	MEWS_SEQ_END								\
	".pushsection .text.mews_abort, \"ax?\"\n"				\
	"5:\txorl %k[block], %k[block]\n\t"					\
	"jmp 3b\n\t"								\
	".popsection\n"

/* Takes the top block of this CPU's cache, if it was the owner's last; NULL else. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_lease(struct mews_bound bound, ptrdiff_t rseq)
{
	struct mews_pool *pool = bound.pool;
	void *block, *at;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE(
			"cmpl %k[tag], 4(%[words],%[at],8)\n\t"
			"jne 5f\n\t", "")
		: [block] "=&r" (block), [at] "=&r" (at)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [tag] "r" (bound.tag)
		: "rax", "rdx", "memory", "cc");
	return block;
}

#define MEWS_SEQ_WRITE_LEASE							\
	"movl %%eax, %k[word]\n\t"						\
	"addq %[key], %[word]\n\t"						\
	"movq %[word], (%[words],%[at],8)\n\t"

/* The same, if it is one of the eight blocks of group. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_lease_of(struct mews_bound bound, ptrdiff_t rseq, uint64_t group)
{
	struct mews_pool *pool = bound.pool;
	void *block, *at, *word;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE(
			"movq %[at], %[word]\n\t"
			"shrq $3, %[word]\n\t"
			"cmpq %[group], %[word]\n\t"
			"jne 5f\n\t",
			MEWS_SEQ_WRITE_LEASE)
		: [block] "=&r" (block), [at] "=&r" (at), [word] "=&r" (word)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [group] "r" (group)
		: "rax", "rdx", "memory", "cc");
	return block;
}

/* The same, whatever it is. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_lease_any(struct mews_bound bound, ptrdiff_t rseq)
{
	struct mews_pool *pool = bound.pool;
	void *block, *at, *word;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE("", MEWS_SEQ_WRITE_LEASE)
		: [block] "=&r" (block), [at] "=&r" (at), [word] "=&r" (word)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS
		: "rax", "rdx", "memory", "cc");
	return block;
}

/* The same, as a free block: its word becomes settled, and keeps its owner if this ended. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_take(struct mews_bound bound, ptrdiff_t rseq)
{
	struct mews_pool *pool = bound.pool;
	void *block, *at, *word;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE("",
			"movq (%[words],%[at],8), %[word]\n\t"
			"btq $0, %[word]\n\t"
			"jc 6f\n\t"
			"xorl %k[word], %k[word]\n"
			"6:\tbtsq $32, %[word]\n\t"
			"movq %[word], (%[words],%[at],8)\n\t")
		: [block] "=&r" (block), [at] "=&r" (at), [word] "=&r" (word)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS
		: "rax", "rdx", "memory", "cc");
	return block;
}

#define MEWS_SEQ_OWNED_RETURN(check, write)					\
	MEWS_SEQ_BEGIN_IN("%%rdx")						\
	"movq %[block], %%rax\n\t"						\
	"subq %c[lo](%%rdx), %%rax\n\t"						\
	"cmpq %c[owned_span](%%rdx), %%rax\n\t"				\
	"jae %l[elsewhere]\n\t"							\
	"movq %c[cur](%%rdx), %%rax\n\t"					\
	"cmpq %%rdx, %%rax\n\t"						\
	"je %l[elsewhere]\n\t"							\
	"movq %[by], %%r10\n\t"							\
	"imulq %[block], %%r10\n\t"						\
	"shrq $26, %%r10\n\t"							\
	check									\
	write									\
	"movq %[block], (%%rax)\n\t"						\
	"addq $8, %%rax\n\t"							\
	"movq %%rax, %c[cur](%%rdx)\n"						\
	MEWS_SEQ_END

/* Puts a lease of the owner on this CPU's cache. False where it is none, or as mews_seq_return. */
static inline __attribute__((always_inline)) int
mews_seq_owned_return(struct mews_bound bound, ptrdiff_t rseq, void *block)
{
	struct mews_pool *pool = bound.pool;

	__asm__ goto (
		MEWS_SEQ_OWNED_RETURN(
			"cmpl %k[tag], 4(%[words],%%r10,8)\n\t"
			"jne %l[elsewhere]\n\t"
			"cmpq %[block], -8(%%rax)\n\t"
			"je %l[elsewhere]\n\t",
			"movl %%eax, (%[words],%%r10,8)\n\t")
		:
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [block] "r" (block),
		  [tag] "r" (bound.tag)
		: "rax", "rdx", "r10", "memory", "cc"
		: elsewhere);
	return 1;
elsewhere:
	return 0;
}

/* Puts a block that is in the caller's hands there. */
static inline __attribute__((always_inline)) int
mews_seq_owned_return_any(struct mews_bound bound, ptrdiff_t rseq, void *block)
{
	struct mews_pool *pool = bound.pool;

	__asm__ goto (
		MEWS_SEQ_OWNED_RETURN("",
			"movl %%eax, %%r11d\n\t"
			"addq %[key], %%r11\n\t"
			"movq %%r11, (%[words],%%r10,8)\n\t")
		:
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [block] "r" (block)
		: "rax", "rdx", "r10", "r11", "memory", "cc"
		: elsewhere);
	return 1;
elsewhere:
	return 0;
}

#endif
