// SPDX-License-Identifier: GPL-2.0
/*
 * The router: IPv4 and IPv6 forwarding with Direct VLB and flowlets over a cluster of servers (RouteBricks).
 *
 * `external` runs on external ports and does the only header look-up: it writes output port and
 * adjacency into the destination MAC, 02:52:PP:PP:AA:AA. `internal` runs on the links between
 * servers and forwards by that address alone. A frame given to the kernel is XDP_PASSed unchanged,
 * but for its destination MAC where it came over the fabric.
 */
#include "check.h"
#include "clock.h"
#include "fib.h"
#include "guard.h"
#include "liveness.h"
#include "unreachable.h"
#include "relay.h"
#include "sample.h"
#include "vlb.h"

#define MAX_REBUILD_CPUS 64
#define NO_WAY (-1) /* in place of a verdict: nothing leads to the output server */

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 2 * MAX_DEVICES); /* those of generation 0, then those of generation 1 */
} devices SEC(".maps");

/* The way into this server's kernel by a new skb, on the same CPU: for devices that keep the packet type. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, MAX_REBUILD_CPUS);
} rebuild SEC(".maps");

/* What the steps on a frame's way need. */
struct frame {
	struct generation *gen;
	struct core *core;
	__u64 *mac; /* destination, the first 8 bytes */
	__u32 place; /* generation and CPU, for rotate() */
	__u32 size;
	__u32 tick;
	__u32 ingress; /* device */
};

/* Counts the frame in, or as one too many. `reason` may be a whole verdict. */
static __always_inline int admit(struct frame *frame, __u32 reason, __u32 class)
{
	__u32 number;

	reason &= PUNT_COUNT - 1;
	number = (frame->ingress * PUNT_COUNT + reason) * PUNT_CLASSES + class;
	if (may_pass(frame->place, number, frame->tick)) {
		frame->core->punted[reason]++;
		return 1;
	}
	frame->core->policed[reason]++;
	return 0;
}

static __always_inline int give_to_kernel(struct frame *frame, __u32 reason)
{
	return admit(frame, reason, sender_class(frame->mac)) ? XDP_PASS : XDP_DROP;
}

/* The kernel is the packet's host, or must find its neighbour. */
static __always_inline int give_local(struct frame *frame, struct ip_header *ip, void *end)
{
	if (!is_own(frame->gen, bpf_ntohl(ip->destination)))
		return give_to_kernel(frame, PUNT_UNRESOLVED);
	return admit(frame, local_reason(frame->gen, ip, end), local_class(ip, end)) ? XDP_PASS : XDP_DROP;
}

static __always_inline int discard(struct frame *frame, __u32 reason)
{
	reason &= REASON_MASK;
	if (reason < DROP_COUNT)
		frame->core->dropped[reason]++;
	return XDP_DROP;
}

static __always_inline int conclude(struct frame *frame, int verdict)
{
	return verdict & 0x200 ? give_to_kernel(frame, verdict) : discard(frame, verdict);
}

/* Writes both addresses and puts the frame into the device's bulk queue. */
static __always_inline int send_from(struct frame *frame, __u32 number, __u64 mac, __u64 source)
{
	struct port_traffic *traffic = &frame->core->ports[number & (MAX_DEVICES - 1)];
	__u32 key = (number & (MAX_DEVICES - 1)) | (frame->place & 1) * MAX_DEVICES;

	frame->mac[0] = mac | source << 48;
	*(__u32 *)(frame->mac + 1) = source >> 16;
	if (unlikely(bpf_redirect_map(&devices, key, 0) != XDP_REDIRECT))
		return discard(frame, DROP_NO_DEVICE);
	traffic->sent.packets++;
	traffic->sent.bytes += frame->size;
	return XDP_REDIRECT;
}

static __always_inline int send_to(struct frame *frame, __u32 number, __u64 mac)
{
	return send_from(frame, number, mac, frame->gen->devices[number & (MAX_DEVICES - 1)].mac);
}

/* A frame from the fabric to this server's kernel, which takes frames for the device's own MAC only. */
static __always_inline int deliver(struct frame *frame, __u32 reason, __u32 class)
{
	struct device *device = &frame->gen->devices[frame->ingress & (MAX_DEVICES - 1)];

	if (!admit(frame, reason, class))
		return XDP_DROP;
	frame->mac[0] = (frame->mac[0] & ~MAC_MASK) | device->mac;
	return device->flags & DEVICE_KEEPS_PACKET_TYPE ? bpf_redirect_map(&rebuild, frame->place >> 1, XDP_PASS) : XDP_PASS;
}

/* From the fabric, and not to a neighbour: the only place behind the input server that looks at the IP header. */
static __always_inline int deliver_local(struct frame *frame, void *end)
{
	struct ip_header *ip = (void *)frame->mac + ETH_HLEN;

	if ((void *)(ip + 1) > end)
		return discard(frame, DROP_SHORT);
	if (!is_own(frame->gen, bpf_ntohl(ip->destination)))
		return deliver(frame, PUNT_UNRESOLVED, sender_class(frame->mac));
	return deliver(frame, local_reason(frame->gen, ip, end), local_class(ip, end));
}

/* Phase 1, or the only one: by the path that Direct VLB chooses. */
static __always_inline int send_over_fabric(struct frame *frame, struct next_hop *hop, __u64 hash)
{
	__u32 dest = hop->server, chosen, via, link;
	struct traffic *path;

	chosen = choose_path(frame->gen, frame->core, frame->place, dest, frame->tick, frame->size, hash);
	if (unlikely(chosen == NO_VIA))
		return NO_WAY;
	via = chosen & 0xffff;
	link = chosen >> 16;
	charge(frame->gen, frame->core, link, via, dest, frame->size);
	path = path_of(frame->core, dest, via);
	path->packets++;
	path->bytes += frame->size;
	if (unlikely(frame->gen->devices[link & (MAX_DEVICES - 1)].flags & DEVICE_RELAYS))
		return send_from(frame, link, hop->mac, relay_source(via == dest ? NO_VIA : via, frame->gen->self));
	return send_to(frame, link, hop->mac);
}

/* One of several next hops, the same for all packets of a flow; other routers that hash alike choose otherwise. */
static __always_inline struct next_hop *member_of(struct frame *frame, struct next_hop *group, __u64 hash)
{
	__u32 bucket = ((hash ^ frame->gen->devices[0].mac) * 0x9E3779B97F4A7C15ULL) >> 56;
	__u32 number = find_member(frame->place, group->mac, bucket);

	return &frame->gen->next_hops[number & (MAX_NEXT_HOPS - 1)];
}

static __always_inline int route(struct frame *frame, struct ip_header *ip, void *end)
{
	__u32 number = fib_find(frame->gen, frame->place, bpf_ntohl(ip->destination));
	struct next_hop *hop = &frame->gen->next_hops[number & (MAX_NEXT_HOPS - 1)];
	__u32 kind = hop->kind;
	__u64 hash;

	if (unlikely(kind >= GROUP)) {
		if (kind == BLACKHOLE)
			return discard(frame, DROP_BLACKHOLE);
		if (kind > BLACKHOLE)
			return give_to_kernel(frame, kind == TUNNEL ? PUNT_IPSEC : PUNT_NO_ROUTE);
		hop = member_of(frame, hop, flow_hash(ip, end));
		kind = hop->kind;
	}
	if (unlikely(kind == NO_ROUTE))
		return give_to_kernel(frame, PUNT_NO_ROUTE);
	if (unlikely(kind == PUNT))
		return give_local(frame, ip, end);
	if (kind != PUNT_REMOTE) {
		if (unlikely(ip->ttl <= 1))
			return give_to_kernel(frame, PUNT_TTL);
	}
	if (kind == LOCAL) {
		if (unlikely(frame->size > frame->gen->devices[hop->device & (MAX_DEVICES - 1)].max_frame))
			return give_to_kernel(frame, PUNT_TOO_BIG);
		if (unlikely(!hop->mac))
			return give_to_kernel(frame, PUNT_UNRESOLVED);
		decrement_ttl(ip);
		frame->core->forwarded[FWD_LOCAL]++;
		return send_to(frame, hop->device, hop->mac);
	}
	hash = flow_hash(ip, end);
	if (kind != PUNT_REMOTE)
		decrement_ttl(ip);
	return send_over_fabric(frame, hop, hash);
}

/* Where the state of `place` is, and what the frame is; returns the device it came in by. */
static __always_inline struct ingress *look(struct frame *frame, struct xdp_md *ctx, __u32 place)
{
	struct ingress *ingress;

	frame->gen = generation_at(place);
	frame->core = core_at(place >> 1);
	frame->place = place;
	frame->size = packet_end(ctx) - packet(ctx);
	opaque(frame->size); /* a number, and not half a pointer, where it is kept on the stack */
	frame->tick = control.tick;
	frame->mac = packet(ctx);
	ingress = &frame->gen->ingress[ctx->ingress_ifindex & (MAX_INGRESS - 1)];
	frame->ingress = ingress->device;
	return ingress;
}

/* Finds state and counts the frame in; 0 for a device that is not configured. */
static __always_inline int begin(struct frame *frame, struct xdp_md *ctx)
{
	struct ingress *ingress = look(frame, ctx, bpf_get_smp_processor_id() << 1 | (control.active & 1));
	__u32 ifindex = ctx->ingress_ifindex;
	struct port_traffic *traffic;

	traffic = &frame->core->ports[frame->ingress & (MAX_DEVICES - 1)];
	traffic->received.packets++;
	traffic->received.bytes += frame->size;
	if (unlikely(frame->core->tick != frame->tick)) {
		refill_all(frame->place, frame->tick);
		renew_sampling(frame->core);
	}
	return ingress->ifindex == ifindex;
}

/*
 * The answer that the frame has become leaves where the frame came in. Not by XDP_TX: veth leaves that lying until
 * another frame follows, where the other end has no program.
 */
static __always_inline int send_back(struct frame *frame, __u32 device, __u32 length)
{
	struct port_traffic *traffic = &frame->core->ports[device & (MAX_DEVICES - 1)];
	__u32 key = (device & (MAX_DEVICES - 1)) | (frame->place & 1) * MAX_DEVICES;

	if (unlikely(bpf_redirect_map(&devices, key, 0) != XDP_REDIRECT))
		return discard(frame, DROP_NO_DEVICE);
	discard(frame, DROP_UNREACHABLE);
	traffic->sent.packets++;
	traffic->sent.bytes += length;
	return XDP_REDIRECT;
}

/* The sender is told, as often as the kernel would be asked for packets without a route. */
static __always_inline int refuse(struct xdp_md *ctx, struct frame *frame)
{
	__u32 device = frame->ingress & (MAX_DEVICES - 1), length;
	__u32 number = (device * PUNT_COUNT + PUNT_NO_ROUTE) * PUNT_CLASSES + sender_class(frame->mac);

	if (!may_pass(frame->place, number, frame->tick))
		return discard(frame, DROP_NO_PATH);
	length = make_unreachable(ctx, frame->gen->devices[device].mac, frame->gen->answer_from[device]);
	if (!length)
		return discard(frame, DROP_NO_PATH);
	return send_back(frame, device, length);
}

#include "forward6.h"

SEC("xdp")
int external(struct xdp_md *ctx)
{
	void *end = packet_end(ctx), *data = packet(ctx);
	struct ethhdr *eth = data;
	struct ip_header *ip = (void *)(eth + 1);
	struct device *device;
	struct frame frame;
	__u64 word, mac;
	int verdict;

	if (unlikely(!begin(&frame, ctx)))
		return discard(&frame, DROP_UNKNOWN_INGRESS);
	if (unlikely(!--frame.core->skip))
		take_sample(ctx, frame.place);
	if (unlikely((void *)(eth + 1) > end))
		return discard(&frame, DROP_SHORT);
	word = *(__u64 *)data;
	mac = word & MAC_MASK;
	if (unlikely(is_fabric(word >> 48)))
		return discard(&frame, DROP_FABRIC_MAC);
	device = &frame.gen->devices[frame.ingress & (MAX_DEVICES - 1)];
	if (unlikely(mac != device->mac && mac & 1 && eth->h_proto == bpf_htons(ETH_P_IPV6) && frame.gen->root6))
		return multicast6(ctx, frame.place);
	if (unlikely(mac != device->mac))
		return conclude(&frame, check_other_destination(mac, eth->h_proto));
	if (unlikely(eth->h_proto != bpf_htons(ETH_P_IP))) {
		if (eth->h_proto == bpf_htons(ETH_P_IPV6) && likely(frame.gen->root6))
			return external6(ctx, frame.place);
		return conclude(&frame, check_other_protocol(eth->h_proto));
	}
	if (unlikely((void *)(ip + 1) > end))
		return discard(&frame, DROP_SHORT);
	verdict = check_ip(ip, frame.size - ETH_HLEN);
	if (unlikely(verdict & DROP_FOR(0)))
		return discard(&frame, verdict);
	if (unlikely(is_own(frame.gen, bpf_ntohl(ip->source))))
		return discard(&frame, DROP_OWN_SOURCE);
	if (unlikely(device->flags & (DEVICE_URPF_LOOSE | DEVICE_URPF_STRICT))) {
		if (is_astray(frame.place, frame.ingress, bpf_ntohl(ip->source)))
			return discard(&frame, DROP_REVERSE_PATH);
	}
	if (unlikely(verdict != FORWARD))
		return give_to_kernel(&frame, verdict);
	verdict = route(&frame, ip, end);
	return likely(verdict != NO_WAY) ? verdict : refuse(ctx, &frame);
}

/* The output port is on this server: to its neighbour, or to this server's kernel. */
static __always_inline int leave(struct xdp_md *ctx, struct frame *frame, struct port *port, __u32 adjacency, void *end)
{
	__u32 number = port->device & (MAX_DEVICES - 1);
	__u64 mac;

	if (!adjacency) {
		if (((struct ethhdr *)frame->mac)->h_proto == bpf_htons(ETH_P_IPV6))
			return deliver_local6(ctx, frame->place);
		return deliver_local(frame, end);
	}
	if (unlikely(adjacency > port->count)) {
		if (adjacency == TUNNEL_ADJACENCY && frame->gen->punt_rate[PUNT_IPSEC])
			return deliver(frame, PUNT_IPSEC, sender_class(frame->mac));
		return discard(frame, DROP_NO_ADJACENCY);
	}
	mac = frame->gen->adjacencies[(port->first + adjacency - 1) & (MAX_ADJACENCIES - 1)];
	if (unlikely(!mac || frame->size > frame->gen->devices[number].max_frame))
		return deliver(frame, mac ? PUNT_TOO_BIG : PUNT_UNRESOLVED, sender_class(frame->mac));
	frame->core->forwarded[FWD_EGRESS]++;
	return send_to(frame, port->device, mac);
}

/* No packet of the fabric. Probes are not counted as received: they are nobody's packets. */
static __always_inline int receive_other(struct frame *frame, __u64 mac, void *end)
{
	struct port_traffic *traffic = &frame->core->ports[frame->ingress & (MAX_DEVICES - 1)];
	int verdict = answer_probe(frame->gen, frame->ingress, mac, frame->mac, end);

	if (verdict < 0)
		return give_to_kernel(frame, PUNT_NOT_FABRIC);
	traffic->received.packets--;
	traffic->received.bytes -= frame->size;
	return verdict;
}

/* One of several cables, the same for all packets of a flow. */
static __always_inline __u32 cable_of_flow(struct frame *frame, __u32 first, void *end)
{
	struct ip_header *ip = (void *)frame->mac + ETH_HLEN;
	struct ip6_header *ip6 = (void *)ip;
	__u32 hash = 0;

	if (((struct ethhdr *)frame->mac)->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) <= end)
			hash = flow_hash6(ip6, end) >> 40;
	} else if ((void *)(ip + 1) <= end) {
		hash = flow_hash(ip, end) >> 40;
	}
	return hashed_cable(frame->place, first, hash);
}

SEC("xdp")
int internal(struct xdp_md *ctx)
{
	void *end = packet_end(ctx), *data = packet(ctx);
	struct frame frame;
	struct port *port;
	__u32 number, dest, link, relays;
	__u64 mac, source = 0;

	if (unlikely(!begin(&frame, ctx)))
		return discard(&frame, DROP_UNKNOWN_INGRESS);
	if (unlikely(data + ETH_HLEN > end))
		return discard(&frame, DROP_SHORT);
	mac = *(__u64 *)data & MAC_MASK;
	relays = frame.gen->devices[frame.ingress & (MAX_DEVICES - 1)].flags & DEVICE_RELAYS;
	if (unlikely(!(relays && is_relayed(data)) && !is_neighbor(frame.ingress, data)))
		return discard(&frame, DROP_UNKNOWN_NEIGHBOR);
	if (unlikely((mac & 0xffff) != FABRIC_MAC))
		return receive_other(&frame, mac, end);
	number = bpf_ntohs((__u16)(mac >> 16));
	opaque(number); /* Linux 6.1's verifier wants the mask behind the byte swap, clang in front of it */
	port = &frame.gen->ports[number & (MAX_PORTS - 1)];
	dest = port->server;
	if (dest == frame.gen->self)
		return leave(ctx, &frame, port, bpf_ntohs((__u16)(mac >> 32)), end);
	if (unlikely(dest >= MAX_SERVERS))
		return discard(&frame, DROP_NO_PORT);
	if (unlikely(relays))
		dest = relay_towards(frame.gen, data, dest, &source) & (MAX_SERVERS - 1);
	link = frame.gen->link[dest];
	if (unlikely(link == NOWHERE || !is_alive(dest, dest)))
		return discard(&frame, DROP_NO_PATH);
	if (unlikely(is_bundled(frame.gen, link)))
		link = cable_of_flow(&frame, link, end);
	charge_link(frame.gen, frame.core, link, frame.size);
	frame.core->forwarded[FWD_PHASE2]++;
	return unlikely(relays) ? send_from(&frame, link, mac, source) : send_to(&frame, link, mac);
}
