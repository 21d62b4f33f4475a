/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The shapes in memory that the programs share with layout.py, which writes and reads them.
 *
 * Three memories, reached by address and not by look-up:
 *   arena    two generations of everything that is configured, forwarding table included; the
 *            loader fills the idle one, then `control.active` makes all ports use it at once
 *   cores    what packets change: one block per CPU, so that no core writes what another reads
 *   control  the clock, which generation is active, which links are dead, what probes found
 */
#ifndef RBOPS_LAYOUT_H
#define RBOPS_LAYOUT_H

#include <linux/types.h>

#define MAX_SERVERS 256
#define MAX_DEVICES 256
#define MAX_INGRESS 1024
#define MAX_PORTS 4096
#define MAX_ADJACENCIES 8192
#define MAX_NEXT_HOPS 16384
#define OWN_BUCKETS 8192 /* most, of OWN_BUCKET addresses each */
#define OWN_BUCKET 4
#define OWN6_MIX 0x9E3779B97F4A7C15ULL
#define PUNT_CLASSES 8 /* buckets of a port and reason */
#define CUT_WORDS (MAX_SERVERS / 32)
#define MAX_BUNDLE 16 /* cables between two servers */

/*
 * A token bucket's constants. Buckets count the bytes that are missing to full, so that zeroed memory
 * is a full bucket; what the model calls tokens is depth - used.
 */
struct rate {
	__u32 refill; /* bytes per tick */
	__s32 depth; /* bytes it holds */
	__s32 slack; /* with no more than these missing it has headroom; -1: it never has */
	__u32 sibling; /* of a device: the next cable to the same server, in a ring; itself where there is one only */
};

/* A network device by its number, which is its index in the device map too. */
struct device {
	__u64 mac; /* as the first 8 bytes of a frame are loaded, low 48 bits */
	__u32 max_frame; /* bytes with Ethernet header */
	__u32 flags;
	struct rate rate; /* internal links only */
};

/*
 * On veth a frame that another kernel sent arrives as an skb whose packet type was set from the
 * destination MAC before XDP ran, and stays PACKET_OTHERHOST when XDP rewrites the MAC: IP drops it.
 */
#define DEVICE_KEEPS_PACKET_TYPE 1
/* External ports (RFC 3704): a source must have a route (loose), or one that leaves by this device (strict). */
#define DEVICE_URPF_LOOSE 2
#define DEVICE_URPF_STRICT 4
/* Internal ports: servers are more than one cable apart, and a frame's source says where it is on its way (relay.h). */
#define DEVICE_RELAYS 8

/* Which device a frame came from, by the low bits of its interface index. */
struct ingress {
	__u32 ifindex; /* 0: none */
	__u32 device;
};

/* An external port of the cluster. */
struct port {
	__u16 server; /* NOWHERE: no such port */
	__u16 device; /* on this server */
	__u16 first; /* its adjacency 1 in `adjacencies` */
	__u16 count; /* adjacencies, numbered from 1 */
};

#define NOWHERE 0xffff

#define TUNNEL_ADJACENCY 0xffff /* no neighbour: the kernel of the port's server encrypts */

/* From GROUP on: what is not a next hop, but several (multipath), an answer, or a tunnel, whose packets the kernel encrypts. */
enum next_hop_kind { NO_ROUTE, LOCAL, REMOTE, PUNT, PUNT_REMOTE, GROUP, BLACKHOLE, UNREACHABLE, TUNNEL };

#define GROUP_BUCKETS 256

/* A next hop of the forwarding table, resolved for this server. What changes later is `mac`, by one write. */
struct next_hop {
	__u64 mac; /* the frame's destination: the neighbour's, or 02:52:PP:PP:AA:AA; GROUP: where its buckets are */
	__u16 kind;
	__u16 server; /* owner of the port */
	__u16 device; /* LOCAL, PUNT */
	__u16 pad;
};

/* Numbers count occurrences; layout.py knows the names, in this order. */
enum forwarded { FWD_LOCAL, FWD_PHASE2, FWD_EGRESS, FWD_KINDS, FWD_COUNT = 8 };

enum punted {
	PUNT_LOCAL_DELIVERY,
	PUNT_ARP,
	PUNT_IPV6,
	PUNT_VLAN,
	PUNT_OTHER_PROTOCOL,
	PUNT_BROADCAST,
	PUNT_MULTICAST,
	PUNT_OPTIONS,
	PUNT_TTL,
	PUNT_NO_ROUTE,
	PUNT_TOO_BIG,
	PUNT_UNRESOLVED,
	PUNT_NOT_FABRIC,
	PUNT_NDP,
	PUNT_IPSEC,
	PUNT_REASONS,
	PUNT_COUNT = 32,
};

enum dropped {
	DROP_OTHER_HOST,
	DROP_SHORT,
	DROP_VERSION,
	DROP_HEADER_LENGTH,
	DROP_TOTAL_LENGTH,
	DROP_CHECKSUM,
	DROP_MARTIAN_SOURCE,
	DROP_MARTIAN_DESTINATION,
	DROP_NO_PATH,
	DROP_NO_PORT,
	DROP_NO_ADJACENCY,
	DROP_NO_DEVICE,
	DROP_UNKNOWN_INGRESS,
	DROP_OWN_SOURCE,
	DROP_REVERSE_PATH,
	DROP_FABRIC_MAC,
	DROP_UNKNOWN_NEIGHBOR,
	DROP_BLACKHOLE,
	DROP_UNREACHABLE,
	DROP_REASONS,
	DROP_COUNT = 32,
};

_Static_assert(FWD_KINDS <= FWD_COUNT && PUNT_REASONS <= PUNT_COUNT && DROP_REASONS <= DROP_COUNT, "room to count");

struct generation {
	__u32 magic;
	__u32 self; /* this server's number */
	__u32 direct_quota; /* 1: direct-vlb, 0: vlb */
	__u32 slots; /* of `rotation` */
	__u32 flowlet_ticks; /* 0: off */
	__u32 hop_shift; /* bytes per next hop in the table: 1 << hop_shift */
	__u32 hop_mask;
	__u32 serial;
	struct rate direct; /* per destination server */
	__u8 fib_sha256[32];
	__u8 config_sha256[32];
	__u32 buckets; /* devices or servers, whichever are more */
	__u32 own_factor; /* an address' bucket in `own`: the upper bits of its product with this, */
	__u32 own_shift; /* shifted right by this */
	__u32 root6; /* where the table's body has its IPv6 part (table6.py); 0: the router has no IPv6 */
	__u32 punt_rate[PUNT_COUNT]; /* packets a second of each bucket */
	__be32 answer_from[MAX_DEVICES]; /* source of ICMP errors about what came in there; 0: none are sent */
	struct device devices[MAX_DEVICES];
	struct ingress ingress[MAX_INGRESS];
	__u16 link[MAX_SERVERS]; /* device towards a server; NOWHERE: none */
	__u16 rotation[MAX_SERVERS]; /* servers; in vlb with this one behind them */
	struct port ports[MAX_PORTS];
	__u64 adjacencies[MAX_ADJACENCIES]; /* neighbour's MAC; 0: the kernel resolves it */
	struct next_hop next_hops[MAX_NEXT_HOPS];
	__u32 own[OWN_BUCKETS][OWN_BUCKET]; /* the router's own addresses in host byte order; 0: none */
	__u32 own6_factor; /* as own_factor and own_shift, of the upper half of (first ^ second * MIX) * MIX */
	__u32 own6_shift;
	__u32 cores; /* that share the direct quota, each with `direct` when none needs more */
	__s32 least_depth; /* of a bucket that is refilled at all: two frames */
	__u32 pad[12];
	__u64 own6[OWN_BUCKETS][OWN_BUCKET][2]; /* IPv6 addresses as loaded from a packet; 0: none */
	__u64 answer_from6[MAX_DEVICES][2]; /* as answer_from, of ICMPv6; as loaded from a packet */
	/* the table's body follows: direct table and chunks (fib.py) */
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct port_traffic {
	struct traffic received;
	struct traffic sent;
};

/*
 * A core's token bucket of a link, or of the direct quota towards a server. Its rate is `device.rate` or
 * `generation.direct`, an equal share of what there is, and what shares.h gave it besides or took away: all zero is a
 * full bucket of an equal share.
 */
struct bucket {
	__s32 used;
	__u32 position; /* of a server: in the rotation towards it */
	__u32 offered; /* bytes for that link or, whatever way they took, for that server; wraps */
	__s32 refill; /* these three: beyond an equal share, written by the clock */
	__s32 depth;
	__s32 slack;
	__u32 seen; /* the clock's own: what was offered when it looked last, */
	__u32 peak; /* and the most a tick since then, fading */
};

/*
 * What may go to the kernel: a token bucket, in thousandths of a packet, that counts what is missing to full.
 * It is refilled when it is used.
 */
struct punt_bucket {
	__u32 tick;
	__u32 used;
};

/* Frames of a device that sFlow's sampling has chosen: those that were written down, and those without room. */
struct sampled {
	__u64 taken;
	__u64 lost;
};

#define SAMPLE_HEADER 128 /* a power of two */

/* What the ring of samples holds. */
struct sample {
	__u32 device;
	__u32 size; /* of the frame, without FCS */
	__u32 captured; /* bytes of it in `header` */
	__u32 rate; /* 1 in so many, when it was taken */
	__u8 header[SAMPLE_HEADER];
};

/* A CPU's block; `paths` (servers * servers of struct traffic) and `flowlets` (u64 each) follow. */
struct core {
	__u64 forwarded[FWD_COUNT];
	__u64 punted[PUNT_COUNT];
	__u64 dropped[DROP_COUNT];
	__u64 policed[PUNT_COUNT]; /* not given to the kernel: more than the rate */
	__u32 tick; /* up to which the buckets are refilled */
	__u32 skip; /* external frames up to and with the next sample (sample.h); 0: none */
	__u32 drawn_for; /* the sampling rate of `skip` */
	__u32 pad[13];
	struct port_traffic ports[MAX_DEVICES];
	struct bucket links[MAX_DEVICES];
	struct bucket dests[MAX_SERVERS];
	struct punt_bucket punts[MAX_DEVICES][PUNT_COUNT][PUNT_CLASSES];
	struct sampled sampled[MAX_DEVICES];
};

/* The direct link towards a server. All zero: it is used. Each byte has one writer, so none overwrites another's. */
struct link {
	__u8 no_carrier; /* rbops-watch, by netlink */
	__u8 silent; /* rbops-watch, by probes */
	__u8 drained; /* an operator: no intermediate */
	__u8 partial; /* the program: that server has no link to some others, see `cut` */
};

/* An internal cable by its device. All zero: it is used. Of several to one server, those that are not are left out. */
struct cable {
	__u8 no_carrier; /* rbops-watch, by netlink */
	__u8 silent; /* rbops-watch, by probes */
};

/* What is known of the far end of an internal cable. The first half is the program's, the second rbops-watch's. */
struct probe {
	__u64 at; /* of the last answer, ns of the monotonic clock */
	__u64 round_trip; /* ns */
	__u32 sequence; /* of the last probe that was answered */
	__u32 serial; /* generation of the server that answered */
	__u32 answers;
	__u32 asked; /* the far end's probes, sent back */
	__u32 sent;
	__u32 missed;
	__u32 transitions; /* dead or alive again */
	__u32 state; /* 0: never answered, 1: alive, 2: dead */
};

/* What a neighbour's last probe said of any server (rbops/node/reach.py). */
struct said {
	__u32 number; /* of the statement; 0: nothing was said yet */
	__u16 server;
	__u16 pad;
	__u32 cut[CUT_WORDS]; /* servers that it cannot reach, a bit each */
};

/* The first bytes of the programs' .bss. */
struct control {
	__u32 tick; /* ms, advanced by a timer and alone in its cache line */
	__u32 pad[15];
	__u32 active; /* generation, 0 or 1 */
	__u32 magic;
	__u8 object_sha256[32];
	struct link links[MAX_SERVERS]; /* by server */
	__u32 layout[6]; /* what the loader must find equal to use the maps again */
	__u64 peers[MAX_DEVICES]; /* MAC of an internal cable's far end, as its first fabric frame said; 0: none came yet */
	struct probe probes[MAX_DEVICES];
	__u32 cut[MAX_SERVERS][CUT_WORDS]; /* by server: those that it has no link to, a bit each */
	struct cable cables[MAX_DEVICES]; /* by device */
	struct said said[MAX_DEVICES]; /* by device */
	__u32 sampling; /* one external frame in so many is sampled; 0: none. Written by rbops-sflow */
};

#endif
