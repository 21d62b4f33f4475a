// SPDX-License-Identifier: Apache-2.0
#ifndef RBOPS_MACDISPATCH_HH
#define RBOPS_MACDISPATCH_HH
#include "fabric.hh"
CLICK_DECLS

/*
=c

MACDispatch(SELF server, OWNERS server ..., PORTS port ..., I<keywords>)

=s rbops

forwards frames of a cluster by destination MAC address alone

=d

Takes all Ethernet frames that arrive at an internal port (FromDevice with PROMISC true). The external port that a frame
is for and the neighbour there stand in its destination MAC address, 02:52:PP:PP:AA:AA; the IP header is never
looked at. Use one MACDispatch per thread: its counts are not locked.

Outputs, where e is the number of PORTS:

   0          frames for a port of another server, unchanged: to DirectVLB's input 1
   1 .. e     frames for this server's ports, in the order of PORTS: destination and source address are rewritten
   e+1        frames for this server itself: neighbour 0, one whose address is not known yet, or a frame longer than the port's
              MTU, which the kernel answers. Their destination address is HOST
   e+2        frames that are not the fabric's, unchanged
   e+3        optional: what is dropped (too short, no such port, no such neighbour), unchanged

=over 8

=item SELF

Number. This server.

=item OWNERS

Numbers. The servers that own external port 0, 1, 2 ...

=item PORTS

Numbers. This server's external ports, in the order of the outputs. Absent or empty on an intermediate server.

=item ADJACENCY

C<PORT INDEX MAC>, any number of times: neighbour INDEX (from 1) of own port PORT; C<-> for a MAC that is not known yet.

=item SOURCE

MAC addresses, one for each of PORTS: the frames' source address there.

=item MTU

Numbers, one for each of PORTS or one for all: bytes of the longest IP packet. Default 1500.

=item HOST

MAC address, written into frames for output e+1. Without it they keep their own.

=item STEERED

Number of an external port. The frames come from a receive queue to which the NIC steers that port's frames: where they go is
known without a look-up. Others that get there nevertheless are looked up, and counted as C<missteered>.

=back

=h counters read-only

One count a line, since the start or the last C<reset>; counts stay over a hot swap:

   transit N                 to output 0
   egress N                  to this server's ports
   local_delivery N          for this server: neighbour 0
   unresolved N              for this server: the neighbour's address is not known
   too_big N                 for this server: longer than the port's MTU
   not_fabric N              not the fabric's
   missteered N              in another port's queue (STEERED)
   short N                   dropped: no longer than an Ethernet header
   no_port N                 dropped: nobody owns the port
   no_adjacency N            dropped: the port has no such neighbour
   port ID PACKETS BYTES     sent to own port ID

=h adjacency write-only

C<PORT INDEX MAC> sets a neighbour's address, C<PORT INDEX -> forgets it. Takes effect with the next frame. A neighbour
beyond the highest INDEX that was configured is a new configuration.

=h adjacencies read-only

A line C<PORT INDEX MAC> or C<PORT INDEX -> for each.

=h reset write-only

Counts start at 0 again.

=n

FastClick's batches are taken apart by output; what is on its way to one output stays together, in its order.

=a DirectVLB, EtherSwitch, HostEtherFilter
*/

class MACDispatch : public FabricElement { public:

    MACDispatch() CLICK_COLD;
    ~MACDispatch() CLICK_COLD;

    const char *class_name() const	{ return "MACDispatch"; }
    const char *port_count() const	{ return "1/3-"; }
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

    enum Count {
        TRANSIT, EGRESS, LOCAL_DELIVERY, UNRESOLVED, TOO_BIG, NOT_FABRIC, MISSTEERED, SHORT, NO_PORT, NO_ADJACENCY, COUNTS
    };
    enum { NOBODY = 0xffff };

    // Where an external port's frames go: owner's number, and for own ones which of them.
    struct Place {
        uint16_t owner;			// NOBODY: there is no such port
        uint16_t own;			// NOBODY: another server's
    };

    struct Own {
        uint32_t id;			// of the external port
        uint32_t max_frame;		// bytes with Ethernet header
        uint32_t neighbors;		// highest index
        volatile uint64_t *macs;	// by index; 0: not known. Read and written whole
        unsigned char source[6];
        uint64_t packets;
        uint64_t bytes;
        uint64_t base_packets;		// at the last reset
        uint64_t base_bytes;
    };

    Place *_places;
    uint32_t _ports;
    Own *_own;
    uint32_t _owns;
    uint32_t _self;
    bool _has_source;
    bool _has_host;
    EtherAddress _host;
    uint32_t _steered;			// external port; NOBODY: no steering
    uint64_t _counts[COUNTS];
    uint64_t _base[COUNTS];
#if HAVE_BATCH
    PacketBatch **_parts;		// by output
#endif

    int place(const Vector<uint32_t> &owners, const Vector<uint32_t> &ports, ErrorHandler *) CLICK_COLD;
    int set_mtus(const Vector<uint32_t> &mtus, ErrorHandler *) CLICK_COLD;
    int set_neighbors(const Vector<String> &, ErrorHandler *) CLICK_COLD;
    int read_neighbor(const String &, Own *&own, uint32_t &index, uint64_t &mac, ErrorHandler *);

    int route(Packet *&p);
    int leave(Packet *&p, uint32_t own);
    int deliver(Packet *&p, Count reason);
    int drop(Count reason);

    String counters() const;
    String adjacencies() const;
    void reset();

    enum { H_COUNTERS, H_ADJACENCIES, H_ADJACENCY, H_RESET };
    static String read_handler(Element *, void *);
    static int write_handler(const String &, Element *, void *, ErrorHandler *);
};

CLICK_ENDDECLS
#endif
