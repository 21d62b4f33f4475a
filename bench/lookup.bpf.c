// SPDX-License-Identifier: GPL-2.0
/* Look-ups alone, many in one call: in the router's own code, on a table that bench/lookups.py writes. */
#include "../rbops/dataplane/xdp/fib.h"
#include "../rbops/dataplane/xdp/fib6.h"

#define TARGETS (1 << 18)

char _license[] SEC("license") = "GPL";

__u64 found;

/* Where to, the upper 64 bits; of IPv4 the upper 32 of them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, TARGETS);
	__uint(map_flags, BPF_F_MMAPABLE);
} targets SEC(".maps");

static __always_inline __u64 target(__u32 number)
{
	__u32 key = number & (TARGETS - 1);
	__u64 *at = bpf_map_lookup_elem(&targets, &key);

	return at ? *at : 0;
}

static long step_none(__u32 number, __u64 *sum)
{
	*sum += target(number);
	return 0;
}

static long step4(__u32 number, __u64 *sum)
{
	*sum += fib_find(generation_at(0), 0, target(number) >> 32);
	return 0;
}

static long step6(__u32 number, __u64 *sum)
{
	*sum += fib6_find(0, target(number), 0);
	return 0;
}

SEC("syscall")
int none(void *ctx)
{
	__u64 sum = 0;

	(void)ctx;
	bpf_loop(TARGETS, step_none, &sum, 0);
	found = sum;
	return 0;
}

SEC("syscall")
int ipv4(void *ctx)
{
	__u64 sum = 0;

	(void)ctx;
	bpf_loop(TARGETS, step4, &sum, 0);
	found = sum;
	return 0;
}

SEC("syscall")
int ipv6(void *ctx)
{
	__u64 sum = 0;

	(void)ctx;
	bpf_loop(TARGETS, step6, &sum, 0);
	found = sum;
	return 0;
}
