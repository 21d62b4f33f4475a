// SPDX-License-Identifier: GPL-2.0
/*
 * The sink: attached natively to the tester's device, checks every frame of the test that arrives.
 *
 * The fast path compares the headers with the flow's expected ones, the digest, the body, marks the
 * sequence number in a bitmap and follows the order within the flow. What differs is told apart on
 * the slow path. Frames that are not the test's go to the kernel.
 */
#include "frame.h"
#include <stdbool.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define PROTOCOL_UDP 17
#define RUN_MASK 0xfffff000U
#define TRIES 16
#define RECENT 64 /* arrivals of a flow that are remembered, a power of two */

/* Kept in step with rbops/selftest/wire.py. */
enum fault {
	DUPLICATE,
	LATE,        /* behind a later one of its flow */
	REORDERED,   /* reordered sequences: unbroken runs of late packets */
	MANGLED,     /* ident does not fit its digest: which packet it was is not known */
	CORRUPT,     /* the body, or the length, is not what was sent */
	HEADER,      /* a header field that no router may change */
	TTL,
	CHECKSUM,
	DESTINATION_MAC,
	SOURCE_MAC,
	FAULTS,
};

struct config {
	__u64 key0, key1;
	__u32 magic;
	__u32 length;  /* of every frame of this epoch, without FCS; 0: they differ */
	__u32 testers;
	__u32 flows;   /* per (source, destination) */
	__u32 words;   /* 64-bit words of bitmap per flow */
	__u16 self;
	__u16 udp_port; /* big-endian: the test's UDP destination port */
	__u32 shift;    /* as the generators' */
	__u32 room;
	__u32 family;  /* 6: IPv6, else IPv4 */
	__u32 pad;
};

struct totals {
	__u64 frames; /* of this epoch */
	__u64 stale;  /* of earlier epochs of this run */
	__u64 passed; /* not the test's */
};

struct tally {
	__u64 count[FAULTS + 6]; /* rounded up to two cache lines */
};

struct sample {
	__u64 taken;
	__u64 time; /* CLOCK_MONOTONIC in ns */
	__u32 length;
	__u32 pad;
	__u8 frame[LARGEST_FRAME + 6];
};

/* The last arrivals of a flow: arrival n at n % RECENT. */
struct history {
	__u32 arrivals;
	__u32 sequences[RECENT];
};

/* Of a source's late packets, how many have which extent (RFC 4737 4.2.2) and degree (5.3), RECENT - 1 or more the last. */
struct lateness {
	__u64 extents[RECENT];
	__u64 degrees[RECENT];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct config);
	__uint(max_entries, 1);
} config SEC(".maps");

/* When a packet came first, CLOCK_MONOTONIC in ns, by (source * flows + flow) * room + sequence >> shift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1); /* resized before load */
	__uint(map_flags, BPF_F_MMAPABLE);
} stamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct totals);
	__uint(max_entries, 1);
} totals SEC(".maps");

/* By source * flows + flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct headers);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} expected SEC(".maps");

/* By source * flows + flow: the sequence number after the highest seen << 1 | inside a run of late ones. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} order SEC(".maps");

/* By source * flows + flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct history);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} recent SEC(".maps");

/* By source. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct lateness);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} lateness SEC(".maps");

/* A bit per (source, flow, sequence). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} seen SEC(".maps");

/* By source. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct tally);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} tallies SEC(".maps");

/* Intact frames that were meant for another tester, by source * testers + destination. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} misdelivered SEC(".maps");

/* Sources by address (IPv4: the first word), for frames whose ident is not to be believed. */
struct address {
	__u32 words[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address);
	__type(value, __u32);
	__uint(max_entries, 4096);
} sources SEC(".maps");

/* The first frame of each kind of fault, as evidence. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct sample);
	__uint(max_entries, FAULTS + 1);
} samples SEC(".maps");

__noinline int take_sample(struct xdp_md *ctx, __u32 kind)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct sample *to = bpf_map_lookup_elem(&samples, &kind);
	__u32 length = end - data;

	if (!to || length > LARGEST_FRAME)
		return 0;
	/* clang 19 makes one comparison of both, behind which the verifier knows neither bound. */
	asm volatile("" : "+r"(length));
	if (length < SMALLEST_FRAME || __sync_fetch_and_or(&to->taken, 1))
		return 0;
	to->time = bpf_ktime_get_ns();
	to->length = length;
	bpf_xdp_load_bytes(ctx, 0, to->frame, length);
	return 1;
}

__noinline int count_fault(struct xdp_md *ctx, __u32 source, __u32 kind)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &source);

	if (tally && kind < FAULTS)
		__sync_fetch_and_add(&tally->count[kind], 1);
	return take_sample(ctx, kind);
}

static __always_inline bool checksum_holds(const __u16 *header)
{
	__u32 sum = 0;
	int i;

#pragma clang loop unroll(full)
	for (i = 0; i < 10; i++)
		sum += header[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static __always_inline bool bytes_differ(const __u8 *have, const __u8 *should, int from, int to)
{
	bool other = false;
	int i;

#pragma clang loop unroll(full)
	for (i = from; i < to; i++)
		other |= have[i] != should[i];
	return other;
}

/* Destination MAC 0-5, source MAC 6-11. */
static __always_inline void judge_macs(struct xdp_md *ctx, __u32 source, void *data, const __u8 *should)
{
	if (*(__u32 *)data != *(__u32 *)should || *(__u16 *)(data + 4) != *(__u16 *)(should + 4))
		count_fault(ctx, source, DESTINATION_MAC);
	if (*(__u16 *)(data + 6) != *(__u16 *)(should + 6) || *(__u32 *)(data + 8) != *(__u32 *)(should + 8))
		count_fault(ctx, source, SOURCE_MAC);
}

/* The expected headers of a flow, `mine` where lengths differ; 0 for none. */
static __always_inline const void *wanted(__u32 index, __u32 length, __u32 family, struct headers *mine)
{
	__u32 zero = 0;
	struct config *conf = bpf_map_lookup_elem(&config, &zero);
	struct headers *want = bpf_map_lookup_elem(&expected, &index);

	if (!conf || !want)
		return 0;
	if (conf->length)
		return want;
	*mine = *want;
	set_length(mine, length, family);
	return mine;
}

/* Names every way in which the headers differ from what is expected. */
__noinline int judge_headers(struct xdp_md *ctx, __u32 source, __u32 index)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct headers mine;
	const __u8 *should = wanted(index, ctx->data_end - ctx->data, 4, &mine);
	__u8 *have = data;

	if (!should || data + SMALLEST_FRAME > end)
		return 0;
	/* TTL 22, header checksum 24-25, UDP checksum 40-41. */
	judge_macs(ctx, source, data, should);
	if (have[22] != should[22])
		count_fault(ctx, source, TTL);
	if (!checksum_holds(data + 14))
		count_fault(ctx, source, CHECKSUM);
	if (bytes_differ(have, should, 12, 22) || have[23] != should[23] || bytes_differ(have, should, 26, 40) ||
	    *(__u16 *)(data + 40))
		count_fault(ctx, source, HEADER);
	return 0;
}

/* The same of IPv6, whose header has no checksum: hop limit 21, UDP checksum 60-61. */
__noinline int judge_headers6(struct xdp_md *ctx, __u32 source, __u32 index)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct headers mine;
	const __u8 *should = wanted(index, ctx->data_end - ctx->data, 6, &mine);
	__u8 *have = data;

	if (!should || data + SMALLEST6_FRAME > end)
		return 0;
	judge_macs(ctx, source, data, should);
	if (have[21] != should[21])
		count_fault(ctx, source, TTL);
	if (bytes_differ(have, should, 12, 21) || bytes_differ(have, should, 22, 60) || *(__u16 *)(data + 60))
		count_fault(ctx, source, HEADER);
	return 0;
}

/* Of the first 40 bytes: not 0 where one is not as expected. */
static __always_inline __u64 first_differ(const __u64 *have, const struct headers *want)
{
	return (have[0] ^ want->words[0]) | (have[1] ^ want->words[1]) | (have[2] ^ want->words[2]) |
	       (have[3] ^ want->words[3]) | (have[4] ^ want->words[4]);
}

static __always_inline bool headers_differ(void *data, const struct headers *want)
{
	return first_differ(data, want) | *(__u16 *)(data + 40);
}

static __always_inline bool headers6_differ(void *data, const struct headers *want)
{
	const __u64 *have = data;

	return (have[5] ^ want->words[5]) | (have[6] ^ want->words[6]) | (*(__u32 *)(data + 56) ^ want->last) |
	       first_differ(data, want) | *(__u16 *)(data + 60);
}

/* Where lengths differ: compares with the flow's headers for the frame's own length, and counts what is wrong. */
__noinline int judge_mixed(struct xdp_md *ctx, __u32 source, __u32 index, __u32 family)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct headers *want = bpf_map_lookup_elem(&expected, &index), mine;

	if (!want || data + SMALLEST_FRAME > end)
		return 0;
	mine = *want;
	set_length(&mine, end - data, family);
	if (family != 6)
		return headers_differ(data, &mine) ? judge_headers(ctx, source, index) : 0;
	if (data + SMALLEST6_FRAME > end)
		return 0;
	return headers6_differ(data, &mine) ? judge_headers6(ctx, source, index) : 0;
}

static __always_inline bool body_differs(void *at, void *end, __u64 word)
{
	__u64 wrong = 0;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < BODY_WORDS && at + 8 <= end; i++, at += 8) {
		word += GOLDEN;
		wrong |= *(__u64 *)at ^ word;
	}
	word += GOLDEN;
#pragma clang loop unroll(disable)
	for (i = 0; i < 7 && at + 1 <= end; i++, at++, word >>= 8)
		wrong |= (*(__u8 *)at ^ word) & 0xff;
	return wrong;
}

/* What `look_back` finds. */
struct search {
	__u32 index, arrival, sequence, extent, degree, unbroken;
};

/* Looks at the arrival that came `step` + 1 before. */
static long look_back(__u32 step, struct search *at)
{
	struct history *flow = bpf_map_lookup_elem(&recent, &at->index);

	if (!flow || step >= at->arrival)
		return 1;
	if (flow->sequences[(at->arrival - step - 1) & (RECENT - 1)] <= at->sequence) {
		at->unbroken = 0;
		return 0;
	}
	at->extent = step + 1;
	at->degree += at->unbroken;
	return 0;
}

/* How far a late packet came behind those that were to follow it (rbops/selftest/reordering.py is the reference). */
__noinline int judge_lateness(__u32 source, __u32 index, __u32 arrival, __u32 sequence)
{
	struct search at = {.index = index, .arrival = arrival, .sequence = sequence, .unbroken = 1};
	struct lateness *of = bpf_map_lookup_elem(&lateness, &source);

	if (!of)
		return 0;
	bpf_loop(RECENT - 1, look_back, &at, 0);
	__sync_fetch_and_add(&of->extents[at.extent & (RECENT - 1)], 1);
	__sync_fetch_and_add(&of->degrees[at.degree & (RECENT - 1)], 1);
	return 0;
}

/* Follows the order within a flow (rbops/selftest/reordering.py is the reference). */
__noinline int follow(struct xdp_md *ctx, __u32 source, __u32 index, __u32 sequence)
{
	__u64 *at = bpf_map_lookup_elem(&order, &index), was, next;
	struct history *flow = bpf_map_lookup_elem(&recent, &index);
	__u32 arrival;
	int i;

	if (!at || !flow)
		return 0;
	arrival = __sync_fetch_and_add(&flow->arrivals, 1);
	flow->sequences[arrival & (RECENT - 1)] = sequence;
	was = *(volatile __u64 *)at;
#pragma clang loop unroll(disable)
	for (i = 0; i < TRIES; i++) {
		__u64 found;

		next = sequence >= was >> 1 ? ((__u64)sequence + 1) << 1 : was | 1;
		if (next == was)
			break;
		found = __sync_val_compare_and_swap(at, was, next);
		if (found == was)
			break;
		was = found;
	}
	if (sequence >= was >> 1)
		return 0;
	count_fault(ctx, source, LATE);
	if (!(was & 1))
		count_fault(ctx, source, REORDERED);
	judge_lateness(source, index, arrival, sequence);
	return 0;
}

/* Which tester an address is of; 0 for none. */
static __always_inline __u32 *sender(void *data, void *end, __u32 family)
{
	struct address from = {};

	if (family != 6) {
		if (data + 30 > end)
			return 0;
		from.words[0] = *(__u32 *)(data + 26);
	} else {
		if (data + 38 > end)
			return 0;
		__builtin_memcpy(&from, data + 22, sizeof(from));
	}
	return bpf_map_lookup_elem(&sources, &from);
}

/* The run's magic, but a digest that does not fit: believe the addresses rather than ident. */
__noinline int judge_mangled(struct xdp_md *ctx, __u32 family)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 *source = sender(data, end, family);

	count_fault(ctx, source ? *source : 0, MANGLED);
	return XDP_DROP;
}

/* Whether it is a frame of this run, of whichever epoch, of the family that has so long headers. */
static __always_inline int of_the_run(struct xdp_md *ctx, const struct config *conf, const __u32 header)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ident *id = data + header;

	if ((void *)(id + 1) > end || (id->magic ^ conf->magic) & RUN_MASK)
		return 0;
	return id->digest == (__u32)ident_digest(id, ctx->data_end - ctx->data, conf->key0, conf->key1) ? 1 : -1;
}

/* Whether it looks like UDP of the test, whatever it carries. */
static __always_inline bool looks_ours(void *data, void *end, const struct config *conf)
{
	if (conf->family != 6)
		return data + SMALLEST_FRAME <= end && *(__u16 *)(data + 12) == bpf_htons(ETHERTYPE_IPV4) &&
		       *(__u8 *)(data + 23) == PROTOCOL_UDP && *(__u16 *)(data + 36) == conf->udp_port;
	return data + SMALLEST6_FRAME <= end && *(__u16 *)(data + 12) == bpf_htons(ETHERTYPE_IPV6) &&
	       *(__u8 *)(data + 20) == PROTOCOL_UDP && *(__u16 *)(data + 56) == conf->udp_port;
}

/* A frame without the epoch's magic: of an earlier epoch, broken, or none of ours. */
__noinline int judge_stranger(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, *source;
	struct config *conf = bpf_map_lookup_elem(&config, &zero);
	struct totals *total = bpf_map_lookup_elem(&totals, &zero);
	int four, six;

	if (!conf || !total)
		return XDP_PASS;
	four = of_the_run(ctx, conf, HEADER4_BYTES);
	six = of_the_run(ctx, conf, HEADER6_BYTES);
	if (four > 0 || six > 0) {
		total->stale++;
		return XDP_DROP;
	}
	if (four < 0 || six < 0)
		return judge_mangled(ctx, four < 0 ? 4 : 6);
	source = looks_ours(data, end, conf) ? sender(data, end, conf->family) : 0;
	if (!source) {
		total->passed++;
		return XDP_PASS;
	}
	count_fault(ctx, *source, MANGLED);
	return XDP_DROP;
}

static __always_inline int check_frame(struct xdp_md *ctx, const struct config *conf, struct totals *total,
				       const __u32 header)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 length = ctx->data_end - ctx->data, index, bit;
	const __u32 family = header == HEADER6_BYTES ? 6 : 4;
	struct ident *id = data + header;
	void *body = data + header + sizeof(*id);
	const __u32 should = conf->length ?: length;
	struct headers *want;
	__u64 digest, *word, mask, old;
	__u32 source, sequence;

	if (body > end || id->magic != conf->magic)
		return judge_stranger(ctx);
	total->frames++;
	source = id->source;
	sequence = id->sequence;
	digest = ident_digest(id, should, conf->key0, conf->key1);
	if (id->digest != (__u32)digest || source >= conf->testers || id->flow >= conf->flows)
		return judge_mangled(ctx, family);
	if (id->destination != conf->self) {
		index = source * conf->testers + id->destination;
		word = bpf_map_lookup_elem(&misdelivered, &index);
		if (word)
			__sync_fetch_and_add(word, 1);
		take_sample(ctx, FAULTS);
		return XDP_DROP;
	}
	index = source * conf->flows + id->flow;
	want = bpf_map_lookup_elem(&expected, &index);
	bit = index * conf->words + (sequence >> 6);
	word = bpf_map_lookup_elem(&seen, &bit);
	if (!want || !*(__u16 *)((void *)want + 12) || !word || sequence >> 6 >= conf->words)
		return judge_mangled(ctx, family);
	if (!conf->length) {
		judge_mixed(ctx, source, index, family);
	} else if (family == 6) {
		if (headers6_differ(data, want))
			judge_headers6(ctx, source, index);
	} else if (headers_differ(data, want)) {
		judge_headers(ctx, source, index);
	}
	if (length != should || (body < end && body_differs(body, end, digest)))
		count_fault(ctx, source, CORRUPT);
	mask = 1ULL << (sequence & 63);
	old = __sync_fetch_and_or(word, mask);
	if (old & mask) {
		count_fault(ctx, source, DUPLICATE);
		return XDP_DROP;
	}
	if (conf->room)
		stamp(&stamps, index, sequence, conf->shift, conf->room);
	if (!conf->length)
		count_length(length);
	follow(ctx, source, index, sequence);
	return XDP_DROP;
}

SEC("xdp")
int check(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct config *conf = bpf_map_lookup_elem(&config, &zero);
	struct totals *total = bpf_map_lookup_elem(&totals, &zero);

	/* No epoch: the magic is 0, as any frame's bytes there may be. */
	if (!conf || !total || !conf->magic)
		return XDP_PASS;
	return conf->family == 6 ? check_frame(ctx, conf, total, HEADER6_BYTES)
				 : check_frame(ctx, conf, total, HEADER4_BYTES);
}

char _license[] SEC("license") = "GPL";
