/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Direct VLB (RouteBricks 3.2, 6.1): which server a packet for `dest` goes to first.
 * rbops/vlb/model.py says what and why; names are the same here. Functions that several places call are global, so that
 * they are verified once and not again for each call.
 */
#ifndef RBOPS_VLB_H
#define RBOPS_VLB_H

#include "bundle.h"
#include "flowlet.h"

#define NO_VIA 0xffff

enum condition { HEADROOM, FITS, ALIVE };

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
 * Does the path take a packet of `size` bytes over this cable? 0 asks for headroom. The caller has checked that it
 * is alive.
 */
static __always_inline int cable_holds(struct generation *gen, struct core *core, __u32 link, __u32 via, __u32 dest,
				       __u32 size)
{
	link &= MAX_DEVICES - 1;
	if (!holds(&core->links[link], &gen->devices[link].rate, size))
		return 0;
	if (via != dest || !gen->direct_quota)
		return 1;
	opaque(dest); /* or clang 19 leaves out the mask, as via is within it, which Linux 6.1 does not conclude */
	return holds(&core->dests[dest & (MAX_SERVERS - 1)], &gen->direct, size);
}

/* Over the cable towards `via` that holds the most. */
static __always_inline int path_holds(struct generation *gen, struct core *core, __u32 place, __u32 via, __u32 dest,
				      __u32 size)
{
	return cable_holds(gen, core, cable_to(gen, place, via), via, dest, size);
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
	if (search->condition != ALIVE && !path_holds(gen, core, search->place, via, dest, search->size))
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

/* What the path's buckets hold; less than the frame: the path does not take it. */
static __always_inline __s32 room_of(struct generation *gen, struct core *core, __u32 place, __u32 via, __u32 dest)
{
	__u32 link = cable_to(gen, place, via) & (MAX_DEVICES - 1);
	__s32 room = room_in(&core->links[link], &gen->devices[link].rate), direct;

	if (via != dest || !gen->direct_quota)
		return room;
	opaque(dest);
	direct = room_in(&core->dests[dest & (MAX_SERVERS - 1)], &gen->direct);
	return direct < room ? direct : room;
}

static __always_inline void compare_room(struct generation *gen, struct core *core, struct search *search, __u32 via)
{
	__s32 room;

	if (!is_alive(via, search->dest))
		return;
	room = room_of(gen, core, search->place, via, search->dest);
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
		if (gen->direct_quota && is_alive(dest, dest) && path_holds(gen, core, place, dest, dest, 0))
			return dest;
		via = rotate(place, dest, 0, HEADROOM);
		if (likely(via != NO_VIA))
			return via;
	}
	if (gen->direct_quota && is_alive(dest, dest) && path_holds(gen, core, place, dest, dest, size))
		return dest;
	via = rotate(place, dest, size, FITS);
	if (via == NO_VIA)
		via = rotate(place, dest, size, ALIVE);
	if (via == NO_VIA && is_alive(dest, dest))
		via = dest;
	return via;
}

/* A path as choose_path() gives it: its first server, and the cable that leads there. */
static __always_inline __u32 path_over(__u32 via, __u32 cable)
{
	return cable << 16 | via;
}

/* For a packet that is bound to no cable; NO_VIA stays what it is. */
static __always_inline __u32 path_to(struct generation *gen, __u32 place, __u32 via)
{
	return via == NO_VIA ? NO_VIA : path_over(via, cable_to(gen, place, via));
}

/* The flowlet's own cable, or the only one that there is. */
static __always_inline __u32 cable_kept(struct generation *gen, __u32 via, __u32 kept)
{
	__u32 cable = gen->link[via & (MAX_SERVERS - 1)] & (MAX_DEVICES - 1);

	return likely(!is_bundled(gen, cable)) ? cable : kept;
}

/* The path of this packet, by its flowlet where there is one; NO_VIA: none is alive. */
static __always_inline __u32 choose_path(struct generation *gen, struct core *core, __u32 place, __u32 dest, __u32 tick,
					 __u32 size, __u64 hash)
{
	__u64 *entry = flowlet_of(core, hash), old;
	__u32 tag = flowlet_tag(hash), via, cable;

	if (!gen->flowlet_ticks)
		return path_to(gen, place, choose_one(gen, core, place, dest, size, 0));
	old = *entry;
	via = (old >> 16) & 0xff;
	if (old >> 32 == tag && ((tick - (__u32)old) & 0xffff) <= gen->flowlet_ticks && is_alive(via, dest)) {
		cable = cable_kept(gen, via, (old >> 24) & 0xff);
		if (likely(!is_bundled(gen, cable) || is_up(cable))) {
			*entry = flowlet_entry(tag, via, cable, tick);
			if (cable_holds(gen, core, cable, via, dest, size))
				return path_over(via, cable);
			via = roomiest(place, dest, size);
			if (via == NO_VIA)
				return path_to(gen, place, choose_one(gen, core, place, dest, size, 0));
			cable = cable_to(gen, place, via);
			*entry = flowlet_entry(tag, via, cable, tick);
			return path_over(via, cable);
		}
	}
	via = choose_one(gen, core, place, dest, size, 1);
	if (via == NO_VIA)
		return NO_VIA;
	cable = cable_to(gen, place, via);
	*entry = flowlet_entry(tag, via, cable, tick);
	return path_over(via, cable);
}

/* The frame goes over this link. */
static __always_inline void charge_link(struct generation *gen, struct core *core, __u32 link, __u32 size)
{
	struct bucket *bucket = &core->links[link & (MAX_DEVICES - 1)];

	bucket->offered += size;
	take(bucket, &gen->devices[link & (MAX_DEVICES - 1)].rate, size);
}

/* Take the frame's bytes out of what its path was given. */
static __always_inline void charge(struct generation *gen, struct core *core, __u32 link, __u32 via, __u32 dest,
				   __u32 size)
{
	struct bucket *towards = &core->dests[dest & (MAX_SERVERS - 1)];

	charge_link(gen, core, link, size);
	if (!gen->direct_quota)
		return;
	towards->offered += size;
	if (via == dest)
		take(towards, &gen->direct, size);
}

#endif
