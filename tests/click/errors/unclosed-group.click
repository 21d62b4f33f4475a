InfiniteSource -> ( -> Null -> 
