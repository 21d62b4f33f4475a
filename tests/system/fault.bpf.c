// SPDX-License-Identifier: GPL-2.0
/*
 * A fault on purpose: runs before the router on a port, spoils one self-test packet in `every`, and hands
 * all but the dropped and the doubled ones on to the router, which does not know.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERTYPE_IPV4 0x0800
#define PROTOCOL_UDP 17
#define SHORTEST 60 /* bytes: an Ethernet frame without FCS */
#define DESTINATION_PORT 36
#define TTL 22
#define CHECKSUM 24

enum kind { NONE, DROP, CORRUPT, MISDELIVER, WRONG_TTL, BAD_CHECKSUM, DUPLICATE };

/* Written by the test before it attaches the program. */
volatile __u32 kind, every = 1, udp_port, wrong_port;
/* Where a doubled packet leaves, with which addresses: what the router would have written. */
volatile __u8 destination[6], source[6];

volatile __u64 packets, injected;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} router SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 2);
} twice SEC(".maps");

static __always_inline int is_test_packet(void *data, void *end)
{
	return data + SHORTEST <= end && *(__u16 *)(data + 12) == bpf_htons(ETHERTYPE_IPV4) &&
	       *(__u8 *)(data + 23) == PROTOCOL_UDP && *(__u16 *)(data + DESTINATION_PORT) == bpf_htons(udp_port);
}

/* TTL down by one more, and the checksum with it (RFC 1624): only the TTL is wrong. */
static __always_inline void age(void *data)
{
	__u16 *check = data + CHECKSUM;
	__u32 sum = *check + bpf_htons(0x0100);

	*check = sum + (sum >> 16);
	*(__u8 *)(data + TTL) -= 1;
}

SEC("xdp")
int inject(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	int i;

	if (!is_test_packet(data, end) || __sync_fetch_and_add(&packets, 1) % every != every - 1)
		goto on;
	__sync_fetch_and_add(&injected, 1);
	if (kind == DROP)
		return XDP_DROP;
	if (kind == CORRUPT)
		*(__u8 *)(data + SHORTEST - 1) ^= 0x01;
	if (kind == MISDELIVER) /* 02:52:PP:PP:AA:AA: the output port that the input server chose */
		*(__u16 *)(data + 2) = bpf_htons(wrong_port);
	if (kind == WRONG_TTL)
		age(data);
	if (kind == BAD_CHECKSUM)
		*(__u8 *)(data + CHECKSUM) ^= 0x10;
	if (kind == DUPLICATE) {
		for (i = 0; i < 6; i++) {
			((__u8 *)data)[i] = destination[i];
			((__u8 *)data)[6 + i] = source[i];
		}
		return bpf_redirect_map(&twice, 0, BPF_F_BROADCAST);
	}
on:
	bpf_tail_call(ctx, &router, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "GPL";
