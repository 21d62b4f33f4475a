"""Stage 1: what each server is made of, from profiles and inline hardware."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rbops import hardware
from rbops.dataplane import registry
from rbops.errors import Diagnostic, SpecError
from rbops.hardware.model import Machine
from rbops.spec.document import Spec
from rbops.spec.hardware import Hardware
from rbops.spec.source import Path
from rbops.topology.names import server_index

__all__ = ["Machines", "machines"]


@dataclass(frozen=True, slots=True)
class Machines:
    """``special`` are the servers unlike the others, by index; ``default`` is what all others are."""

    default: Machine
    special: Mapping[int, Machine]

    def of(self, index: int) -> Machine:
        """The machine of server ``index``."""
        return self.special.get(index, self.default)


def machines(spec: Spec, cost_factor: float = 1.0) -> Machines:
    """The machines of ``spec``, on which a packet costs ``cost_factor`` times what is known of them.

    Raises SpecError with all profiles that do not exist.
    """
    wrong: list[Diagnostic] = []
    default = _machine(spec, spec.servers.profile, spec.servers.hardware, ("servers", "profile"), wrong)
    special: dict[int, Machine] = {}
    for name, host in spec.hosts.items():
        index = server_index(name)
        own = _machine(spec, host.profile, host.hardware, ("hosts", name, "profile"), wrong)
        if index is not None and own is not None:
            special[index] = _scaled(_reserved(spec, own), cost_factor)
    if wrong or default is None:
        raise SpecError(wrong)
    return Machines(_scaled(_reserved(spec, default), cost_factor), special)


def _machine(
    spec: Spec, profile: str | None, inline: Hardware | None, path: Path, wrong: list[Diagnostic]
) -> Machine | None:
    if inline is not None:
        return hardware.machine(inline)
    if profile is None:
        return None
    try:
        return hardware.profile(profile)
    except KeyError:
        names = hardware.names()
        near = difflib.get_close_matches(profile, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(names)}"
        wrong.append(
            spec.source.mistake(path, f"unknown hardware profile {profile!r}", hint, code="plan.unknown-profile")
        )
        return None


def _reserved(spec: Spec, machine: Machine) -> Machine:
    """With isolated cores one is left for everything else, whatever the profile says."""
    more = registry.controller(spec.dataplane).packet_cycles(spec)
    if more:
        machine = replace(machine, costs=tuple(replace(cost, cycles=cost.cycles + more) for cost in machine.costs))
    many = len({(core.socket, core.core) for core in machine.cores}) > 1
    return replace(machine, reserve=max(machine.reserve, 1)) if spec.kernel.isolate and many else machine


def _scaled(machine: Machine, factor: float) -> Machine:
    if factor == 1.0:
        return machine
    scaled = tuple(
        replace(cost, cycles=cost.cycles * factor, cycles_per_byte=cost.cycles_per_byte * factor)
        for cost in machine.costs
    )
    latency = replace(machine.latency, cpu_s=machine.latency.cpu_s * factor)
    return replace(machine, costs=scaled, batching=machine.batching.scaled(factor), latency=latency, calibrated=True)
