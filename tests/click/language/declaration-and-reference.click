a :: InfiniteSource(LIMIT 5);
b :: Discard;
a -> b;
