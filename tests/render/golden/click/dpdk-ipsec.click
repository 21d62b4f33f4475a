// rb4, server n0 (number 0)
// Application ipsec, Click's dialect dpdk. Written by rbops from the plan: change the spec, not this file.
//
// One path a core, from a receive queue to a transmit queue, without locks (RouteBricks, 4.2):
//   external queue -> checks -> look-up -> TTL, MAC address of the output port -> DirectVLB -> a link's queue
//   internal queue -> MACDispatch: to an own port's queue, or by DirectVLB to the link of the port's owner
// The destination MAC address 02:52:PP:PP:AA:AA says port and neighbour; no later server reads the IP header (6.1).

require(package "rbops");
require(library routes.click);
require(library ipsec.click);  // the tunnels' keys, which only root may read

// Devices: rbops-node names those that are called otherwise on the server.
define($EXT0 0);
define($INT1 1);
define($INT2 2);
define($INT3 3);
// Own ports: what ARP learned is known to all cores.
arp_ext0 :: ARPTable;
// A packet on its way out: options, TTL (but for packets that another server or the host counted down: paint 9),
// fragments, the next frame's addresses. Outputs: frame, TTL expired, too big, bad option.
elementclass Leave { $address, $mtu, $source, $destination |
  input -> options :: IPGWOptions($address) -> passed :: CheckPaint(9);
  passed[1] -> ttl :: DecIPTTL -> fragment :: IPFragmenter($mtu, HONOR_DF true);
  passed[0] -> fragment;
  fragment -> EtherEncap(0x0800, $source, $destination) -> output;
  ttl[1] -> [1]output;
  fragment[1] -> [2]output;
  options[1] -> [3]output;
}

// The same towards a neighbour whose MAC address ARP has to find. Input 1 takes ARP replies.
elementclass Find { $address, $mtu, $source, $table |
  input -> options :: IPGWOptions($address) -> passed :: CheckPaint(9);
  passed[1] -> ttl :: DecIPTTL -> fragment :: IPFragmenter($mtu, HONOR_DF true);
  passed[0] -> fragment;
  fragment -> query :: ARPQuerier($address, $source, TABLE $table) -> output;
  input[1] -> [1]query;
  ttl[1] -> [1]output;
  fragment[1] -> [2]output;
  options[1] -> [3]output;
}

// ICMP errors go back through the look-up. Inputs: no route, TTL expired, too big (for the smallest MTU), bad option.
elementclass Errors { $address, $mtu |
  input[0] -> ICMPError($address, unreachable, net) -> output;
  input[1] -> ICMPError($address, timeexceeded) -> output;
  input[2] -> ICMPError($address, unreachable, needfrag, PMTU $mtu) -> output;
  input[3] -> ICMPError($address, parameterproblem) -> output;
}

// A packet that came in at an external port: RFC 1812, 5.2.2. Outputs: fine, dropped.
elementclass Check {
  input -> Strip(14) -> header :: CheckIPHeader(CHECKSUM true, DETAILS true)
        -> martian :: IPClassifier(src net 0.0.0.0/8 or src net 127.0.0.0/8 or src net 224.0.0.0/3, -);
  martian[1] -> output;
  header[1] -> [1]output;
  martian[0] -> source :: Counter -> [1]output;
}
// This server's own kernel, also over a hot swap.
host :: HostTap(rbops0);
// ------------------------------------------------------------------ CPU 1, thread 0
// What a packet of this core may come to.
rt_c0 :: Routes;
errors_c0 :: Errors(198.18.0.1, 1500) -> rt_c0;
// Tunnels, by destination: [1] through one, with this core's own association, [2] in the clear.
ipsec_c0 :: RadixIPsecLookup(
    203.0.113.0/24 198.18.3.2 1 458752 $ESP_KEY0 $ESP_AUTH0 1 64,
    0.0.0.0/1 2, 128.0.0.0/1 2, 198.18.0.1/32 2, 198.18.1.1/32 2, 198.18.2.1/32 2, 198.18.3.1/32 2);
ipsec_c0[0] -> Discard;
ipsec_c0[1] -> inner_c0 :: DecIPTTL -> IPEncap(4, 0.0.0.0, DST_ANNO) -> StripIPHeader
    -> IPsecESPEncap -> IPsecAuthHMACSHA1(0) -> IPsecAES(1)
    -> IPsecEncap(50) -> FixIPSrc(198.18.0.1) -> encrypted_c0 :: Counter -> rt_c0;
ipsec_c0[2] -> clear_c0 :: Counter -> rt_c0;
drop_c0 :: Discard;
host_c0 :: EtherEncap(0x0800, 02:53:ff:ff:ff:00, 02:53:ff:ff:ff:01) -> to_host_c0 :: Counter -> host;
punt_c0 :: Counter -> host;
// ext0 tx queue 0, CPU 1
tx_ext0_c0 :: Counter -> send_ext0_c0 :: ToDPDKDevice($EXT0, QUEUE 0, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
// int1 tx queue 0, CPU 1
tx_int1_c0 :: Counter -> send_int1_c0 :: ToDPDKDevice($INT1, QUEUE 0, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
// int2 tx queue 0, CPU 1
tx_int2_c0 :: Counter -> send_int2_c0 :: ToDPDKDevice($INT2, QUEUE 0, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
// int3 tx queue 0, CPU 1
tx_int3_c0 :: Counter -> send_int3_c0 :: ToDPDKDevice($INT3, QUEUE 0, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
local_ext0_c0 :: Counter -> tx_ext0_c0;
vlb_c0 :: DirectVLB(SELF 0, OWNERS 0 1 2 3, VIA 1:0 2:1 3:2,
    LINKS 10000000000 10000000000 10000000000, SOURCE 02:53:00:00:00:01 02:53:00:00:00:02 02:53:00:00:00:03,
    INTERMEDIATES 1 2 3, ROUTING direct-vlb, QUOTA 7500000000, FLOWLET 100ms, CORES 2);
vlb_c0[0] -> tx_int1_c0;
vlb_c0[1] -> tx_int2_c0;
vlb_c0[2] -> tx_int3_c0;
// No path is alive: the sender is told, as when there is no route.
vlb_c0[3] -> Strip(14) -> CheckIPHeader -> [0]errors_c0;
vlb_c0[4] -> drop_c0;
// Outputs of the look-up: no route, no host's address, then one for each port and neighbour of the router.
rt_c0[0] -> no_route_c0 :: Counter -> [0]errors_c0;
rt_c0[1] -> no_host_c0 :: Counter -> drop_c0;
expired_c0 :: Counter -> [1]errors_c0;
inner_c0[1] -> expired_c0;
too_big_c0 :: Counter -> [2]errors_c0;
option_c0 :: Counter -> [3]errors_c0;
rt_c0[2] -> mine_ext0_c0 :: IPClassifier(dst host 198.18.0.1, -);
    mine_ext0_c0[0] -> host_c0;
    mine_ext0_c0[1] -> find_ext0_c0 :: Find(198.18.0.1, 1500, 02:53:00:00:00:00, arp_ext0) -> local_ext0_c0;
    find_ext0_c0[1] -> expired_c0; find_ext0_c0[2] -> too_big_c0; find_ext0_c0[3] -> option_c0;
rt_c0[3] -> p0a1_c0 :: Leave(198.18.0.1, 1500, 02:53:00:00:00:00, 02:4e:00:00:00:02) -> local_ext0_c0;
    p0a1_c0[1] -> expired_c0; p0a1_c0[2] -> too_big_c0; p0a1_c0[3] -> option_c0;
rt_c0[4] -> p1a0_c0 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:01:00:00) -> vlb_c0;
    p1a0_c0[1] -> expired_c0; p1a0_c0[2] -> too_big_c0; p1a0_c0[3] -> option_c0;
rt_c0[5] -> p1a1_c0 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:01:00:01) -> vlb_c0;
    p1a1_c0[1] -> expired_c0; p1a1_c0[2] -> too_big_c0; p1a1_c0[3] -> option_c0;
rt_c0[6] -> p2a0_c0 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:02:00:00) -> vlb_c0;
    p2a0_c0[1] -> expired_c0; p2a0_c0[2] -> too_big_c0; p2a0_c0[3] -> option_c0;
rt_c0[7] -> p2a1_c0 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:02:00:01) -> vlb_c0;
    p2a1_c0[1] -> expired_c0; p2a1_c0[2] -> too_big_c0; p2a1_c0[3] -> option_c0;
rt_c0[8] -> p3a0_c0 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:03:00:00) -> vlb_c0;
    p3a0_c0[1] -> expired_c0; p3a0_c0[2] -> too_big_c0; p3a0_c0[3] -> option_c0;
rt_c0[9] -> p3a1_c0 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:03:00:01) -> vlb_c0;
    p3a1_c0[1] -> expired_c0; p3a1_c0[2] -> too_big_c0; p3a1_c0[3] -> option_c0;
// From the fabric: by MAC address alone; what is for this server itself is looked up again.
mac_c0 :: MACDispatch(SELF 0, OWNERS 0 1 2 3, PORTS 0, SOURCE 02:53:00:00:00:00, MTU 1500,
    ADJACENCY 0 1 02:4e:00:00:00:02);
mac_c0[0] -> [1]vlb_c0;
mac_c0[1] -> tx_ext0_c0;
mac_c0[2] -> Strip(14) -> CheckIPHeader -> Paint(9) -> rt_c0;
mac_c0[3] -> punt_c0;
mac_c0[4] -> drop_c0;
// ext0 rx queue 0, CPU 1
from_ext0_c0 :: FromDPDKDevice($EXT0, QUEUE 0, PROMISC true, BURST 32, NDESC 1024)
    -> rx_ext0_c0 :: Counter -> mac_ext0_c0 :: HostEtherFilter(02:53:00:00:00:00)
    -> type_ext0_c0 :: Classifier(12/0800, 12/0806 20/0001, 12/0806 20/0002, -);
mac_ext0_c0[1] -> other_host_ext0_c0 :: Counter -> drop_c0;
type_ext0_c0[0] -> check_ext0_c0 :: Check -> ipsec_c0;
check_ext0_c0[1] -> drop_c0;
type_ext0_c0[1] -> arp_asked_ext0_c0 :: Counter -> ARPResponder(198.18.0.1 02:53:00:00:00:00) -> tx_ext0_c0;
type_ext0_c0[2] -> arp_told_ext0_c0 :: Counter -> [1]find_ext0_c0;
type_ext0_c0[3] -> other_ext0_c0 :: Counter -> punt_c0;
// int1 rx queue 0, CPU 1
from_int1_c0 :: FromDPDKDevice($INT1, QUEUE 0, PROMISC true, BURST 32, NDESC 1024)
    -> probe_int1_c0 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int1_c0[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress(02:53:00:00:00:01, src)
    -> asked_int1_c0 :: Counter -> send_int1_c0;
probe_int1_c0[1] -> drop_c0;  // the answer to one of this server's, which rbops-watch reads itself
probe_int1_c0[2] -> rx_int1_c0 :: Counter -> mac_c0;
// int2 rx queue 0, CPU 1
from_int2_c0 :: FromDPDKDevice($INT2, QUEUE 0, PROMISC true, BURST 32, NDESC 1024)
    -> probe_int2_c0 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int2_c0[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress(02:53:00:00:00:02, src)
    -> asked_int2_c0 :: Counter -> send_int2_c0;
probe_int2_c0[1] -> drop_c0;  // the answer to one of this server's, which rbops-watch reads itself
probe_int2_c0[2] -> rx_int2_c0 :: Counter -> mac_c0;
// int3 rx queue 0, CPU 1
from_int3_c0 :: FromDPDKDevice($INT3, QUEUE 0, PROMISC true, BURST 32, NDESC 1024)
    -> probe_int3_c0 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int3_c0[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress(02:53:00:00:00:03, src)
    -> asked_int3_c0 :: Counter -> send_int3_c0;
probe_int3_c0[1] -> drop_c0;  // the answer to one of this server's, which rbops-watch reads itself
probe_int3_c0[2] -> rx_int3_c0 :: Counter -> mac_c0;
// ------------------------------------------------------------------ CPU 2, thread 1
// What a packet of this core may come to.
rt_c1 :: Routes;
errors_c1 :: Errors(198.18.0.1, 1500) -> rt_c1;
// Tunnels, by destination: [1] through one, with this core's own association, [2] in the clear.
ipsec_c1 :: RadixIPsecLookup(
    203.0.113.0/24 198.18.3.2 1 458753 $ESP_KEY0 $ESP_AUTH0 1 64,
    0.0.0.0/1 2, 128.0.0.0/1 2, 198.18.0.1/32 2, 198.18.1.1/32 2, 198.18.2.1/32 2, 198.18.3.1/32 2);
ipsec_c1[0] -> Discard;
ipsec_c1[1] -> inner_c1 :: DecIPTTL -> IPEncap(4, 0.0.0.0, DST_ANNO) -> StripIPHeader
    -> IPsecESPEncap -> IPsecAuthHMACSHA1(0) -> IPsecAES(1)
    -> IPsecEncap(50) -> FixIPSrc(198.18.0.1) -> encrypted_c1 :: Counter -> rt_c1;
ipsec_c1[2] -> clear_c1 :: Counter -> rt_c1;
drop_c1 :: Discard;
host_c1 :: EtherEncap(0x0800, 02:53:ff:ff:ff:00, 02:53:ff:ff:ff:01) -> to_host_c1 :: Counter -> host;
punt_c1 :: Counter -> host;
// ext0 tx queue 1, CPU 2
tx_ext0_c1 :: Counter -> send_ext0_c1 :: ToDPDKDevice($EXT0, QUEUE 1, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
// int1 tx queue 1, CPU 2
tx_int1_c1 :: Counter -> send_int1_c1 :: ToDPDKDevice($INT1, QUEUE 1, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
// int2 tx queue 1, CPU 2
tx_int2_c1 :: Counter -> send_int2_c1 :: ToDPDKDevice($INT2, QUEUE 1, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
// int3 tx queue 1, CPU 2
tx_int3_c1 :: Counter -> send_int3_c1 :: ToDPDKDevice($INT3, QUEUE 1, IQUEUE 1024, BURST 16, TIMEOUT 0, NDESC 1024);
local_ext0_c1 :: Counter -> tx_ext0_c1;
vlb_c1 :: DirectVLB(SELF 0, OWNERS 0 1 2 3, VIA 1:0 2:1 3:2,
    LINKS 10000000000 10000000000 10000000000, SOURCE 02:53:00:00:00:01 02:53:00:00:00:02 02:53:00:00:00:03,
    INTERMEDIATES 1 2 3, ROUTING direct-vlb, QUOTA 7500000000, FLOWLET 100ms, CORES 2);
vlb_c1[0] -> tx_int1_c1;
vlb_c1[1] -> tx_int2_c1;
vlb_c1[2] -> tx_int3_c1;
// No path is alive: the sender is told, as when there is no route.
vlb_c1[3] -> Strip(14) -> CheckIPHeader -> [0]errors_c1;
vlb_c1[4] -> drop_c1;
// Outputs of the look-up: no route, no host's address, then one for each port and neighbour of the router.
rt_c1[0] -> no_route_c1 :: Counter -> [0]errors_c1;
rt_c1[1] -> no_host_c1 :: Counter -> drop_c1;
expired_c1 :: Counter -> [1]errors_c1;
inner_c1[1] -> expired_c1;
too_big_c1 :: Counter -> [2]errors_c1;
option_c1 :: Counter -> [3]errors_c1;
rt_c1[2] -> mine_ext0_c1 :: IPClassifier(dst host 198.18.0.1, -);
    mine_ext0_c1[0] -> host_c1;
    mine_ext0_c1[1] -> find_ext0_c1 :: Find(198.18.0.1, 1500, 02:53:00:00:00:00, arp_ext0) -> local_ext0_c1;
    find_ext0_c1[1] -> expired_c1; find_ext0_c1[2] -> too_big_c1; find_ext0_c1[3] -> option_c1;
rt_c1[3] -> p0a1_c1 :: Leave(198.18.0.1, 1500, 02:53:00:00:00:00, 02:4e:00:00:00:02) -> local_ext0_c1;
    p0a1_c1[1] -> expired_c1; p0a1_c1[2] -> too_big_c1; p0a1_c1[3] -> option_c1;
rt_c1[4] -> p1a0_c1 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:01:00:00) -> vlb_c1;
    p1a0_c1[1] -> expired_c1; p1a0_c1[2] -> too_big_c1; p1a0_c1[3] -> option_c1;
rt_c1[5] -> p1a1_c1 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:01:00:01) -> vlb_c1;
    p1a1_c1[1] -> expired_c1; p1a1_c1[2] -> too_big_c1; p1a1_c1[3] -> option_c1;
rt_c1[6] -> p2a0_c1 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:02:00:00) -> vlb_c1;
    p2a0_c1[1] -> expired_c1; p2a0_c1[2] -> too_big_c1; p2a0_c1[3] -> option_c1;
rt_c1[7] -> p2a1_c1 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:02:00:01) -> vlb_c1;
    p2a1_c1[1] -> expired_c1; p2a1_c1[2] -> too_big_c1; p2a1_c1[3] -> option_c1;
rt_c1[8] -> p3a0_c1 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:03:00:00) -> vlb_c1;
    p3a0_c1[1] -> expired_c1; p3a0_c1[2] -> too_big_c1; p3a0_c1[3] -> option_c1;
rt_c1[9] -> p3a1_c1 :: Leave(198.18.0.1, 1500, 0:0:0:0:0:0, 02:52:00:03:00:01) -> vlb_c1;
    p3a1_c1[1] -> expired_c1; p3a1_c1[2] -> too_big_c1; p3a1_c1[3] -> option_c1;
// From the fabric: by MAC address alone; what is for this server itself is looked up again.
mac_c1 :: MACDispatch(SELF 0, OWNERS 0 1 2 3, PORTS 0, SOURCE 02:53:00:00:00:00, MTU 1500,
    ADJACENCY 0 1 02:4e:00:00:00:02);
mac_c1[0] -> [1]vlb_c1;
mac_c1[1] -> tx_ext0_c1;
mac_c1[2] -> Strip(14) -> CheckIPHeader -> Paint(9) -> rt_c1;
mac_c1[3] -> punt_c1;
mac_c1[4] -> drop_c1;
// ext0 rx queue 1, CPU 2
from_ext0_c1 :: FromDPDKDevice($EXT0, QUEUE 1, PROMISC true, BURST 32, NDESC 1024)
    -> rx_ext0_c1 :: Counter -> mac_ext0_c1 :: HostEtherFilter(02:53:00:00:00:00)
    -> type_ext0_c1 :: Classifier(12/0800, 12/0806 20/0001, 12/0806 20/0002, -);
mac_ext0_c1[1] -> other_host_ext0_c1 :: Counter -> drop_c1;
type_ext0_c1[0] -> check_ext0_c1 :: Check -> ipsec_c1;
check_ext0_c1[1] -> drop_c1;
type_ext0_c1[1] -> arp_asked_ext0_c1 :: Counter -> ARPResponder(198.18.0.1 02:53:00:00:00:00) -> tx_ext0_c1;
type_ext0_c1[2] -> arp_told_ext0_c1 :: Counter -> [1]find_ext0_c1;
type_ext0_c1[3] -> other_ext0_c1 :: Counter -> punt_c1;
// int1 rx queue 1, CPU 2
from_int1_c1 :: FromDPDKDevice($INT1, QUEUE 1, PROMISC true, BURST 32, NDESC 1024)
    -> probe_int1_c1 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int1_c1[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress(02:53:00:00:00:01, src)
    -> asked_int1_c1 :: Counter -> send_int1_c1;
probe_int1_c1[1] -> drop_c1;  // the answer to one of this server's, which rbops-watch reads itself
probe_int1_c1[2] -> rx_int1_c1 :: Counter -> mac_c1;
// int2 rx queue 1, CPU 2
from_int2_c1 :: FromDPDKDevice($INT2, QUEUE 1, PROMISC true, BURST 32, NDESC 1024)
    -> probe_int2_c1 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int2_c1[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress(02:53:00:00:00:02, src)
    -> asked_int2_c1 :: Counter -> send_int2_c1;
probe_int2_c1[1] -> drop_c1;  // the answer to one of this server's, which rbops-watch reads itself
probe_int2_c1[2] -> rx_int2_c1 :: Counter -> mac_c1;
// int3 rx queue 1, CPU 2
from_int3_c1 :: FromDPDKDevice($INT3, QUEUE 1, PROMISC true, BURST 32, NDESC 1024)
    -> probe_int3_c1 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int3_c1[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress(02:53:00:00:00:03, src)
    -> asked_int3_c1 :: Counter -> send_int3_c1;
probe_int3_c1[1] -> drop_c1;  // the answer to one of this server's, which rbops-watch reads itself
probe_int3_c1[2] -> rx_int3_c1 :: Counter -> mac_c1;
// What this server's own kernel sends enters like a packet that another server has counted down.
host -> Strip(14) -> CheckIPHeader -> Paint(9) -> rt_c0;

StaticThreadSched(host 0, from_ext0_c0 0, from_ext0_c1 1, from_int1_c0 0, from_int1_c1 1, from_int2_c0 0, from_int2_c1 1, from_int3_c0 0, from_int3_c1 1);

// By which rbops-node knows what runs.
configuration :: Script(TYPE PASSIVE, return 85cea13c34b55a0bda856887e581590cbc9f9b169e5d236395b40c36f426d8ac);
