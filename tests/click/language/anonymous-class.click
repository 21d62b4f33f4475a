InfiniteSource -> e :: { input -> Null -> output } -> Discard
