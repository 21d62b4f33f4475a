s :: InfiniteSource -> t :: Tee;
t [1] -> [0] d :: Discard;
t[0] -> Discard
