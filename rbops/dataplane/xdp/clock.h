/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The clock: a timer that writes the time in ms where all cores read it. Reading the kernel's clock
 * per packet costs more than everything else the router does.
 */
#ifndef RBOPS_CLOCK_H
#define RBOPS_CLOCK_H

#include "shares.h"

#define NS_PER_TICK 1000000ULL
#define CLOCK_MONOTONIC 1

struct clock {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct clock);
	__uint(max_entries, 1);
} clocks SEC(".maps");

static int on_tick(void *map, __u32 *key, struct clock *clock)
{
	__u32 before = control.tick;

	(void)map;
	(void)key;
	/* From the clock, not by counting: a late timer loses no time. */
	control.tick = bpf_ktime_get_ns() / NS_PER_TICK;
	if (control.tick != before)
		deal_shares(control.tick - before);
	bpf_timer_start(&clock->timer, NS_PER_TICK, 0);
	return 0;
}

/* Run once by the loader; on a clock that runs already it changes the code, not the time. */
SEC("syscall")
int start_clock(void *ctx)
{
	__u32 zero = 0;
	struct clock *clock = bpf_map_lookup_elem(&clocks, &zero);

	(void)ctx;
	if (!clock)
		return 1;
	bpf_timer_init(&clock->timer, &clocks, CLOCK_MONOTONIC);
	if (bpf_timer_set_callback(&clock->timer, on_tick))
		return 2;
	control.tick = bpf_ktime_get_ns() / NS_PER_TICK;
	return bpf_timer_start(&clock->timer, NS_PER_TICK, 0) ? 3 : 0;
}

#endif
