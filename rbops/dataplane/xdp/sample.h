/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One of so many frames that external ports receive, as it came in, for sFlow (rbops/node/sflow.py).
 *
 * A core counts down to the next one, by a random number whose mean is the sampling rate (sFlow version 5, 3.1). The
 * user-space half writes the rate into `control`; a core takes it over with its next tick.
 */
#ifndef RBOPS_SAMPLE_H
#define RBOPS_SAMPLE_H

#include "check.h"
#include "state.h"

#define SAMPLE_RING (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SAMPLE_RING);
} samples SEC(".maps");

/* Frames up to and with the next sample; 0: none for 2^32 frames. */
static __always_inline __u32 draw(__u32 rate)
{
	return rate ? bpf_get_prandom_u32() % (2 * rate - 1) + 1 : 0;
}

/* With a tick: another rate than the one that was drawn for. */
static __always_inline void renew_sampling(struct core *core)
{
	__u32 rate = control.sampling;

	if (likely(core->drawn_for == rate))
		return;
	core->drawn_for = rate;
	core->skip = draw(rate);
}

/* The frame is this core's next sample. Where nobody reads, the ring is full and it is counted as lost. */
__noinline int take_sample(struct xdp_md *ctx, __u32 place)
{
	__u32 size = packet_end(ctx) - packet(ctx), number, captured;
	struct core *core = core_at(place >> 1);
	struct sampled *counted;
	struct sample *sample;

	core->skip = draw(core->drawn_for);
	if (!core->drawn_for || !size)
		return 0;
	number = generation_at(place)->ingress[ctx->ingress_ifindex & (MAX_INGRESS - 1)].device & (MAX_DEVICES - 1);
	counted = &core->sampled[number];
	sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	if (!sample) {
		counted->lost++;
		return 0;
	}
	captured = size < SAMPLE_HEADER ? size : SAMPLE_HEADER;
	captured = ((captured - 1) & (SAMPLE_HEADER - 1)) + 1; /* the verifier's bounds */
	if (bpf_xdp_load_bytes(ctx, 0, sample->header, captured)) {
		bpf_ringbuf_discard(sample, BPF_RB_NO_WAKEUP);
		return 0;
	}
	sample->device = number;
	sample->size = size;
	sample->captured = captured;
	sample->rate = core->drawn_for;
	bpf_ringbuf_submit(sample, BPF_RB_NO_WAKEUP);
	counted->taken++;
	return 0;
}

#endif
