elementclass E { -> Null -> }
InfiniteSource -> E -> Discard
