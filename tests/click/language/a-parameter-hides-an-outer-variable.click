define($n 5)
elementclass E { $n | Idle($n) }
e :: E(7)
