InfiniteSource -> t :: Tee;
t [] => a :: Discard, b :: Discard, c :: Discard
