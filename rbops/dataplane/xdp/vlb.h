/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Direct VLB (RouteBricks 3.2, 6.1): which server a packet for `dest` goes to first.
 * rbops/vlb/model.py says what and why; names are the same here. Functions that several places call are global, so that
 * they are verified once and not again for each call.
 */
#ifndef RBOPS_VLB_H
#define RBOPS_VLB_H

#include "flowlet.h"

#define NO_VIA 0xffff

enum condition { HEADROOM, FITS, ALIVE };

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

/* Whether frames for `dest` may go to `via` first, when something is said of that link. */
__noinline int is_usable(__u32 via, __u32 dest)
{
	struct link *link = &control.links[via & (MAX_SERVERS - 1)];

	if (link->no_carrier || link->silent)
		return 0;
	if (via == dest)
		return 1;
	dest &= MAX_SERVERS - 1;
	return !link->drained && !(control.cut[via & (MAX_SERVERS - 1)][dest / 32] >> (dest % 32) & 1);
}

static __always_inline int is_alive(__u32 via, __u32 dest)
{
	return likely(!*(__u32 *)&control.links[via & (MAX_SERVERS - 1)]) || is_usable(via, dest);
}

/*
 * Does the path take a packet of `size` bytes? 0 asks for headroom. The caller has checked that it
 * is alive.
 */
static __always_inline int path_holds(struct generation *gen, struct core *core, __u32 via, __u32 dest, __u32 size)
{
	__u32 link = gen->link[via & (MAX_SERVERS - 1)] & (MAX_DEVICES - 1);

	if (!holds(&core->links[link], &gen->devices[link].rate, size))
		return 0;
	if (via != dest || !gen->direct_quota)
		return 1;
	return holds(&core->dests[dest & (MAX_SERVERS - 1)], &gen->direct, size);
}

/* What the steps of one search through the rotation share. */
struct search {
	__u32 place; /* generation (bit 0) and CPU */
	__u32 dest;
	__u32 size; /* 0: headroom */
	__u32 condition;
	__u32 via; /* the result */
	__s32 room; /* of `via`, for the roomiest path */
};

/* One step: moves the position; the server that was there if it meets the condition, or NO_VIA. */
static __always_inline __u32 try_next(struct generation *gen, struct core *core, const struct search *search)
{
	struct bucket *towards = &core->dests[search->dest & (MAX_SERVERS - 1)];
	__u32 dest = search->dest, at = towards->position, via;

	if (at >= gen->slots)
		at = 0;
	via = gen->rotation[at & (MAX_SERVERS - 1)];
	towards->position = at + 1;
	if (via == dest && gen->direct_quota)
		return NO_VIA;
	if (via == gen->self)
		via = dest;
	if (!is_alive(via, dest))
		return NO_VIA;
	if (search->condition != ALIVE && !path_holds(gen, core, via, dest, search->size))
		return NO_VIA;
	return via;
}

static long rotate_step(__u32 step, struct search *search)
{
	(void)step;
	search->via = try_next(generation_at(search->place), core_at(search->place >> 1), search);
	return search->via != NO_VIA;
}

/*
 * The next server in rotation that meets the condition, NO_VIA when none does. The position is then
 * where it was, a whole round further.
 */
__noinline __u32 rotate(__u32 place, __u32 dest, __u32 size, __u32 condition)
{
	struct search search = { place, dest, size, condition, NO_VIA, 0 };
	struct generation *gen = generation_at(place);
	struct core *core = core_at(place >> 1);
	__u32 count = gen->slots, via;

	if (!count)
		return NO_VIA;
	/* Most often the first will do, or the second where the first is the destination. */
	via = try_next(gen, core, &search);
	if (via == NO_VIA && count > 1)
		via = try_next(gen, core, &search);
	if (unlikely(via == NO_VIA && count > 2)) {
		bpf_loop(count - 2, rotate_step, &search, 0);
		via = search.via;
	}
	return via;
}

static __always_inline __s32 room_in(const struct bucket *bucket, const struct rate *equal)
{
	return share_of(equal, bucket).depth - bucket->used;
}

/* What the path's buckets hold; less than the frame: the path does not take it. */
static __always_inline __s32 room_of(struct generation *gen, struct core *core, __u32 via, __u32 dest)
{
	__u32 link = gen->link[via & (MAX_SERVERS - 1)] & (MAX_DEVICES - 1);
	__s32 room = room_in(&core->links[link], &gen->devices[link].rate), direct;

	if (via != dest || !gen->direct_quota)
		return room;
	direct = room_in(&core->dests[dest & (MAX_SERVERS - 1)], &gen->direct);
	return direct < room ? direct : room;
}

static __always_inline void compare_room(struct generation *gen, struct core *core, struct search *search, __u32 via)
{
	__s32 room;

	if (!is_alive(via, search->dest))
		return;
	room = room_of(gen, core, via, search->dest);
	if (room < (__s32)search->size || (search->via != NO_VIA && room <= search->room))
		return;
	search->via = via;
	search->room = room;
}

static long roomiest_step(__u32 step, struct search *search)
{
	struct generation *gen = generation_at(search->place);
	struct core *core = core_at(search->place >> 1);
	__u32 dest = search->dest, at = core->dests[dest & (MAX_SERVERS - 1)].position, via;

	if (at >= gen->slots)
		at = 0;
	at += step;
	if (at >= gen->slots)
		at -= gen->slots;
	via = gen->rotation[at & (MAX_SERVERS - 1)];
	if (via == dest && gen->direct_quota)
		return 0;
	compare_room(gen, core, search, via == gen->self ? dest : via);
	return 0;
}

/* The path with the most room that takes the frame, where a flowlet moves that outgrew its own; NO_VIA: none does. */
__noinline __u32 roomiest(__u32 place, __u32 dest, __u32 size)
{
	struct search search = { place, dest, size, FITS, NO_VIA, 0 };
	struct generation *gen = generation_at(place);

	if (gen->direct_quota)
		compare_room(gen, core_at(place >> 1), &search, dest);
	bpf_loop(gen->slots, roomiest_step, &search, 0);
	return search.via;
}

/* For a packet that has no flowlet's path to keep; `joining` when it starts one. */
static __always_inline __u32 choose_one(struct generation *gen, struct core *core, __u32 place, __u32 dest, __u32 size,
					int joining)
{
	__u32 via;

	if (joining) {
		if (gen->direct_quota && is_alive(dest, dest) && path_holds(gen, core, dest, dest, 0))
			return dest;
		via = rotate(place, dest, 0, HEADROOM);
		if (likely(via != NO_VIA))
			return via;
	}
	if (gen->direct_quota && is_alive(dest, dest) && path_holds(gen, core, dest, dest, size))
		return dest;
	via = rotate(place, dest, size, FITS);
	if (via == NO_VIA)
		via = rotate(place, dest, size, ALIVE);
	if (via == NO_VIA && is_alive(dest, dest))
		via = dest;
	return via;
}

/* The first server for this packet, by its flowlet where there is one; NO_VIA: no path is alive. */
static __always_inline __u32 choose_path(struct generation *gen, struct core *core, __u32 place, __u32 dest, __u32 tick,
					 __u32 size, __u64 hash)
{
	__u64 *entry = flowlet_of(core, hash), old;
	__u32 tag = flowlet_tag(hash), via;

	if (!gen->flowlet_ticks)
		return choose_one(gen, core, place, dest, size, 0);
	old = *entry;
	via = (old >> 16) & 0xffff;
	if (old >> 32 == tag && ((tick - (__u32)old) & 0xffff) <= gen->flowlet_ticks && is_alive(via, dest)) {
		*entry = flowlet_entry(tag, via, tick);
		if (path_holds(gen, core, via, dest, size))
			return via;
		via = roomiest(place, dest, size);
		if (via == NO_VIA)
			return choose_one(gen, core, place, dest, size, 0);
		*entry = flowlet_entry(tag, via, tick);
		return via;
	}
	via = choose_one(gen, core, place, dest, size, 1);
	if (via != NO_VIA)
		*entry = flowlet_entry(tag, via, tick);
	return via;
}

/* The frame goes over this link. */
static __always_inline void charge_link(struct generation *gen, struct core *core, __u32 link, __u32 size)
{
	struct bucket *bucket = &core->links[link & (MAX_DEVICES - 1)];

	bucket->offered += size;
	take(bucket, &gen->devices[link & (MAX_DEVICES - 1)].rate, size);
}

/* Take the frame's bytes out of what its path was given. */
static __always_inline void charge(struct generation *gen, struct core *core, __u32 via, __u32 dest, __u32 size)
{
	struct bucket *towards = &core->dests[dest & (MAX_SERVERS - 1)];

	charge_link(gen, core, gen->link[via & (MAX_SERVERS - 1)], size);
	if (!gen->direct_quota)
		return;
	towards->offered += size;
	if (via == dest)
		take(towards, &gen->direct, size);
}

#endif
