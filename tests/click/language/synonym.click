elementclass D Discard;
s :: InfiniteSource -> d :: D
