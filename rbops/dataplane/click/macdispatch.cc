// SPDX-License-Identifier: Apache-2.0
/*
 * macdispatch.{cc,hh} -- forwards a cluster's frames by destination MAC address alone (RouteBricks 6.1)
 */
#include <click/config.h>
#include "macdispatch.hh"
CLICK_DECLS

#ifndef likely
# define likely(x) __builtin_expect(!!(x), 1)
# define unlikely(x) __builtin_expect(!!(x), 0)
#endif

MACDispatch::MACDispatch()
    : _places(0), _ports(0), _own(0), _owns(0), _self(0), _has_source(false), _has_host(false), _steered(NOBODY)
{
#if HAVE_BATCH
    _parts = 0;
#endif
    memset(_counts, 0, sizeof(_counts));
    memset(_base, 0, sizeof(_base));
}

MACDispatch::~MACDispatch()
{
}

// An address in the low 48 bits, first byte highest, with a bit above them: 0 is no address.
static uint64_t
packed(const unsigned char *mac)
{
    uint64_t value = 1;
    for (int i = 0; i < 6; i++)
        value = value << 8 | mac[i];
    return value;
}

static inline void
unpack(uint64_t value, unsigned char *mac)
{
    for (int i = 5; i >= 0; i--, value >>= 8)
        mac[i] = value & 0xff;
}

int
MACDispatch::configure(Vector<String> &conf, ErrorHandler *errh)
{
    String owners, ports, source, mtu("1500");
    Vector<String> neighbors;
    uint32_t steered = NOBODY;
    if (Args(conf, this, errh)
        .read_m("SELF", _self)
        .read_m("OWNERS", AnyArg(), owners)
        .read("PORTS", AnyArg(), ports)
        .read_all("ADJACENCY", AnyArg(), neighbors)
        .read("SOURCE", AnyArg(), source)
        .read("MTU", AnyArg(), mtu)
        .read("HOST", _host).read_status(_has_host)
        .read("STEERED", steered)
        .complete() < 0)
        return -1;
    Vector<uint32_t> owner_list, port_list, mtus;
    Vector<EtherAddress> sources;
    if (_self >= NOBODY)
        return errh->error("SELF: %u should be a number from 0 to %u", _self, NOBODY - 1);
    if (fabric_numbers(owners, "OWNERS", NOBODY - 1, owner_list, errh) < 0
        || fabric_numbers(ports, "PORTS", NOBODY - 1, port_list, errh) < 0
        || fabric_numbers(mtu, "MTU", 65535, mtus, errh) < 0
        || fabric_addresses(source, "SOURCE", port_list.size(), sources, this, errh) < 0
        || place(owner_list, port_list, errh) < 0 || set_mtus(mtus, errh) < 0 || set_neighbors(neighbors, errh) < 0)
        return -1;
    if (noutputs() != (int) _owns + 3 && noutputs() != (int) _owns + 4)
        return errh->error("%d outputs: transit, %u own ports, host and not-fabric make %u, and one more may be there "
                           "for what is dropped", noutputs(), _owns, _owns + 3);
    if (steered != NOBODY && steered >= _ports)
        return errh->error("STEERED: there is no port %u, OWNERS has %u", steered, _ports);
    _steered = steered;
    _has_source = sources.size() > 0;
    for (int i = 0; i < sources.size(); i++)
        memcpy(_own[i].source, sources[i].data(), 6);
    return 0;
}

int
MACDispatch::place(const Vector<uint32_t> &owners, const Vector<uint32_t> &ports, ErrorHandler *errh)
{
    _ports = owners.size();
    _owns = ports.size();
    _places = (Place *) CLICK_LALLOC(_ports * sizeof(Place));
    _own = (Own *) CLICK_LALLOC(_owns * sizeof(Own));
    if (!_places || !_own)
        return errh->error("out of memory: %u ports", _ports);
#if HAVE_BATCH
    _parts = (PacketBatch **) CLICK_LALLOC((_owns + 4) * sizeof(PacketBatch *));
    memset(_parts, 0, (_owns + 4) * sizeof(PacketBatch *));
#endif
    memset((void *) _own, 0, _owns * sizeof(Own));
    for (uint32_t i = 0; i < _ports; i++) {
        _places[i].owner = owners[i];
        _places[i].own = NOBODY;
    }
    for (uint32_t i = 0; i < _owns; i++) {
        uint32_t port = ports[i];
        if (port >= _ports)
            return errh->error("PORTS: there is no port %u, OWNERS has %u", port, _ports);
        if (_places[port].owner != _self)
            return errh->error("PORTS: port %u is server %u's, not SELF's", port, _places[port].owner);
        if (_places[port].own != NOBODY)
            return errh->error("PORTS: port %u twice", port);
        _places[port].own = i;
        _own[i].id = port;
    }
    for (uint32_t i = 0; i < _ports; i++)
        if (_places[i].owner == _self && _places[i].own == NOBODY)
            return errh->error("PORTS: port %u is this server's (SELF), but has no output", i);
    return 0;
}

int
MACDispatch::set_mtus(const Vector<uint32_t> &mtus, ErrorHandler *errh)
{
    if (mtus.size() != 1 && mtus.size() != (int) _owns)
        return errh->error("MTU: %d numbers, not one for all or one for each of %u ports", mtus.size(), _owns);
    for (uint32_t i = 0; i < _owns; i++)
        _own[i].max_frame = mtus[mtus.size() == 1 ? 0 : i] + sizeof(click_ether);
    return 0;
}

int
MACDispatch::read_neighbor(const String &text, Own *&own, uint32_t &index, uint64_t &mac, ErrorHandler *errh)
{
    Vector<String> words;
    fabric_split(text, words);
    uint32_t port;
    EtherAddress address;
    if (words.size() != 3 || !IntArg().parse(words[0], port) || !IntArg().parse(words[1], index)
        || (words[2] != "-" && !EtherAddressArg().parse(words[2], address, ArgContext(this))))
        return errh->error("ADJACENCY: %<%s%> should be PORT INDEX MAC, with - for a MAC that is not known", text.c_str());
    if (port >= _ports || _places[port].own == NOBODY)
        return errh->error("ADJACENCY: port %u is not among this server's PORTS", port);
    if (!index || index > 65535)
        return errh->error("ADJACENCY: %u should be 1 to 65535", index);
    own = &_own[_places[port].own];
    mac = words[2] == "-" ? 0 : packed(address.data());
    return 0;
}

int
MACDispatch::set_neighbors(const Vector<String> &neighbors, ErrorHandler *errh)
{
    Own *own;
    uint32_t index;
    uint64_t mac;
    for (int i = 0; i < neighbors.size(); i++) {
        if (read_neighbor(neighbors[i], own, index, mac, errh) < 0)
            return -1;
        own->neighbors = index > own->neighbors ? index : own->neighbors;
    }
    for (uint32_t i = 0; i < _owns; i++) {
        size_t bytes = (_own[i].neighbors + 1) * sizeof(uint64_t);
        _own[i].macs = (volatile uint64_t *) CLICK_LALLOC(bytes);
        if (!_own[i].macs)
            return errh->error("out of memory: %u neighbors", _own[i].neighbors);
        memset((void *) _own[i].macs, 0, bytes);
    }
    for (int i = 0; i < neighbors.size(); i++) {
        if (read_neighbor(neighbors[i], own, index, mac, errh) < 0)
            return -1;
        if (own->macs[index])
            return errh->error("ADJACENCY: neighbor %u of port %u twice", index, own->id);
        own->macs[index] = mac;
    }
    return 0;
}

void
MACDispatch::cleanup(CleanupStage)
{
    for (uint32_t i = 0; _own && i < _owns; i++)
        if (_own[i].macs)
            CLICK_LFREE((void *) _own[i].macs, (_own[i].neighbors + 1) * sizeof(uint64_t));
#if HAVE_BATCH
    if (_parts)
        CLICK_LFREE(_parts, (_owns + 4) * sizeof(PacketBatch *));
    _parts = 0;
#endif
    if (_own)
        CLICK_LFREE(_own, _owns * sizeof(Own));
    if (_places)
        CLICK_LFREE(_places, _ports * sizeof(Place));
    _own = 0;
    _places = 0;
}

// Counts only: addresses come from the configuration.
void
MACDispatch::take_state(Element *other, ErrorHandler *)
{
    MACDispatch *old = (MACDispatch *) other->cast("MACDispatch");
    if (!old || old->_self != _self)
        return;
    for (int i = 0; i < COUNTS; i++) {
        _counts[i] = old->_counts[i];
        _base[i] = old->_base[i];
    }
    for (uint32_t i = 0; i < _owns; i++)
        for (uint32_t j = 0; j < old->_owns; j++)
            if (_own[i].id == old->_own[j].id) {
                _own[i].packets = old->_own[j].packets;
                _own[i].bytes = old->_own[j].bytes;
                _own[i].base_packets = old->_own[j].base_packets;
                _own[i].base_bytes = old->_own[j].base_bytes;
            }
}

inline int
MACDispatch::drop(Count reason)
{
    _counts[reason]++;
    return _owns + 3;
}

inline int
MACDispatch::deliver(Packet *&p, Count reason)
{
    _counts[reason]++;
    if (_has_host) {
        WritablePacket *q = p->uniqueify();
        if (!q)
            return -1;
        memcpy(q->data(), _host.data(), 6);
        p = q;
    }
    return _owns + 1;
}

// To the neighbour, or to this server's kernel.
inline int
MACDispatch::leave(Packet *&p, uint32_t number)
{
    Own &own = _own[number];
    uint32_t index = fabric_neighbor(p->data());
    if (!index)
        return deliver(p, LOCAL_DELIVERY);
    if (unlikely(index > own.neighbors))
        return drop(NO_ADJACENCY);
    uint64_t mac = own.macs[index];
    if (unlikely(!mac))
        return deliver(p, UNRESOLVED);
    if (unlikely(p->length() > own.max_frame))
        return deliver(p, TOO_BIG);
    WritablePacket *q = p->uniqueify();
    if (unlikely(!q))
        return -1;
    p = q;
    unpack(mac, q->data());
    if (_has_source)
        memcpy(q->data() + 6, own.source, 6);
    _counts[EGRESS]++;
    own.packets++;
    own.bytes += q->length();
    return number + 1;
}

// The output of a frame, written to on its way out; -1: there was no memory for that.
inline int
MACDispatch::route(Packet *&p)
{
    if (unlikely(p->length() <= sizeof(click_ether)))
        return drop(SHORT);
    const unsigned char *mac = p->data();
    if (unlikely(!fabric_address(mac))) {
        _counts[NOT_FABRIC]++;
        return _owns + 2;
    }
    uint32_t port = fabric_port(mac);
    if (unlikely(port != _steered && _steered != NOBODY))
        _counts[MISSTEERED]++;
    if (unlikely(port >= _ports))
        return drop(NO_PORT);
    if (_places[port].own != NOBODY)
        return leave(p, _places[port].own);
    _counts[TRANSIT]++;
    return 0;
}

void
MACDispatch::push(int, Packet *p)
{
    int out = route(p);
    if (likely(out >= 0))
        checked_output_push(out, p);
}

#if HAVE_BATCH
void
MACDispatch::push_batch(int, PacketBatch *batch)
{
    fabric_sort(batch, _parts, _owns + 4, [this](Packet *&p) { return route(p); },
                [this](uint32_t out, PacketBatch *part) { checked_output_push_batch(out, part); });
}
#endif

String
MACDispatch::counters() const
{
    static const char * const names[] = {
        "transit", "egress", "local_delivery", "unresolved", "too_big", "not_fabric", "missteered", "short", "no_port",
        "no_adjacency"
    };
    StringAccum sa;
    for (int i = 0; i < COUNTS; i++)
        sa << names[i] << ' ' << (_counts[i] - _base[i]) << '\n';
    for (uint32_t i = 0; i < _owns; i++)
        sa << "port " << _own[i].id << ' ' << (_own[i].packets - _own[i].base_packets) << ' '
           << (_own[i].bytes - _own[i].base_bytes) << '\n';
    return sa.take_string();
}

String
MACDispatch::adjacencies() const
{
    StringAccum sa;
    for (uint32_t i = 0; i < _owns; i++)
        for (uint32_t index = 1; index <= _own[i].neighbors; index++) {
            uint64_t mac = _own[i].macs[index];
            unsigned char bytes[6];
            unpack(mac, bytes);
            sa << _own[i].id << ' ' << index << ' ';
            if (mac)
                sa << EtherAddress(bytes).unparse_colon();
            else
                sa << '-';
            sa << '\n';
        }
    return sa.take_string();
}

// Packets go on meanwhile: their counts are noted, not written.
void
MACDispatch::reset()
{
    for (int i = 0; i < COUNTS; i++)
        _base[i] = _counts[i];
    for (uint32_t i = 0; i < _owns; i++) {
        _own[i].base_packets = _own[i].packets;
        _own[i].base_bytes = _own[i].bytes;
    }
}

String
MACDispatch::read_handler(Element *e, void *thunk)
{
    MACDispatch *dispatch = (MACDispatch *) e;
    return (intptr_t) thunk == H_COUNTERS ? dispatch->counters() : dispatch->adjacencies();
}

int
MACDispatch::write_handler(const String &text, Element *e, void *thunk, ErrorHandler *errh)
{
    MACDispatch *dispatch = (MACDispatch *) e;
    if ((intptr_t) thunk == H_RESET) {
        dispatch->reset();
        return 0;
    }
    Own *own;
    uint32_t index;
    uint64_t mac;
    if (dispatch->read_neighbor(text, own, index, mac, errh) < 0)
        return -1;
    if (index > own->neighbors)
        return errh->error("port %u has neighbors 1 to %u", own->id, own->neighbors);
    own->macs[index] = mac;
    return 0;
}

void
MACDispatch::add_handlers()
{
    add_read_handler("counters", read_handler, H_COUNTERS);
    add_read_handler("adjacencies", read_handler, H_ADJACENCIES);
    add_write_handler("adjacency", write_handler, H_ADJACENCY, Handler::h_nonexclusive);
    add_write_handler("reset", write_handler, H_RESET, Handler::h_button | Handler::h_nonexclusive);
}

CLICK_ENDDECLS
EXPORT_ELEMENT(MACDispatch)
