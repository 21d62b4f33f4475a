/* SPDX-License-Identifier: GPL-2.0 */
/* What keeps strangers' packets from the servers' kernels: rates of what is given to them, sources, neighbours. */
#ifndef RBOPS_GUARD_H
#define RBOPS_GUARD_H

#include "check.h"
#include "fib.h"

#define THOUSANDTHS 1000 /* of a packet, in a bucket */
#define BURST_MS 100
#define LEAST_BURST 16
#define IPPROTO_ESP 50
#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* Classes of local delivery; other reasons have theirs by the sender's MAC. */
enum local_class { CLASS_TCP, CLASS_TCP_SYN, CLASS_ICMP, CLASS_OTHER, CLASS_BGP, CLASS_BFD, CLASS_OSPF };

#define BGP_PORT 179
#define ESP_IN_UDP_PORT 4500
#define BFD_PORT 3784 /* and echo, the next one (RFC 5881, 4) */
#define FROM_A_NEIGHBOR 255 /* a TTL that nothing has that was forwarded (RFC 5082) */

/* By sender: one that floods takes an eighth of its neighbours' chances at most. */
static __always_inline __u32 sender_class(const __u64 *mac)
{
	__u32 value = ((__u32)(mac[0] >> 48) ^ *(const __u32 *)(mac + 1)) * 0x9E3779B1U;

	return value >> 29;
}

/*
 * What a session's packets are, what opens one, pings, routing protocols, everything else: none of them takes what
 * another needs. BFD, which notices three lost packets, counts as such from a neighbour alone. `at` is behind the IP
 * header.
 */
static __always_inline __u32 transport_class(const void *at, const void *end, __u32 protocol, __u32 ttl)
{
	const __u8 *tcp = at;
	const __be16 *ports = at;

	if (protocol == 89)
		return CLASS_OSPF;
	if ((const void *)(ports + 2) > end)
		return CLASS_OTHER;
	if (protocol == 17)
		return ttl == FROM_A_NEIGHBOR && (bpf_ntohs(ports[1]) & ~1) == BFD_PORT ? CLASS_BFD : CLASS_OTHER;
	if (protocol != 6 || (const void *)(tcp + 14) > end)
		return CLASS_OTHER;
	if ((tcp[13] & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return CLASS_TCP_SYN;
	return ports[0] == bpf_htons(BGP_PORT) || ports[1] == bpf_htons(BGP_PORT) ? CLASS_BGP : CLASS_TCP;
}

static __always_inline __u32 local_class(const struct ip_header *ip, const void *end)
{
	if ((const void *)(ip + 1) > end || ip->version_ihl != 0x45 || ip->fragment & bpf_htons(0x1fff))
		return CLASS_OTHER;
	return ip->protocol == 1 ? CLASS_ICMP : transport_class(ip + 1, end, ip->protocol, ip->ttl);
}

/*
 * For one of the router's own addresses: what a peer has encrypted, where there are tunnels, has a rate of its own. ESP,
 * or ESP in UDP (RFC 3948).
 */
static __always_inline __u32 local_reason(const struct generation *gen, const struct ip_header *ip, const void *end)
{
	const __u16 *ports = (const void *)(ip + 1);

	if (!gen->punt_rate[PUNT_IPSEC])
		return PUNT_LOCAL_DELIVERY;
	if (ip->protocol == IPPROTO_ESP)
		return PUNT_IPSEC;
	if (ip->protocol != 17 || (const void *)(ports + 2) > end || ip->version_ihl != 0x45)
		return PUNT_LOCAL_DELIVERY;
	return ports[1] == bpf_htons(ESP_IN_UDP_PORT) && !(ip->fragment & bpf_htons(0x1fff)) ? PUNT_IPSEC : PUNT_LOCAL_DELIVERY;
}

/*
 * May one more packet go to the kernel? `bucket` is its number in the CPU's `punts`. All state is this CPU's: a flood
 * on one core leaves the others' buckets as they are.
 */
__noinline int may_pass(__u32 place, __u32 number, __u32 tick)
{
	struct core *core = core_at(place >> 1);
	__u32 rate = generation_at(place)->punt_rate[(number / PUNT_CLASSES) & (PUNT_COUNT - 1)];
	__u64 depth = (__u64)rate * BURST_MS, gained;
	__u64 at = number & (MAX_DEVICES * PUNT_COUNT * PUNT_CLASSES - 1), used;
	struct punt_bucket *bucket;

	opaque(at);
	if (at >= MAX_DEVICES * PUNT_COUNT * PUNT_CLASSES)
		return 0;
	bucket = (struct punt_bucket *)core->punts + at;
	if (!rate)
		return 0;
	if (depth < LEAST_BURST * THOUSANDTHS)
		depth = LEAST_BURST * THOUSANDTHS;
	gained = (__u64)(tick - bucket->tick) * rate;
	used = bucket->used > gained ? bucket->used - gained : 0;
	bucket->tick = tick;
	bucket->used = used;
	if (used + THOUSANDTHS > depth)
		return 0;
	bucket->used = used + THOUSANDTHS;
	return 1;
}

/* One of the router's own addresses, on whichever server? In host byte order. */
static __always_inline int is_own(struct generation *gen, __u32 address)
{
	__u64 bucket = (__u64)(address * gen->own_factor) >> (gen->own_shift & 31);
	__u32 *own;

	opaque(bucket);
	bucket &= OWN_BUCKETS - 1;
	own = gen->own[bucket];
	return address == own[0] || address == own[1] || address == own[2] || address == own[3];
}

/*
 * Unicast reverse path forwarding. 0 when a route leads back to the source as the port asks; `hop` is what its longest
 * match leads to. A source that is to be dropped (blackhole) or answered has none; one with several next hops passes on
 * every port.
 */
static __always_inline int is_astray_by(struct generation *gen, struct next_hop *hop, __u32 ingress)
{
	if (hop->kind == NO_ROUTE || hop->kind > GROUP)
		return 1;
	if (!(gen->devices[ingress & (MAX_DEVICES - 1)].flags & DEVICE_URPF_STRICT))
		return 0;
	return hop->kind != GROUP && ((hop->kind != LOCAL && hop->kind != PUNT) || hop->device != ingress);
}

__noinline int is_astray(__u32 place, __u32 ingress, __u32 source)
{
	struct generation *gen = generation_at(place);

	return is_astray_by(gen, &gen->next_hops[fib_find(gen, place, source) & (MAX_NEXT_HOPS - 1)], ingress);
}

/* Whether the cable's far end sent this: who sent the first fabric frame since the cable was up is the neighbour. */
static __always_inline int is_neighbor(__u32 ingress, const __u64 *mac)
{
	__u64 source = mac[0] >> 48 | (__u64)*(const __u32 *)(mac + 1) << 16;
	__u64 *peer = &control.peers[ingress & (MAX_DEVICES - 1)], known = *peer;

	if (likely(source == known))
		return 1;
	if (known)
		return 0;
	if ((mac[0] & 0xffff) == FABRIC_MAC)
		*peer = source;
	return 1;
}

#endif
