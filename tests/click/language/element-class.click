elementclass E { input -> q :: Queue -> output }
InfiniteSource -> e :: E -> Discard
