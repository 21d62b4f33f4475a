a :: Idle;
a :: Queue;
a(5) -> Discard;
