Queue -> Discard;
s :: InfiniteSource -> c :: Classifier(12/0800) -> Discard; c [2] -> Discard;
d :: Discard -> Discard; InfiniteSource -> d; InfiniteSource -> [1] d;
FromDevice(eth0) -> Tee;
