// The router's routes: prefix, next hop where ARP has to find it, output (see router.click).
elementclass Routes {
  input -> table :: DirectIPLookup(
    0.0.0.0/0 0,
    0.0.0.0/8 1,
    127.0.0.0/8 1,
    224.0.0.0/3 1,
    198.18.0.0/24 2,
    198.18.0.1/32 2,
    198.18.0.2/32 3,
    198.18.1.0/24 4,
    198.18.1.1/32 4,
    198.18.1.2/32 5,
    198.18.2.0/24 6,
    198.18.2.1/32 6,
    198.18.2.2/32 7,
    198.18.3.0/24 8,
    198.18.3.1/32 8,
    198.18.3.2/32 9,
    203.0.113.0/24 9,
    203.0.113.128/25 3);
  table[0] -> [0]output;
  table[1] -> [1]output;
  table[2] -> [2]output;
  table[3] -> [3]output;
  table[4] -> [4]output;
  table[5] -> [5]output;
  table[6] -> [6]output;
  table[7] -> [7]output;
  table[8] -> [8]output;
  table[9] -> [9]output;
}
