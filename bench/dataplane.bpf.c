// SPDX-License-Identifier: GPL-2.0
/* The benchmark's own programs: a generator of random destinations, the bare redirect, a counting sink. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

const volatile __u64 router_mac; /* as loaded from a frame */
__u64 state = 88172645463325252ULL;
struct {
	__u64 frames;
	__u64 pad[7];
} received[64]; /* by CPU */

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 4);
} generator_out SEC(".maps"), redirect_out SEC(".maps");

/* The first halves of IPv6 addresses to send to, a power of two of them; resized before load. */
const volatile __u32 targets_mask;
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_MMAPABLE);
} targets SEC(".maps");

/* IPv6 and UDP, as short as it is possible: 66 bytes with FCS. Every packet another flow, without a label. */
SEC("xdp")
int generate6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 x = state, *word = data, *target;
	__u32 number;

	if (data + 62 > end)
		return XDP_ABORTED;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	state = x;
	number = x & targets_mask;
	target = bpf_map_lookup_elem(&targets, &number);
	if (!target)
		return XDP_ABORTED;
	word[0] = router_mac | 0x4e02ULL << 48;
	*(__u32 *)(data + 8) = 0x02000000;
	*(__u16 *)(data + 12) = 0xdd86;
	*(__u64 *)(data + 14) = 0x4011080000000060ULL; /* 8 bytes of UDP, 64 hops */
	*(__u64 *)(data + 22) = 0x0000a000b80d0120ULL; /* 2001:db8:a0::2 */
	*(__u64 *)(data + 30) = 0x0200000000000000ULL;
	*(__u64 *)(data + 38) = *target;
	*(__u64 *)(data + 46) = x >> 18;
	*(__u64 *)(data + 54) = 0x0000080009003930ULL;
	return bpf_redirect_map(&generator_out, 0, 0);
}

/* Every header field, because live frames come back as the last run left them; UDP. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 x = state, *word = data;
	__u32 high, destination, sum, length;

	if (data + 60 > end)
		return XDP_ABORTED;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	state = x;
	/* 1.0.0.0 to 223.255.255.255 without 127/8 */
	high = 256 + (((x & 0xffff) * (57344 - 256)) >> 16);
	if (high >> 8 == 127)
		high -= 256;
	destination = high | (__u32)(x >> 32 & 0xffff) << 16;
	destination = (destination & 0xffff0000) | __builtin_bswap16(high);
	length = __builtin_bswap16(end - data - 14); /* of the IP packet: 46 bytes in the shortest frame */
	sum = length + 0x0045 + 0x1140 + 0x12c6 + 0x0200 + (destination & 0xffff) + (destination >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	word[0] = router_mac | 0x4e02ULL << 48;
	*(__u32 *)(data + 8) = 0x02000000;
	*(__u16 *)(data + 12) = 0x0008;
	*(__u16 *)(data + 14) = 0x0045;
	*(__u32 *)(data + 16) = length; /* identification 0 */
	*(__u32 *)(data + 20) = 0x11400000; /* no fragment, 64 hops, UDP */
	*(__u16 *)(data + 24) = ~sum;
	*(__u32 *)(data + 26) = 0x020012c6; /* 198.18.0.2 */
	*(__u32 *)(data + 30) = destination;
	*(__u64 *)(data + 34) = 0x00001a0009003930ULL;
	return bpf_redirect_map(&generator_out, 0, 0);
}

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect_map(&redirect_out, 0, 0);
}

/* The same over all four links, at random as the routes go. */
SEC("xdp")
int spread(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 34 > end)
		return XDP_ABORTED;
	return bpf_redirect_map(&redirect_out, *(__u8 *)(data + 33) & 3, 0);
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	(void)ctx;
	received[bpf_get_smp_processor_id() & 63].frames++;
	return XDP_DROP;
}
