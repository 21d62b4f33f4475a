a :: InfiniteSource -> Discard
