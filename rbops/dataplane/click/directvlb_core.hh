// SPDX-License-Identifier: Apache-2.0
/*
 * Direct VLB with flowlets (RouteBricks 3.2, 6.1) for one core: what rbops/vlb/model.py says, with the
 * same names and the same integers. C++11 without Click, STL, exceptions, division or allocation: the
 * element directvlb.cc, its kernel form and a test driver include it.
 *
 * Buckets count the bytes that are missing to full (`used`): what the model calls tokens is depth - used.
 * One thread calls choose() and forward(); others may read the counts and write what is said of servers and links
 * (Said) at any time.
 */
#ifndef RBOPS_DIRECTVLB_CORE_HH
#define RBOPS_DIRECTVLB_CORE_HH

#if !CLICK_LINUXMODULE && !CLICK_BSDMODULE
# include <stddef.h>
# include <stdint.h>
# include <string.h>
#endif

#ifndef likely
# define likely(x) __builtin_expect(!!(x), 1)
# define unlikely(x) __builtin_expect(!!(x), 0)
#endif

class DirectVLBCore { public:

    enum {
        BURST_TICKS = 10,           // a bucket holds what this many ticks (ms) refill
        MAX_FRAME = 1514,           // bytes without FCS, at an MTU of 1500
        FLOWLET_ENTRIES = 1 << 14,  // of the table, a power of two
        MAX_FLOWLET_TICKS = 60000,  // an entry keeps 16 bits of the time
        MAX_REFILL = 200000000,     // bytes a tick: a bucket fits 31 bits
        MAX_SERVERS = 65535,
        NOWHERE = 0xffff            // no server, no output
    };

    // What the flowlet table did for a packet: the order is that of the counts.
    enum How { KEPT, NEW, MOVED, SPLIT, ALONE, HOWS };

    struct Rate {
        uint32_t refill;            // bytes per tick
        int32_t depth;              // bytes it holds
        int32_t slack;              // with no more than these missing it has headroom; -1: it never has

        void set(uint64_t bps, uint32_t cores, uint32_t max_frame) {
            uint64_t bytes = bps / ((uint64_t) 8000 * cores);
            refill = bytes < MAX_REFILL ? bytes : (uint32_t) MAX_REFILL;
            depth = refill * BURST_TICKS > 2 * max_frame ? refill * BURST_TICKS : 2 * max_frame;
            if (!refill)
                depth = 0;
            int32_t join = depth - depth / 8;
            slack = depth - (join > 1 ? join : 1);
        }
    };

    struct Traffic {
        uint64_t packets;
        uint64_t bytes;
    };

    // What is said of a server or link, a bit each. Of links only where several lead to one server.
    enum Said { NO_CARRIER = 1, SILENT = 2, DRAINED = 4, PARTIAL = 8 };

    struct Link {
        int32_t used;
        Rate rate;
        uint16_t sibling;           // the next link to the same server, in a ring; itself where there is one only
        volatile uint8_t said;
        Traffic sent;
    };

    // Another server, as a destination and as the first server of a path.
    struct Server {
        int32_t used;               // of its direct bucket
        uint32_t position;          // in the rotation
        uint16_t link;              // output towards it, the first of several; NOWHERE: none
        uint16_t column;            // of its counts as an intermediate
        volatile uint8_t said;      // NO_CARRIER too where there is no link
    };

    // Columns of a destination's counts; intermediates follow. OTHER: over a server that is no intermediate, where
    // a flowlet kept its path while its route or the configuration changed.
    enum { DIRECT, PHASE2, OTHER, FIRST_VIA };

    struct Config {
        uint32_t self;              // this server
        uint32_t servers;           // numbers are below this
        uint32_t links;             // outputs
        uint32_t slots;             // of the rotation
        uint32_t columns;           // FIRST_VIA + intermediates
        uint32_t quota;             // 1: direct-vlb, 0: vlb
        uint32_t bundled;           // 1: several links lead to some server
        uint32_t flowlet_ticks;     // 0: off
        uint32_t flowlet_mask;      // entries - 1
        Rate direct;                // per destination server
    };

    Config config;
    Server *servers;                // by number
    Link *links;                    // by output
    uint16_t *rotation;             // servers; in vlb with this one behind them
    uint64_t *flowlets;             // tag (0: empty), first server, last tick's low 16 bits
    uint16_t *cables;               // each flowlet's output, where servers have several
    volatile uint8_t *cut;          // by server and server: no path through the one leads to the other
    Traffic *paths;                 // by destination and column
    uint64_t hows[HOWS];

    // Bytes of memory that place() lays out; `config` says how many of everything.
    size_t bytes() const {
        return paths_bytes() + flowlets_bytes() + servers_bytes() + links_bytes() + rotation_bytes() + cables_bytes()
            + cut_bytes();
    }

    // Zeroed memory of bytes() bytes, aligned to 8: full buckets, empty table, all servers without a link.
    void place(void *memory) {
        char *at = (char *) memory;
        paths = (Traffic *) at;
        at += paths_bytes();
        flowlets = (uint64_t *) at;
        at += flowlets_bytes();
        servers = (Server *) at;
        at += servers_bytes();
        links = (Link *) at;
        at += links_bytes();
        rotation = (uint16_t *) at;
        at += rotation_bytes();
        cables = (uint16_t *) at;
        at += cables_bytes();
        cut = (volatile uint8_t *) at;
        for (uint32_t link = 0; link < config.links; ++link)
            links[link].sibling = link;
        for (uint32_t number = 0; number < config.servers; ++number) {
            servers[number].link = NOWHERE;
            servers[number].column = OTHER;
            servers[number].said = NO_CARRIER;
        }
        for (int how = 0; how < HOWS; ++how)
            hows[how] = 0;
        _tick = 0;
    }

    Traffic &path(uint32_t dest, uint32_t column) {
        return paths[(size_t) dest * config.columns + column];
    }

    // The 64-bit hash of a flow from its IPv4 header, of which at least 20 bytes are there.
    static uint64_t flow_hash(const unsigned char *ip, const unsigned char *end) {
        const unsigned char *ports = ip + (ip[0] & 15) * 4;
        uint64_t value = load64(ip + 12) * 0x9E3779B97F4A7C15ULL;
        uint64_t rest = (uint64_t) ip[9] << 32;
        if (!((ip[6] & 0x3f) | ip[7]) && has_ports(ip[9]) && ports + 4 <= end)
            rest |= load32(ports);
        value ^= value >> 32;
        value = (value ^ rest) * 0xBF58476D1CE4E5B9ULL;
        value ^= value >> 29;
        value *= 0x94D049BB133111EBULL;
        return value ^ value >> 32;
    }

    // The first server of the way to `dest` for a frame of `size` bytes, charged and counted, and the output that leads
    // there; NOWHERE: no path is alive. `tick` never goes back; `dest` has a link and is not this server.
    uint32_t choose(uint32_t tick, uint64_t hash, uint32_t dest, uint32_t size, uint32_t &output) {
        How how;
        return choose(tick, hash, dest, size, output, how);
    }

    uint32_t choose(uint32_t tick, uint64_t hash, uint32_t dest, uint32_t size, uint32_t &output, How &how) {
        advance(tick);
        output = NOWHERE;
        uint32_t via = decide(tick, hash, dest, size, output, how);
        hows[how]++;
        if (unlikely(via == NOWHERE))
            return via;
        send(output, size);
        if (via == dest && config.quota)
            take(servers[dest].used, config.direct, size);
        count(path(dest, via == dest ? (uint32_t) DIRECT : servers[via].column), size);
        return via;
    }

    // Charge and count a frame from the fabric that is passed on towards a server; its output, or NOWHERE. Of several
    // links one by the flow.
    uint32_t forward(uint32_t tick, uint32_t towards, uint32_t size, uint64_t hash = 0) {
        advance(tick);
        if (unlikely(!is_alive(towards, towards)))
            return NOWHERE;
        uint32_t output = servers[towards].link;
        if (unlikely(is_bundled(output)))
            output = hashed(output, hash >> 40);
        send(output, size);
        count(path(towards, PHASE2), size);
        return output;
    }

    // May frames for `dest` go to `via` first?
    bool is_alive(uint32_t via, uint32_t dest) const {
        uint8_t said = servers[via].said;
        if (likely(!said))
            return true;
        if (said & (NO_CARRIER | SILENT))
            return false;
        return via == dest || !((said & DRAINED) || cut[(size_t) via * config.servers + dest]);
    }

    // Servers that no path through `via` leads to: `bits`, one each, the lowest server 0's; those beyond count as 0.
    void set_cut(uint32_t via, const uint8_t *bits, size_t bytes) {
        bool any = false;
        for (uint32_t to = 0; to < config.servers; ++to) {
            uint8_t bit = to / 8 < bytes ? bits[to / 8] >> to % 8 & 1 : 0;
            cut[(size_t) via * config.servers + to] = bit;
            any |= bit;
        }
        say(servers[via].said, PARTIAL, any);
    }

    static void say(volatile uint8_t &said, uint8_t what, bool is_so) {
        said = is_so ? said | what : said & ~what;
    }

    // Join outputs to a ring: they lead to one server.
    void bundle(const uint16_t *outputs, uint32_t count) {
        for (uint32_t at = 0; at < count; ++at)
            links[outputs[at]].sibling = outputs[at + 1 < count ? at + 1 : 0];
        config.bundled |= count > 1;
    }

    void advance(uint32_t tick) {
        if (unlikely(tick != _tick))
            refill_all(tick);
    }

    // Bytes that may be sent on an output at once, at a tick that no packet may have seen yet.
    int32_t tokens(uint32_t output, uint32_t tick) const {
        int32_t used = links[output].used;
        refill(used, links[output].rate, tick - _tick);
        return links[output].rate.depth - used;
    }

    // After a change of configuration: another core's state as far as both have the same servers and outputs.
    void take_state(const DirectVLBCore &old) {
        _tick = old._tick;
        uint32_t same = config.servers < old.config.servers ? config.servers : old.config.servers;
        for (uint32_t number = 0; number < same; ++number) {
            Server &server = servers[number];
            const Server &before = old.servers[number];
            server.used = before.used < config.direct.depth ? before.used : config.direct.depth;
            server.position = before.position < config.slots ? before.position : 0;
            if (server.link != NOWHERE && before.link != NOWHERE)
                server.said = before.said;
            for (uint32_t to = 0; to < same; ++to)
                cut[(size_t) number * config.servers + to] = old.cut[(size_t) number * old.config.servers + to];
            take_counts(old, number);
        }
        for (uint32_t at = 0; at < config.links && at < old.config.links; ++at) {
            int32_t used = old.links[at].used;
            links[at].used = used < links[at].rate.depth ? used : links[at].rate.depth;
            links[at].sent = old.links[at].sent;
            if (is_bundled(at) && old.is_bundled(at))
                links[at].said = old.links[at].said;
        }
        take_flowlets(old);
        for (int how = 0; how < HOWS; ++how)
            hows[how] = old.hows[how];
    }

  private:

    uint32_t _tick;                 // up to which the buckets are refilled

    enum Condition { HEADROOM, FITS, ALIVE };

    size_t paths_bytes() const { return (size_t) config.servers * config.columns * sizeof(Traffic); }
    size_t flowlets_bytes() const { return ((size_t) config.flowlet_mask + 1) * sizeof(uint64_t); }
    size_t servers_bytes() const { return config.servers * sizeof(Server); }
    size_t links_bytes() const { return config.links * sizeof(Link); }
    size_t rotation_bytes() const { return config.slots * sizeof(uint16_t); }
    size_t cables_bytes() const { return config.bundled ? ((size_t) config.flowlet_mask + 1) * sizeof(uint16_t) : 0; }
    size_t cut_bytes() const { return (size_t) config.servers * config.servers; }

    static void count(Traffic &traffic, uint32_t size) {
        traffic.packets++;
        traffic.bytes += size;
    }

    void send(uint32_t output, uint32_t size) {
        Link &link = links[output];
        take(link.used, link.rate, size);
        count(link.sent, size);
    }

    bool is_bundled(uint32_t output) const { return links[output].sibling != output; }

    static int32_t room_in(int32_t used, const Rate &rate) { return rate.depth - used; }

    // Of the ring that `first` is in, the link that holds the most; of equals the first. `first` where all are dead.
    uint32_t roomiest_link(uint32_t first) const {
        uint32_t output = first, best = first;
        int32_t most = INT32_MIN;
        do {
            int32_t room = room_in(links[output].used, links[output].rate);
            if (room > most && !links[output].said) {
                most = room;
                best = output;
            }
            output = links[output].sibling;
        } while (output != first);
        return best;
    }

    // Of those that are not dead, one by the flow; `first` where all are.
    uint32_t hashed(uint32_t first, uint32_t hash) const {
        uint32_t output = first, alive = 0;
        do {
            alive += !links[output].said;
            output = links[output].sibling;
        } while (output != first);
        for (hash = alive ? hash % alive : 0; alive; output = links[output].sibling)
            if (!links[output].said && !hash--)
                return output;
        return first;
    }

    // The link towards a server that a packet takes which is bound to none.
    uint32_t link_to(uint32_t server) const {
        uint32_t output = servers[server].link;
        return likely(!is_bundled(output)) ? output : roomiest_link(output);
    }

    static bool has_ports(uint8_t protocol) {
        // TCP, UDP, DCCP, SCTP, UDP-Lite
        return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
    }

    // As a little-endian machine loads them.
    static uint32_t load32(const unsigned char *at) {
        uint32_t word;
        memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap32(word);
#endif
        return word;
    }

    static uint64_t load64(const unsigned char *at) {
        return (uint64_t) load32(at + 4) << 32 | load32(at);
    }

    static void refill(int32_t &used, const Rate &rate, uint32_t elapsed) {
        uint64_t gained = (uint64_t) elapsed * rate.refill;
        used = gained >= (uint32_t) used ? 0 : used - (int32_t) gained;
    }

    static void take(int32_t &used, const Rate &rate, uint32_t size) {
        int32_t more = used + (int32_t) size;
        used = more < rate.depth ? more : rate.depth;
    }

    // Has the bucket headroom (size 0), or the bytes of the frame?
    static bool holds(int32_t used, const Rate &rate, uint32_t size) {
        return size ? used + (int32_t) size <= rate.depth : used <= rate.slack;
    }

    // All buckets at once, when time has passed: packets then find them current.
    void refill_all(uint32_t tick) {
        uint32_t elapsed = tick - _tick;
        _tick = tick;
        for (uint32_t at = 0; at < config.links; ++at)
            refill(links[at].used, links[at].rate, elapsed);
        if (config.quota)
            for (uint32_t number = 0; number < config.servers; ++number)
                refill(servers[number].used, config.direct, elapsed);
    }

    // Does the path over this output, which is alive, take a packet of `size` bytes? 0 asks for headroom.
    bool link_holds(uint32_t output, uint32_t via, uint32_t dest, uint32_t size) const {
        const Link &link = links[output];
        if (!holds(link.used, link.rate, size))
            return false;
        if (via != dest || !config.quota)
            return true;
        return holds(servers[dest].used, config.direct, size);
    }

    bool path_holds(uint32_t via, uint32_t dest, uint32_t size) const {
        return link_holds(link_to(via), via, dest, size);
    }

    // The next server in rotation that meets the condition, NOWHERE when none does. The position is then where
    // it was, a whole round further.
    uint32_t rotate(uint32_t dest, uint32_t size, Condition condition) {
        uint32_t at = servers[dest].position, found = NOWHERE;
        for (uint32_t left = config.slots; left && found == NOWHERE; --left) {
            uint32_t via = rotation[at];
            at = at + 1 < config.slots ? at + 1 : 0;
            if (via == dest && config.quota)
                continue;
            if (via == config.self)
                via = dest;
            if (is_alive(via, dest) && (condition == ALIVE || path_holds(via, dest, size)))
                found = via;
        }
        servers[dest].position = at;
        return found;
    }

    // What the path's buckets hold.
    int32_t room_of(uint32_t via, uint32_t dest) const {
        const Link &link = links[link_to(via)];
        int32_t room = room_in(link.used, link.rate), direct = room_in(servers[dest].used, config.direct);
        return via == dest && config.quota && direct < room ? direct : room;
    }

    void compare_room(uint32_t via, uint32_t dest, uint32_t &best, int32_t &most) const {
        if (!is_alive(via, dest))
            return;
        int32_t room = room_of(via, dest);
        if (room > most) {
            most = room;
            best = via;
        }
    }

    // The path with the most room that takes the frame, where a flowlet moves that outgrew its own; NOWHERE: none.
    uint32_t roomiest(uint32_t dest, uint32_t size) const {
        uint32_t at = servers[dest].position, best = NOWHERE;
        int32_t most = (int32_t) size - 1;
        if (config.quota)
            compare_room(dest, dest, best, most);
        for (uint32_t left = config.slots; left; --left) {
            uint32_t via = rotation[at];
            at = at + 1 < config.slots ? at + 1 : 0;
            if (via != dest || !config.quota)
                compare_room(via == config.self ? dest : via, dest, best, most);
        }
        return best;
    }

    // For a packet that has no flowlet's path to keep; `joining` when it starts one.
    uint32_t select(uint32_t dest, uint32_t size, bool joining) {
        bool direct = config.quota && is_alive(dest, dest);
        uint32_t via;
        if (joining) {
            if (direct && path_holds(dest, dest, 0))
                return dest;
            via = rotate(dest, 0, HEADROOM);
            if (likely(via != NOWHERE))
                return via;
        }
        if (direct && path_holds(dest, dest, size))
            return dest;
        via = rotate(dest, size, FITS);
        if (via == NOWHERE)
            via = rotate(dest, size, ALIVE);
        if (via == NOWHERE && is_alive(dest, dest))
            via = dest;
        return via;
    }

    uint32_t decide(uint32_t tick, uint64_t hash, uint32_t dest, uint32_t size, uint32_t &output, How &how) {
        if (!config.flowlet_ticks) {
            how = ALONE;
            return over(select(dest, size, false), output);
        }
        uint32_t at = hash & config.flowlet_mask, tag = (uint32_t) (hash >> 32) | 1;
        uint64_t old = flowlets[at];
        uint32_t via = (old >> 16) & 0xffff;
        if (old >> 32 == tag && ((tick - (uint32_t) old) & 0xffff) <= config.flowlet_ticks && is_alive(via, dest)
            && link_kept(at, via, output)) {
            keep(at, tag, via, output, tick);
            how = KEPT;
            if (link_holds(output, via, dest, size))
                return via;
            via = roomiest(dest, size);
            how = via == NOWHERE ? SPLIT : MOVED;
            if (via == NOWHERE)
                return over(select(dest, size, false), output);
            over(via, output);
            keep(at, tag, via, output, tick);
            return via;
        }
        how = NEW;
        via = over(select(dest, size, true), output);
        if (via != NOWHERE)
            keep(at, tag, via, output, tick);
        return via;
    }

    // A path for a packet that is bound to no link: `output` is the link's.
    uint32_t over(uint32_t via, uint32_t &output) const {
        if (likely(via != NOWHERE))
            output = link_to(via);
        return via;
    }

    // The flowlet's own link, or the only one that there is; false where that is dead.
    bool link_kept(uint32_t at, uint32_t via, uint32_t &output) const {
        output = servers[via].link;
        if (likely(!is_bundled(output)))
            return true;
        output = cables[at];
        return !links[output].said;
    }

    void keep(uint32_t at, uint32_t tag, uint32_t via, uint32_t output, uint32_t tick) {
        flowlets[at] = (uint64_t) tag << 32 | (via & 0xffff) << 16 | (tick & 0xffff);
        if (unlikely(config.bundled))
            cables[at] = output;
    }

    void take_counts(const DirectVLBCore &old, uint32_t dest) {
        const Traffic *row = old.paths + (size_t) dest * old.config.columns;
        for (uint32_t column = 0; column < FIRST_VIA; ++column)
            path(dest, column) = row[column];
        for (uint32_t via = 0; via < config.servers && via < old.config.servers; ++via)
            if (servers[via].column != OTHER && old.servers[via].column != OTHER)
                path(dest, servers[via].column) = row[old.servers[via].column];
    }

    bool leads_to(uint32_t server, uint32_t output) const {
        uint32_t first = servers[server].link, link = first;
        do {
            if (link == output)
                return true;
            link = links[link].sibling;
        } while (link != first);
        return false;
    }

    // Entries keep their place only in a table of the same size.
    void take_flowlets(const DirectVLBCore &old) {
        if (config.flowlet_mask != old.config.flowlet_mask)
            return;
        for (size_t at = 0; at <= config.flowlet_mask; ++at) {
            uint32_t via = (old.flowlets[at] >> 16) & 0xffff;
            if (!old.flowlets[at] || via >= config.servers || servers[via].link == NOWHERE)
                continue;
            uint32_t output = old.config.bundled ? old.cables[at] : servers[via].link;
            if (config.bundled && !leads_to(via, output))
                continue;
            flowlets[at] = old.flowlets[at];
            if (config.bundled)
                cables[at] = output;
        }
    }
};

#endif
