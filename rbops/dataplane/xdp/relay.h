/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VLB's two phases where servers are more than one cable apart, as in a fly: the source MAC is 02:56:VV:VV:SS:SS, VV the
 * intermediate server (0xffff: none, or behind), SS the input server. rbops/vlb/phases.py says the same. Each server has
 * a cable, or a bundle, towards each server; with every hop a frame comes nearer to where it is going.
 */
#ifndef RBOPS_RELAY_H
#define RBOPS_RELAY_H

#include "vlb.h"

#define RELAY_MAC 0x5602ULL /* 02:56 as loaded from a frame */

/* As the low 48 bits of a frame's first 8 bytes are. */
static __always_inline __u64 relay_source(__u32 via, __u32 input)
{
	return RELAY_MAC | (__u64)(via & 0xff) << 24 | (__u64)(via >> 8 & 0xff) << 16 | (__u64)(input & 0xff) << 40 |
	       (__u64)(input >> 8 & 0xff) << 32;
}

static __always_inline int is_relayed(const __u64 *mac)
{
	return mac[0] >> 48 == RELAY_MAC;
}

/*
 * Where a frame for a port of `owner` goes now. `source`: the one it came with, and then the one to leave with. An
 * intermediate that cannot be reached is left out.
 */
static __always_inline __u32 relay_towards(struct generation *gen, const __u64 *mac, __u32 owner, __u64 *source)
{
	__u32 rest = *(const __u32 *)(mac + 1), via = NO_VIA, input = NO_VIA, toward = owner;

	if (is_relayed(mac)) {
		via = (rest & 0xff) << 8 | (rest >> 8 & 0xff);
		input = (rest >> 16 & 0xff) << 8 | rest >> 24;
	}
	opaque(via);
	if (via < MAX_SERVERS && via != gen->self && via != owner && gen->link[via & (MAX_SERVERS - 1)] != NOWHERE &&
	    is_alive(via, via))
		toward = via;
	else
		via = NO_VIA;
	*source = relay_source(via, input);
	return toward;
}

#endif
