"""Three machines as /sys trees with recorded answers of ip and ethtool: real links, real folders, small.

``intel``: two sockets, SMT, CPU ids past 64, an ixgbe card per node, one in a slot of 4 lanes, management on a
bonded igb. ``amd``: one socket of four NUMA nodes, ice and mlx5, two CPUs offline. ``vm``: virtio, no PCIe, no NUMA.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.node.system import Done
from tests.node.recorded import UNSUPPORTED

CPU = "sys/devices/system/cpu"


@dataclass
class FakeRoot:
    """A System whose files lie below ``root``; commands are answered from ``answers``."""

    root: Path
    answers: dict[str, str] = field(default_factory=dict)
    links: list[dict[str, Any]] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        assert not stdin
        line = " ".join(argv)
        self.ran.append(line)
        if line == "ip -json -details link show":
            return Done(0, json.dumps(self.links), "")
        return Done(0, self.answers[line], "") if line in self.answers else UNSUPPORTED

    def read(self, path: str) -> str | None:
        try:
            return Path(self._inside(path)).read_text(encoding="utf-8").strip()
        except OSError:
            return None

    def write(self, path: str, value: str) -> None:
        raise AssertionError(f"facts must not write {value} to {path}")

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self._inside(path)))  # noqa: PTH208 - names, not paths
        except OSError:
            return []

    def real(self, path: str) -> str:
        return self._inside(path).removeprefix(str(self.root))

    def driver(self, device: str) -> str | None:
        del device
        return None

    def _inside(self, path: str) -> str:
        return os.path.realpath(f"{self.root}{path}")

    def put(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")

    def link(self, path: str, target: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(self.root / target, place.parent))


@dataclass(frozen=True)
class Function:
    """A PCI function that is a port: place, driver, link and what ethtool says."""

    device: str
    path: str
    driver: str
    ids: tuple[str, str]
    mac: str
    node: int = -1
    link: tuple[str, int, str, int] | None = None
    modes: str = ""
    speed: int | None = None
    channels: str | None = None
    firmware: str = "N/A"
    up: bool = True

    @property
    def address(self) -> str:
        return self.path.rsplit("/", 1)[-1] if "virtio" not in self.path else self.path.rsplit("/", 2)[-2]


CHANNELS = """\
Channel parameters for {device}:
Pre-set maximums:
RX:		{rx}
TX:		{tx}
Other:		1
Combined:	{most}
Current hardware settings:
RX:		{now_rx}
TX:		{now_tx}
Other:		1
Combined:	{now}
"""
SETTINGS = """\
Settings for {device}:
	Supported ports: [ FIBRE ]
	Supported link modes:   {modes}
	Supported pause frame use: Symmetric
	Advertised link modes:  {modes}
	Speed: {speed}
	Duplex: Full
	Link detected: yes
"""


def combined(device: str, most: int, now: int) -> str:
    return CHANNELS.format(device=device, most=most, now=now, rx="n/a", tx="n/a", now_rx="n/a", now_tx="n/a")


def add_port(root: FakeRoot, port: Function, *, master: str | None = None) -> None:
    """The port's folders, as the kernel has them: /sys/class/net is all links into /sys/devices."""
    real = f"sys/devices/{port.path}"
    pci = real if "virtio" not in port.path else real.rsplit("/", 1)[0]
    root.put(f"{pci}/vendor", port.ids[0])
    root.put(f"{pci}/device", port.ids[1])
    root.put(f"{pci}/numa_node", port.node)
    if port.link:
        names = ("current_link_speed", "current_link_width", "max_link_speed", "max_link_width")
        for name, value in zip(names, port.link, strict=True):
            root.put(f"{pci}/{name}", value)
    net = f"{real}/net/{port.device}"
    root.put(f"{net}/carrier", int(port.up))
    root.put(f"{net}/threaded", 0)
    root.link(f"{net}/device", real)
    if master:
        root.link(f"{net}/master", f"sys/devices/virtual/net/{master}")
    root.link(f"{real}/driver", f"sys/bus/pci/drivers/{port.driver}")
    root.link(f"sys/class/net/{port.device}", net)
    root.link(f"sys/bus/pci/devices/{port.address}", pci)
    root.links.append(
        {
            "ifindex": len(root.links) + 2,
            "ifname": port.device,
            "address": port.mac,
            "mtu": 1500,
            "flags": ["UP", "LOWER_UP"] if port.up else [],
        }
    )
    speed = f"{port.speed}Mb/s" if port.speed else "Unknown!"
    name = port.driver
    root.answers |= {
        f"ethtool -i {port.device}": f"driver: {name}\nversion: 6.1.0\nfirmware-version: {port.firmware}\n",
        f"ethtool -P {port.device}": f"Permanent address: {port.mac}\n",
        f"ethtool {port.device}": SETTINGS.format(device=port.device, modes=port.modes or "Not reported", speed=speed),
    }
    if port.channels:
        root.answers[f"ethtool -l {port.device}"] = port.channels


def add_bridge(root: FakeRoot, path: str, link: tuple[str, int, str, int]) -> None:
    """A root port or switch port above a card."""
    address = path.rsplit("/", 1)[-1]
    names = ("current_link_speed", "current_link_width", "max_link_speed", "max_link_width")
    for name, value in zip(names, link, strict=True):
        root.put(f"sys/devices/{path}/{name}", value)
    root.link(f"sys/bus/pci/devices/{address}", f"sys/devices/{path}")


def add_cpus(root: FakeRoot, cpus: Iterable[tuple[int, int, int, int, str]], present: str, online: str) -> None:
    """(id, package, core, node, siblings) of each online CPU."""
    for name, text in (("present", present), ("online", online), ("possible", present), ("isolated", "")):
        root.put(f"{CPU}/{name}", text)
    for cpu, package, core, node, siblings in cpus:
        base = f"{CPU}/cpu{cpu}"
        root.put(f"{base}/topology/physical_package_id", package)
        root.put(f"{base}/topology/core_id", core)
        root.put(f"{base}/topology/thread_siblings_list", siblings)
        if node >= 0:
            root.link(f"{base}/node{node}", f"sys/devices/system/node/node{node}")
    root.put("proc/sys/net/core/bpf_jit_enable", 1)
    root.put("proc/sys/kernel/unprivileged_bpf_disabled", 2)
    root.put("sys/kernel/btf/vmlinux", "")


def add_cache(root: FakeRoot, cpus: Iterable[int], shared: str, size: str) -> None:
    for cpu in cpus:
        base = f"{CPU}/cpu{cpu}/cache/index3"
        for name, text in (("level", 3), ("type", "Unified"), ("size", size), ("shared_cpu_list", shared)):
            root.put(f"{base}/{name}", text)


def add_node(root: FakeRoot, node: int, cpus: str, kilobytes: int) -> None:
    root.put(f"sys/devices/system/node/node{node}/cpulist", cpus)
    root.put(f"sys/devices/system/node/node{node}/meminfo", f"Node {node} MemTotal:       {kilobytes} kB")


X520 = "1000baseT/Full\n\t                        10000baseT/Full"
E810 = "1000baseKX/Full\n\t                        10000baseKR/Full\n\t                        25000baseCR/Full"
CX5 = "25000baseCR/Full\n\t                        100000baseCR4/Full"


def intel(folder: Path) -> FakeRoot:
    """2 x 20 cores, SMT: CPU ids 0 to 79, even ones on socket 0."""
    root = FakeRoot(folder)
    cpus = [(c, c % 2, (c % 40) // 2, c % 2, f"{c % 40},{c % 40 + 40}") for c in range(80)]
    add_cpus(root, cpus, "0-79", "0-79")
    for node in (0, 1):
        mine = [cpu for cpu in range(80) if cpu % 2 == node]
        add_cache(root, mine, ",".join(map(str, mine)), "28160K")
        add_node(root, node, ",".join(map(str, mine)), 98_304_000)
    root.put(f"{CPU}/smt/control", "on")
    root.put(
        "proc/cpuinfo", "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6138 CPU @ 2.00GHz\ncpu MHz\t\t: 2799.9"
    )
    root.put("proc/sys/kernel/osrelease", "6.1.0-26-amd64")
    root.put(
        "boot/config-6.1.0-26-amd64", "CONFIG_NO_HZ_FULL=y\nCONFIG_RCU_NOCB_CPU=y\n# CONFIG_XDP_SOCKETS is not set"
    )
    root.put("sys/class/dmi/id/product_name", "PowerEdge R740")
    root.put("etc/machine-id", "a" * 32)
    root.put("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", 4)
    root.put("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", 3)
    root.answers |= {"systemd-detect-virt --vm": "none\n"}
    gen2 = ("5.0 GT/s PCIe", 8, "5.0 GT/s PCIe", 8)
    add_bridge(root, "pci0000:17/0000:17:00.0", ("5.0 GT/s PCIe", 8, "8.0 GT/s PCIe", 16))
    add_bridge(root, "pci0000:85/0000:85:02.0", ("5.0 GT/s PCIe", 4, "8.0 GT/s PCIe", 4))
    root.put("sys/bus/pci/slots/3/address", "0000:18:00")
    for number, (bus, up, link, node) in enumerate(
        (("17", "17:00.0/0000:18:00", gen2, 0), ("85", "85:02.0/0000:86:00", ("5.0 GT/s PCIe", 4, *gen2[2:]), 1))
    ):
        for function in (0, 1):
            name = f"ens{number + 1}f{function}"
            add_port(
                root,
                Function(
                    name,
                    f"pci0000:{bus}/0000:{up}.{function}",
                    "ixgbe",
                    ("0x8086", "0x10fb"),
                    f"a0:36:9f:00:0{number}:0{function}",
                    node,
                    link,
                    X520,
                    10000,
                    combined(name, 63, 63),
                    "0x800003df",
                ),
            )
    management = Function(
        "eno1", "pci0000:00/0000:00:1c.0/0000:01:00.0", "igb", ("0x8086", "0x1521"), "a0:36:9f:00:09:00", 0,
        ("5.0 GT/s PCIe", 4, "5.0 GT/s PCIe", 4), "1000baseT/Full", 1000, combined("eno1", 8, 8), "1.61, 0x80000daa",
    )  # fmt: skip
    add_port(root, management, master="bond0")
    bond = {"ifindex": 20, "ifname": "bond0", "address": management.mac, "mtu": 1500, "flags": ["UP"]}
    root.links.append({**bond, "linkinfo": {"info_kind": "bond"}})
    root.put("sys/class/net/bond0/lower_eno1/x", "")
    root.put("sys/class/net/vlan7/lower_bond0/x", "")
    root.answers["ip -json address show to 192.0.2.10"] = json.dumps([{}, {"ifname": "vlan7"}])
    return root


def amd(folder: Path) -> FakeRoot:
    """One EPYC, 16 cores in 4 NUMA nodes, SMT off by two CPUs taken offline; ice in slot 5, mlx5 without a node."""
    root = FakeRoot(folder)
    add_cpus(root, [(c, 0, c, c // 4, str(c)) for c in range(14)], "0-15", "0-13")
    for node in range(4):
        mine = [cpu for cpu in range(node * 4, node * 4 + 4) if cpu < 14]
        add_cache(root, mine, f"{mine[0]}-{mine[-1]}", "32768K")
        add_node(root, node, f"{mine[0]}-{mine[-1]}", 33_554_432)
    root.put(f"{CPU}/smt/control", "notsupported")
    root.put(f"{CPU}/cpu0/acpi_cppc/nominal_freq", 3000)
    root.put("proc/cpuinfo", "model name\t: AMD EPYC 7313P 16-Core Processor\ncpu MHz\t\t: 1500.0")
    root.put("proc/sys/kernel/osrelease", "6.12.9")
    root.put("etc/machine-id", "b" * 32)
    root.answers |= {"systemd-detect-virt --vm": "none\n"}
    add_bridge(root, "pci0000:40/0000:40:01.1", ("16.0 GT/s PCIe", 16, "16.0 GT/s PCIe", 16))
    add_bridge(root, "pci0000:80/0000:80:03.1", ("8.0 GT/s PCIe", 8, "16.0 GT/s PCIe", 8))
    root.put("sys/bus/pci/slots/5/address", "0000:41:00")
    for function in range(4):
        name = f"enp65s0f{function}"
        channels = CHANNELS.format(device=name, rx=16, tx=16, most=16, now_rx=0, now_tx=0, now=16)
        add_port(
            root,
            Function(
                name,
                f"pci0000:40/0000:40:01.1/0000:41:00.{function}",
                "ice",
                ("0x8086", "0x1593"),
                f"40:a6:b7:00:00:0{function}",
                1,
                ("16.0 GT/s PCIe", 16, "16.0 GT/s PCIe", 16),
                E810,
                25000 if function < 2 else None,
                channels,
                "4.40 0x8001c7d4 1.3534.0",
                up=function < 2,
            ),
        )
    for function in (0, 1):
        name = f"enp129s0f{function}np{function}"
        add_port(
            root,
            Function(
                name,
                f"pci0000:80/0000:80:03.1/0000:81:00.{function}",
                "mlx5_core",
                ("0x15b3", "0x1017"),
                f"b8:59:9f:00:00:0{function}",
                -1,
                ("8.0 GT/s PCIe", 8, "8.0 GT/s PCIe", 16),
                CX5,
                100000,
                combined(name, 14, 14),
                "16.35.3006 (MT_0000000013)",
            ),
        )
    return root


def vm(folder: Path) -> FakeRoot:
    """Two virtio ports, two CPUs, one of the ports with the default route."""
    root = FakeRoot(folder)
    add_cpus(root, [(0, 0, 0, -1, "0"), (1, 1, 0, -1, "1")], "0-1", "0-1")
    root.put("proc/cpuinfo", "model name\t: QEMU Virtual CPU version 2.5+\ncpu MHz\t\t: 2394.374\n")
    root.put("proc/sys/kernel/osrelease", "6.1.0-26-amd64")
    root.put("etc/machine-id", "c" * 32)
    root.answers |= {
        "systemd-detect-virt --vm": "qemu\n",
        "ip -4 -json -N route show default": json.dumps([{"dst": "default", "dev": "enp0s5", "protocol": "16"}]),
    }
    add_bridge(root, "pci0000:00/0000:00:02.0", ("2.5 GT/s PCIe", 1, "16.0 GT/s PCIe", 32))
    for number, name in enumerate(("enp0s5", "enp1s0")):
        place = "pci0000:00/0000:00:05.0/virtio0" if not number else "pci0000:00/0000:00:02.0/0000:01:00.0/virtio1"
        add_port(
            root,
            Function(
                name,
                place,
                "virtio_net",
                ("0x1af4", "0x1041"),
                f"52:54:00:00:00:0{number}",
                channels=combined(name, 2, 1),
                link=("2.5 GT/s PCIe", 1, "2.5 GT/s PCIe", 1) if number else None,
            ),
        )
    return root


MACHINES = {"intel": intel, "amd": amd, "vm": vm}
SESSION = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.10 22"}
