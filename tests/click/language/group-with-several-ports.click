s :: InfiniteSource -> t :: Tee => ( input [0] -> Null -> [0] output;
input [1] -> [1] output ) => a :: Discard, b :: Discard
