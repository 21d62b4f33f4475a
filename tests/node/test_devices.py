"""Which device is which port, and which must not be taken."""

from __future__ import annotations

import json

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.node import channels, cpus, nic
from rbops.node.devices import Device, inventory, management, resolve, select
from rbops.node.system import Done
from tests.node.recorded import Recorded, config, external, internal
from tests.support.errors import raises


def device(name: str, **changes: object) -> Device:
    values: dict[str, object] = {
        "name": name,
        "index": 2,
        "mac": "02:00:00:00:00:01",
        "driver": "ixgbe",
        "pci": None,
        "mtu": 1500,
        "flags": frozenset(),
    }
    return Device(**{**values, **changes})  # type: ignore[arg-type]


def ports(*selects: dict[str, str]) -> tuple[object, ...]:
    return config(ports=[external(f"ext{n}", select=select, id=n) for n, select in enumerate(selects)]).ports


def test_found_by_name_pci_and_mac() -> None:
    devices = [
        device("eth0", pci="0000:03:00.0"),
        device("eth1", mac="02:00:00:00:00:02"),
        device("eth2", mac="02:00:00:00:00:03"),
        device("vlan7", mac="02:00:00:00:00:02", stacked=True),
    ]
    wanted = ports({"pci": "0000:03:00.0"}, {"mac": "02:00:00:00:00:02"}, {"name": "eth2"})
    found = select(wanted, devices, "n0")  # type: ignore[arg-type]
    assert {port: dev.name for port, dev in found.items()} == {"ext0": "eth0", "ext1": "eth1", "ext2": "eth2"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([{"name": "eth9"}], ["n0", "ext0", "eth9", "none"]),
        ([{"mac": "02:00:00:00:00:01"}], ["n0", "ext0", "eth0", "eth1"]),
        ([{"name": "eth0"}, {"name": "eth0"}], ["n0", "ext0", "ext1", "eth0"]),
    ],
)
def test_none_two_or_twice(wanted: list[dict[str, str]], words: list[str]) -> None:
    with pytest.raises(Mismatch) as caught:
        select(ports(*wanted), [device("eth0"), device("eth1")], "n0")  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words)


LINKS = [
    {"ifindex": 2, "ifname": "eth0", "address": "02:00:00:00:00:01", "mtu": 1500, "flags": ["UP"]},
    {
        "ifindex": 3,
        "ifname": "eth1",
        "address": "02:00:00:00:00:01",
        "permaddr": "02:00:00:00:00:09",
        "mtu": 1500,
        "flags": [],
    },
    {
        "ifindex": 4,
        "ifname": "bond0",
        "address": "02:00:00:00:00:01",
        "mtu": 1500,
        "flags": [],
        "linkinfo": {"info_kind": "bond"},
    },
    {
        "ifindex": 5,
        "ifname": "int1",
        "address": "02:00:00:00:00:05",
        "mtu": 9000,
        "flags": ["UP"],
        "linkinfo": {"info_kind": "veth"},
    },
]


def server(*, default: str = "[]", session: str = "[]", **files: str) -> Recorded:
    return Recorded(
        {
            "ip -json -details link show": json.dumps(LINKS),
            "ip -4 -json -N route show default": default,
            "ip -6 -json -N route show default": "[]",
            "ip -json address show to 192.0.2.7": session,
        },
        {f"/sys/class/net/{name.replace('__', '/')}": text for name, text in files.items()},
        {
            "/sys/class/net/eth0/device": "/sys/devices/pci0000:00/0000:00:1c.0/0000:03:00.0",
            "/sys/class/net/eth0/device/driver": "/sys/bus/pci/drivers/ixgbe",
            "/sys/class/net/eth1/device": "/sys/devices/pci0000:00/0000:00:05.0/virtio3",
            "/sys/class/net/eth1/device/driver": "/sys/bus/virtio/drivers/virtio_net",
        },
    )


def test_inventory() -> None:
    found = {dev.name: dev for dev in inventory(server())}
    assert (found["eth0"].pci, found["eth0"].driver) == ("0000:03:00.0", "ixgbe")
    assert (found["eth1"].pci, found["eth1"].driver, found["eth1"].mac) == (
        "0000:00:05.0",
        "virtio_net",
        "02:00:00:00:00:09",
    )
    assert (found["int1"].driver, found["int1"].pci, found["int1"].mtu) == ("veth", None, 9000)
    assert found["bond0"].stacked


DEFAULT = '[{"dst":"default","gateway":"10.0.0.1","dev":"%s","protocol":"3"}]'


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (server(default=DEFAULT % "eth0"), "default route"),
        (server(default=DEFAULT % "bond0", bond0__lower_eth0="", bond0__lower_eth1=""), "below bond0"),
        (server(default=DEFAULT % "br0", br0__lower_vlan7="", vlan7__lower_eth0=""), "below vlan7"),
        (server(default='[{"dst":"default","protocol":"3","nexthops":[{"dev":"eth0"},{"dev":"x"}]}]'), "default route"),
        (server(session='[{},{"ifname":"eth0"}]'), "SSH"),
        (server(default=DEFAULT % "team0", team0__lower_eth0=""), "below team0"),
        (server(session='[{},{"ifname":"macvlan0"}]', macvlan0__lower_eth0=""), "below macvlan0: the SSH session"),
    ],
    ids=["default", "bond", "vlan under bridge", "multipath", "ssh", "team", "ssh over macvlan"],
)
def test_management_is_refused(system: Recorded, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 5000 192.0.2.7 22")
    with pytest.raises(Mismatch) as caught:
        resolve(config(ports=[external("ext0", select={"name": "eth0"})]), system)
    assert reason in str(caught.value)
    assert "n0" in str(caught.value)
    assert "eth0" in str(caught.value)


def test_a_port_of_open_vswitch_is_refused_also_without_a_master() -> None:
    """Its datapath in userspace takes packets by packet sockets."""
    wanted = config(ports=[external("ext0", select={"name": "eth0"}, driver="ixgbe")])
    ask = "ovs-vsctl --timeout=5"
    system = server(default="[]")
    system.answers |= {
        f"{ask} --bare --columns=name list interface": "br0\n\neth0\n",
        f"{ask} iface-to-br eth0": "br0\n",
    }
    assert resolve(wanted, system)["ext0"].name == "eth0", "no Open vSwitch runs"
    system.files["/run/openvswitch/db.sock"] = ""
    with pytest.raises(Mismatch, match="Open vSwitch has it in its bridge br0") as caught:
        resolve(wanted, system)
    assert (caught.value.code, caught.value.where.device) == ("node.port-in-use", "eth0")
    assert "ovs-vsctl del-port br0 eth0" in str(caught.value.hint)
    system.answers[f"{ask} --bare --columns=name list interface"] = "br0\n"
    assert resolve(wanted, system)["ext0"].name == "eth0"


def test_own_default_route_is_not_management() -> None:
    """A default route of the plan leads over a data port and has protocol 82."""
    assert management(server(default=(DEFAULT % "int1").replace('"3"', '"82"')), {}) == {}


def test_missing_cpu() -> None:
    queues = [{"index": 0, "rx_core": 70, "tx_core": 1}]
    wanted = config(ports=[internal(queues=queues)])
    files = {"/sys/devices/system/cpu/online": "0-3,5", "/sys/devices/system/cpu/present": "0-5"}
    with raises(Mismatch, "node.no-cpu", server="n0"):
        cpus.check(wanted, Recorded(files=files))
    files["/sys/devices/system/cpu/present"] = "0-71"
    with raises(Mismatch, "node.cpu-offline", server="n0"):
        cpus.check(wanted, Recorded(files=files))
    files["/sys/devices/system/cpu/online"] = "0-71"
    cpus.check(wanted, Recorded(files=files))


def test_too_few_queues_and_descriptors() -> None:
    (port,) = config(ports=[internal(nic={"rx_ring": 4096, "ring_fit": False})]).ports
    facts = channels.parse("Pre-set maximums:\nRX:\t1\nTX:\t4\nCurrent hardware settings:\nRX:\t1\nTX:\t4\n", "veth")
    with raises(Mismatch, "nic.too-few-queues", server="n0", device="int1") as caught:
        channels.settings(port, "int1", facts, "n0")
    assert (caught.value.code, str(caught.value.where)) == ("nic.too-few-queues", "n0: int1")
    with raises(Mismatch, "nic.too-few-queues", server="n0", device="eno1"):
        channels.settings(port, "eno1", channels.parse(None, "e1000e"), "n0")
    rings = "Pre-set maximums:\nRX:\t1024\nCurrent hardware settings:\nRX:\t512\n"
    with raises(Mismatch, "nic.beyond-device", server="n0", device="int1", field="nic.rings.rx") as caught:
        nic.settings("rings", port, "int1", Recorded({"ethtool -g int1": rings}), "n0")
    assert caught.value.code == "nic.beyond-device"


def test_no_program_installed() -> None:
    from rbops.node.system import Kernel

    with raises(Mismatch, "node.not-installed"):
        Kernel().run(("rbn-no-such-program",))
    assert Kernel().run(("true",)) == Done(0, "", "")


def test_another_driver_is_refused() -> None:
    wanted = config(ports=[external("ext0", select={"name": "eth0"}, driver="i40e")])
    with raises(Mismatch, "node.driver", server="n0", device="eth0"):
        resolve(wanted, server())


def test_the_drivers_own_name_counts() -> None:
    system = server()
    system.drivers["eth0"] = "mlx5_core"
    wanted = config(ports=[external("ext0", select={"name": "eth0"}, driver="mlx5_core")])
    assert resolve(wanted, system)["ext0"].driver == "mlx5_core"


@pytest.mark.parametrize("feature", ["rx-vlan-offload", "rx-vlan-stag-hw-parse"])
def test_a_device_that_always_takes_tags_out_of_frames_is_refused(feature: str) -> None:
    """As hv_netvsc does: the program would forward a VLAN's frames as untagged ones."""
    name = {"rx-vlan-offload": "rxvlan"}.get(feature, feature)
    (port,) = config(ports=[external(nic={"offloads": {name: False}})]).ports
    fixed = Recorded({"ethtool -k ext0": f"Features for ext0:\n{feature}: on [fixed]\n"})
    with raises(Mismatch, "nic.tags-in-metadata", server="n0", device="ext0", field="nic.offloads"):
        nic.settings("offloads", port, "ext0", fixed, "n0")
    for harmless in (f"{feature}: off [fixed]\n", ""):
        system = Recorded({"ethtool -k ext0": f"Features for ext0:\n{harmless}"})
        assert [setting.differs for setting in nic.settings("offloads", port, "ext0", system, "n0")] == [False]


@pytest.mark.parametrize("feature", ["rx-gro-hw", "large-receive-offload"])
def test_a_device_that_always_merges_packets_is_refused(feature: str) -> None:
    """As virtio_net does where the host gives no control of its offloads: it takes no XDP program then."""
    name = {"large-receive-offload": "lro"}.get(feature, feature)
    (port,) = config(ports=[external(nic={"offloads": {name: False}})]).ports
    fixed = Recorded({"ethtool -k ext0": f"Features for ext0:\n{feature}: on [fixed]\n"})
    with raises(Mismatch, "nic.merges-packets", server="n0", device="ext0", field="nic.offloads"):
        nic.settings("offloads", port, "ext0", fixed, "n0")
    can = Recorded({"ethtool -k ext0": f"Features for ext0:\n{feature}: on\n"})
    assert [setting.differs for setting in nic.settings("offloads", port, "ext0", can, "n0")] == [True]


def test_a_driver_that_says_only_busy_is_explained() -> None:
    busy = CheckFailed("ethtool -L ext0 combined 4: netlink error: Device or resource busy", code="node.command")
    system = Recorded(
        {"tc qdisc show dev ext0": "qdisc mqprio 8001: root tc 2", "ss --xdp --no-header --numeric": "xdp ext0:3 0"},
        files={"/sys/class/net/ext0/device/sriov_numvfs": "2", "/sys/class/net/ext0/device/infiniband/mlx5_0/x": ""},
    )
    told = channels.explained(busy, system)
    assert (told.code, str(told)) == ("nic.busy", f"ext0: {busy}")
    assert "in use there: 2 VFs (sriov_numvfs), RDMA device mlx5_0, a qdisc mqprio, AF_XDP sockets;" in str(told.hint)
    free = Recorded(files={"/sys/class/net/ext0/device/sriov_numvfs": "0"})
    assert "neither VFs, RDMA, AF_XDP sockets nor mqprio were found" in str(channels.explained(busy, free).hint)
    other = CheckFailed("ethtool -G ext0 rx 9: Device or resource busy", code="node.command")
    assert channels.explained(other, system) is other
