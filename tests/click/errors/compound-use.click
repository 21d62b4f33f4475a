elementclass E { input -> output }
elementclass T { $a | input -> [0] output; Idle -> [1] output }
InfiniteSource -> E; e :: E -> Discard; InfiniteSource -> [1] e;
InfiniteSource -> t :: T(1, 2) -> Discard;
elementclass O { $a | input -> output || $a, $b | input -> output }
InfiniteSource -> O -> Discard;
