// SPDX-License-Identifier: GPL-2.0
/* Copies every frame that arrives at a device, and hands it on. */
#include "tap.h"

#define LARGEST 16384

struct frame {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u32 watch, length, captured, pad;
	__u8 bytes[LARGEST];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct frame);
	__uint(max_entries, 1);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 25);
} frames SEC(".maps");

/* By watch: frames that did not fit into the ring. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4096);
} missed SEC(".maps");

const volatile __u32 watch, snaplen = LARGEST;

SEC("xdp")
int rbops_tap(struct xdp_md *ctx)
{
	__u32 length = bpf_xdp_get_buff_len(ctx), captured = length, zero = 0, number = watch;
	struct frame *to = bpf_map_lookup_elem(&scratch, &zero);
	__u64 *count;

	if (!to)
		return go_on(ctx);
	if (captured > snaplen)
		captured = snaplen;
	if (captured >= LARGEST)
		captured = LARGEST - 1;
	if (!captured)
		return go_on(ctx);
	to->time = bpf_ktime_get_ns();
	to->watch = number;
	to->length = length;
	to->captured = captured;
	if (bpf_xdp_load_bytes(ctx, 0, to->bytes, captured) ||
	    bpf_ringbuf_output(&frames, to, __builtin_offsetof(struct frame, bytes) + captured, BPF_RB_NO_WAKEUP)) {
		count = bpf_map_lookup_elem(&missed, &number);
		if (count)
			(*count)++;
	}
	return go_on(ctx);
}

char _license[] SEC("license") = "GPL";
