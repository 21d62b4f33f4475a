// rb4, server n0 (number 0)
// Application ipsec, Click's dialect socket. Written by rbops from the plan: change the spec, not this file.
//
// One path a core, from a receive queue to a transmit queue, without locks (RouteBricks, 4.2):
//   external queue -> checks -> look-up -> TTL, MAC address of the output port -> DirectVLB -> a link's queue
//   internal queue -> MACDispatch: to an own port's queue, or by DirectVLB to the link of the port's owner
// The destination MAC address 02:52:PP:PP:AA:AA says port and neighbour; no later server reads the IP header (6.1).

require(package "rbops");
require(library routes.click);
require(library ipsec.click);  // the tunnels' keys, which only root may read

// Devices: rbops-node names those that are called otherwise on the server.
define($EXT0 ext0);
define($INT1 int1);
define($INT2 int2);
define($INT3 int3);
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
// Transmit queues: one a device, of one core.
out_ext0 :: Queue(1024)
    -> send_ext0 :: ToDevice($EXT0, METHOD LINUX, BURST 32);  // tx queue 0, CPU 0
out_int1 :: Queue(1024)
    -> send_int1 :: ToDevice($INT1, METHOD LINUX, BURST 32);  // tx queue 0, CPU 0
out_int2 :: Queue(1024)
    -> send_int2 :: ToDevice($INT2, METHOD LINUX, BURST 32);  // tx queue 0, CPU 0
out_int3 :: Queue(1024)
    -> send_int3 :: ToDevice($INT3, METHOD LINUX, BURST 32);  // tx queue 0, CPU 0
// This server's own kernel, also over a hot swap.
host :: HostTap(rbops0);
// ------------------------------------------------------------------ CPU 0, thread 0
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
tx_ext0_c0 :: Counter -> out_ext0;
tx_int1_c0 :: Counter -> out_int1;
tx_int2_c0 :: Counter -> out_int2;
tx_int3_c0 :: Counter -> out_int3;
local_ext0_c0 :: Counter -> tx_ext0_c0;
vlb_c0 :: DirectVLB(SELF 0, OWNERS 0 1 2 3, VIA 1:0 2:1 3:2,
    LINKS 10000000000 10000000000 10000000000, SOURCE $INT1:eth $INT2:eth $INT3:eth,
    INTERMEDIATES 1 2 3, ROUTING direct-vlb, QUOTA 7500000000, FLOWLET 100ms, CORES 1);
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
    mine_ext0_c0[1] -> find_ext0_c0 :: Find(198.18.0.1, 1500, $EXT0:eth, arp_ext0) -> local_ext0_c0;
    find_ext0_c0[1] -> expired_c0; find_ext0_c0[2] -> too_big_c0; find_ext0_c0[3] -> option_c0;
rt_c0[3] -> p0a1_c0 :: Leave(198.18.0.1, 1500, $EXT0:eth, 02:4e:00:00:00:02) -> local_ext0_c0;
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
mac_c0 :: MACDispatch(SELF 0, OWNERS 0 1 2 3, PORTS 0, SOURCE $EXT0:eth, MTU 1500,
    ADJACENCY 0 1 02:4e:00:00:00:02);
mac_c0[0] -> [1]vlb_c0;
mac_c0[1] -> tx_ext0_c0;
mac_c0[2] -> Strip(14) -> CheckIPHeader -> Paint(9) -> rt_c0;
mac_c0[3] -> punt_c0;
mac_c0[4] -> drop_c0;
// ext0 rx queue 0, CPU 0
from_ext0_c0 :: FromDevice($EXT0, METHOD LINUX, SNIFFER true, PROMISC true, SNAPLEN 1518, BURST 32, TIMESTAMP false)
    -> rx_ext0_c0 :: Counter -> mac_ext0_c0 :: HostEtherFilter($EXT0:eth)
    -> type_ext0_c0 :: Classifier(12/0800, 12/0806 20/0001, 12/0806 20/0002, -);
mac_ext0_c0[1] -> other_host_ext0_c0 :: Counter -> drop_c0;
type_ext0_c0[0] -> check_ext0_c0 :: Check -> ipsec_c0;
check_ext0_c0[1] -> drop_c0;
type_ext0_c0[1] -> arp_asked_ext0_c0 :: Counter -> ARPResponder(198.18.0.1 $EXT0:eth) -> tx_ext0_c0;
type_ext0_c0[2] -> arp_told_ext0_c0 :: Counter -> [1]find_ext0_c0;
type_ext0_c0[3] -> other_ext0_c0 :: Counter -> punt_c0;
// int1 rx queue 0, CPU 0
from_int1_c0 :: FromDevice($INT1, METHOD LINUX, SNIFFER true, PROMISC true, SNAPLEN 1518, BURST 32, TIMESTAMP false)
    -> probe_int1_c0 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int1_c0[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress($INT1:eth, src)
    -> asked_int1_c0 :: Counter -> out_int1;
probe_int1_c0[1] -> drop_c0;  // the answer to one of this server's, which rbops-watch reads itself
probe_int1_c0[2] -> rx_int1_c0 :: Counter -> mac_c0;
// int2 rx queue 0, CPU 0
from_int2_c0 :: FromDevice($INT2, METHOD LINUX, SNIFFER true, PROMISC true, SNAPLEN 1518, BURST 32, TIMESTAMP false)
    -> probe_int2_c0 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int2_c0[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress($INT2:eth, src)
    -> asked_int2_c0 :: Counter -> out_int2;
probe_int2_c0[1] -> drop_c0;  // the answer to one of this server's, which rbops-watch reads itself
probe_int2_c0[2] -> rx_int2_c0 :: Counter -> mac_c0;
// int3 rx queue 0, CPU 0
from_int3_c0 :: FromDevice($INT3, METHOD LINUX, SNIFFER true, PROMISC true, SNAPLEN 1518, BURST 32, TIMESTAMP false)
    -> probe_int3_c0 :: Classifier(0/025600000000 12/88b6, 0/025600000001 12/88b6, -);
probe_int3_c0[0] -> StoreEtherAddress(02:56:00:00:00:01, dst) -> StoreEtherAddress($INT3:eth, src)
    -> asked_int3_c0 :: Counter -> out_int3;
probe_int3_c0[1] -> drop_c0;  // the answer to one of this server's, which rbops-watch reads itself
probe_int3_c0[2] -> rx_int3_c0 :: Counter -> mac_c0;
// What this server's own kernel sends enters like a packet that another server has counted down.
host -> Strip(14) -> CheckIPHeader -> Paint(9) -> rt_c0;

StaticThreadSched(host 0, from_ext0_c0 0, from_int1_c0 0, from_int2_c0 0, from_int3_c0 0, send_ext0 0, send_int1 0, send_int2 0, send_int3 0);

// By which rbops-node knows what runs.
configuration :: Script(TYPE PASSIVE, return 4b264dc9ceade8fb478d3ea2b1414cf71d2c15bf36a609d37aadc4b3ca864323);
