/* SPDX-License-Identifier: GPL-2.0 */
/* A core's token buckets: refilled by the tick, asked and charged by packets. rbops/vlb/shares.py is the reference. */
#ifndef RBOPS_BUCKET_H
#define RBOPS_BUCKET_H

#include "state.h"

/* The rate of a bucket: this core's share. One that is dealt while a generation changes may be below zero. */
static __always_inline struct rate share_of(const struct rate *equal, const struct bucket *bucket)
{
	struct rate rate = *equal;
	__s32 refill = (__s32)rate.refill + bucket->refill;

	rate.refill = refill > 0 ? refill : 0;
	rate.depth += bucket->depth;
	rate.slack += bucket->slack;
	return rate;
}

static __always_inline void refill(struct bucket *bucket, const struct rate *equal, __u32 elapsed)
{
	__u64 gained = (__u64)elapsed * share_of(equal, bucket).refill;

	bucket->used = gained >= (__u32)bucket->used ? 0 : bucket->used - (__s32)gained;
}

/* What the steps of a refill share. */
struct refilling {
	__u32 place;
	__u32 elapsed;
};

static long refill_step(__u32 number, struct refilling *refilling)
{
	struct generation *gen = generation_at(refilling->place);
	struct core *core = core_at(refilling->place >> 1);

	number &= MAX_DEVICES - 1; /* and MAX_SERVERS, which is the same */
	refill(&core->links[number], &gen->devices[number].rate, refilling->elapsed);
	refill(&core->dests[number], &gen->direct, refilling->elapsed);
	return 0;
}

/* All buckets of a core at once, when time has passed: packets then find them current. */
__noinline int refill_all(__u32 place, __u32 tick)
{
	struct core *core = core_at(place >> 1);
	struct refilling refilling = { place, tick - core->tick };

	core->tick = tick;
	bpf_loop(generation_at(place)->buckets, refill_step, &refilling, 0);
	return 0;
}

/* A bucket that became smaller may miss more than it holds: nothing is taken from it, and nothing given. */
static __always_inline void take(struct bucket *bucket, const struct rate *equal, __u32 size)
{
	__s32 more = bucket->used + (__s32)size, depth = equal->depth + bucket->depth;

	if (unlikely(more > depth))
		more = bucket->used > depth ? bucket->used : depth;
	bucket->used = more;
}

/* Has the bucket headroom (size 0), or the bytes of the frame? */
static __always_inline int holds(const struct bucket *bucket, const struct rate *equal, __u32 size)
{
	struct rate rate = share_of(equal, bucket);

	return size ? bucket->used + (__s32)size <= rate.depth : bucket->used <= rate.slack;
}

static __always_inline __s32 room_in(const struct bucket *bucket, const struct rate *equal)
{
	return share_of(equal, bucket).depth - bucket->used;
}

#endif
