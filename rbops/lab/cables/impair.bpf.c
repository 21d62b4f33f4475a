// SPDX-License-Identifier: GPL-2.0
/*
 * A bad cable: loses, corrupts, doubles, holds back and delays frames as they arrive at a device.
 *
 * How many are chosen is exact on each CPU: of every 1/p frames one, at a random place among them. What waits lies in a
 * line for each CPU; BPF_PROG_RUN of `release` with live frames, on the same CPU, makes it arrive.
 */
#include "tap.h"
#include <stdbool.h>

#define FRACTION 20 /* bits of a place among frames behind the point */
#define ROOM 2016
#define LINES 2

enum choice { LOSS, CORRUPT, DUPLICATE, REORDER, CHOICES };

/* Where the next frame to choose is, in frames << FRACTION. */
struct chooser {
	__u64 frames, begin, at, pending;
};

struct state {
	struct chooser choosers[CHOICES];
	__u64 seen, chosen[CHOICES], overrun, large, released, waited, longest;
};

struct line {
	__u64 head, tail, due;
	__u64 pad[5]; /* one cache line */
};

struct waiting {
	__u64 due, arrived;
	__u32 length, pad;
	__u8 bytes[ROOM + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct state);
	__uint(max_entries, 1);
} states SEC(".maps");

/* By line * CPUs + CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct line);
	__uint(max_entries, 1); /* resized before load */
	__uint(map_flags, BPF_F_MMAPABLE);
} lines SEC(".maps");

/* By (line * CPUs + CPU) * slots + place. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct waiting);
	__uint(max_entries, 1); /* resized before load */
	__uint(map_flags, BPF_F_MMAPABLE);
} slots SEC(".maps");

/* Frames << FRACTION from one chosen frame to the next; 0: none is. */
const volatile __u64 steps[CHOICES];
/* Nanoseconds: of all frames, at most more of each, more of those that are held back. */
const volatile __u64 delay, jitter, hold;
const volatile __u32 cpus = 1, places = 1;

static __always_inline void next_place(struct chooser *chooser, __u64 step)
{
	__u64 random = (__u64)bpf_get_prandom_u32() << 16 | (bpf_get_prandom_u32() & 0xffff);

	chooser->at = chooser->begin + random % step;
	chooser->begin += step;
}

static __always_inline bool chosen(struct state *state, enum choice what)
{
	struct chooser *chooser = &state->choosers[what];
	__u64 step = steps[what];
	int i;

	if (!step)
		return false;
	if (!chooser->begin)
		next_place(chooser, step);
	chooser->frames++;
#pragma clang loop unroll(full)
	for (i = 0; i < 2; i++) {
		if (chooser->at >= chooser->frames << FRACTION)
			break;
		chooser->pending++;
		next_place(chooser, step);
	}
	if (!chooser->pending)
		return false;
	chooser->pending--;
	state->chosen[what]++;
	return true;
}

/* Puts a frame at the end of a line; false when there is no room. */
static __always_inline bool wait(struct xdp_md *ctx, struct state *state, __u32 number, __u64 time)
{
	__u32 length = bpf_xdp_get_buff_len(ctx), index = number * cpus + bpf_get_smp_processor_id();
	struct line *line = bpf_map_lookup_elem(&lines, &index);
	struct waiting *slot;
	__u64 now = bpf_ktime_get_ns();

	if (!line || line->head - line->tail >= places)
		goto full;
	index = index * places + line->head % places;
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot || !length || length > ROOM)
		goto full;
	if (bpf_xdp_load_bytes(ctx, 0, slot->bytes, length))
		goto full;
	if (jitter)
		time += bpf_get_prandom_u32() % (jitter + 1);
	if (line->due < now + time)
		line->due = now + time;
	slot->due = line->due;
	slot->arrived = now;
	slot->length = length;
	line->head++;
	return true;
full:
	state->overrun++;
	return false;
}

SEC("xdp")
int rbops_tap(struct xdp_md *ctx)
{
	__u32 zero = 0, length = bpf_xdp_get_buff_len(ctx), at;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	__u8 octet;

	if (!state)
		return go_on(ctx);
	state->seen++;
	if (chosen(state, LOSS))
		return XDP_DROP;
	if (chosen(state, CORRUPT) && length > 15) {
		at = 14 + bpf_get_prandom_u32() % (length - 14);
		if (!bpf_xdp_load_bytes(ctx, at, &octet, 1)) {
			octet ^= 1 << (bpf_get_prandom_u32() & 7);
			bpf_xdp_store_bytes(ctx, at, &octet, 1);
		}
	}
	if (chosen(state, DUPLICATE))
		wait(ctx, state, 0, delay);
	if (chosen(state, REORDER)) {
		wait(ctx, state, 1, delay + hold);
		return XDP_DROP;
	}
	if (delay || jitter) {
		wait(ctx, state, 0, delay);
		return XDP_DROP;
	}
	return go_on(ctx);
}

static __always_inline struct waiting *first(__u32 number, struct line **line)
{
	__u32 index = number * cpus + bpf_get_smp_processor_id();

	*line = bpf_map_lookup_elem(&lines, &index);
	if (!*line || (*line)->head == (*line)->tail)
		return 0;
	index = index * places + (*line)->tail % places;
	return bpf_map_lookup_elem(&slots, &index);
}

/* Run with a live frame of any content: becomes the frame that is due first, or nothing. */
SEC("xdp")
int release(struct xdp_md *ctx)
{
	struct line *line, *other;
	struct waiting *slot = first(0, &line), *held = first(1, &other);
	__u32 zero = 0, length;
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	__u64 now = bpf_ktime_get_ns(), waited;

	if (held && (!slot || held->due < slot->due)) {
		slot = held;
		line = other;
	}
	if (!slot || !line || !state || slot->due > now)
		return XDP_DROP;
	length = slot->length;
	waited = now - slot->arrived;
	if (!length || length > ROOM)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_tail(ctx, (int)length - (int)bpf_xdp_get_buff_len(ctx)) ||
	    bpf_xdp_store_bytes(ctx, 0, slot->bytes, length)) {
		line->tail++;
		state->overrun++;
		return XDP_ABORTED;
	}
	line->tail++;
	state->released++;
	state->waited += waited;
	if (waited > state->longest)
		state->longest = waited;
	return go_on(ctx);
}

char _license[] SEC("license") = "GPL";
