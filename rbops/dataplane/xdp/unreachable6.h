/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The answer to an IPv6 packet whose output server is gone: ICMPv6 destination unreachable, address (RFC 4443, 3.1).
 */
#ifndef RBOPS_UNREACHABLE6_H
#define RBOPS_UNREACHABLE6_H

#include "ip6.h"
#include "unreachable.h"

#define QUOTED6 1232 /* bytes of the packet, a multiple of 8: with both headers 1,280 (RFC 4443, 2.4 c) */
#define ICMP6_HEADER 8
#define ADDED6 (IP6_HEADER + ICMP6_HEADER)
#define UNREACHABLE_ADDRESS 0x0301 /* type 1, code 3, as loaded */
#define ICMP6_ECHO 128
#define ROUTING_HEADER 43
#define FRAGMENT_HEADER 44
#define AUTHENTICATION 51
#define DESTINATION_OPTIONS 60
#define FRAGMENT6_OFFSET 0xfff8

/* What is in front of the quote. */
struct icmp6_answer {
	__u64 destination; /* and the source's first two bytes */
	__u32 source;
	__be16 protocol;
	struct ip6_header ip;
	__u16 type;
	__u16 checksum;
	__u32 unused;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct icmp6_answer) == ETH_HLEN + ADDED6, "the quote is the packet where it was");

/* As is_answered() of IPv4; headers behind which an ICMPv6 error may be hidden are not looked behind. */
static __always_inline int is_answered6(const struct ip6_header *ip, const void *end)
{
	const __u8 *rest = (const void *)(ip + 1);
	__u8 next = ip->next;

	if (next == FRAGMENT_HEADER) {
		if ((const void *)(rest + 8) > end || *(__be16 *)(rest + 2) & bpf_htons(FRAGMENT6_OFFSET))
			return 0;
		next = *rest;
		rest += 8;
	}
	if (next == ICMP6)
		return (const void *)(rest + 1) <= end && *rest == ICMP6_ECHO;
	return next != ROUTING_HEADER && next != AUTHENTICATION && next != DESTINATION_OPTIONS && next != FRAGMENT_HEADER;
}

/* The 16-bit words of what begins at `words`, up to the packet's end, a multiple of 8 bytes. */
static __always_inline __u64 sum_of(const __u64 *words, const void *end)
{
	__u64 sum = 0;
	int at;

	for (at = 0; at < QUOTED6 / 8; at++) {
		if ((const void *)(words + at + 1) > end)
			break;
		sum += (__u32)words[at] + (words[at] >> 32);
	}
	return sum;
}

/*
 * Turns the packet in `ctx`, which check_ip6() has let pass, into its answer from `address`, of the device with `mac`.
 * The answer's length; 0 when there is none to be.
 */
static __always_inline int make_unreachable6(struct xdp_md *ctx, __u64 mac, const __u64 *address)
{
	struct icmp6_answer *answer = packet(ctx);
	void *end = packet_end(ctx);
	struct ip6_header *ip = (void *)answer + ETH_HLEN;
	__u64 sender, to[2], sum;
	__u32 quoted;

	if (!address[0] || (void *)(ip + 1) > end || !is_answered6(ip, end))
		return 0;
	sender = answer->destination >> 48 | (__u64)answer->source << 16;
	to[0] = ip->source[0];
	to[1] = ip->source[1];
	quoted = IP6_HEADER + bpf_ntohs(ip->payload);
	if (quoted > QUOTED6)
		quoted = QUOTED6;
	quoted &= ~7;
	if (bpf_xdp_adjust_tail(ctx, (int)(ETH_HLEN + quoted) - (int)(end - (void *)answer)) ||
	    bpf_xdp_adjust_head(ctx, -ADDED6))
		return 0;
	answer = packet(ctx);
	end = packet_end(ctx);
	if ((void *)(answer + 1) > end)
		return 0;
	answer->destination = sender | mac << 48;
	answer->source = mac >> 16;
	answer->protocol = bpf_htons(ETH_P_IPV6);
	answer->ip.version_flow = bpf_htonl(0x60000000);
	answer->ip.payload = bpf_htons(ICMP6_HEADER + quoted);
	answer->ip.next = ICMP6;
	answer->ip.hop_limit = 64;
	answer->ip.source[0] = address[0];
	answer->ip.source[1] = address[1];
	answer->ip.destination[0] = to[0];
	answer->ip.destination[1] = to[1];
	answer->type = UNREACHABLE_ADDRESS;
	answer->unused = 0;
	/* RFC 4443, 2.3: the pseudo-header of RFC 8200, 8.1, too. */
	sum = UNREACHABLE_ADDRESS + bpf_htonl(ICMP6_HEADER + quoted) + (__u64)bpf_htonl(ICMP6);
	sum += (__u32)address[0] + (address[0] >> 32) + (__u32)address[1] + (address[1] >> 32);
	sum += (__u32)to[0] + (to[0] >> 32) + (__u32)to[1] + (to[1] >> 32);
	answer->checksum = folded(sum + sum_of((void *)(answer + 1), end));
	return ETH_HLEN + ADDED6 + quoted;
}

#endif
