a, b :: Idle(3, 4);
