FromDevice(eth0) -> Null -> n :: CheckIPHeader -> Strip(14) -> ToDevice(eth1);
i :: InfiniteSource; i -> p :: Null -> ToDPDKDevice(0); q :: Queue -> p; Idle -> q;
