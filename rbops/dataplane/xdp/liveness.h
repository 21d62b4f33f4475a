/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whether neighbours forward. Each server sends a probe over every internal cable; the far end's program sends it back,
 * and this one notes the answer. So a cable counts as alive while frames cross it both ways and programs run at both
 * ends. Who probes, and judges what is noted, is rbops/node/liveness.py.
 */
#ifndef RBOPS_LIVENESS_H
#define RBOPS_LIVENESS_H

#include "check.h"

#define PROBE_MAC 0x5602ULL /* 02:56:00:00:00:00 as loaded from a frame */
#define ANSWER_MAC 0x010000005602ULL /* 02:56:00:00:00:01 */
#define PROBE_PROTOCOL 0x88b6 /* IEEE 802: local experimental 2 */

/* A probe and its answer, numbers in host byte order: all servers are of one kind. */
struct probe_frame {
	__u64 destination; /* and the source's first two bytes */
	__u32 source;
	__be16 protocol;
	__u16 server; /* that asks */
	__u32 sequence;
	__u32 serial; /* generation of who answers */
	__u64 sent; /* ns of the asking server's monotonic clock */
	__u32 cut[CUT_WORDS]; /* servers that the asking one has no cable to that works, a bit each */
};

_Static_assert(sizeof(struct probe_frame) == 64, "layout.py makes the same frame");

/* Where servers are more than one cable apart, a probe says what its server knows of another one, too. */
static __always_inline void note_said(__u32 ingress, const struct said *heard)
{
	struct said *said = &control.said[ingress & (MAX_DEVICES - 1)];
	__u32 i;

#pragma unroll
	for (i = 0; i < CUT_WORDS; i++)
		said->cut[i] = heard->cut[i];
	said->server = heard->server;
	*(volatile __u32 *)&said->number = heard->number;
}

/* What the neighbour cannot reach itself: no path through it leads there. */
static __always_inline void note_cut(const struct probe_frame *probe)
{
	__u64 server = probe->server;
	__u32 any = 0, i, *row;

	if (server >= MAX_SERVERS)
		return;
	opaque(server);
	server &= MAX_SERVERS - 1;
	row = control.cut[server];
#pragma unroll
	for (i = 0; i < CUT_WORDS; i++) {
		row[i] = probe->cut[i];
		any |= probe->cut[i];
	}
	control.links[server].partial = !!any;
}

/*
 * A frame on an internal cable that is not for the fabric: a probe is sent back, an answer noted. Returns the verdict,
 * or -1 for any other frame.
 */
static __always_inline int answer_probe(struct generation *gen, __u32 ingress, __u64 mac, void *data, void *end)
{
	struct probe_frame *frame = data;
	struct probe *probe = &control.probes[ingress & (MAX_DEVICES - 1)];
	__u64 own;

	if (mac != PROBE_MAC && mac != ANSWER_MAC)
		return -1;
	if ((void *)(frame + 1) > end || frame->protocol != bpf_htons(PROBE_PROTOCOL))
		return -1;
	if (mac == PROBE_MAC) {
		note_cut(frame);
		if ((void *)(frame + 1) + sizeof(struct said) <= end)
			note_said(ingress, (void *)(frame + 1));
		own = gen->devices[ingress & (MAX_DEVICES - 1)].mac;
		frame->destination = ANSWER_MAC | own << 48;
		frame->source = own >> 16;
		frame->serial = gen->serial;
		probe->asked++;
		return XDP_TX;
	}
	own = bpf_ktime_get_ns();
	probe->at = own;
	probe->round_trip = own - frame->sent;
	probe->sequence = frame->sequence;
	probe->serial = frame->serial;
	probe->answers++;
	return XDP_DROP;
}

#endif
