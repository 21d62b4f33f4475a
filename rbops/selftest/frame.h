/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The self-test's frame, as generator and sink see it; rbops/selftest/wire.py is its Python side.
 *
 *   IPv4  IPv6
 *   0     0   Ethernet header          14 bytes
 *  14    14   IPv4 header without options 20, IPv6 header 40
 *  34    54   UDP header                8    checksum 0: none (RFC 768, RFC 6936)
 *  42    62   struct ident             18    so that it fits the smallest frame (64 bytes with FCS, IPv6: 84)
 *  60    80   body                     ..    a sequence of 64-bit words that depends on all of ident
 *
 * All frames of an epoch are of one family, and of one length or of many: the digest says which length a frame has.
 *
 * Numbers in ident are little-endian. Every byte of the frame is known to the sink: headers from a
 * table by (source, flow), ident by its digest, the body by recomputing it.
 */
#ifndef RBOPS_SELFTEST_FRAME_H
#define RBOPS_SELFTEST_FRAME_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADER4_BYTES 42
#define HEADER6_BYTES 62
#define SMALLEST_FRAME 60
#define SMALLEST6_FRAME 80
#define LARGEST_FRAME 1514
#define BODY_WORDS ((LARGEST_FRAME - SMALLEST_FRAME) / 8)

#define GOLDEN 0x9e3779b97f4a7c15ULL

struct ident {
	__u32 magic;       /* run (upper 20 bits) and epoch of the run (lower 12) */
	__u16 source;      /* tester that sent it */
	__u16 destination; /* tester it is meant for */
	__u32 sequence;    /* within (source, destination, flow), from 0 */
	__u16 flow;
	__u32 digest;      /* keyed, over all of the above and the frame's length */
} __attribute__((packed));

_Static_assert(sizeof(struct ident) == 18, "ident must fit the smallest frame");

/*
 * The headers of one flow as they leave the generator, or as the sink expects them, without the UDP checksum at their
 * end, which is 0: so that those of IPv6 fit one cache line.
 */
struct headers {
	__u64 words[7]; /* of IPv4 five are used */
	__u32 last;
	__u16 destination; /* generator: ident.destination */
	__u16 flow;        /* generator: ident.flow */
};

_Static_assert(sizeof(struct headers) == 64, "one cache line");

/* Writes the length without FCS into headers that are right for another one, and into the IPv4 checksum (RFC 1624). */
static __always_inline void set_length(void *headers, __u32 length, __u32 family)
{
	__u16 *total = headers + 16, *check = headers + 24, now = bpf_htons(length - 14);
	__u32 sum;

	if (family == 6) {
		*(__u16 *)(headers + 18) = *(__u16 *)(headers + 58) = bpf_htons(length - 54);
		return;
	}
	sum = (__u16)~*check + (__u16)~*total + now;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*check = ~sum;
	*total = now;
	*(__u16 *)(headers + 38) = bpf_htons(length - 34);
}

/* Frames by length, where these differ: those that were written, or the first arrivals of packets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, LARGEST_FRAME + 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} lengths SEC(".maps");

static __always_inline void count_length(__u32 length)
{
	__u64 *count = bpf_map_lookup_elem(&lengths, &length);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* A 64-bit finaliser in the style of SplitMix64 over the two halves of ident and two key words. */
static __always_inline __u64 ident_digest(const struct ident *id, __u32 length, __u64 key0, __u64 key1)
{
	__u64 a = (__u64)id->magic | (__u64)id->source << 32 | (__u64)id->destination << 48;
	__u64 b = (__u64)id->sequence | (__u64)id->flow << 32 | (__u64)length << 48;

	a ^= key0;
	a *= 0xbf58476d1ce4e5b9ULL;
	a ^= a >> 32;
	a += b ^ key1;
	a *= 0x94d049bb133111ebULL;
	a ^= a >> 29;
	a *= 0xbf58476d1ce4e5b9ULL;
	return a ^ a >> 32;
}

/* Notes the time of one in 1 << shift of a flow's packets, the first `room` of them. */
static __always_inline void stamp(void *stamps, __u32 flow, __u32 sequence, __u32 shift, __u32 room)
{
	__u32 number = sequence >> (shift & 31), slot = flow * room + number;
	__u64 *at;

	if (number >= room || sequence & ((1U << (shift & 31)) - 1))
		return;
	at = bpf_map_lookup_elem(stamps, &slot);
	if (at)
		*at = bpf_ktime_get_ns();
}

#endif
