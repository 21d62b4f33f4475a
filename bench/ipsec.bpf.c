// SPDX-License-Identifier: GPL-2.0
/* Sends frames of one header, and counts what arrives. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define HEAD 48 /* Ethernet, IPv4, UDP, in whole words */
#define CPUS 64

char _license[] SEC("license") = "GPL";

struct {
	__u64 head[HEAD / 8];
	struct {
		__u64 frames;
		__u64 pad[7];
	} received[CPUS];
} shared; /* with the benchmark */

/* Live frames come back as the last run left them: the header is written each time. */
SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 *word = data;
	int i;

	if (data + HEAD > end)
		return XDP_ABORTED;
	for (i = 0; i < HEAD / 8; i++)
		word[i] = shared.head[i];
	return XDP_TX;
}

SEC("xdp")
int count(struct xdp_md *ctx __attribute__((unused)))
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (cpu < CPUS)
		shared.received[cpu].frames++;
	return XDP_DROP;
}
