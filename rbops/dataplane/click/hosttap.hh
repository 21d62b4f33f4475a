// SPDX-License-Identifier: Apache-2.0
#ifndef RBOPS_HOSTTAP_HH
#define RBOPS_HOSTTAP_HH
#include <click/element.hh>
CLICK_DECLS

/*
=c

HostTap(DEVNAME)

=s rbops

exchanges Ethernet frames with the server's kernel through a tap device

=d

Frames that are pushed into the input are received by the kernel on tap device DEVNAME; what the kernel sends there is pushed
out of the output. Several threads may push; frames of the kernel's come on the thread that the element is bound to
(StaticThreadSched). The device should be there already, with its addresses and its MTU.

FromHost and ToHost do the same, but a tap device can be opened once only, and FromHost opens it while the configuration that
it replaces still has it: no configuration with a FromHost can be hot-swapped for another. HostTap takes the open device over from
the element of its name in that configuration.

At user level on Linux only.

=h counters read-only

One count a line, since the configuration was installed:

   received N                frames from the kernel
   sent N                    frames to the kernel
   refused N                 frames that the kernel did not take: the device is down, or they are too short

=a FromHost, ToHost, KernelTap
*/

#if CLICK_USERLEVEL
class HostTap : public Element { public:

    HostTap() CLICK_COLD;
    ~HostTap() CLICK_COLD;

    const char *class_name() const	{ return "HostTap"; }
    const char *port_count() const	{ return "1/1"; }
    const char *processing() const	{ return PUSH; }
    const char *flow_code() const	{ return "x/y"; }

    int configure(Vector<String> &, ErrorHandler *) CLICK_COLD;
    int initialize(ErrorHandler *) CLICK_COLD;
    void cleanup(CleanupStage) CLICK_COLD;
    void add_handlers() CLICK_COLD;

    void push(int port, Packet *p);
    void selected(int fd, int mask);

  private:

    enum { HEADROOM = 64, FRAME = 18, BURST = 32 };

    String _device;
    int _fd;
    int _longest;			// bytes of a frame from the kernel
    uint64_t _received;
    atomic_uint32_t _sent;
    atomic_uint32_t _refused;

    int take_over() CLICK_COLD;
    int open_device(ErrorHandler *) CLICK_COLD;
    int mtu(ErrorHandler *) CLICK_COLD;

    static String read_handler(Element *, void *);
};
#endif

CLICK_ENDDECLS
#endif
