"""The servers' own kernels forward: plain routing over the same cables, no load balancing. A baseline."""
