/* SPDX-License-Identifier: GPL-2.0 */
/* What RFC 1812 asks of a received packet (4.2.2, 5.2.2, 5.3.7), before it may be forwarded. */
#ifndef RBOPS_CHECK_H
#define RBOPS_CHECK_H

#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include "state.h"

#define MAC_MASK 0xffffffffffffULL
#define FABRIC_MAC 0x5202 /* 02:52 as loaded from a frame */
#define IP_HEADER 20
#define MORE_FRAGMENTS_OR_OFFSET 0x3fff

/*
 * Where the frame begins and ends. Read by hand into whole registers: newer compilers (clang 19) keep the context's
 * 32-bit fields as such and spill them so, which the verifier refuses for pointers into packets.
 */
static __always_inline void *packet(struct xdp_md *ctx)
{
	void *at;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(at) : "r"(ctx), "i"(__builtin_offsetof(struct xdp_md, data)));
	return at;
}

static __always_inline void *packet_end(struct xdp_md *ctx)
{
	void *at;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(at) : "r"(ctx), "i"(__builtin_offsetof(struct xdp_md, data_end)));
	return at;
}

/* The IPv4 header without options, in the words in which it is read. */
struct ip_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
} __attribute__((packed));

/* A verdict of the checks: forward, drop with a reason, or give to the kernel with a reason. */
#define FORWARD 0
#define REASON_MASK 0xff
#define DROP_FOR(reason) (0x100 | (reason))
#define PUNT_FOR(reason) (0x200 | (reason))
_Static_assert(PUNT_COUNT <= REASON_MASK + 1 && DROP_COUNT <= REASON_MASK + 1, "a verdict holds every reason");

/* Are these first two bytes of a MAC, as they are loaded, those of 02:52 or 02:56, the fabric's own? */
static __always_inline int is_fabric(__u32 prefix)
{
	return (prefix & 0xfbff) == FABRIC_MAC;
}

/* A frame whose destination is not the device's own address: for the kernel if for everybody. */
static __always_inline int check_other_destination(__u64 mac, __be16 protocol)
{
	if (is_fabric(mac))
		return DROP_FOR(DROP_FABRIC_MAC);
	if (mac & 1 && protocol == bpf_htons(ETH_P_ARP))
		return PUNT_FOR(PUNT_ARP);
	if (mac == MAC_MASK)
		return PUNT_FOR(PUNT_BROADCAST);
	return mac & 1 ? PUNT_FOR(PUNT_MULTICAST) : DROP_FOR(DROP_OTHER_HOST);
}

static __always_inline int check_other_protocol(__be16 protocol)
{
	switch (bpf_ntohs(protocol)) {
	case ETH_P_ARP:
		return PUNT_FOR(PUNT_ARP);
	case ETH_P_IPV6:
		return PUNT_FOR(PUNT_IPV6);
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		return PUNT_FOR(PUNT_VLAN);
	default:
		return PUNT_FOR(PUNT_OTHER_PROTOCOL);
	}
}

/* 0/8, 127/8 and everything from 224/4 up are no sources. */
static __always_inline int is_martian(__u32 octet)
{
	return octet - 1 >= 223 || octet == 127;
}

static __always_inline int check_odd_destination(__u32 address)
{
	if (address == 0xffffffff)
		return PUNT_FOR(PUNT_BROADCAST);
	return address >> 28 == 14 ? PUNT_FOR(PUNT_MULTICAST) : DROP_FOR(DROP_MARTIAN_DESTINATION);
}

/* The header's length field says more or less than 5 words, or the version is not 4. */
static __always_inline int check_odd_version(const struct ip_header *ip, __u32 bytes)
{
	__u32 header = (ip->version_ihl & 15) * 4;

	if (ip->version_ihl >> 4 != 4)
		return DROP_FOR(DROP_VERSION);
	if (header < IP_HEADER || header > bytes)
		return DROP_FOR(DROP_HEADER_LENGTH);
	if (bpf_ntohs(ip->total_length) < header || bpf_ntohs(ip->total_length) > bytes)
		return DROP_FOR(DROP_TOTAL_LENGTH);
	if (is_martian(ip->source & 0xff))
		return DROP_FOR(DROP_MARTIAN_SOURCE);
	return PUNT_FOR(PUNT_OPTIONS);
}

/* Is the one's complement sum over the header all ones? */
static __always_inline int checksum_holds(const struct ip_header *ip)
{
	const __u32 *word = (const void *)ip;
	__u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

/* `bytes` are those behind the Ethernet header, at least IP_HEADER. */
static __always_inline int check_ip(const struct ip_header *ip, __u32 bytes)
{
	__u32 total = bpf_ntohs(ip->total_length);
	__u32 destination = bpf_ntohl(ip->destination);

	if (unlikely(ip->version_ihl != 0x45))
		return check_odd_version(ip, bytes);
	if (unlikely(total < IP_HEADER || total > bytes))
		return DROP_FOR(DROP_TOTAL_LENGTH);
	if (unlikely(!checksum_holds(ip)))
		return DROP_FOR(DROP_CHECKSUM);
	if (unlikely(is_martian(ip->source & 0xff)))
		return DROP_FOR(DROP_MARTIAN_SOURCE);
	if (unlikely(is_martian(destination >> 24)))
		return check_odd_destination(destination);
	return FORWARD;
}

/* RFC 1624: one less time to live is 0x0100 less in its word, so as much more in the checksum. */
static __always_inline void decrement_ttl(struct ip_header *ip)
{
	__u32 sum = ip->checksum + bpf_htons(0x0100);

	ip->checksum = sum + (sum >= 0xffff);
	ip->ttl--;
}

#endif
