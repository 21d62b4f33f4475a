InfiniteSource -> -> Discard;
a :: ;
provide(x);
} ) ||
x y z
