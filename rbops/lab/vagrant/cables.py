"""The lab's networks around its machines: the host's link, bridges that are cables, testers at external ports.

A cable is a bridge with two members that learns nothing and filters nothing: what comes in at one end goes out
at the other, whatever its MACs. Everything is in the lab's namespace, where libvirt makes the bridges.
"""

from __future__ import annotations

from rbops.lab import net
from rbops.lab.command import ip_batch, run
from rbops.lab.manifest import LabPort, LabServer, LabTester, Manifest
from rbops.lab.vagrant.libvirt import Libvirt
from rbops.render.vagrantfile import FIRST_SLOT, VagrantPort

__all__ = ["connect", "make_management_network", "network_of", "prepare", "vagrant_ports"]

_MANAGEMENT_NETWORK = "management"
_MANAGEMENT_BRIDGE = "mgmt"

# Every frame, also those to 01:80:c2:00:00:0x as far as the kernel lets a bridge pass them.
_CABLE = (
    "stp_state 0 forward_delay 0 ageing_time 0 mcast_snooping 0 group_fwd_mask 0xfff8 "
    "nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0"
)
_MANAGEMENT = """\
<network ipv6='no'>
  <name>{network}</name>
  <bridge name='{bridge}' stp='off' delay='0'/>
  <ip address='{server}' netmask='255.255.255.0'>
    <dhcp>
      <range start='{first}' end='{last}'/>
{hosts}
    </dhcp>
  </ip>
</network>
"""


def network_of(server: LabServer, port: LabPort) -> str:
    """The name of the network that is ``port``'s cable: the same from both ends."""
    return min(f"{server.name}-{port.name}", port.peer.replace(":", "-"))


def vagrant_ports(server: LabServer) -> tuple[VagrantPort, ...]:
    """The server's ports as NICs, each in a PCI slot of its own."""
    return tuple(
        VagrantPort(
            name=port.name,
            peer=port.peer,
            network=network_of(server, port),
            mac=port.mac,
            queues=port.queues,
            mtu=port.mtu,
            slot=FIRST_SLOT + position,
        )
        for position, port in enumerate(server.ports)
    )


def prepare(manifest: Manifest) -> None:
    """Make the lab's namespace, with a veth pair as the host's link to the management network."""
    ip_batch([f"netns add {manifest.panel}"])
    ip_batch(
        [
            f"link add {manifest.bridge} type veth peer name host netns {manifest.panel}",
            f"link set {manifest.bridge} addrgenmode none",
            f"addr add {manifest.gateway}/24 dev {manifest.bridge}",
            f"link set {manifest.bridge} up",
        ]
    )
    ip_batch(["link set lo up", "link set host addrgenmode none", "link set host up"], netns=manifest.panel)


def make_management_network(manifest: Manifest, libvirt: Libvirt) -> None:
    """Make the network that Vagrant would make, with the planned address for every server and the host on it."""
    prefix = manifest.gateway.rpartition(".")[0]
    hosts = [f"      <host mac='{server.management_mac}' ip='{server.address}'/>" for server in manifest.servers]
    xml = _MANAGEMENT.format(
        network=_MANAGEMENT_NETWORK,
        bridge=_MANAGEMENT_BRIDGE,
        server=f"{prefix}.2",
        first=f"{prefix}.3",
        last=f"{prefix}.9",
        hosts="\n".join(hosts),
    )
    libvirt.define("net-create", xml)
    ip_batch([f"link set host master {_MANAGEMENT_BRIDGE}"], netns=manifest.panel)


def connect(manifest: Manifest, libvirt: Libvirt) -> None:
    """Make the bridges of all cables behave as cables, and put testers at the external ports."""
    for server in manifest.servers:
        for port in server.ports:
            network = network_of(server, port)
            bridge = _bridge(libvirt, network)
            ip_batch([f"link set {bridge} type bridge {_CABLE}"], netns=manifest.panel)
            for tester in manifest.testers:
                if tester.panel == port.panel:
                    _attach(manifest, tester, bridge)


def _bridge(libvirt: Libvirt, network: str) -> str:
    for line in libvirt.virsh("net-info", network).splitlines():
        key, _, value = line.partition(":")
        if key == "Bridge":
            return value.strip()
    raise LookupError(network)


def _attach(manifest: Manifest, tester: LabTester, bridge: str) -> None:
    ip_batch([f"netns add {tester.netns}"])
    net.quiet(tester.netns)
    queues = f"numtxqueues {tester.queues} numrxqueues {tester.queues}"
    far_end = f"peer name {tester.device} netns {tester.netns} mtu {tester.mtu} address {tester.mac} {queues}"
    ip_batch(
        [
            f"link add {tester.name} mtu {tester.mtu} {queues} type veth {far_end}",
            f"link set {tester.name} addrgenmode none master {bridge}",
            f"link set {tester.name} up",
        ],
        netns=manifest.panel,
    )
    run(["ip", "netns", "exec", manifest.panel, "ethtool", "-K", tester.name, "gro", "on"])
    net.configure_tester(tester)
