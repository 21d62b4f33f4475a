InfiniteSource -> t :: Tee;
i :: Idle;
t [0, 1] => [1, 0] i
