"""What a server and the whole router can carry: bottleneck, batching, latency, scaling."""
