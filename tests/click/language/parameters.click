elementclass E { $n, SIZE $s | input -> Strip($n) -> Unstrip($s) -> output }
InfiniteSource -> e :: E(14, SIZE 20) -> Discard
