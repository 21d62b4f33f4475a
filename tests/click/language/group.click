InfiniteSource -> (-> Null -> ) -> Discard
