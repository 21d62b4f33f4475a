// SPDX-License-Identifier: Apache-2.0
#ifndef RBOPS_DIRECTVLB_HH
#define RBOPS_DIRECTVLB_HH
#include "directvlb_core.hh"
#include "fabric.hh"
CLICK_DECLS

/*
=c

DirectVLB(SELF server, OWNERS server ..., VIA server:output ..., LINKS bps ..., I<keywords>)

=s rbops

chooses the first server of a packet's way through a cluster: Direct VLB with flowlets

=d

Servers of the cluster have numbers; so have its external ports. The external port that a frame is for stands in
its destination MAC address, 02:52:PP:PP:AA:AA (PP:PP the port, AA:AA its neighbour), written by the server that
the packet came in at. DirectVLB leaves it as it is.

Use ONE DirectVLB PER THREAD. All that packets change is inside of it, unlocked; CORES tells how many there are,
so that each takes its share of the quota and of the links' rates.

Input 0 (phase 1) takes Ethernet frames of packets that came in at this server, for a port of another one. A flow is
told from the IP header at the network header annotation (without one: behind the 14 bytes of Ethernet header). Up to
QUOTA of what goes to a server takes the direct link, the rest goes over the intermediates in rotation. Packets of a flow
that follow each other within FLOWLET keep their path while it is not overloaded.

Input 1 (phase 2), if used, takes frames from the fabric for another server: they go to it directly, and are charged to
its link. Where servers are more than one link apart, as in a fly, that is the next server on the way (RELAY).

Outputs 0 to L-1, one per word of LINKS, lead to the links. The two behind them are optional. L: frames of input 0 that
have no path, so that their senders can be told. L+1, or L where there is one alone: frames that have no path, that are
no longer than an Ethernet header, or whose port no other server owns. Without them they are dropped. All are counted.

Keyword arguments. Lists are words separated by spaces, quoted or not.

=over 8

=item SELF

Number. This server.

=item OWNERS

Numbers. The servers that own external port 0, 1, 2 ...

=item VIA

Words SERVER:OUTPUT. The link towards each other server: needed for every owner and every intermediate. Servers may share
a link. SERVER:OUTPUT:OUTPUT... names several that lead to the same server (a bundle): a flowlet keeps to one of them, and
one of which a handler says that it is dead is left out.

=item LINKS

Numbers. The rate of the link at each output, in bits per second.

=item INTERMEDIATES

Numbers. The servers that traffic is spread over, in the order of rotation, without SELF. May be empty, or absent.

=item ROUTING

C<direct-vlb> (the default) or C<vlb>, which has no direct quota and takes SELF's turn in the rotation for the direct link.

=item QUOTA

Number. What may go to each server directly, in bits per second (R/N). Needed by direct-vlb, of no use to vlb.

=item FLOWLET

Time. The flowlet timeout; 0 turns flowlets off. At most 60 s; default 100ms.

=item CORES

Number. How many threads, each with a DirectVLB of its own, share the rates. Default 1.

=item RELAY

Boolean. If true, servers are more than one link apart: a frame's source address is 02:56:VV:VV:SS:SS, VV:VV the
intermediate server that it goes through (ff:ff: none, or behind it), SS:SS the input server. Input 0 writes it; input 1 sends
a frame towards the intermediate until it is there, then towards the owner of its port. Default false.

=item SOURCE

MAC addresses. If given, one for each of LINKS: written into the frames' source address.

=item ENTRIES

Number, a power of two. Entries of the flowlet table. Default 16384.

=item MAX_FRAME

Number. Bytes of the longest frame, without checksum. Default 1514.

=item CLOCK

C<ms> (the default): the system's steady clock, as exact as the kernel's tick. C<packet>: the packets' timestamp
annotations, for recorded traffic.

=back

=n

FastClick's batches are taken apart by output; what is on its way to one output stays together, in its order.

=h counters read-only

One count a line, since the start or the last C<reset>; counts stay over a hot swap. Lines of paths without packets are left out:

   kept N                        packets on their flowlet's path
   new N                         packets that started a flowlet
   split N                       packets sent beside an overloaded flowlet's path
   alone N                       packets without flowlets (FLOWLET 0)
   no_path N                     dropped: no link is alive
   no_port N                     dropped: no other server owns the port
   short N                       dropped: no longer than an Ethernet header
   direct DEST PACKETS BYTES     sent to server DEST over its direct link
   phase1 DEST VIA PACKETS BYTES sent to server DEST over server VIA (-: one that is no intermediate any more)
   phase2 DEST PACKETS BYTES     taken from the fabric and passed on to server DEST, or towards it

=h links read-only

A line per output: OUTPUT, its configured rate in bit/s, bytes that may be sent at once, the same when it was idle, packets
and bytes sent: C<0 10000000000 12500000 12500000 17 1020>.

=h alive read/write

Reads a line C<SERVER true> or C<SERVER false> for every server with a link: whether it is used. Write such a line to say
whether the link towards a server has a carrier: without one it is left out, and the server is out of the rotation. This,
and what the following handlers say, takes effect with the next packet, and stays over a hot swap.

=h answers read/write

As C<alive>, of what is said of probes: whether the far end answers. A link is used where both are true.

=h drained read/write

Write C<SERVER true>: nothing is sent through the server that is not for its own ports. C<SERVER false>: again. Reads such a
line for every server with a link.

=h cable write-only, cable_answers write-only

C<OUTPUT true|false>: as C<alive> and C<answers>, of one of several links to a server. Says nothing of the server.

=h cut read/write

Write C<SERVER HEX>: the servers that SERVER cannot reach, a bit each, the first digits' lowest bit server 0's (bytes in
order, two digits a byte). No path to them leads through it. Of a server that VIA does not name nothing is kept. Reads
lines C<SERVER TO>, one for each.

=h tick read-only

The clock as the last packet found it, in ms.

=h reset write-only

Counts start at 0 again. Buckets, rotation, flowlets and links are left alone.

=a MACDispatch, BandwidthRatedSplitter
*/

class DirectVLB : public FabricElement { public:

    DirectVLB() CLICK_COLD;
    ~DirectVLB() CLICK_COLD;

    const char *class_name() const	{ return "DirectVLB"; }
    const char *port_count() const	{ return "1-2/1-"; }
    const char *processing() const	{ return PUSH; }

    int configure(Vector<String> &, ErrorHandler *) CLICK_COLD;
    void cleanup(CleanupStage) CLICK_COLD;
    void take_state(Element *, ErrorHandler *) CLICK_COLD;
    void add_handlers() CLICK_COLD;

    void push(int port, Packet *p);
#if HAVE_BATCH
    void push_batch(int port, PacketBatch *batch);
#endif

  private:

    enum Drop { NO_PATH, NO_PORT, SHORT, DROPS };

    DirectVLBCore _core;
    uint16_t *_owners;			// of external ports
    uint32_t _ports;
    unsigned char *_sources;		// 6 bytes an output; 0: addresses stay as they are
    bool _packet_clock;
    bool _relay;
    uint32_t _tick;			// ms, that the last packet found
    uint64_t _dropped[DROPS];
    void *_memory;
    size_t _memory_size;
#if HAVE_BATCH
    PacketBatch **_parts;		// by output
#endif
    Vector<String> _rates;		// of the links, as configured

    // What counts were at the last reset: written there, subtracted when they are read.
    DirectVLBCore::Traffic *_base_paths;
    DirectVLBCore::Traffic *_base_links;
    uint64_t _base_hows[DirectVLBCore::HOWS];
    uint64_t _base_dropped[DROPS];

    struct Words;
    int read_lists(const Words &, ErrorHandler *) CLICK_COLD;
    int set_links(const Words &, uint32_t cores, uint32_t max_frame, ErrorHandler *) CLICK_COLD;
    static bool same_bundle(const Words &, int at) CLICK_COLD;
    int set_servers(const Words &, ErrorHandler *) CLICK_COLD;
    void set_rotation(const Words &) CLICK_COLD;
    int place(const Words &, ErrorHandler *) CLICK_COLD;
    void release() CLICK_COLD;

    void read_clock();
    uint32_t tick_of(Packet *p);
    uint32_t dest_of(const unsigned char *mac) const;
    int drop(Drop reason, int port);
    uint32_t relay_towards(const unsigned char *source, uint32_t owner, uint32_t &via) const;
    int route(int port, Packet *&p);

    size_t path_count() const		{ return (size_t) _core.config.servers * _core.config.columns; }
    DirectVLBCore::Traffic path_since_reset(uint32_t dest, uint32_t column) const;
    void fold();
    int reset(ErrorHandler *);
    String counters() const;
    String links() const;
    String said(intptr_t handler) const;
    String cuts() const;
    int say(const String &, intptr_t handler, ErrorHandler *);
    int set_cut(const String &, ErrorHandler *);

    enum {
        H_COUNTERS, H_LINKS, H_ALIVE, H_ANSWERS, H_DRAINED, H_CABLE, H_CABLE_ANSWERS, H_CUT, H_TICK, H_RESET
    };
    static String read_handler(Element *, void *);
    static int write_handler(const String &, Element *, void *, ErrorHandler *);
};

CLICK_ENDDECLS
#endif
