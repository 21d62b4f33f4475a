elementclass E { $a | Idle(one $a) || $a, $b | Idle(two $a $b) || input -> Discard }
x :: E(1);
y :: E(1, 2);
InfiniteSource -> z :: E
