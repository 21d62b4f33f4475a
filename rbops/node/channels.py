"""Channels: how many queues a NIC has (``ethtool -L``). First of all: it resets what comes after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rbops.errors import CheckFailed, Mismatch, Where
from rbops.nic.drivers import driver as known
from rbops.node import rss, steering
from rbops.node.ethtool import ask, sections
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System

__all__ = ["ChannelFacts", "explained", "parse", "read", "settings"]


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What ``ethtool -l`` says; a driver without channels has one receive and one transmit queue.

    ``blocked`` are commands without which the kernel refuses fewer channels: what refers to queues that go.
    """

    driver: str
    maximum: dict[str, int]
    current: dict[str, int]
    blocked: tuple[Run, ...] = ()


def read(system: System, device: str, driver: str, planned: int) -> ChannelFacts:
    """The facts of one device that is to have ``planned`` queues."""
    facts = parse(ask(system, "-l", device), driver)
    if facts.maximum and planned < max(facts.current.get(kind, 0) for kind in ("combined", "rx")):
        return replace(facts, blocked=tuple(_blocked(system, device, driver, planned)))
    return facts


def parse(text: str | None, driver: str) -> ChannelFacts:
    """Facts from the text of ``ethtool -l``, None where the driver has none."""
    if text is None:
        return ChannelFacts(driver, {}, {"rx": 1, "tx": 1})
    maximum, current = sections(text)
    return ChannelFacts(driver, maximum, current)


def _blocked(system: System, device: str, driver: str, planned: int) -> Iterator[Run]:
    """A table set by others, and rules, may name queues that go: -L is then refused (net/ethtool/channels.c)."""
    table = rss.read(system, device)
    count = max(table, default=0) + 1
    if count > planned and table != tuple(entry % count for entry in range(len(table))):
        yield Run(("ethtool", "-X", device, "default"))
    if known(driver).mac_rules != "none":
        for rule in steering.read(system, device) or ():
            if rule.queue >= planned:
                yield Run(("ethtool", "-N", device, "delete", str(rule.location)))


def settings(port: NodePort, device: str, facts: ChannelFacts, server: str) -> list[Setting]:
    """One setting for all kinds of channel; Mismatch (3) when the device cannot have as many as planned."""
    count = len(port.queues)
    kinds = ("combined",) if facts.maximum.get("combined") else ("rx", "tx")
    limits = facts.maximum if facts.maximum else facts.current
    for kind in kinds:
        if limits.get(kind, 0) < count:
            raise Mismatch(
                f"port {port.name} needs {count} {kind} queues, the device has {limits.get(kind, 0)}",
                code="nic.too-few-queues",
                where=Where(server=server, device=device),
                hint="plan with fewer data-plane cores, or another NIC",
            )
    # Dedicated queues beside combined ones (ice) would take traffic that no planned core polls.
    extra = tuple(kind for kind in ("rx", "tx") if kinds == ("combined",) and facts.current.get(kind))
    wanted = {**dict.fromkeys(kinds, count), **dict.fromkeys(extra, 0)}
    have = {kind: facts.current.get(kind, 0) for kind in wanted}
    if have == wanted:
        return [Setting(port.subject, "channels", _text(have), _text(wanted))]
    if not facts.maximum or known(facts.driver).fixed_channels:
        if any(have[kind] < count for kind in kinds):
            raise Mismatch(
                f"port {port.name} needs {count} queues, the device has {_text(have)}, which driver {facts.driver} "
                "cannot change",
                code="nic.fixed-queues",
                where=Where(server=server, device=device),
                hint="give the device as many queues where it is made, or plan with fewer data-plane cores",
            )
        reason = f"driver {facts.driver} cannot change its number of queues"
        return [Setting(port.subject, "channels", _text(have), _text(wanted), unsupported=reason)]
    actions = (*facts.blocked, Run(_command(device, wanted)))
    return [Setting(port.subject, "channels", _text(have), _text(wanted), actions, (Run(_command(device, have)),))]


def _command(device: str, counts: dict[str, int]) -> tuple[str, ...]:
    return ("ethtool", "-L", device, *(word for kind, count in counts.items() for word in (kind, str(count))))


def _text(counts: dict[str, int]) -> str:
    return " ".join(f"{kind} {count}" for kind, count in counts.items())


def explained(error: CheckFailed, system: System) -> CheckFailed:
    """``error`` as it is; where a driver only says that its device is busy, with what holds its queues."""
    words = str(error).partition(":")[0].split()
    if words[:2] != ["ethtool", "-L"] or "busy" not in str(error).lower():
        return error
    device = words[2]
    held = list(_holders(device, system))
    said = f"in use there: {', '.join(held)}" if held else "neither VFs, RDMA, AF_XDP sockets nor mqprio were found"
    return CheckFailed(
        str(error),
        code="nic.busy",
        where=Where(device=device),
        hint=f"{said}; see also the driver's line in `dmesg`",
    )


def _holders(device: str, system: System) -> Iterator[str]:
    """Who keeps a driver from changing its queues: ice, i40e, ixgbe, mlx5 and bnxt answer EBUSY for each of these."""
    folder = f"/sys/class/net/{device}/device"
    if (count := system.read(f"{folder}/sriov_numvfs")) not in (None, "0"):
        yield f"{count} VFs (sriov_numvfs)"
    yield from (f"RDMA device {name}" for name in system.names(f"{folder}/infiniband"))
    if "mqprio" in system.run(("tc", "qdisc", "show", "dev", device)).stdout:
        yield "a qdisc mqprio"
    sockets = system.run(("ss", "--xdp", "--no-header", "--numeric")).stdout.splitlines()
    if any(f"{device}:" in line for line in sockets):
        yield "AF_XDP sockets"
