i :: Idle; d :: Idle;
i [x] -> d; i [5000] -> d; i [0 1] -> d; i [1
