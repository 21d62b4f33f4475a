/* SPDX-License-Identifier: GPL-2.0 */
/* An IPv6 packet: its header, what is asked of it before it may be forwarded (RFC 8200, RFC 4291), its flow. */
#ifndef RBOPS_IP6_H
#define RBOPS_IP6_H

#include "check.h"
#include "flowlet.h"
#include "guard.h"

#define IP6_HEADER 40
#define HOP_BY_HOP 0
#define ICMP6 58
#define FIRST_NDP 133 /* router solicitation; up to redirect */
#define LAST_NDP 137
#define FLOW_LABEL 0x000fffff

/* In the words in which it is read; addresses as loaded, in network byte order. */
struct ip6_header {
	__be32 version_flow;
	__be16 payload;
	__u8 next;
	__u8 hop_limit;
	__u64 source[2];
	__u64 destination[2];
};

_Static_assert(sizeof(struct ip6_header) == IP6_HEADER, "no padding");

/* ::/64 (unspecified, loopback, IPv4-mapped) and multicast are no sources. */
static __always_inline int is_martian6(__u64 first)
{
	return !first || (first & 0xff) == 0xff;
}

/* fe80::/10, from the address' first word. */
static __always_inline int is_link_local(__u64 first)
{
	return (first & 0xc0ff) == 0x80fe;
}

/* Neighbour and router discovery, which only a neighbour can send. */
static __always_inline int is_discovery(const struct ip6_header *ip, const void *end)
{
	const __u8 *icmp = (const void *)(ip + 1);

	if ((const void *)(icmp + 1) > end || ip->next != ICMP6 || ip->hop_limit != FROM_A_NEIGHBOR)
		return 0;
	return *icmp >= FIRST_NDP && *icmp <= LAST_NDP;
}

/* `bytes` are those behind the Ethernet header, at least IP6_HEADER. */
static __always_inline int check_ip6(const struct ip6_header *ip, const void *end, __u32 bytes)
{
	if (unlikely((ip->version_flow & 0xf0) != 0x60))
		return DROP_FOR(DROP_VERSION);
	if (unlikely(IP6_HEADER + bpf_ntohs(ip->payload) > bytes))
		return DROP_FOR(DROP_TOTAL_LENGTH);
	/* Before sources are looked at: an address that is being tried has none yet (RFC 4862). */
	if (unlikely(ip->hop_limit == FROM_A_NEIGHBOR && is_discovery(ip, end)))
		return PUNT_FOR(PUNT_NDP);
	if (unlikely(is_martian6(ip->source[0])))
		return DROP_FOR(DROP_MARTIAN_SOURCE);
	if (unlikely(!ip->destination[0]))
		return DROP_FOR(DROP_MARTIAN_DESTINATION);
	if (unlikely((ip->destination[0] & 0xff) == 0xff))
		return PUNT_FOR(PUNT_MULTICAST);
	if (unlikely(ip->next == HOP_BY_HOP))
		return PUNT_FOR(PUNT_OPTIONS);
	return FORWARD;
}

static __always_inline __u32 local_class6(const struct ip6_header *ip, const void *end)
{
	return ip->next == ICMP6 ? CLASS_ICMP : transport_class(ip + 1, end, ip->next, ip->hop_limit);
}

/* One of the router's own addresses, on whichever server? `address` as loaded. */
static __always_inline int is_own6(struct generation *gen, const __u64 *address)
{
	__u64 first = address[0], second = address[1], mixed = (first ^ second * OWN6_MIX) * OWN6_MIX;
	__u64 bucket = (__u64)((__u32)(mixed >> 32) * gen->own6_factor) >> (gen->own6_shift & 31);
	__u64 (*own)[2];

	opaque(bucket);
	bucket &= OWN_BUCKETS - 1;
	own = gen->own6[bucket];
	return (first == own[0][0] && second == own[0][1]) || (first == own[1][0] && second == own[1][1]) ||
	       (first == own[2][0] && second == own[2][1]) || (first == own[3][0] && second == own[3][1]);
}

/*
 * Addresses and the flow label; without one the next header, and the ports where they follow at once (RFC 6437). So
 * fragments of a labelled flow go with its other packets. rbops/vlb/flow6.py is the reference.
 */
static __always_inline __u64 flow_hash6(const struct ip6_header *ip, const void *end)
{
	const __u32 *ports = (const void *)(ip + 1);
	__u64 value = ip->source[0] * 0x9E3779B97F4A7C15ULL, rest = bpf_ntohl(ip->version_flow) & FLOW_LABEL;

	value ^= value >> 32;
	value = (value ^ ip->source[1]) * 0xBF58476D1CE4E5B9ULL;
	value ^= value >> 29;
	value = (value ^ ip->destination[0]) * 0x9E3779B97F4A7C15ULL;
	value ^= value >> 32;
	value = (value ^ ip->destination[1]) * 0xBF58476D1CE4E5B9ULL;
	value ^= value >> 29;
	if (!rest) {
		rest = (__u64)ip->next << 32;
		if (has_ports(ip->next) && (const void *)(ports + 1) <= end)
			rest |= *ports;
	}
	value = (value ^ rest) * 0x94D049BB133111EBULL;
	return value ^ value >> 32;
}

#endif
