// SPDX-License-Identifier: GPL-2.0
/*
 * A reference router in one program for the self-test's own tests: TTL, checksum, MACs, redirect by
 * the third octet of the destination address. It can be told to go wrong, once in `every` packets.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum fault { NONE, DROP, DUPLICATE, CORRUPT, REORDER, MISDELIVER, WRONG_TTL, BAD_CHECKSUM, WRONG_MAC, MANGLE, HEADER };

struct route {
	__u32 ifindex;
	__u8 destination[6], source[6];
};

struct fault_config {
	__u32 kind;
	__u32 every;
	__u32 delay;    /* ifindex of the detour that reorders */
	__u32 wrong;    /* ifindex to misdeliver to */
	__u32 other;    /* what belongs there goes here instead; 0: it goes there */
	__u32 pad;
	__u64 packets;
	__u64 injected;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct route);
	__uint(max_entries, 256);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct fault_config);
	__uint(max_entries, 1);
} fault SEC(".maps");

/* Two entries a port, so that a broadcast sends two copies; by third octet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 256);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_DEVMAP);
		__uint(key_size, 4);
		__uint(value_size, 4);
		__uint(max_entries, 2);
	});
} twice SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 256);
} received SEC(".maps");

/* Byte 7 of an IPv6 address, the last of its /64, says the port. */
#define DESTINATION6 45
#define SOURCE6 29

static __always_inline int is_ipv6(void *data)
{
	return *(__u16 *)(data + 12) == bpf_htons(0x86dd) && *(__u8 *)(data + 20) == 17;
}

static __always_inline void decrease_ttl(void *ip, __u8 by)
{
	__u16 *check = ip + 10;
	__u32 sum = *check + bpf_htons(by << 8);

	*check = sum + (sum >> 16);
	*(__u8 *)(ip + 8) -= by;
}

SEC("xdp")
int route(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, octet, source, kind = NONE, six;
	struct fault_config *conf = bpf_map_lookup_elem(&fault, &zero);
	struct route *to;
	__u64 *count;

	if (!conf || data + 60 > end)
		return XDP_PASS;
	six = is_ipv6(data);
	if (six && data + 80 > end)
		return XDP_PASS;
	if (!six && (*(__u16 *)(data + 12) != bpf_htons(0x0800) || *(__u8 *)(data + 23) != 17))
		return XDP_PASS;
	octet = six ? *(__u8 *)(data + DESTINATION6) : *(__u8 *)(data + 32);
	source = six ? *(__u8 *)(data + SOURCE6) : *(__u8 *)(data + 28);
	to = bpf_map_lookup_elem(&routes, &octet);
	if (!to || !to->ifindex || (six ? *(__u8 *)(data + 21) : *(__u8 *)(data + 22)) <= 1)
		return XDP_PASS;
	count = bpf_map_lookup_elem(&received, &source);
	if (count)
		(*count)++;
	if (conf->every && __sync_fetch_and_add(&conf->packets, 1) % conf->every == conf->every - 1) {
		kind = conf->kind;
		__sync_fetch_and_add(&conf->injected, 1);
	}
	if (kind == DROP)
		return XDP_DROP;
	if (six)
		*(__u8 *)(data + 21) -= kind == WRONG_TTL ? 2 : 1;
	else
		decrease_ttl(data + 14, kind == WRONG_TTL ? 2 : 1);
	if (kind == BAD_CHECKSUM)
		*(__u8 *)(data + 24) ^= 0x10;
	if (kind == HEADER)
		*(__u8 *)(data + (six ? 17 : 35)) ^= 0x40; /* the flow label, the UDP source port */
	__builtin_memcpy(data, to->destination, 6);
	__builtin_memcpy(data + 6, to->source, 6);
	if (kind == WRONG_MAC)
		*(__u8 *)(data + 5) ^= 0x01;
	if (six && data + 92 <= end) {
		if (kind == MANGLE)
			*(__u8 *)(data + 71) ^= 0x80;
		if (kind == CORRUPT)
			*(__u8 *)(data + 91) ^= 0x01;
	} else if (data + 72 <= end) {
		if (kind == MANGLE)
			*(__u8 *)(data + 51) ^= 0x80;
		if (kind == CORRUPT)
			*(__u8 *)(data + 71) ^= 0x01;
	} else if (kind == MANGLE) {
		*(__u8 *)(data + 51) ^= 0x80;
	}
	if (kind == REORDER)
		return bpf_redirect(conf->delay, 0);
	if (kind == MISDELIVER)
		return bpf_redirect(conf->wrong == to->ifindex && conf->other ? conf->other : conf->wrong, 0);
	if (kind == DUPLICATE) {
		void *both = bpf_map_lookup_elem(&twice, &octet);

		if (both)
			return bpf_redirect_map(both, 0, BPF_F_BROADCAST);
	}
	return bpf_redirect(to->ifindex, 0);
}

/* The far end of the detour: straight to the port, one poll later than the packets behind it. */
SEC("xdp")
int rejoin(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct route *to;
	__u32 octet;

	if (data + 60 > end)
		return XDP_PASS;
	octet = is_ipv6(data) ? *(__u8 *)(data + DESTINATION6) : *(__u8 *)(data + 32);
	to = bpf_map_lookup_elem(&routes, &octet);
	return to && to->ifindex ? bpf_redirect(to->ifindex, 0) : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
