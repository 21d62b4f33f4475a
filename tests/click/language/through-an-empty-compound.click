elementclass W { input -> output }
InfiniteSource -> W -> W -> Discard
