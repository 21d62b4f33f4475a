InfiniteSource, InfiniteSource -> d :: Discard
