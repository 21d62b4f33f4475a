/* SPDX-License-Identifier: GPL-2.0 */
/*
 * IPv6 longest-prefix match in the table that table6.py makes: a tree of 16 bits a step. An entry is a next hop's number
 * or leads to the chunk that knows the next 16 bits; each chunk is in the smallest form that holds its ranges.
 */
#ifndef RBOPS_FIB6_H
#define RBOPS_FIB6_H

#include "state.h"

enum form6 { LEAF6, SMALL6, SORTED6, INDEXED6, DENSE6 };

#define STEPS6 8
#define LANES 0x0001000100010001ULL
#define LANES_HIGH (0x8000 * LANES)
#define INDEX6_BYTES (2 * 260) /* how many starts lie before each upper octet; 257, padded */

/* In the top bit of each 16-bit lane of the result: is x's lane >= y's? */
static __always_inline __u64 lanes_ge(__u64 x, __u64 y)
{
	__u64 low = (x | LANES_HIGH) - (y & ~LANES_HIGH);

	return ((x & ~y) | (~(x ^ y) & low)) & LANES_HIGH;
}

/* One step: the entry that a chunk has for 16 bits. Verified by itself, so that eight of them cost no more than one. */
__noinline __u32 fib6_step(__u32 active, __u32 entry, __u32 key)
{
	__u8 *body = (__u8 *)(generation_at(active) + 1), *chunk;
	__u32 form = entry & 7, first = 0, count, half;
	__u64 at = entry & ~7U, place, starts, reached;
	int i;

	key &= 0xffff;
	/* The largest step from `at` that is not checked below is into the index. */
	if (at > body_bytes - 560)
		return 0;
	chunk = body + at;
	if (form == SMALL6) {
		reached = lanes_ge(key * LANES, *(volatile __u64 *)chunk) >> 15;
		/* The eighth lane is no start. */
		reached += (lanes_ge(key * LANES, *(__u64 *)(chunk + 8)) & ~(0x8000ULL << 48)) >> 15;
		reached = (reached * LANES) >> 48 & 7;
		opaque(reached);
		reached &= 7;
		return *(volatile __u32 *)(chunk + 16 + 4 * reached);
	}
	if (form == DENSE6) {
		place = at + 4 * (__u64)key;
		opaque(place);
		return place > body_bytes - 8 ? 0 : *(volatile __u32 *)(body + place);
	}
	count = *(volatile __u32 *)chunk;
	starts = at + 8;
	if (form == INDEXED6) {
		const __u16 *index = (void *)(chunk + 8 + 2 * (key >> 8));

		first = index[0];
		count = index[1] - first;
		starts += INDEX6_BYTES;
	}
	/*
	 * What the starts lead to lies here and, of many, in the next line. Asked of memory now it is there when they have
	 * been searched: in a packet's way these loads miss the near caches.
	 */
	place = at + *(__u32 *)(chunk + 4) + 4 * (__u64)first;
	opaque(place);
	if (place <= body_bytes - 72) {
		(void)*(volatile __u32 *)(body + place);
		if (form == INDEXED6 || count > 16)
			(void)*(volatile __u32 *)(body + place + 60);
	}
	/* How many of the sorted starts are not behind the key. */
#pragma clang loop unroll(disable)
	for (i = 0; i < 17 && count; i++) {
		half = (count + 1) >> 1;
		place = starts + 2 * ((__u64)first + half - 1);
		opaque(place);
		if (place > body_bytes - 8)
			return 0;
		if (*(__u16 *)(body + place) <= key) {
			first += half;
			count -= half;
		} else {
			count = half - 1;
		}
	}
	place = at + *(__u32 *)(chunk + 4) + 4 * (__u64)first;
	opaque(place);
	return place > body_bytes - 8 ? 0 : *(volatile __u32 *)(body + place);
}

/* The next hop's number for an address, given as the packet's two words in host byte order; 0: no route. */
__noinline __u32 fib6_find(__u32 active, __u64 high, __u64 low)
{
	struct generation *gen = generation_at(active);
	__u64 place = gen->root6 + 4 * (high >> 48);
	__u8 *body = (__u8 *)(gen + 1);
	__u32 entry, step;

	opaque(place);
	if (place > body_bytes - 8)
		return 0;
	/* Read once: whoever changes the table replaces a chunk by writing the entry that leads to it. */
	entry = *(volatile __u32 *)(body + place);
#pragma clang loop unroll(disable)
	for (step = 1; step < STEPS6 && entry & 7; step++) {
		high = high << 16 | low >> 48;
		low <<= 16;
		entry = fib6_step(active, entry, high >> 48);
	}
	return entry & 7 ? 0 : entry >> 3;
}

#endif
