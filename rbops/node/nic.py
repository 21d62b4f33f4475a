"""The settings of the table (``rbops.nic.settings``) on one device: read, compared, and how to write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rbops.errors import Mismatch, Where
from rbops.nic.kinds import SYMMETRIC, HashKey
from rbops.nic.settings import ROWS, Row, Tool
from rbops.node import ethtool
from rbops.node.ethtool import Fact
from rbops.node.schema import NodePort
from rbops.node.settings import Action, Run, Setting, Write
from rbops.node.system import System

__all__ = ["settings"]

_TAGS = frozenset({"rxvlan", "rx-vlan-stag-hw-parse"})
_MERGED = frozenset({"lro", "rx-gro-hw"})


def settings(stage: str, port: NodePort, device: str, system: System, server: str) -> list[Setting]:
    """What the plan says of a stage's settings, in the table's order; a tool is asked once.

    Mismatch (3) for what the device cannot be: a number above its most that the spec insists on, a hash key of
    another length.
    """
    facts: dict[Tool, Mapping[str, Fact]] = {}
    found = []
    for row in ROWS:
        value = row.of(port.nic)
        if row.tool.stage != stage or value is None:
            continue
        for name, want in row.kind.words(value, row.parameters):
            if row.tool not in facts:
                facts[row.tool] = dict(_facts(row.tool, device, system))
            found.append(_setting(row, port, device, name, want, facts[row.tool].get(name), server))
    return found


def _facts(tool: Tool, device: str, system: System) -> Iterator[tuple[str, Fact]]:
    if tool.read is not None:
        yield from ethtool.facts(system, tool.read, device).items()
        return
    for row in ROWS:
        for name in row.parameters if row.tool == tool else ():
            text = system.read(_path(device, name))
            if text is not None:
                yield name, Fact(text)


def _setting(row: Row, port: NodePort, device: str, name: str, want: str, fact: Fact | None, server: str) -> Setting:
    subject, title = port.subject, row.tool.title(name)
    have = row.absent if fact is None else fact.have
    if fact is not None:
        want = _possible(row, port, device, want, fact, server)
    if have == want:
        return Setting(subject, title, have, want)
    if fact is not None and fact.fixed and name in _TAGS and want == "off":
        raise Mismatch(
            f"port {port.name}: the device takes VLAN tags out of frames ({name} is fixed on), so that the data plane "
            "would forward tagged frames as untagged ones",
            code="nic.tags-in-metadata",
            where=Where(server=server, device=device, field=f"nic.{row.key}"),
            hint="take another device for this port, or `dataplane: kernel`",
        )
    if fact is not None and fact.fixed and name in _MERGED and want == "off":
        raise Mismatch(
            f"port {port.name}: the device merges packets before the data plane sees them ({name} is fixed on)",
            code="nic.merges-packets",
            where=Where(server=server, device=device, field=f"nic.{row.key}"),
            hint="switch it off where the device is made (the host of a virtual machine), or take another device",
        )
    if fact is None or fact.fixed:
        reason = row.tool.lacking.format(driver=port.driver, name=name, have=have)
        return Setting(subject, title, have or "none", want, unsupported=reason)
    do, undo = (_write(row.tool, device, name, value) for value in (want, fact.own))
    return Setting(subject, title, fact.have, want, (do,), (undo,), tuning=row.tool.tuning(port.nic))


def _possible(row: Row, port: NodePort, device: str, want: str, fact: Fact, server: str) -> str:
    """What the device can be of what is wanted."""
    where = Where(server=server, device=device, field=f"nic.{row.key}")
    if want == SYMMETRIC:
        return ":".join(["6d:5a"] * (_bytes(fact.have) // 2))
    if isinstance(row.kind, HashKey) and len(want) != len(fact.have):
        raise Mismatch(
            f"port {port.name}: an RSS key of {_bytes(want)} bytes, the device takes {_bytes(fact.have)}",
            code="nic.key-length",
            where=where,
            hint="write `nic: {rss_key: symmetric}`, or a key of that length",
        )
    if fact.most is None or int(want) <= fact.most:
        return want
    if not row.tool.tuning(port.nic):
        raise Mismatch(
            f"port {port.name} needs {row.tool.title(row.parameters[0])} {want}, the device has at most {fact.most}",
            code="nic.beyond-device",
            where=where,
            hint=f"write at most {fact.most} there in the spec",
        )
    return str(fact.most)


def _bytes(key: str) -> int:
    return key.count(":") + 1


def _write(tool: Tool, device: str, name: str, value: str) -> Action:
    if tool.write is None:
        return Write(_path(device, name), value)
    return Run(("ethtool", tool.write, device, name, value))


def _path(device: str, name: str) -> str:
    return f"/sys/class/net/{device}/{name}"
