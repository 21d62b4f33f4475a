a :: Idle(1,
  2
