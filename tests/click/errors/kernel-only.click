PollDevice(eth0) -> Discard; KernelTap(1.0.0.1/8) -> Discard;
