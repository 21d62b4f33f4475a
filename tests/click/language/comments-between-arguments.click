// An apostrophe, a quote or a parenthesis in a comment opens nothing.
AddressInfo(
  // This host's address (a network
  a 10.0.0.1/8, /* one of "two) */
  b 10.0.0.2 //),
  , c 10.0.0.3/32/* ) */ 1:2:3:4:5:6);
InfiniteSource(DATA "/*'//)") -> Discard;
