// SPDX-License-Identifier: Apache-2.0
/*
 * directvlb.{cc,hh} -- Direct VLB with flowlets, a core's share of it (RouteBricks 3.2, 6.1)
 */
#include <click/config.h>
#include "directvlb.hh"
CLICK_DECLS

// The lists of a configuration.
struct DirectVLB::Words {
    uint32_t self;
    Vector<uint32_t> owners;
    Vector<uint32_t> intermediates;
    Vector<uint32_t> via_server;
    Vector<Vector<uint16_t> > via_outputs;
    Vector<uint64_t> links;
    Vector<EtherAddress> sources;
};

DirectVLB::DirectVLB()
    : _owners(0), _ports(0), _sources(0), _packet_clock(false), _relay(false), _tick(0), _memory(0), _memory_size(0),
      _base_paths(0), _base_links(0)
{
#if HAVE_BATCH
    _parts = 0;
#endif
    memset(&_core, 0, sizeof(_core));
    memset(_dropped, 0, sizeof(_dropped));
    memset(_base_hows, 0, sizeof(_base_hows));
    memset(_base_dropped, 0, sizeof(_base_dropped));
}

DirectVLB::~DirectVLB()
{
}

// Words SERVER:OUTPUT[:OUTPUT...].
static int
read_ways(const String &text, Vector<uint32_t> &servers, Vector<Vector<uint16_t> > &outputs, ErrorHandler *errh)
{
    Vector<String> words;
    fabric_split(text, words);
    for (int i = 0; i < words.size(); i++) {
        Vector<uint16_t> found;
        uint32_t server = 0, output;
        String rest = words[i];
        for (bool first = true; rest; first = false) {
            int colon = rest.find_left(':');
            String number = colon < 0 ? rest : rest.substring(0, colon);
            rest = colon < 0 ? String() : rest.substring(colon + 1);
            if (!IntArg().parse(number, output) || output >= DirectVLBCore::NOWHERE)
                return errh->error("VIA: %<%s%> should be SERVER:OUTPUT", words[i].c_str());
            if (first)
                server = output;
            else
                found.push_back(output);
        }
        if (!found.size())
            return errh->error("VIA: %<%s%> should be SERVER:OUTPUT", words[i].c_str());
        servers.push_back(server);
        outputs.push_back(found);
    }
    return 0;
}

static int
read_rates(const String &text, Vector<uint64_t> &rates, Vector<String> &words, ErrorHandler *errh)
{
    fabric_split(text, words);
    for (int i = 0; i < words.size(); i++) {
        uint64_t rate;
        if (!IntArg().parse(words[i], rate))
            return errh->error("LINKS: %<%s%> should be a number of bits per second", words[i].c_str());
        rates.push_back(rate);
    }
    return 0;
}

// As rbops rounds it: to the next millisecond, halves to even ones, never to 0 what is not 0.
static uint32_t
flowlet_ticks(uint32_t us)
{
    uint32_t ticks = us / 1000, rest = us % 1000;
    if (rest > 500 || (rest == 500 && (ticks & 1)))
        ticks++;
    return us && !ticks ? 1 : ticks;
}

int
DirectVLB::configure(Vector<String> &conf, ErrorHandler *errh)
{
    String owners, via, links, intermediates, source, routing("direct-vlb"), clock("ms");
    uint32_t cores = 1, flowlet_us = 100000, entries = DirectVLBCore::FLOWLET_ENTRIES;
    uint32_t max_frame = DirectVLBCore::MAX_FRAME;
    uint64_t quota = 0;
    bool has_quota;
    Words words;
    if (Args(conf, this, errh)
        .read_m("SELF", words.self)
        .read_m("OWNERS", AnyArg(), owners)
        .read_m("VIA", AnyArg(), via)
        .read_m("LINKS", AnyArg(), links)
        .read("INTERMEDIATES", AnyArg(), intermediates)
        .read("ROUTING", WordArg(), routing)
        .read("QUOTA", quota).read_status(has_quota)
        .read("FLOWLET", SecondsArg(6), flowlet_us)
        .read("CORES", cores)
        .read("RELAY", _relay)
        .read("SOURCE", AnyArg(), source)
        .read("ENTRIES", entries)
        .read("MAX_FRAME", max_frame)
        .read("CLOCK", WordArg(), clock)
        .complete() < 0)
        return -1;

    if (routing != "direct-vlb" && routing != "vlb")
        return errh->error("ROUTING: %<%s%> should be direct-vlb or vlb", routing.c_str());
    if (clock != "ms" && clock != "packet")
        return errh->error("CLOCK: %<%s%> should be ms or packet", clock.c_str());
    if (routing == "direct-vlb" && !has_quota)
        return errh->error("QUOTA missing: direct-vlb needs it, in bits per second");
    if (!cores || cores > 65535)
        return errh->error("CORES: %u should be 1 to 65535", cores);
    if (!entries || entries > (1U << 26) || (entries & (entries - 1)))
        return errh->error("ENTRIES: %u should be a power of two up to %u", entries, 1U << 26);
    if (flowlet_us > DirectVLBCore::MAX_FLOWLET_TICKS * 1000U)
        return errh->error("FLOWLET: more than %u s", DirectVLBCore::MAX_FLOWLET_TICKS / 1000U);
    if (max_frame < 60 || max_frame > 65535)
        return errh->error("MAX_FRAME: %u should be 60 to 65535 bytes", max_frame);

    uint32_t most = DirectVLBCore::MAX_SERVERS - 1;
    if (words.self > most)
        return errh->error("SELF: %u should be a number from 0 to %u", words.self, most);
    if (fabric_numbers(owners, "OWNERS", most, words.owners, errh) < 0
        || fabric_numbers(intermediates, "INTERMEDIATES", most, words.intermediates, errh) < 0
        || read_ways(via, words.via_server, words.via_outputs, errh) < 0
        || read_rates(links, words.links, _rates, errh) < 0
        || fabric_addresses(source, "SOURCE", words.links.size(), words.sources, this, errh) < 0)
        return -1;

    _packet_clock = clock == "packet";
    _core.config.self = words.self;
    _core.config.quota = routing == "direct-vlb";
    _core.config.flowlet_ticks = flowlet_ticks(flowlet_us);
    _core.config.flowlet_mask = entries - 1;
    _core.config.direct.set(_core.config.quota ? quota : 0, cores, max_frame);
    if (place(words, errh) < 0 || set_links(words, cores, max_frame, errh) < 0 || set_servers(words, errh) < 0)
        return -1;
    set_rotation(words);
    return 0;
}

// Memory for everything that the lists name.
int
DirectVLB::place(const Words &words, ErrorHandler *errh)
{
    DirectVLBCore::Config &config = _core.config;
    uint32_t highest = config.self;
    for (int i = 0; i < words.owners.size(); i++)
        highest = words.owners[i] > highest ? words.owners[i] : highest;
    for (int i = 0; i < words.via_server.size(); i++) {
        if (words.via_server[i] >= DirectVLBCore::MAX_SERVERS)
            return errh->error("VIA: server %u should be below %u", words.via_server[i], DirectVLBCore::MAX_SERVERS);
        highest = words.via_server[i] > highest ? words.via_server[i] : highest;
        config.bundled |= words.via_outputs[i].size() > 1;
    }
    config.servers = highest + 1;
    config.links = words.links.size();
    config.slots = words.intermediates.size() + !config.quota;
    config.columns = DirectVLBCore::FIRST_VIA + words.intermediates.size();
    _memory_size = _core.bytes();
    _ports = words.owners.size();
    _memory = CLICK_LALLOC(_memory_size);
    _owners = (uint16_t *) CLICK_LALLOC(_ports * sizeof(uint16_t));
    if (words.sources.size())
        _sources = (unsigned char *) CLICK_LALLOC(config.links * 6);
    if (!_memory || !_owners || (words.sources.size() && !_sources))
        return errh->error("out of memory: %u servers, %u ports", config.servers, _ports);
#if HAVE_BATCH
    _parts = (PacketBatch **) CLICK_LALLOC((config.links + 2) * sizeof(PacketBatch *));
    memset(_parts, 0, (config.links + 2) * sizeof(PacketBatch *));
#endif
    memset(_memory, 0, _memory_size);
    _core.place(_memory);
    for (int i = 0; i < words.owners.size(); i++)
        _owners[i] = words.owners[i];
    for (int i = 0; i < words.sources.size(); i++)
        memcpy(_sources + 6 * i, words.sources[i].data(), 6);
    return 0;
}

int
DirectVLB::set_links(const Words &words, uint32_t cores, uint32_t max_frame, ErrorHandler *errh)
{
    int count = words.links.size();
    if (!count)
        return errh->error("LINKS: no link");
    if (count >= DirectVLBCore::NOWHERE)
        return errh->error("LINKS: %d links should be below %d", count, DirectVLBCore::NOWHERE);
    if (noutputs() < count || noutputs() > count + 2)
        return errh->error("%d outputs: LINKS names %d, and two more may be there for frames without a path",
                           noutputs(), count);
    for (int i = 0; i < count; i++)
        _core.links[i].rate.set(words.links[i], cores, max_frame);
    return 0;
}

// Servers that share one output share all of them, in the same order: an output is in one ring.
bool
DirectVLB::same_bundle(const Words &words, int at)
{
    const Vector<uint16_t> &outputs = words.via_outputs[at];
    for (int i = 0; i < at; i++) {
        const Vector<uint16_t> &others = words.via_outputs[i];
        bool any = false, all = outputs.size() == others.size();
        for (int j = 0; j < outputs.size(); j++) {
            for (int k = 0; k < others.size(); k++)
                any |= outputs[j] == others[k];
            all = all && outputs[j] == others[j];
        }
        if (any && !all)
            return false;
    }
    return true;
}

int
DirectVLB::set_servers(const Words &words, ErrorHandler *errh)
{
    for (int i = 0; i < words.via_server.size(); i++) {
        uint32_t server = words.via_server[i];
        if (server == _core.config.self)
            return errh->error("VIA: server %u is this one (SELF)", server);
        const Vector<uint16_t> &outputs = words.via_outputs[i];
        for (int j = 0; j < outputs.size(); j++) {
            if (outputs[j] >= _core.config.links)
                return errh->error("VIA: server %u has output %u, LINKS has only %u", server, outputs[j],
                                   _core.config.links);
            for (int k = 0; k < j; k++)
                if (outputs[k] == outputs[j])
                    return errh->error("VIA: server %u has output %u twice", server, outputs[j]);
        }
        if (_core.servers[server].link != DirectVLBCore::NOWHERE)
            return errh->error("VIA: server %u twice", server);
        if (!same_bundle(words, i))
            return errh->error("VIA: server %u has some of the outputs of another one, should be all or none", server);
        _core.servers[server].link = outputs[0];
        _core.servers[server].said = 0;
        _core.bundle(&outputs[0], outputs.size());
    }
    for (int i = 0; i < words.owners.size(); i++)
        if (words.owners[i] != _core.config.self && _core.servers[words.owners[i]].link == DirectVLBCore::NOWHERE)
            return errh->error("VIA: no link towards server %u, the owner of port %d", words.owners[i], i);
    for (int i = 0; i < words.intermediates.size(); i++) {
        uint32_t server = words.intermediates[i];
        if (server == _core.config.self)
            return errh->error("INTERMEDIATES: server %u is this one (SELF)", server);
        if (server >= _core.config.servers || _core.servers[server].link == DirectVLBCore::NOWHERE)
            return errh->error("INTERMEDIATES: VIA has no link towards server %u", server);
        if (_core.servers[server].column != DirectVLBCore::OTHER)
            return errh->error("INTERMEDIATES: server %u twice", server);
        _core.servers[server].column = DirectVLBCore::FIRST_VIA + i;
    }
    return 0;
}

void
DirectVLB::set_rotation(const Words &words)
{
    int count = words.intermediates.size();
    for (int i = 0; i < count; i++)
        _core.rotation[i] = words.intermediates[i];
    if (!_core.config.quota)
        _core.rotation[count] = _core.config.self;
}

void
DirectVLB::cleanup(CleanupStage)
{
    release();
}

void
DirectVLB::release()
{
    if (_base_paths)
        CLICK_LFREE(_base_paths, path_count() * sizeof(DirectVLBCore::Traffic));
#if HAVE_BATCH
    if (_parts)
        CLICK_LFREE(_parts, (_core.config.links + 2) * sizeof(PacketBatch *));
    _parts = 0;
#endif
    if (_sources)
        CLICK_LFREE(_sources, _core.config.links * 6);
    if (_owners)
        CLICK_LFREE(_owners, _ports * sizeof(uint16_t));
    if (_memory)
        CLICK_LFREE(_memory, _memory_size);
    if (_base_links)
        CLICK_LFREE(_base_links, _core.config.links * sizeof(DirectVLBCore::Traffic));
    _base_paths = 0;
    _base_links = 0;
    _sources = 0;
    _owners = 0;
    _memory = 0;
}

// The old router stands still while this runs.
void
DirectVLB::take_state(Element *other, ErrorHandler *)
{
    DirectVLB *old = (DirectVLB *) other->cast("DirectVLB");
    if (!old || old->_core.config.self != _core.config.self || old->_packet_clock != _packet_clock)
        return;
    old->fold();
    _core.take_state(old->_core);
    for (int i = 0; i < DROPS; i++)
        _dropped[i] = old->_dropped[i];
    _tick = old->_tick;
}

// The counts since the last reset become the counts.
void
DirectVLB::fold()
{
    for (size_t i = 0; _base_paths && i < path_count(); i++) {
        _core.paths[i].packets -= _base_paths[i].packets;
        _core.paths[i].bytes -= _base_paths[i].bytes;
        _base_paths[i].packets = _base_paths[i].bytes = 0;
    }
    for (uint32_t i = 0; _base_links && i < _core.config.links; i++) {
        _core.links[i].sent.packets -= _base_links[i].packets;
        _core.links[i].sent.bytes -= _base_links[i].bytes;
        _base_links[i].packets = _base_links[i].bytes = 0;
    }
    for (int i = 0; i < DirectVLBCore::HOWS; i++) {
        _core.hows[i] -= _base_hows[i];
        _base_hows[i] = 0;
    }
    for (int i = 0; i < DROPS; i++) {
        _dropped[i] -= _base_dropped[i];
        _base_dropped[i] = 0;
    }
}

// Of the steady clock, as exact as the kernel's tick, 1 to 10 ms, which is as much as a bucket holds: reading it costs
// a fifth of reading the exact one. A timer instead would keep an idle Click from sleeping.
static inline uint32_t
coarse_ms()
{
#if CLICK_LINUXMODULE
    return jiffies_to_msecs(jiffies);
#elif defined(CLOCK_MONOTONIC_COARSE)
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint32_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
#else
    return (uint32_t) Timestamp::now_steady().msecval();
#endif
}

inline void
DirectVLB::read_clock()
{
    if (likely(!_packet_clock))
        _tick = coarse_ms();
}

inline uint32_t
DirectVLB::tick_of(Packet *p)
{
    if (likely(!_packet_clock))
        return _tick;
    uint32_t tick = (uint32_t) p->timestamp_anno().msecval();
    // The first one starts the clock; later ones do not turn it back.
    if (!_tick || (int32_t) (tick - _tick) > 0)
        _tick = tick;
    return _tick;
}

inline uint32_t
DirectVLB::dest_of(const unsigned char *mac) const
{
    uint32_t port = fabric_port(mac);
    if (unlikely(!fabric_address(mac) || port >= _ports || _owners[port] == _core.config.self))
        return DirectVLBCore::NOWHERE;
    return _owners[port];
}

// What may be answered leaves by the first output behind the links where there are two.
inline int
DirectVLB::drop(Drop reason, int port)
{
    _dropped[reason]++;
    bool apart = noutputs() > (int) _core.config.links + 1;
    return _core.config.links + (apart && !(reason == NO_PATH && port == 0));
}

static inline void
write_number(unsigned char *at, uint32_t number)
{
    at[0] = number >> 8;
    at[1] = number;
}

// Where a frame goes whose owner is another server: the intermediate that its source address names, as long as it can be
// reached and is not behind. rbops/vlb/phases.py says the same.
inline uint32_t
DirectVLB::relay_towards(const unsigned char *source, uint32_t owner, uint32_t &via) const
{
    via = fabric_relayed(source) ? fabric_port(source) : (uint32_t) DirectVLBCore::NOWHERE;
    if (via < _core.config.servers && via != _core.config.self && via != owner && _core.is_alive(via, via))
        return via;
    via = DirectVLBCore::NOWHERE;
    return owner;
}

// The output of a packet, which is written to where SOURCE or RELAY says so; -1: there was no memory for that.
inline int
DirectVLB::route(int port, Packet *&p)
{
    uint32_t size = p->length();
    if (unlikely(size <= sizeof(click_ether)))
        return drop(SHORT, port);
    uint32_t dest = dest_of(p->data());
    if (unlikely(dest == DirectVLBCore::NOWHERE))
        return drop(NO_PORT, port);
    uint32_t tick = tick_of(p), via, out;
    const unsigned char *ip = p->data() + sizeof(click_ether);
    if (port == 0) {
        if (p->has_network_header())
            ip = p->network_header();
        uint64_t hash = ip + 20 <= p->end_data() ? DirectVLBCore::flow_hash(ip, p->end_data()) : 0;
        via = _core.choose(tick, hash, dest, size, out);
        if (via == dest)
            via = DirectVLBCore::NOWHERE;
    } else {
        uint32_t towards = _relay ? relay_towards(p->data() + 6, dest, via) : dest;
        bool hashed = _core.config.bundled && ip + 20 <= p->end_data() && ip[0] >> 4 == 4;
        out = _core.forward(tick, towards, size, hashed ? DirectVLBCore::flow_hash(ip, p->end_data()) : 0);
    }
    if (unlikely(out == DirectVLBCore::NOWHERE))
        return drop(NO_PATH, port);
    if (_sources || _relay) {
        WritablePacket *q = p->uniqueify();
        if (unlikely(!q))
            return -1;
        unsigned char *source = q->data() + 6;
        if (_relay) {
            if (port == 0 || !fabric_relayed(source)) {
                source[0] = 0x02;
                source[1] = 0x56;
                write_number(source + 4, port == 0 ? _core.config.self : (uint32_t) DirectVLBCore::NOWHERE);
            }
            write_number(source + 2, via);
        } else
            memcpy(source, _sources + 6 * out, 6);
        p = q;
    }
    return out;
}

void
DirectVLB::push(int port, Packet *p)
{
    read_clock();
    int out = route(port, p);
    if (likely(out >= 0))
        checked_output_push(out, p);
}

#if HAVE_BATCH
void
DirectVLB::push_batch(int port, PacketBatch *batch)
{
    read_clock();
    fabric_sort(batch, _parts, _core.config.links + 2, [this, port](Packet *&p) { return route(port, p); },
                [this](uint32_t out, PacketBatch *part) { checked_output_push_batch(out, part); });
}
#endif

DirectVLBCore::Traffic
DirectVLB::path_since_reset(uint32_t dest, uint32_t column) const
{
    size_t at = (size_t) dest * _core.config.columns + column;
    DirectVLBCore::Traffic traffic = _core.paths[at];
    if (_base_paths) {
        traffic.packets -= _base_paths[at].packets;
        traffic.bytes -= _base_paths[at].bytes;
    }
    return traffic;
}

static void
say_path(StringAccum &sa, const char *kind, uint32_t dest, const String &via, const DirectVLBCore::Traffic &traffic)
{
    if (!traffic.packets)
        return;
    sa << kind << ' ' << dest;
    if (via)
        sa << ' ' << via;
    sa << ' ' << traffic.packets << ' ' << traffic.bytes << '\n';
}

String
DirectVLB::counters() const
{
    static const char * const hows[] = { "kept", "new", "moved", "split", "alone" };
    static const char * const drops[] = { "no_path", "no_port", "short" };
    const DirectVLBCore::Config &config = _core.config;
    StringAccum sa;
    for (int i = 0; i < DirectVLBCore::HOWS; i++)
        sa << hows[i] << ' ' << (_core.hows[i] - _base_hows[i]) << '\n';
    for (int i = 0; i < DROPS; i++)
        sa << drops[i] << ' ' << (_dropped[i] - _base_dropped[i]) << '\n';
    uint32_t intermediates = config.columns - DirectVLBCore::FIRST_VIA;
    for (uint32_t dest = 0; dest < config.servers; dest++) {
        say_path(sa, "direct", dest, String(), path_since_reset(dest, DirectVLBCore::DIRECT));
        for (uint32_t i = 0; i < intermediates; i++)
            say_path(sa, "phase1", dest, String(_core.rotation[i]),
                     path_since_reset(dest, DirectVLBCore::FIRST_VIA + i));
        say_path(sa, "phase1", dest, "-", path_since_reset(dest, DirectVLBCore::OTHER));
        say_path(sa, "phase2", dest, String(), path_since_reset(dest, DirectVLBCore::PHASE2));
    }
    return sa.take_string();
}

String
DirectVLB::links() const
{
    StringAccum sa;
    uint32_t now = _packet_clock ? _tick : coarse_ms();
    for (uint32_t i = 0; i < _core.config.links; i++) {
        DirectVLBCore::Traffic sent = _core.links[i].sent;
        if (_base_links) {
            sent.packets -= _base_links[i].packets;
            sent.bytes -= _base_links[i].bytes;
        }
        sa << i << ' ' << _rates[i] << ' ' << _core.tokens(i, now) << ' ' << _core.links[i].rate.depth << ' '
           << sent.packets << ' ' << sent.bytes << '\n';
    }
    return sa.take_string();
}

String
DirectVLB::said(intptr_t handler) const
{
    StringAccum sa;
    for (uint32_t i = 0; i < _core.config.servers; i++) {
        uint8_t said = _core.servers[i].said;
        bool is_so = handler == H_DRAINED ? said & DirectVLBCore::DRAINED
            : handler == H_ANSWERS ? !(said & DirectVLBCore::SILENT) : _core.is_alive(i, i);
        if (_core.servers[i].link != DirectVLBCore::NOWHERE)
            sa << i << ' ' << (is_so ? "true" : "false") << '\n';
    }
    return sa.take_string();
}

String
DirectVLB::cuts() const
{
    StringAccum sa;
    for (uint32_t via = 0; via < _core.config.servers; via++)
        for (uint32_t to = 0; to < _core.config.servers; to++)
            if (_core.cut[(size_t) via * _core.config.servers + to])
                sa << via << ' ' << to << '\n';
    return sa.take_string();
}

// Of a server's or an output's link.
int
DirectVLB::say(const String &text, intptr_t handler, ErrorHandler *errh)
{
    bool is_cable = handler == H_CABLE || handler == H_CABLE_ANSWERS;
    Vector<String> words;
    fabric_split(text, words);
    uint32_t number;
    bool is_so;
    if (words.size() != 2 || !IntArg().parse(words[0], number) || !BoolArg().parse(words[1], is_so))
        return errh->error("%<%s%> should be %s true|false", text.c_str(), is_cable ? "OUTPUT" : "SERVER");
    if (is_cable && number >= _core.config.links)
        return errh->error("there is no link at output %u", number);
    if (!is_cable && (number >= _core.config.servers || _core.servers[number].link == DirectVLBCore::NOWHERE))
        return errh->error("server %u has no link here", number);
    volatile uint8_t &said = is_cable ? _core.links[number].said : _core.servers[number].said;
    if (handler == H_DRAINED)
        DirectVLBCore::say(said, DirectVLBCore::DRAINED, is_so);
    else if (handler == H_ALIVE || handler == H_CABLE)
        DirectVLBCore::say(said, DirectVLBCore::NO_CARRIER, !is_so);
    else
        DirectVLBCore::say(said, DirectVLBCore::SILENT, !is_so);
    return 0;
}

int
DirectVLB::set_cut(const String &text, ErrorHandler *errh)
{
    Vector<String> words;
    fabric_split(text, words);
    uint32_t server;
    if (words.size() != 2 || !IntArg().parse(words[0], server) || words[1].length() % 2)
        return errh->error("%<%s%> should be SERVER HEX", text.c_str());
    Vector<uint8_t> bits;
    for (int i = 0; i < words[1].length(); i += 2) {
        uint32_t byte;
        if (!IntArg(16).parse(words[1].substring(i, 2), byte))
            return errh->error("%<%s%> should be hexadecimal digits", words[1].c_str());
        bits.push_back(byte);
    }
    // Nothing goes through servers that VIA does not name.
    if (server < _core.config.servers)
        _core.set_cut(server, bits.size() ? &bits[0] : 0, bits.size());
    return 0;
}

// Packets go on meanwhile: their counts are noted, not written.
int
DirectVLB::reset(ErrorHandler *errh)
{
    if (!_base_paths) {
        size_t bytes = path_count() * sizeof(DirectVLBCore::Traffic);
        DirectVLBCore::Traffic *base = (DirectVLBCore::Traffic *) CLICK_LALLOC(bytes);
        if (!base)
            return errh->error("out of memory");
        memset(base, 0, bytes);
        _base_paths = base;
    }
    if (!_base_links)
        _base_links = (DirectVLBCore::Traffic *) CLICK_LALLOC(_core.config.links * sizeof(DirectVLBCore::Traffic));
    if (!_base_links)
        return errh->error("out of memory");
    for (uint32_t i = 0; i < _core.config.links; i++)
        _base_links[i] = _core.links[i].sent;
    for (size_t i = 0; i < path_count(); i++)
        _base_paths[i] = _core.paths[i];
    for (int i = 0; i < DirectVLBCore::HOWS; i++)
        _base_hows[i] = _core.hows[i];
    for (int i = 0; i < DROPS; i++)
        _base_dropped[i] = _dropped[i];
    return 0;
}

String
DirectVLB::read_handler(Element *e, void *thunk)
{
    DirectVLB *vlb = (DirectVLB *) e;
    switch ((intptr_t) thunk) {
    case H_COUNTERS:
        return vlb->counters();
    case H_LINKS:
        return vlb->links();
    case H_ALIVE:
    case H_ANSWERS:
    case H_DRAINED:
        return vlb->said((intptr_t) thunk);
    case H_CUT:
        return vlb->cuts();
    default:
        return String(vlb->_tick);
    }
}

int
DirectVLB::write_handler(const String &text, Element *e, void *thunk, ErrorHandler *errh)
{
    DirectVLB *vlb = (DirectVLB *) e;
    if ((intptr_t) thunk == H_RESET)
        return vlb->reset(errh);
    return (intptr_t) thunk == H_CUT ? vlb->set_cut(text, errh) : vlb->say(text, (intptr_t) thunk, errh);
}

void
DirectVLB::add_handlers()
{
    add_read_handler("counters", read_handler, H_COUNTERS);
    add_read_handler("links", read_handler, H_LINKS);
    add_read_handler("alive", read_handler, H_ALIVE);
    add_read_handler("tick", read_handler, H_TICK);
    add_read_handler("answers", read_handler, H_ANSWERS);
    add_read_handler("drained", read_handler, H_DRAINED);
    add_read_handler("cut", read_handler, H_CUT);
    add_write_handler("alive", write_handler, H_ALIVE, Handler::h_nonexclusive);
    add_write_handler("answers", write_handler, H_ANSWERS, Handler::h_nonexclusive);
    add_write_handler("drained", write_handler, H_DRAINED, Handler::h_nonexclusive);
    add_write_handler("cable", write_handler, H_CABLE, Handler::h_nonexclusive);
    add_write_handler("cable_answers", write_handler, H_CABLE_ANSWERS, Handler::h_nonexclusive);
    add_write_handler("cut", write_handler, H_CUT, Handler::h_nonexclusive);
    add_write_handler("reset", write_handler, H_RESET, Handler::h_button | Handler::h_nonexclusive);
}

CLICK_ENDDECLS
EXPORT_ELEMENT(DirectVLB)
