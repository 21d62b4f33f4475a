/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Several cables between two servers: a flowlet keeps to one, and one that is dead is left out. The two searches are
 * global functions, which the verifier looks at once and not at every call. It knows nothing of what they return, and
 * clang 19 knows so much that it leaves out masks behind the call: their results are opaque.
 */
#ifndef RBOPS_BUNDLE_H
#define RBOPS_BUNDLE_H

#include "bucket.h"

static __always_inline int is_up(__u32 cable)
{
	return !*(__u16 *)&control.cables[cable & (MAX_DEVICES - 1)];
}

/* Of the ring that `first` is in, the cable that holds the most; of equals the first. `first` where all are dead. */
__noinline __u32 roomiest_cable(__u32 place, __u32 first)
{
	struct generation *gen = generation_at(place);
	struct core *core = core_at(place >> 1);
	__u32 cable = first & (MAX_DEVICES - 1), best = cable, i;
	__s32 most = -2147483647 - 1, room;

	for (i = 0; i < MAX_BUNDLE; i++) {
		cable &= MAX_DEVICES - 1;
		room = room_in(&core->links[cable], &gen->devices[cable].rate);
		if (room > most && is_up(cable)) {
			most = room;
			best = cable;
		}
		cable = gen->devices[cable].rate.sibling;
		if (cable == first)
			break;
	}
	opaque(best);
	return best;
}

/* Of those that are up, one by the flow: for servers that keep no flowlets. */
__noinline __u32 hashed_cable(__u32 place, __u32 first, __u32 hash)
{
	struct generation *gen = generation_at(place);
	__u32 cable = first & (MAX_DEVICES - 1), count = 0, i;

	for (i = 0; i < MAX_BUNDLE; i++) {
		cable &= MAX_DEVICES - 1;
		count += is_up(cable);
		cable = gen->devices[cable].rate.sibling;
		if (cable == first)
			break;
	}
	if (!count)
		return first;
	hash %= count;
	cable = first;
	for (i = 0; i < MAX_BUNDLE; i++) {
		cable &= MAX_DEVICES - 1;
		if (is_up(cable)) {
			if (!hash)
				return cable;
			hash--;
		}
		cable = gen->devices[cable].rate.sibling;
	}
	return first;
}

static __always_inline int is_bundled(struct generation *gen, __u32 cable)
{
	return gen->devices[cable & (MAX_DEVICES - 1)].rate.sibling != cable;
}

/* The cable towards a neighbour that a packet takes which is bound to none. */
static __always_inline __u32 cable_to(struct generation *gen, __u32 place, __u32 server)
{
	__u32 cable = gen->link[server & (MAX_SERVERS - 1)] & (MAX_DEVICES - 1);

	return likely(!is_bundled(gen, cable)) ? cable : roomiest_cable(place, cable);
}

#endif
