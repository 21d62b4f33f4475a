// SPDX-License-Identifier: Apache-2.0
/* What the elements share: the fabric's addresses, and lists in configurations. */
#ifndef RBOPS_FABRIC_HH
#define RBOPS_FABRIC_HH
#include <click/args.hh>
#include <click/confparse.hh>
#include <click/element.hh>
#include <click/error.hh>
#include <click/etheraddress.hh>
#include <click/straccum.hh>
#include <click/vector.hh>
#include <clicknet/ether.h>
#if HAVE_BATCH
# include <click/batchelement.hh>
#endif
CLICK_DECLS

// FastClick's elements take batches, Click's single packets.
#if HAVE_BATCH
typedef BatchElement FabricElement;
#else
typedef Element FabricElement;
#endif

// A frame's destination address is 02:52:PP:PP:AA:AA: external port, then the number of the neighbour there.
inline bool fabric_address(const unsigned char *mac)
{
    return mac[0] == 0x02 && mac[1] == 0x52;
}

// As a source address it is 02:56:VV:VV:SS:SS where servers are more than one link apart: intermediate, input server.
inline bool fabric_relayed(const unsigned char *mac)
{
    return mac[0] == 0x02 && mac[1] == 0x56;
}

inline uint32_t fabric_port(const unsigned char *mac)
{
    return (uint32_t) mac[2] << 8 | mac[3];
}

inline uint32_t fabric_neighbor(const unsigned char *mac)
{
    return (uint32_t) mac[4] << 8 | mac[5];
}

#if HAVE_BATCH
// A batch taken apart by output, each part in its order: `route(p)` is a packet's output, -1 when it is gone. `parts` has
// room for `outputs`, and is empty before and after.
template <typename Route, typename Send>
inline void fabric_sort(PacketBatch *batch, PacketBatch **parts, uint32_t outputs, Route route, Send send)
{
    FOR_EACH_PACKET_SAFE(batch, each) {
        Packet *p = each;
        int out = route(p);
        if (out < 0)
            continue;
        if (parts[out])
            parts[out]->append_packet(p);
        else
            parts[out] = PacketBatch::make_from_packet(p);
    }
    for (uint32_t out = 0; out < outputs; out++)
        if (PacketBatch *part = parts[out]) {
            parts[out] = 0;
            part->tail()->set_next(0);  // it still leads on in the batch that was
            send(out, part);
        }
}
#endif

inline void fabric_split(const String &text, Vector<String> &words)
{
    cp_spacevec(cp_unquote(text), words);
}

// Words that are numbers up to `most`; says which keyword has another one.
inline int fabric_numbers(const String &text, const char *keyword, uint32_t most, Vector<uint32_t> &numbers,
                          ErrorHandler *errh)
{
    Vector<String> words;
    fabric_split(text, words);
    for (int i = 0; i < words.size(); i++) {
        uint32_t number;
        if (!IntArg().parse(words[i], number) || number > most)
            return errh->error("%s: %<%s%> should be a number from 0 to %u", keyword, words[i].c_str(), most);
        numbers.push_back(number);
    }
    return 0;
}

inline int fabric_addresses(const String &text, const char *keyword, int count, Vector<EtherAddress> &addresses,
                            Element *context, ErrorHandler *errh)
{
    Vector<String> words;
    fabric_split(text, words);
    for (int i = 0; i < words.size(); i++) {
        EtherAddress address;
        if (!EtherAddressArg().parse(words[i], address, ArgContext(context)))
            return errh->error("%s: %<%s%> should be a MAC address", keyword, words[i].c_str());
        addresses.push_back(address);
    }
    if (words.size() && words.size() != count)
        return errh->error("%s: %d addresses, not one for each of %d outputs", keyword, words.size(), count);
    return 0;
}

CLICK_ENDDECLS
#endif
