FromDevice(eth0) -> ToDevice(eth1);
q :: Queue; FromDevice(eth2) -> q -> ToDPDKDevice(0);
