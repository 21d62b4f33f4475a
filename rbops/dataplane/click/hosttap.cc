// SPDX-License-Identifier: Apache-2.0
/*
 * hosttap.{cc,hh} -- exchanges frames with the server's kernel, also over a hot swap
 */
#include <click/config.h>
#include "hosttap.hh"
#if CLICK_USERLEVEL
# include <click/args.hh>
# include <click/error.hh>
# include <click/straccum.hh>
# include <errno.h>
# include <fcntl.h>
# include <net/if.h>
# include <sys/ioctl.h>
# include <sys/socket.h>
# include <unistd.h>
# include <linux/if_tun.h>
CLICK_DECLS

HostTap::HostTap()
    : _fd(-1), _longest(0), _received(0)
{
    _sent = 0;
    _refused = 0;
}

HostTap::~HostTap()
{
}

int
HostTap::configure(Vector<String> &conf, ErrorHandler *errh)
{
    if (Args(conf, this, errh).read_mp("DEVNAME", _device).complete() < 0)
        return -1;
    if (!_device || _device.length() >= IFNAMSIZ)
        return errh->error("DEVNAME: %<%s%> is no device's name", _device.c_str());
    return 0;
}

// The device that the configuration before this one has open, or -1. Both have it until that one ends.
int
HostTap::take_over()
{
    Element *before = hotswap_element();
    HostTap *tap = before ? static_cast<HostTap *>(before->cast("HostTap")) : 0;
    if (!tap || tap->_fd < 0 || tap->_device != _device)
        return -1;
    return fcntl(tap->_fd, F_DUPFD_CLOEXEC, 0);
}

int
HostTap::open_device(ErrorHandler *errh)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errh->error("/dev/net/tun: %s", strerror(errno));
    struct ifreq request;
    memset(&request, 0, sizeof(request));
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    memcpy(request.ifr_name, _device.data(), _device.length());
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        int error = errno;
        close(fd);
        return errh->error("%s: %s", _device.c_str(), strerror(error));
    }
    return fd;
}

int
HostTap::mtu(ErrorHandler *errh)
{
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (any < 0)
        return errh->error("%s: %s", _device.c_str(), strerror(errno));
    struct ifreq request;
    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, _device.data(), _device.length());
    int done = ioctl(any, SIOCGIFMTU, &request), error = errno;
    close(any);
    return done < 0 ? errh->error("%s: %s", _device.c_str(), strerror(error)) : request.ifr_mtu;
}

int
HostTap::initialize(ErrorHandler *errh)
{
    _fd = take_over();
    if (_fd < 0)
        _fd = open_device(errh);
    int bytes = _fd < 0 ? -1 : mtu(errh);
    if (bytes < 0)
        return -1;
    _longest = bytes + FRAME;
    return add_select(_fd, SELECT_READ);
}

void
HostTap::cleanup(CleanupStage)
{
    if (_fd < 0)
        return;
    remove_select(_fd, SELECT_READ);
    close(_fd);
    _fd = -1;
}

void
HostTap::selected(int fd, int)
{
    for (int i = 0; i < BURST && fd == _fd; i++) {
        WritablePacket *p = Packet::make(HEADROOM, 0, _longest, 0);
        if (!p)
            return;
        ssize_t bytes = read(_fd, p->data(), _longest);
        if (bytes <= 0) {
            p->kill();
            return;
        }
        p->take(_longest - bytes);
        p->set_mac_header(p->data());
        _received++;
        output(0).push(p);
    }
}

void
HostTap::push(int, Packet *p)
{
    if (write(_fd, p->data(), p->length()) == (ssize_t) p->length())
        _sent++;
    else
        _refused++;
    p->kill();
}

String
HostTap::read_handler(Element *e, void *)
{
    HostTap *tap = static_cast<HostTap *>(e);
    StringAccum sa;
    sa << "received " << tap->_received << "\nsent " << tap->_sent.value() << "\nrefused " << tap->_refused.value() << '\n';
    return sa.take_string();
}

void
HostTap::add_handlers()
{
    add_read_handler("counters", read_handler, 0);
}

CLICK_ENDDECLS
#endif
ELEMENT_REQUIRES(userlevel linux)
EXPORT_ELEMENT(HostTap)
