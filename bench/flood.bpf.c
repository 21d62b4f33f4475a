// SPDX-License-Identifier: GPL-2.0
/* Sends one frame over and over: written anew each time, since live frames come back as the last run left them. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define FRAME 64

char _license[] SEC("license") = "GPL";

const volatile __u64 frame[FRAME / 8];

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 *word = data;
	int i;

	if (data + FRAME > end)
		return XDP_ABORTED;
	for (i = 0; i < FRAME / 8; i++)
		word[i] = frame[i];
	return XDP_TX;
}
