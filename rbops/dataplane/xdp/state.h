/* SPDX-License-Identifier: GPL-2.0 */
/* Where state is: addresses of the active generation and of this CPU's block, in bounds the verifier sees. */
#ifndef RBOPS_STATE_H
#define RBOPS_STATE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

/* Sizes, set by the loader before the programs are loaded, constants for the verifier. */
const volatile __u32 generation_bytes; /* struct generation and the table's body */
const volatile __u32 body_bytes; /* of the table, with 8 readable bytes behind the last one used */
const volatile __u32 core_bytes;
const volatile __u32 cpus;
const volatile __u32 servers; /* the paths matrix is servers x servers */
const volatile __u32 flowlet_mask; /* entries - 1 */

/* The loader replaces these two by maps of the real size; the names are what libbpf relocates. */
__u8 arena_start[8] SEC(".data.arena");
__u8 cores_start[8] SEC(".data.cores");

struct control control __attribute__((aligned(64)));

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Keeps clang from seeing through a value: its size, or what it was computed from. */
#define opaque(x) asm volatile("" : "+r"(x))

static __always_inline struct generation *generation_at(__u32 active)
{
	__u8 *start = arena_start;
	__u64 offset = 0 - (__u64)(active & 1);

	/* A mask and no product: Linux 6.1's verifier loses the bounds of a 32-bit one. */
	opaque(offset);
	offset &= generation_bytes;
	opaque(start);
	return (struct generation *)(start + offset);
}

/* Products are checked afterwards: Linux 6.1's verifier knows nothing of what a variable was multiplied by. */
static __always_inline struct core *core_at(__u32 cpu)
{
	__u8 *start = cores_start;
	__u64 offset = (__u64)cpu * core_bytes, last = (__u64)(cpus - 1) * core_bytes;

	opaque(offset);
	if (offset > last)
		offset = 0;
	opaque(start);
	return (struct core *)(start + offset);
}

static __always_inline struct traffic *path_of(struct core *core, __u32 dest, __u32 via)
{
	__u64 number = (__u64)dest * servers + via, count = (__u64)servers * servers;

	opaque(number);
	if (number >= count)
		number = 0;
	return (struct traffic *)(core + 1) + number;
}

static __always_inline __u64 *flowlet_of(struct core *core, __u64 hash)
{
	__u64 *table = (void *)(core + 1) + (__u64)servers * servers * sizeof(struct traffic);
	__u64 index = hash & flowlet_mask;

	return table + index;
}

#endif
