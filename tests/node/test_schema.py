"""node.json is checked before anything is done with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rbops.errors import Mismatch, UsageError
from rbops.node.schema import load, parse
from rbops.node.sysctl import path_of, settings
from tests.node.recorded import BASE, config, external, internal, plane
from tests.support.errors import raises

REFUSED: list[tuple[dict[str, object], str]] = [
    ({"schema_version": 2}, "schema_version"),
    ({"sysctl": {"net.ipv4.ip_forward": "1\nkernel.core_pattern=|/bin/sh"}}, "sysctl.net.ipv4.ip_forward"),
    ({"sysctl": {"net.ipv4.ip_forward": "1\x00"}}, "sysctl.net.ipv4.ip_forward"),
    ({"sysctl": {"net.ipv4.ip_forward": ""}}, "sysctl.net.ipv4.ip_forward"),
    ({"sysctl": {"net.ipv4.ip_forward": 1}}, "sysctl.net.ipv4.ip_forward"),
    ({"sysctl": {"net/../../x": "1"}}, "sysctl"),
    ({"sysctl": {"net...x": "1"}}, "sysctl"),
    ({"server": "../x"}, "server"),
    ({"server": "-x"}, "server"),
    ({"ports": [external("a;b", select={"name": "a"})]}, "ports[0].name"),
    ({"ports": [external("$(id)", select={"name": "a"})]}, "ports[0].name"),
    ({"ports": [external("../x", select={"name": "a"})]}, "ports[0].name"),
    ({"ports": [external("-x", select={"name": "a"})]}, "ports[0].name"),
    ({"ports": [external("sixteen-chars-xx", select={"name": "a"})]}, "ports[0].name"),
    ({"ports": [external(), external()]}, "ports"),
    ({"ports": [external(select={"name": "a b"})]}, "ports[0].select.name"),
    ({"ports": [external(select={"name": "a", "pci": "b"})]}, "ports[0].select"),
    ({"ports": [external(select={"path": "b"})]}, "ports[0].select"),
    ({"ports": [external(select={})]}, "ports[0].select"),
    ({"ports": [external(addresses=["198.18.0.1/24 dev lo"])]}, "ports[0].addresses[0]"),
    ({"ports": [external(neighbors=[{"index": 1, "address": "1.2.3.4", "mac": "x"}])]}, "ports[0].neighbors[0].mac"),
    ({"ports": [external(queues=[])]}, "ports[0].queues"),
    ({"ports": [external(queues=[{"index": 1, "rx_core": 0, "tx_core": 0}])]}, "ports[0].queues"),
    ({"ports": [external(queues=[{"index": 0, "rx_core": True, "tx_core": 0}])]}, "ports[0].queues[0].rx_core"),
    ({"ports": [external(kind="other")]}, "ports[0].kind"),
    ({"ports": [external(nic={"offloads": {"gro; reboot": True}})]}, "ports[0].nic.offloads"),
    ({"ports": [external(nic={"offloads": {"gro": 1}})]}, "ports[0].nic.offloads"),
    ({"ports": [external(nic={"offloads": 7})]}, "ports[0].nic.offloads"),
    ({"ports": [external(nic={"offloads": ["gro"]})]}, "ports[0].nic.offloads"),
    ({"ports": [external(nic={"rx_ring": "1024"})]}, "ports[0].nic.rx_ring"),
    ({"ports": [external(nic={"rx_usecs": True})]}, "ports[0].nic.rx_usecs"),
    ({"ports": [external(nic={"adaptive": 1})]}, "ports[0].nic.adaptive"),
    ({"ports": [external(nic={"rss_key": "6d:5a; reboot"})]}, "ports[0].nic.rss_key"),
    ({"ports": [external(nic={"rss_key": None})]}, "ports[0].nic.rss_key"),
    ({"ports": [external(nic={"tx_speed": 1})]}, "ports[0].nic.tx_speed"),
    ({"ports": [external(nic={"driver": "ice"})]}, "ports[0].nic.driver"),
    ({"ports": [external(select={"pci": "0000:03:00.0"}, nic={"bind": "evil"})]}, "ports[0].nic.bind"),
    ({"ports": [external(nic={"bind": "vfio-pci"})]}, "ports[0].nic.bind"),
    ({"hugepages": {"2048": "many"}}, "hugepages.2048"),
    ({"ports": [{"name": "ext0"}]}, "ports[0].driver"),
    ({"ports": {}}, "ports"),
    ({"routing": {"daemon": "birds", "keys": [], "sessions": []}}, "routing.daemon"),
    ({"routing": {"daemon": "bird", "keys": [["a b", "x"]], "sessions": []}}, "routing.keys[0][0]"),
    ({"routing": {"daemon": "bird", "keys": [], "sessions": [["bgp; drop", "10.0.0.0/8"]]}}, "routing.sessions[0]"),
    ({"routing": {"daemon": "bird", "keys": [], "sessions": [["bgp", "10.0.0.0/8 accept"]]}}, "routing.sessions[0]"),
    ({"dataplane": plane(next_hop={"x": "int1"})}, "dataplane.next_hop"),
    ({"dataplane": plane(adjacencies=[{"port": 0, "index": 1, "mac": "x"}])}, "dataplane.adjacencies[0].mac"),
    ({"dataplane": plane(fib=None)}, "dataplane.fib"),
    ({"dataplane": plane(kind="click")}, "dataplane.threads"),
]


@pytest.mark.parametrize(("changes", "place"), REFUSED)
def test_refused(changes: dict[str, object], place: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(**changes)
    assert re.match(rf"/etc/rbops/node.json: {re.escape(place)}(: | must be)", str(caught.value)), caught.value


def test_a_data_plane_of_a_later_rbops() -> None:
    with raises(Mismatch, "dataplane.unknown"):
        config(dataplane=plane(kind="other"))


def test_written_and_read_again() -> None:
    """What is applied is remembered as text, and read again by the next version."""
    whole = config(
        ports=[
            external(steering=[{"mac": "02:52:00:00:00:01", "queue": 1}], nic={"rx_ring": 512}),
            internal(closed=True),
        ],
        hugepages={"2048": 512},
        kernel={"boot": [["isolcpus", "1"], ["quiet", ""]], "modules": {"ixgbe": {"allow_unsupported_sfp": "1"}}},
        host={"device": "rbops0", "mac": "02:53:ff:ff:ff:01", "mtu": 1500, "addresses": ["198.18.0.1/32"]},
    )
    assert parse(whole.to_text(), Path("again")) == whole


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100000])
def test_no_object(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text, Path("x"))


def test_load(tmp_path: Path) -> None:
    with raises(UsageError, "node.no-config"):
        load(tmp_path / "node.json")
    (tmp_path / "node.json").write_bytes(b"\xff")
    with pytest.raises(UsageError):
        load(tmp_path / "node.json")
    (tmp_path / "node.json").write_text(json.dumps({**BASE, "ports": [external(), internal()]}))
    assert [port.kind for port in load(tmp_path / "node.json").ports] == ["external", "internal"]


def test_sysctl() -> None:
    values = {
        "net.ipv4.conf.ext0.rp_filter": "0",
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.ext0.disable_ipv6": "1",
        "net.core.none": "5",
    }
    wanted = config(ports=[external()], sysctl=values)
    facts = {"net.ipv4.conf.ext0.rp_filter": "2", "net.ipv4.ip_forward": "1"}
    found = settings(wanted, {"ext0": "enp3s0.7"}, facts)
    assert [(s.name, s.have, s.want, s.differs) for s in found] == [
        ("net.ipv4.ip_forward", "1", "1", False),
        ("net.core.none", "none", "5", False),
        ("net.ipv4.conf.ext0.rp_filter", "2", "0", True),
        ("net.ipv6.conf.ext0.disable_ipv6", "1", "1", False),
    ]
    assert found[1].unsupported
    assert path_of("net.ipv4.conf.ext0.rp_filter", {"ext0": "enp3s0.7"}) == "/proc/sys/net/ipv4/conf/enp3s0.7/rp_filter"


def test_a_container_cannot_set_what_is_its_hosts() -> None:
    """Socket buffers are shown in a network namespace by newer kernels, for reading."""
    values = {"net.core.rmem_default": "8388608", "kernel.pid_max": "65536", "net.ipv4.ip_forward": "1"}
    facts = {"net.core.rmem_default": "212992", "kernel.pid_max": "32768", "net.ipv4.ip_forward": "0"}
    found = settings(config(sysctl=values), {}, facts, contained=True)
    assert {s.name: bool(s.unsupported) for s in found} == {
        "net.ipv4.ip_forward": False,
        "kernel.pid_max": True,
        "net.core.rmem_default": True,
    }
    assert not any(s.unsupported for s in settings(config(sysctl=values), {}, facts))
