// SPDX-License-Identifier: GPL-2.0
/*
 * The generator: run by BPF_PROG_RUN with live frames on the tester's device, once per frame.
 *
 * Pages come back recycled and not rewritten, so every byte of every frame is written here. A group
 * of flows is active at a time: frames go round it, one of each flow, `burst` times; then the next
 * group's turn comes. So the number of frames alone says which packets of which flows were sent.
 * Every round starts one entry further on, so that no flow keeps step with a router that takes turns.
 */
#include "frame.h"

struct config {
	__u64 key0, key1;
	__u32 magic;
	__u32 ifindex; /* the tester's device; frames of any other are not ours */
	__u32 entries; /* flows of all destinations together, a multiple of active */
	__u32 active;  /* flows in a group */
	__u32 burst;   /* packets of a flow each time its group is active */
	__u16 source;
	__u16 family; /* 6: IPv6, else IPv4 */
	__u32 shift; /* of a flow's packets one in 1 << shift has its time noted */
	__u32 room;  /* for so many of each flow; 0: for none */
	__u32 period; /* entries of schedule; 0: frames have the length they came with */
	__u32 steps;  /* 0: flows take turns as above; else frames follow so many entries of `in_order`, again and again */
};

/* A frame of an order that is given: the flow's entry, the length, and which of the flow's `count` in a pass it is. */
struct step {
	__u32 entry;
	__u32 length;
	__u32 nth;
	__u32 count;
};

struct state {
	__u64 frames;   /* written since the start of the epoch */
	__u32 turn;     /* within the round */
	__u32 first;    /* entry of the group with which the round started */
	__u32 round;    /* within the burst */
	__u32 group;    /* first entry of the active group */
	__u32 sequence; /* of the burst's first packet */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct config);
	__uint(max_entries, 1);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct state);
	__uint(max_entries, 1);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct headers);
	__uint(max_entries, 1); /* resized before load */
} flows SEC(".maps");

/* When a packet was written, CLOCK_MONOTONIC in ns, by flow * room + sequence >> shift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1); /* resized before load */
	__uint(map_flags, BPF_F_MMAPABLE);
} stamps SEC(".maps");

/* Lengths of frames, in turn. A pass begins one entry further on than the last, so that no flow keeps step with it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1); /* resized before load */
} schedule SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct step);
	__uint(max_entries, 1); /* resized before load */
} in_order SEC(".maps");

static __always_inline void write_body(void *at, void *end, __u64 word)
{
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < BODY_WORDS && at + 8 <= end; i++, at += 8) {
		word += GOLDEN;
		*(__u64 *)at = word;
	}
	word += GOLDEN;
#pragma clang loop unroll(disable)
	for (i = 0; i < 7 && at + 1 <= end; i++, at++, word >>= 8)
		*(__u8 *)at = word;
}

static __always_inline void advance(struct state *now, const struct config *conf)
{
	now->frames++;
	if (++now->turn < conf->active)
		return;
	now->turn = 0;
	if (++now->first >= conf->active)
		now->first = 0;
	if (++now->round < conf->burst)
		return;
	now->round = 0;
	now->group += conf->active;
	if (now->group < conf->entries)
		return;
	now->group = 0;
	now->sequence += conf->burst;
}

/* What follows `header` bytes of headers. */
static __always_inline int write_rest(struct xdp_md *ctx, const struct config *conf, struct state *now,
				      const struct headers *flow, __u32 index, __u32 sequence, const __u32 header)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 length = ctx->data_end - ctx->data;
	struct ident *id = data + header;
	void *body = data + header + sizeof(*id);
	__u64 digest;

	if (body > end)
		return XDP_ABORTED;
	*(__u16 *)(data + header - 2) = 0;
	if (conf->period || conf->steps) {
		set_length(data, length, header == HEADER6_BYTES ? 6 : 4);
		count_length(length);
	}
	id->magic = conf->magic;
	id->source = conf->source;
	id->destination = flow->destination;
	id->sequence = sequence;
	id->flow = flow->flow;
	digest = ident_digest(id, length, conf->key0, conf->key1);
	id->digest = digest;
	if (body < end)
		write_body(body, end, digest);

	if (conf->room)
		stamp(&stamps, index, id->sequence, conf->shift, conf->room);
	advance(now, conf);
	return XDP_TX;
}

/* Makes the frame so long; 0 when that is done. */
static __always_inline int cut_to(struct xdp_md *ctx, __u32 length)
{
	int less = length - (ctx->data_end - ctx->data);

	return less ? bpf_xdp_adjust_tail(ctx, less) : 0;
}

/* Cuts the frame to the length whose turn it is; 0 when that is done. */
static __always_inline int cut(struct xdp_md *ctx, const struct config *conf, const struct state *now)
{
	__u32 period = conf->period, slot = (now->frames + now->frames / period) % period;
	__u32 *wanted = bpf_map_lookup_elem(&schedule, &slot);

	return wanted ? cut_to(ctx, *wanted) : -1;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, index, sequence;
	struct config *conf;
	struct state *now;
	struct headers *flow;
	__u64 *to;

	conf = bpf_map_lookup_elem(&config, &zero);
	now = bpf_map_lookup_elem(&state, &zero);
	if (!conf || !now || ctx->ingress_ifindex != conf->ifindex)
		return XDP_PASS;
	if (conf->period) {
		if (cut(ctx, conf, now))
			return XDP_ABORTED;
	}
	index = now->turn + now->first;
	if (index >= conf->active)
		index -= conf->active;
	index += now->group;
	sequence = now->sequence + now->round;
	if (conf->steps) {
		__u32 slot = now->frames % conf->steps;
		struct step *step = bpf_map_lookup_elem(&in_order, &slot);

		if (!step || cut_to(ctx, step->length))
			return XDP_ABORTED;
		index = step->entry;
		sequence = now->frames / conf->steps * step->count + step->nth;
	}
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	to = data;
	if (data + SMALLEST_FRAME > end)
		return XDP_ABORTED;
	flow = bpf_map_lookup_elem(&flows, &index);
	if (!flow)
		return XDP_ABORTED;

	to[0] = flow->words[0];
	to[1] = flow->words[1];
	to[2] = flow->words[2];
	to[3] = flow->words[3];
	to[4] = flow->words[4];
	if (conf->family != 6)
		return write_rest(ctx, conf, now, flow, index, sequence, HEADER4_BYTES);
	if (data + SMALLEST6_FRAME > end)
		return XDP_ABORTED;
	to[5] = flow->words[5];
	to[6] = flow->words[6];
	*(__u32 *)(data + 56) = flow->last;
	return write_rest(ctx, conf, now, flow, index, sequence, HEADER6_BYTES);
}

char _license[] SEC("license") = "GPL";
