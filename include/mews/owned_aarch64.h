/* SPDX-License-Identifier: MIT */
/*
 * The restartable sequences of aarch64 for pools whose leases have owners (layer 4): those of
 * owned_x86_64.h, in the same form; read that file and rseq_aarch64.h first. Included by
 * mews/owner_inline.h only.
 *
 * Here the order of stores matters beyond this CPU: an owner that ends elsewhere reads a slot and cur
 * without a fence, and must find that the word has changed where it finds that they have. So slots
 * and cur are stored with release. x16 is this CPU's cache, x14 the address of the word.
 */
#ifndef MEWS_OWNED_AARCH64_H
#define MEWS_OWNED_AARCH64_H

/* index(block) = block / 2^shift: by = shift. */
static inline __attribute__((always_inline)) uint64_t mews_word_by(unsigned shift)
{
	return shift;
}

static inline __attribute__((always_inline)) uint64_t mews_word_index(uint64_t by, const void *block)
{
	return (uintptr_t)block >> by;
}

#define MEWS_SEQ_OWNED_INPUTS							\
	[words] "r" (bound.words), [by] "r" (bound.by), [key] "r" (bound.key),	\
	[owned_base] "i" (offsetof(struct mews_cpu_cache, owned_base)),		\
	[owned_span] "i" (offsetof(struct mews_cpu_cache, owned_span))

#define MEWS_SEQ_OWNED_LEASE(check, write)					\
	MEWS_SEQ_BEGIN								\
	"mov %[block], xzr\n\t"							\
	"ldr x17, [x16, %[cur]]\n\t"						\
	"ldr x15, [x16, %[owned_base]]\n\t"					\
	"cmp x17, x15\n\t"							\
	"b.ls 3f\n\t"								\
	"ldr x13, [x17, #-8]!\n\t"						\
	"lsr x14, x13, %[by]\n\t"						\
	check									\
	"add x14, %[words], x14, lsl #3\n\t"					\
	"mov %[block], x13\n\t"							\
	write									\
	"stlr x17, [x16]\n"							\
	MEWS_SEQ_END

/* Takes the top block of this CPU's cache, if it was the owner's last; NULL else. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_lease(struct mews_bound bound, ptrdiff_t rseq)
{
	struct mews_pool *pool = bound.pool;
	void *block;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE(
			"ldr x15, [%[words], x14, lsl #3]\n\t"
			"lsr x15, x15, #32\n\t"
			"cmp x15, %[tag]\n\t"
			"b.ne 3f\n\t", "")
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [tag] "r" (bound.tag)
		: "x13", "x14", "x15", "x16", "x17", "memory", "cc");
	return block;
}

#define MEWS_SEQ_WRITE_LEASE							\
	"add x15, %[key], w17, uxtw\n\t"						\
	"str x15, [x14]\n\t"

/* The same, if it is one of the eight blocks of group. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_lease_of(struct mews_bound bound, ptrdiff_t rseq, uint64_t group)
{
	struct mews_pool *pool = bound.pool;
	void *block;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE(
			"lsr x15, x14, #3\n\t"
			"cmp x15, %[group]\n\t"
			"b.ne 3f\n\t",
			MEWS_SEQ_WRITE_LEASE)
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [group] "r" (group)
		: "x13", "x14", "x15", "x16", "x17", "memory", "cc");
	return block;
}

/* The same, whatever it is. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_lease_any(struct mews_bound bound, ptrdiff_t rseq)
{
	struct mews_pool *pool = bound.pool;
	void *block;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE("", MEWS_SEQ_WRITE_LEASE)
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS
		: "x13", "x14", "x15", "x16", "x17", "memory", "cc");
	return block;
}

/* The same, as a free block: its word becomes settled, and keeps its owner if this ended. */
static inline __attribute__((always_inline)) void *
mews_seq_owned_take(struct mews_bound bound, ptrdiff_t rseq)
{
	struct mews_pool *pool = bound.pool;
	void *block;

	__asm__ volatile (
		MEWS_SEQ_OWNED_LEASE("",
			"ldr x15, [x14]\n\t"
			"tst x15, #1\n\t"
			"csel x15, x15, xzr, ne\n\t"
			"orr x15, x15, #0x100000000\n\t"
			"str x15, [x14]\n\t")
		: [block] "=&r" (block)
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS
		: "x13", "x14", "x15", "x16", "x17", "memory", "cc");
	return block;
}

#define MEWS_SEQ_OWNED_RETURN(check)						\
	MEWS_SEQ_BEGIN								\
	"ldr x17, [x16, %[lo]]\n\t"						\
	"ldr x15, [x16, %[owned_span]]\n\t"					\
	"sub x17, %[block], x17\n\t"						\
	"cmp x17, x15\n\t"							\
	"b.lo 5f\n\t"								\
	"b %l[elsewhere]\n"							\
	"5:\tldr x17, [x16, %[cur]]\n\t"					\
	"cmp x17, x16\n\t"							\
	"b.ne 6f\n\t"								\
	"b %l[elsewhere]\n"							\
	"6:\tlsr x14, %[block], %[by]\n\t"					\
	"add x14, %[words], x14, lsl #3\n\t"					\
	check									\
	"add x15, %[key], w17, uxtw\n\t"						\
	"str x15, [x14]\n\t"							\
	"stlr %[block], [x17]\n\t"						\
	"add x17, x17, #8\n\t"							\
	"stlr x17, [x16]\n"							\
	MEWS_SEQ_END

/* Puts a lease of the owner on this CPU's cache. False where it is none, or as mews_seq_return. */
static inline __attribute__((always_inline)) int
mews_seq_owned_return(struct mews_bound bound, ptrdiff_t rseq, void *block)
{
	struct mews_pool *pool = bound.pool;

	__asm__ goto (
		MEWS_SEQ_OWNED_RETURN(
			"ldr x15, [x14]\n\t"
			"lsr x15, x15, #32\n\t"
			"cmp x15, %[tag]\n\t"
			"b.eq 7f\n\t"
			"b %l[elsewhere]\n"
			"7:\tldr x15, [x17, #-8]\n\t"
			"cmp x15, %[block]\n\t"
			"b.ne 8f\n\t"
			"b %l[elsewhere]\n"
			"8:\n\t")
		:
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [block] "r" (block),
		  [tag] "r" (bound.tag)
		: "x14", "x15", "x16", "x17", "memory", "cc"
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
		MEWS_SEQ_OWNED_RETURN("")
		:
		: MEWS_SEQ_INPUTS, MEWS_SEQ_OWNED_INPUTS, [block] "r" (block)
		: "x14", "x15", "x16", "x17", "memory", "cc"
		: elsewhere);
	return 1;
elsewhere:
	return 0;
}

#endif
