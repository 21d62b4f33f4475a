s :: FromDevice(eth0); s -> Discard; s -> Discard;
t :: ToDevice(eth0); a, b :: Queue; FromDevice(eth1) -> a -> t; FromDevice(eth2) -> b -> t;
