// Plays packets through rbops/dataplane/click/directvlb_core.hh, without Click. Reads words, a command a line:
//   config self servers quota flowlet_ticks entries cores max_frame direct_bps
//   link bps                     outputs, in order
//   server number output ...     several of them: a bundle
//   rotation server ...          to the end of the line
//   start tick
//   packet tick core source destination protocol source-port destination-port dest size
//   forward tick core dest size [source destination protocol source-port destination-port]
//   alive server 0|1
//   cable output 0|1
//   swap                         each core's state is taken over by a fresh one
// and prints for each packet: first server (-1: none), what the flowlet table did, hash, output; for each forward: its
// output.
#include "directvlb_core.hh"

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

struct Plan {
    DirectVLBCore::Config config;
    uint32_t cores;
    std::vector<DirectVLBCore::Rate> links;
    std::vector<std::pair<uint32_t, std::vector<uint16_t>>> servers;
    std::vector<uint16_t> rotation;
};

struct Instance {
    DirectVLBCore core;
    std::vector<uint64_t> memory;

    explicit Instance(const Plan &plan) {
        core.config = plan.config;
        core.config.links = plan.links.size();
        core.config.slots = plan.rotation.size();
        core.config.columns = DirectVLBCore::FIRST_VIA + plan.rotation.size();
        for (const auto &server : plan.servers)
            core.config.bundled |= server.second.size() > 1;
        memory.assign(core.bytes() / 8 + 1, 0);
        core.place(memory.data());
        for (size_t i = 0; i < plan.links.size(); i++)
            core.links[i].rate = plan.links[i];
        for (const auto &server : plan.servers) {
            core.servers[server.first].link = server.second[0];
            core.servers[server.first].said = 0;
            core.bundle(server.second.data(), server.second.size());
        }
        for (size_t i = 0; i < plan.rotation.size(); i++) {
            core.rotation[i] = plan.rotation[i];
            if (plan.rotation[i] != plan.config.self)
                core.servers[plan.rotation[i]].column = DirectVLBCore::FIRST_VIA + i;
        }
    }
};

static uint64_t hash_of(std::istream &in)
{
    uint32_t source, destination, protocol, source_port, destination_port;
    in >> source >> destination >> protocol >> source_port >> destination_port;
    unsigned char ip[24] = { 0x45 };
    ip[9] = protocol;
    for (int i = 0; i < 4; i++) {
        ip[12 + i] = source >> (24 - 8 * i);
        ip[16 + i] = destination >> (24 - 8 * i);
    }
    ip[20] = source_port >> 8;
    ip[21] = source_port;
    ip[22] = destination_port >> 8;
    ip[23] = destination_port;
    return DirectVLBCore::flow_hash(ip, ip + sizeof(ip));
}

int main()
{
    static const char *const hows[] = { "kept", "new", "moved", "split", "alone" };
    Plan plan = {};
    std::vector<Instance *> cores;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream in(line);
        std::string what;
        uint32_t tick, core, dest, size, server, output;
        in >> what;
        if (what == "config") {
            uint32_t entries, max_frame;
            uint64_t direct;
            in >> plan.config.self >> plan.config.servers >> plan.config.quota >> plan.config.flowlet_ticks >> entries
                >> plan.cores >> max_frame >> direct;
            plan.config.flowlet_mask = entries - 1;
            plan.config.direct.set(direct, plan.cores, max_frame);
        } else if (what == "link") {
            uint64_t bps;
            uint32_t max_frame;
            in >> bps >> max_frame;
            plan.links.emplace_back();
            plan.links.back().set(bps, plan.cores, max_frame);
        } else if (what == "server") {
            in >> server;
            plan.servers.emplace_back(server, std::vector<uint16_t>());
            while (in >> output)
                plan.servers.back().second.push_back(output);
        } else if (what == "rotation") {
            while (in >> server)
                plan.rotation.push_back(server);
        } else if (what == "start") {
            in >> tick;
            for (uint32_t i = 0; i < plan.cores; i++) {
                cores.push_back(new Instance(plan));
                cores.back()->core.advance(tick);
            }
        } else if (what == "packet") {
            in >> tick >> core;
            uint64_t hash = hash_of(in);
            in >> dest >> size;
            DirectVLBCore::How how;
            uint32_t via = cores[core]->core.choose(tick, hash, dest, size, output, how);
            std::cout << (via == DirectVLBCore::NOWHERE ? -1 : (int) via) << ' ' << hows[how] << ' ' << std::hex << hash
                      << std::dec << ' ' << (output == DirectVLBCore::NOWHERE ? -1 : (int) output) << '\n';
        } else if (what == "forward") {
            in >> tick >> core >> dest >> size;
            uint64_t hash = in.peek() == EOF ? 0 : hash_of(in);
            output = cores[core]->core.forward(tick, dest, size, hash);
            std::cout << "forward " << (output == DirectVLBCore::NOWHERE ? -1 : (int) output) << '\n';
        } else if (what == "alive") {
            in >> server >> size;
            for (Instance *instance : cores)
                DirectVLBCore::say(instance->core.servers[server].said, DirectVLBCore::NO_CARRIER, !size);
        } else if (what == "cable") {
            in >> output >> size;
            for (Instance *instance : cores)
                DirectVLBCore::say(instance->core.links[output].said, DirectVLBCore::NO_CARRIER, !size);
        } else if (what == "swap") {
            for (Instance *&instance : cores) {
                Instance *fresh = new Instance(plan);
                fresh->core.take_state(instance->core);
                delete instance;
                instance = fresh;
            }
        } else
            return 2;
    }
    for (Instance *instance : cores)
        delete instance;
    return 0;
}
