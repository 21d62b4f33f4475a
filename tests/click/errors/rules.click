f0 :: FromDPDKDevice(0, QUEUE 0); f1 :: FromDPDKDevice(0, QUEUE 1); g1 :: FromDPDKDevice(0, QUEUE 1);
StaticThreadSched(f0 0, f1 1, g1 2, u 1);
elementclass Out { $q | input -> Strip(14) -> Unstrip(14) -> ToDPDKDevice(1, QUEUE $q) }
f0 -> c :: Counter -> Out(0);
f1 -> c;
q :: Queue -> u :: Unqueue -> Discard;
g1 -> q;
x :: RadixIPLookup(0/0 0) -> Discard; h0 :: FromDPDKDevice(2, QUEUE 0) -> x; h1 :: FromDPDKDevice(2, QUEUE 1) -> x;
StaticThreadSched(h1 1);
