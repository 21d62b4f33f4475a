/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A tap: the program that is attached to a device before the one that was, which it calls at its end. It is called
 * rbops_tap and keeps that program in its map `behind`, so that rbops-node and other taps find it.
 */
#ifndef RBOPS_LAB_TAP_H
#define RBOPS_LAB_TAP_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} behind SEC(".maps");

/* What would have happened without the tap: nothing was attached, or what was decides. */
static __always_inline int go_on(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &behind, 0);
	return XDP_PASS;
}

#endif
