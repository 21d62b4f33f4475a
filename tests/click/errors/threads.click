FromDevice(eth0) -> Discard;
StaticThreadSched(nobody 1, FromDevice@1, FromDevice@1 x);
