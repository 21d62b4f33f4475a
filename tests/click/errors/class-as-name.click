Queue :: Idle;
elementclass E { -> }
E :: Idle;
