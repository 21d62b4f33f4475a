a, b :: Idle; c, d, e :: Idle;
a, b -> c, d;
a, b => c, d, e;
a [], b [] => c, d;
