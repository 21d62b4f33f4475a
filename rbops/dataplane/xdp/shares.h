/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How cores share the direct quota towards a server, and a link's rate: each has an equal part; of what some do not need
 * the others get what they need beyond theirs. rbops/vlb/shares.py says what and why; names are the same here.
 *
 * The clock does it, for all cores at each tick. Packets only count what they are, in their own core's block, and read
 * their core's share. A share is a bucket's refill and its depth: what one core loses of both another one gets, so that
 * all together hold to the rate as one bucket would.
 */
#ifndef RBOPS_SHARES_H
#define RBOPS_SHARES_H

#include "state.h"

#define BURST_TICKS 10
#define MAX_REFILL 200000000 /* bytes a tick: a bucket fits 31 bits */
#define DEAL_STEPS 1024 /* buckets looked at in a tick: of more, only some of them */

/* What the steps of one deal share. */
struct deal {
	__u32 place; /* generation */
	__u32 number; /* of the link or server */
	__u32 is_link;
	__u32 elapsed; /* ticks */
	__u32 rounds; /* every so many ticks it is a bucket's turn */
	__u32 dealt; /* some core has another share than an equal one */
	__u64 kept; /* bytes a tick of equal shares that are needed */
	__u64 wanted; /* and what is beyond them */
};

static __always_inline struct bucket *bucket_of(__u32 cpu, const struct deal *deal)
{
	struct core *core = core_at(cpu);
	__u32 number = deal->number & (MAX_SERVERS - 1); /* and MAX_DEVICES, which is the same */

	return deal->is_link ? &core->links[number] : &core->dests[number];
}

static __always_inline const struct rate *equal_of(const struct deal *deal)
{
	struct generation *gen = generation_at(deal->place);

	return deal->is_link ? &gen->devices[deal->number & (MAX_DEVICES - 1)].rate : &gen->direct;
}

/* What a core needs a tick: the most that was offered lately, and an eighth. */
static __always_inline __u32 needed(const struct bucket *bucket)
{
	return bucket->peak < MAX_REFILL ? bucket->peak + bucket->peak / 8 : MAX_REFILL;
}

static long look_step(__u32 cpu, struct deal *deal)
{
	struct bucket *bucket = bucket_of(cpu, deal);
	__u32 offered = *(volatile __u32 *)&bucket->offered, base = equal_of(deal)->refill;
	__u32 rate, peak = bucket->peak, need;

	rate = (offered - bucket->seen) / (deal->elapsed ? deal->elapsed : 1);
	if (offered != bucket->seen)
		bucket->seen = offered;
	if (peak)
		peak -= peak / 16 + 1;
	if (rate > peak)
		peak = rate;
	if (peak != bucket->peak)
		bucket->peak = peak;
	need = needed(bucket);
	deal->kept += need < base ? need : base;
	deal->wanted += need < base ? 0 : need - base;
	deal->dealt |= bucket->refill;
	return 0;
}

static long give_step(__u32 cpu, struct deal *deal)
{
	struct generation *gen = generation_at(deal->place);
	const struct rate *equal = equal_of(deal);
	struct bucket *bucket = bucket_of(cpu, deal);
	__u32 base = equal->refill, need = needed(bucket), keep = need < base ? need : base;
	__u64 all = (__u64)base * gen->cores, spare = all > deal->kept ? all - deal->kept : 0, refill = base;
	__s32 depth;

	if (deal->wanted >= spare && deal->wanted)
		refill = keep + spare * (need - keep) / deal->wanted;
	else if (deal->wanted)
		refill = need + (spare - deal->wanted) / cpus;
	if (refill > MAX_REFILL)
		refill = MAX_REFILL;
	depth = refill * BURST_TICKS;
	if (depth < gen->least_depth)
		depth = gen->least_depth;
	if (!refill)
		depth = 0;
	bucket->refill = (__s32)refill - (__s32)base;
	bucket->depth = depth - equal->depth;
	bucket->slack = (depth ? depth / 8 : -1) - equal->slack;
	return 0;
}

static __always_inline void deal_one(struct deal *deal, __u32 is_link)
{
	deal->is_link = is_link;
	deal->kept = deal->wanted = deal->dealt = 0;
	bpf_loop(cpus, look_step, deal, 0);
	if (deal->wanted || deal->dealt)
		bpf_loop(cpus, give_step, deal, 0);
}

static long deal_step(__u32 number, struct deal *deal)
{
	if (deal->rounds > 1 && (number + control.tick) % deal->rounds)
		return 0;
	deal->number = number;
	deal_one(deal, 1);
	if (generation_at(deal->place)->direct_quota)
		deal_one(deal, 0);
	return 0;
}

/* The shares of all cores anew, `elapsed` ticks after the last time. */
__noinline int deal_shares(__u32 elapsed)
{
	struct deal deal = { .place = control.active, .elapsed = elapsed };
	struct generation *gen = generation_at(deal.place);

	if (!gen->cores)
		return 0;
	deal.rounds = gen->buckets * cpus * 2 / DEAL_STEPS + 1;
	if (deal.rounds > 1)
		deal.elapsed = deal.rounds;
	bpf_loop(gen->buckets, deal_step, &deal, 0);
	return 0;
}

/* As the clock does it after one tick, for tests that have none. */
SEC("syscall")
int deal_once(void *ctx)
{
	(void)ctx;
	return deal_shares(1);
}

#endif
