12 :: Idle; a/3 :: Idle;
