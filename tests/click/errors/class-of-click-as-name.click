Queue :: Idle;
a, Tee :: Idle;
Queue -> Tee -> a;
