/* SPDX-License-Identifier: GPL-2.0 */
/* Longest-prefix match in the table that fib.py compiles: a direct table per /16, then one chunk. */
#ifndef RBOPS_FIB_H
#define RBOPS_FIB_H

#include "state.h"

enum form { LEAF, FEW, SOME, BITMAP, LONG };

#define DIRECT_BYTES (65536 * 4)
#define LOW_BITS 0x7f7f7f7f7f7f7f7fULL
#define HIGH_BITS 0x8080808080808080ULL
#define ONES 0x0101010101010101ULL

/* In the top bit of each byte of the result: is x's byte >= y's? */
static __always_inline __u64 bytes_ge(__u64 x, __u64 y)
{
	__u64 low = ((x | HIGH_BITS) - (y & LOW_BITS));

	return ((x & ~y) | (~(x ^ y) & low)) & HIGH_BITS;
}

static __always_inline __u32 count_bits(__u64 x)
{
	x -= (x >> 1) & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + ((x >> 2) & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (x * ONES) >> 56;
}

/* Finer than /24: binary search among sorted 16-bit starts. Rare, so kept out of the way. */
__noinline __u32 find_long(__u32 active, __u32 offset, __u32 low)
{
	__u8 *body = (__u8 *)(generation_at(active) + 1);
	__u32 count, base = 0, half, hop = 0;
	int i;

	if (offset > body_bytes - 8)
		return 0;
	count = *(__u32 *)(body + offset);
#pragma clang loop unroll(disable)
	for (i = 0; i < 17 && count > 1; i++) {
		__u64 at;

		half = count >> 1;
		at = (__u64)offset + 8 + 4 * ((__u64)base + half);
		opaque(at);
		if (at > body_bytes - 8)
			return 0;
		if (*(__u16 *)(body + at) <= low)
			base += half;
		count -= half;
	}
	{
		__u64 at = (__u64)offset + 8 + 4 * (__u64)base;

		opaque(at);
		if (at > body_bytes - 8)
			return 0;
		hop = *(__u16 *)(body + at + 2);
	}
	return hop;
}

/* The member of a group (multipath) that a flow goes to; `offset` is that of GROUP_BUCKETS 16-bit numbers. */
__noinline __u32 find_member(__u32 active, __u32 offset, __u32 bucket)
{
	__u8 *body = (__u8 *)(generation_at(active) + 1);
	__u64 at = (__u64)offset + 2 * (__u64)(bucket & (GROUP_BUCKETS - 1));

	opaque(at);
	if (at > body_bytes - 8)
		return 0;
	return *(volatile __u16 *)(body + at);
}

/* The next hop's number for an address in host byte order; 0: no route. */
static __always_inline __u32 fib_find(struct generation *gen, __u32 active, __u32 address)
{
	__u8 *body = (__u8 *)(gen + 1), *chunk;
	/* Read once: the loader replaces a chunk by writing this entry. */
	__u32 entry = ((volatile __u32 *)body)[address >> 16], form = entry & 7, octet = (address >> 8) & 0xff;
	__u64 at = entry & ~7U, key = octet * ONES, rank, first;

	/* The largest step from `at` below is 40 + 2 * 255. */
	if (at > body_bytes - 560)
		return 0;
	chunk = body + at;
	/*
	 * Asked of memory before it is known whether there is a chunk: where the branch below is
	 * mispredicted, the answer is under way. A leaf's `at` is in the direct table, which is harmless.
	 */
	first = *(volatile __u64 *)chunk;
	if (form == LEAF)
		return entry >> 3;
	if (form == FEW) {
		__u64 reached = bytes_ge(key, first) & ~(0x80ULL << 56);

		rank = (((reached >> 7) * ONES) >> 56) << gen->hop_shift;
		chunk += 8;
	} else if (form == SOME) {
		__u64 reached = bytes_ge(key, first) >> 7;

		reached += (bytes_ge(key, *(__u64 *)(chunk + 8)) & ~(0x80ULL << 56)) >> 7;
		rank = ((reached * ONES) >> 56) << gen->hop_shift;
		chunk += 16;
	} else if (form == BITMAP) {
		__u32 word = octet >> 6;
		__u64 bits = *(__u64 *)(chunk + 8 + 8 * word) & (~0ULL >> (63 - (octet & 63)));

		rank = (__u64)(chunk[word] + count_bits(bits)) << gen->hop_shift;
		chunk += 40;
	} else {
		return find_long(active, at, address & 0xffff);
	}
	rank &= 511;
	opaque(rank);
	return *(__u16 *)(chunk + rank) & gen->hop_mask;
}

#endif
