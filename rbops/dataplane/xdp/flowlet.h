/* SPDX-License-Identifier: GPL-2.0 */
/* A flow's hash and its entry in the flowlet table; rbops/vlb/model.py is the reference of both. */
#ifndef RBOPS_FLOWLET_H
#define RBOPS_FLOWLET_H

#include "check.h"

static __always_inline int has_ports(__u8 protocol)
{
	/* TCP 6, UDP 17, DCCP 33, SCTP 132, UDP-Lite 136 */
	return protocol == 17 || protocol == 6 || protocol == 33 || protocol == 132 || protocol == 136;
}

/* Addresses, protocol and ports; without ports for fragments and for protocols that have none. */
static __always_inline __u64 flow_hash(const struct ip_header *ip, const void *end)
{
	const __u64 *addresses = (const void *)ip + 12;
	const __u32 *ports = (const void *)(ip + 1);
	__u64 value = *addresses * 0x9E3779B97F4A7C15ULL;
	__u64 rest = (__u64)ip->protocol << 32;

	if (!(ip->fragment & bpf_htons(MORE_FRAGMENTS_OR_OFFSET)) && has_ports(ip->protocol) &&
	    (const void *)(ports + 1) <= end)
		rest |= *ports;
	value ^= value >> 32;
	value = (value ^ rest) * 0xBF58476D1CE4E5B9ULL;
	value ^= value >> 29;
	value *= 0x94D049BB133111EBULL;
	return value ^ value >> 32;
}

/* An entry, 8 bytes: tag (0: empty) in the upper half, then the path's cable, its first server, last tick's low 16 bits. */
static __always_inline __u32 flowlet_tag(__u64 hash)
{
	return (__u32)(hash >> 32) | 1;
}

static __always_inline __u64 flowlet_entry(__u32 tag, __u32 via, __u32 cable, __u32 tick)
{
	return (__u64)tag << 32 | (cable & 0xff) << 24 | (via & 0xff) << 16 | (tick & 0xffff);
}

#endif
