InfiniteSource -> t :: Tee => a :: Discard, b :: Discard
