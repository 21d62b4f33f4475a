"""node.json is checked before anything is done with it (16, 18)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rbops.errors import UsageError
from rbops.node.config import load, parse
from rbops.node.sysctl import path_of, settings
from tests.node.recorded import BASE, config, external, internal


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"sysctl": {"net.ipv4.ip_forward": "1\nkernel.core_pattern=|/bin/sh"}}, "one line"),
        ({"sysctl": {"net.ipv4.ip_forward": "1\x00"}}, "one line"),
        ({"sysctl": {"net.ipv4.ip_forward": ""}}, "one line"),
        ({"sysctl": {"net.ipv4.ip_forward": 1}}, "one line"),
        ({"sysctl": {"net/../../x": "1"}}, "sysctl"),
        ({"sysctl": {"net...x": "1"}}, "sysctl"),
        ({"server": "../x"}, "server"),
        ({"server": "-x"}, "server"),
        ({"ports": [external("a;b")]}, "port name"),
        ({"ports": [external("$(id)")]}, "port name"),
        ({"ports": [external("../x")]}, "port name"),
        ({"ports": [external("-x")]}, "port name"),
        ({"ports": [external("sixteen-chars-xx")]}, "port name"),
        ({"ports": [external(), external()]}, "twice"),
        ({"ports": [external(select={"name": "a b"})]}, "device name"),
        ({"ports": [external(select={"name": "a", "pci": "b"})]}, "exactly one"),
        ({"ports": [external(select={"path": "b"})]}, "select by"),
        ({"ports": [external(addresses=["198.18.0.1/24 dev lo"])]}, "netmask"),
        ({"ports": [external(neighbors=[{"index": 1, "address": "1.2.3.4", "mac": "x"}])]}, "mac"),
        ({"ports": [external(queues=[])]}, "queues"),
        ({"ports": [external(queues=[{"index": 1, "rx_core": 0, "tx_core": 0}])]}, "queues"),
        ({"ports": [external(kind="other")]}, "kind"),
        ({"ports": [external(offloads={"gro; reboot": True})]}, "offload"),
        ({"ports": [external(ring={"rx": "1024"})]}, "not a number"),
        ({"ports": [external(rss_key="6d:5a; reboot")]}, "rss_key"),
        ({"ports": [external(select={"pci": "0000:03:00.0"}, bind="evil")]}, "bind"),
        ({"hugepages": {"2048": "many"}}, "many"),
        ({"ports": [{"name": "ext0"}]}, "missing field"),
    ],
)
def test_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        config(**changes)
    assert "/etc/rbops/node.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100000])
def test_no_object(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text, Path("x"))


def test_load(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
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
