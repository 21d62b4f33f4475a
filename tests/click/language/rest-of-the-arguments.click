elementclass E { $a, __REST__ $rest | Idle($a, $rest) }
E(1, 2, X 3)
