/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The answer to a packet whose output server is gone: ICMP destination unreachable, host (RFC 792; RFC 1812, 4.3.2 and
 * 5.2.7.1). The kernel's routes lead to ports of other servers over the same dead cables, so it cannot say this.
 */
#ifndef RBOPS_UNREACHABLE_H
#define RBOPS_UNREACHABLE_H

#include "check.h"

#define QUOTED 8 /* bytes behind the packet's IP header */
#define ICMP_HEADER 8
#define ADDED (IP_HEADER + ICMP_HEADER)
#define ANSWER_LENGTH (ETH_HLEN + ADDED + IP_HEADER + QUOTED)
#define ICMP 1
#define ICMP_ECHO 8
#define UNREACHABLE_HOST 0x0103 /* type 3, code 1, as loaded */
#define FRAGMENT_OFFSET 0x1fff

/* What is in front of the quote. */
struct icmp_answer {
	__u64 destination; /* and the source's first two bytes */
	__u32 source;
	__be16 protocol;
	struct ip_header ip;
	__u16 type;
	__u16 checksum;
	__u32 unused;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct icmp_answer) == ETH_HLEN + ADDED, "the quote is the packet where it was");

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

/* Later fragments are not answered, nor ICMP but echo requests: errors about errors would go round. */
static __always_inline int is_answered(const struct ip_header *ip, const __u8 *rest)
{
	if (ip->fragment & bpf_htons(FRAGMENT_OFFSET))
		return 0;
	return ip->protocol != ICMP || *rest == ICMP_ECHO;
}

/*
 * Turns the packet in `ctx`, without IP options, into its answer from `address`, of the device with `mac`. The answer's
 * length; 0 when there is none to be.
 */
static __always_inline int make_unreachable(struct xdp_md *ctx, __u64 mac, __u32 address)
{
	struct icmp_answer *answer = packet(ctx);
	void *end = packet_end(ctx);
	struct ip_header *ip = (void *)answer + ETH_HLEN;
	__u8 *rest = (void *)(ip + 1);
	__u64 sender, sum;
	__u32 to;

	if (!address || (void *)(rest + QUOTED) > end || !is_answered(ip, rest))
		return 0;
	sender = answer->destination >> 48 | (__u64)answer->source << 16;
	to = ip->source;
	/* The quoted header's own words sum up to nothing. */
	sum = UNREACHABLE_HOST + (__u64)*(__u32 *)rest + *(__u32 *)(rest + 4);
	if (bpf_xdp_adjust_tail(ctx, (int)ANSWER_LENGTH - ADDED - (int)(end - (void *)answer)) ||
	    bpf_xdp_adjust_head(ctx, -ADDED))
		return 0;
	answer = packet(ctx);
	if ((void *)(answer + 1) > packet_end(ctx))
		return 0;
	answer->destination = sender | mac << 48;
	answer->source = mac >> 16;
	answer->protocol = bpf_htons(ETH_P_IP);
	answer->ip.version_ihl = 0x45;
	answer->ip.tos = 0xc0; /* internetwork control: RFC 1812, 4.3.2.5 */
	answer->ip.total_length = bpf_htons(ANSWER_LENGTH - ETH_HLEN);
	answer->ip.id = 0;
	answer->ip.fragment = bpf_htons(0x4000);
	answer->ip.ttl = 64;
	answer->ip.protocol = ICMP;
	answer->ip.checksum = 0;
	answer->ip.source = address;
	answer->ip.destination = to;
	answer->ip.checksum = folded((__u64)0xc045 + answer->ip.total_length + answer->ip.fragment + 64 + (ICMP << 8) +
				     (__u64)address + to);
	answer->type = UNREACHABLE_HOST;
	answer->checksum = folded(sum);
	answer->unused = 0;
	return ANSWER_LENGTH;
}

#endif
