[0] InfiniteSource -> Discard [0];
InfiniteSource ->
