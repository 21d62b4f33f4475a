elementclass Idle2 Idle;
elementclass Idle2 { $a, $b | Idle(both $a $b) || ... }
x :: Idle2(1, 2);
y :: Idle2(1)
