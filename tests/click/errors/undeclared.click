q :: Queue;
InfiniteSource -> qq -> Discard;
InfiniteSource -> Quue(5) -> Discard;
