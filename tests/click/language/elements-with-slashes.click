a/b :: Idle
