/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way of an IPv6 packet; the steps on it are those of IPv4 (router.bpf.c, which includes this). Functions that take
 * the context are verified by themselves: together with those of IPv4 they would be too much for the verifier at once.
 */
#ifndef RBOPS_FORWARD6_H
#define RBOPS_FORWARD6_H

#include "fib6.h"
#include "ip6.h"
#include "unreachable6.h"

/* As is_astray() of IPv4. */
__noinline int is_astray6(__u32 place, __u32 ingress, __u64 high, __u64 low)
{
	struct generation *gen = generation_at(place);

	return is_astray_by(gen, &gen->next_hops[fib6_find(place, high, low) & (MAX_NEXT_HOPS - 1)], ingress);
}

/* The kernel is the packet's host, or must find its neighbour. */
static __always_inline int give_local6(struct frame *frame, struct ip6_header *ip, void *end)
{
	if (!is_link_local(ip->destination[0]) && !is_own6(frame->gen, ip->destination))
		return give_to_kernel(frame, PUNT_UNRESOLVED);
	return admit(frame, PUNT_LOCAL_DELIVERY, local_class6(ip, end)) ? XDP_PASS : XDP_DROP;
}

/* As deliver_local() of IPv4: from the fabric, and not to a neighbour. */
__noinline int deliver_local6(struct xdp_md *ctx, __u32 place)
{
	struct frame looked, *frame = &looked;
	struct ip6_header *ip = packet(ctx) + ETH_HLEN;
	void *end = packet_end(ctx);

	look(frame, ctx, place);
	if ((void *)(ip + 1) > end)
		return discard(frame, DROP_SHORT);
	if (!is_own6(frame->gen, ip->destination))
		return deliver(frame, PUNT_UNRESOLVED, sender_class(frame->mac));
	return deliver(frame, PUNT_LOCAL_DELIVERY, local_class6(ip, end));
}

static __always_inline int route6(struct frame *frame, struct ip6_header *ip, void *end)
{
	__u64 high = bpf_be64_to_cpu(ip->destination[0]), low = bpf_be64_to_cpu(ip->destination[1]), hash;
	struct next_hop *hop = &frame->gen->next_hops[fib6_find(frame->place, high, low) & (MAX_NEXT_HOPS - 1)];
	__u32 kind = hop->kind;

	hash = flow_hash6(ip, end);
	if (unlikely(kind >= GROUP)) {
		if (kind == BLACKHOLE)
			return discard(frame, DROP_BLACKHOLE);
		if (kind == UNREACHABLE)
			return give_to_kernel(frame, PUNT_NO_ROUTE);
		hop = member_of(frame, hop, hash);
		kind = hop->kind;
	}
	if (unlikely(kind == NO_ROUTE))
		return give_to_kernel(frame, PUNT_NO_ROUTE);
	if (unlikely(kind == PUNT))
		return give_local6(frame, ip, end);
	/* RFC 4291, 2.5.6: what a link-local address sent stays on its link. */
	if (unlikely(is_link_local(ip->source[0])))
		return discard(frame, DROP_MARTIAN_SOURCE);
	if (kind != PUNT_REMOTE) {
		if (unlikely(ip->hop_limit <= 1))
			return give_to_kernel(frame, PUNT_TTL);
	}
	if (kind == LOCAL) {
		if (unlikely(frame->size > frame->gen->devices[hop->device & (MAX_DEVICES - 1)].max_frame))
			return give_to_kernel(frame, PUNT_TOO_BIG);
		if (unlikely(!hop->mac))
			return give_to_kernel(frame, PUNT_UNRESOLVED);
		ip->hop_limit--;
		frame->core->forwarded[FWD_LOCAL]++;
		return send_to(frame, hop->device, hop->mac);
	}
	if (kind != PUNT_REMOTE)
		ip->hop_limit--;
	return send_over_fabric(frame, hop, hash);
}

/* As refuse() of IPv4: the sender is told. */
__noinline int refuse6(struct xdp_md *ctx, __u32 place)
{
	struct frame looked, *frame = &looked;
	__u32 device, number, length;

	look(frame, ctx, place);
	if (packet(ctx) + ETH_HLEN > packet_end(ctx))
		return discard(frame, DROP_SHORT);
	device = frame->ingress & (MAX_DEVICES - 1);
	number = (device * PUNT_COUNT + PUNT_NO_ROUTE) * PUNT_CLASSES + sender_class(frame->mac);
	if (!may_pass(frame->place, number, frame->tick))
		return discard(frame, DROP_NO_PATH);
	length = make_unreachable6(ctx, frame->gen->devices[device].mac, frame->gen->answer_from6[device]);
	if (!length)
		return discard(frame, DROP_NO_PATH);
	return send_back(frame, device, length);
}

/* A frame for this router with EtherType IPv6. */
__noinline int external6(struct xdp_md *ctx, __u32 place)
{
	struct frame looked, *frame = &looked;
	struct ip6_header *ip = packet(ctx) + ETH_HLEN;
	struct device *device;
	void *end = packet_end(ctx);
	int verdict;

	look(frame, ctx, place);
	device = &frame->gen->devices[frame->ingress & (MAX_DEVICES - 1)];
	if (unlikely((void *)(ip + 1) > end))
		return discard(frame, DROP_SHORT);
	verdict = check_ip6(ip, end, frame->size - ETH_HLEN);
	if (unlikely(verdict & DROP_FOR(0)))
		return discard(frame, verdict);
	if (unlikely(is_own6(frame->gen, ip->source)))
		return discard(frame, DROP_OWN_SOURCE);
	if (unlikely(device->flags & (DEVICE_URPF_LOOSE | DEVICE_URPF_STRICT)) && verdict != PUNT_FOR(PUNT_NDP) &&
	    !is_link_local(ip->source[0])) {
		if (is_astray6(frame->place, frame->ingress, bpf_be64_to_cpu(ip->source[0]), bpf_be64_to_cpu(ip->source[1])))
			return discard(frame, DROP_REVERSE_PATH);
	}
	if (unlikely(verdict != FORWARD))
		return give_to_kernel(frame, verdict);
	if (unlikely(is_link_local(ip->destination[0])))
		return give_local6(frame, ip, end);
	verdict = route6(frame, ip, end);
	return likely(verdict != NO_WAY) ? verdict : refuse6(ctx, place);
}

/* A frame with EtherType IPv6 to a group's MAC. */
__noinline int multicast6(struct xdp_md *ctx, __u32 place)
{
	struct frame looked, *frame = &looked;
	struct ip6_header *ip = packet(ctx) + ETH_HLEN;
	void *end = packet_end(ctx);

	look(frame, ctx, place);
	if (packet(ctx) + ETH_HLEN > end)
		return discard(frame, DROP_SHORT);
	if ((void *)(ip + 1) <= end && is_discovery(ip, end))
		return give_to_kernel(frame, PUNT_NDP);
	return give_to_kernel(frame, PUNT_MULTICAST);
}

#endif
