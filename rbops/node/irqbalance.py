"""irqbalance: found, switched off, or configured to leave the data plane's cores and interrupts alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rbops.common.cpulist import list_text
from rbops.node import irq
from rbops.node.settings import Action, Put, Run, Setting
from rbops.node.system import System

__all__ = ["DROP_IN", "SUBJECT", "UNIT", "Service", "drop_in", "read", "settings"]

SUBJECT = "irqbalance"
UNIT = "irqbalance.service"
DROP_IN = "/etc/systemd/system/irqbalance.service.d/zz-rbops.conf"

_RELOAD = (Run(("systemctl", "daemon-reload")), Run(("systemctl", "try-restart", UNIT)))
_LIST = re.compile(r"(?:^|\0)IRQBALANCE_BANNED_CPULIST=([^\0]*)")
_BANNED = re.compile(r"--banirq=(\d+)")


@dataclass(frozen=True, slots=True)
class Service:
    """The unit as systemd has it, and the exclusions of its process: (CPUs, interrupts), None while none runs."""

    installed: bool
    enabled: bool
    active: bool
    excluded: tuple[str, tuple[int, ...]] | None


def read(system: System) -> Service:
    """As systemd has it; without it there is no service either."""
    if "system" not in system.names("/run/systemd"):
        return Service(installed=False, enabled=False, active=False, excluded=None)
    done = system.run(("systemctl", "show", UNIT, "--property=LoadState,ActiveState,UnitFileState,MainPID"))
    said = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    active = said.get("ActiveState") in ("active", "activating", "reloading")
    return Service(
        installed=said.get("LoadState", "not-found") not in ("not-found", "masked"),
        enabled=said.get("UnitFileState") == "enabled",
        active=active,
        excluded=_excluded(system, said.get("MainPID", "0")) if active else None,
    )


def _excluded(system: System, pid: str) -> tuple[str, tuple[int, ...]] | None:
    environment, command = system.read(f"/proc/{pid}/environ"), system.read(f"/proc/{pid}/cmdline")
    if environment is None or command is None:
        return None
    cpus = _LIST.search(environment)
    return cpus[1] if cpus else "", tuple(sorted(int(number) for number in _BANNED.findall(command)))


def settings(mode: str, cores: Iterable[int], devices: Iterable[str], system: System) -> list[Setting]:
    """What ``mode`` (keep, ban, off) asks; with keep a daemon that would move data ports' interrupts is reported."""
    service = read(system)
    if mode == "off":
        return _off(service)
    numbers = tuple(sorted(found.number for device in devices for found in irq.read(system, device)))
    if mode == "ban":
        return _ban(service, list_text(cores), numbers, system)
    if service.active and numbers:
        reason = "it moves interrupts of data ports: `kernel: {irqbalance: ban}` or `off` in the spec"
        return [Setting(SUBJECT, "service", "running", "banned or off", unsupported=reason)]
    return []


def _off(service: Service) -> list[Setting]:
    want = "disabled, stopped"
    have = f"{'enabled' if service.enabled else 'disabled'}, {'running' if service.active else 'stopped'}"
    undo: list[Action] = []
    if service.enabled:
        undo.append(Run(("systemctl", "enable", UNIT)))
    if service.active:
        undo.append(Run(("systemctl", "start", UNIT)))
    return [Setting(SUBJECT, "service", have, want, (Run(("systemctl", "disable", "--now", UNIT)),), tuple(undo))]


def _ban(service: Service, cpus: str, numbers: tuple[int, ...], system: System) -> list[Setting]:
    want = _label(cpus, numbers)
    if not service.installed:
        return [Setting(SUBJECT, "bans", "not installed", want, unsupported="nothing moves interrupts here")]
    text, present = drop_in(cpus, numbers), system.read(DROP_IN)
    have = want
    if service.excluded is not None and service.excluded != (cpus, numbers):
        have = _label(*service.excluded)
    elif present != text.strip():
        have = "none"
    undo = Put(DROP_IN, None if present is None else f"{present}\n")
    return [Setting(SUBJECT, "bans", have, want, (Put(DROP_IN, text), *_RELOAD), (undo, *_RELOAD))]


def drop_in(cpus: str, numbers: tuple[int, ...]) -> str:
    """Interrupts of others stay off ``cpus``, and interrupts ``numbers`` where rbops put them."""
    banned = "".join(f" --banirq={number}" for number in numbers)
    # Set by env: /etc/default/irqbalance, read by the unit itself, would win over Environment= here.
    command = f"/usr/bin/env -u IRQBALANCE_BANNED_CPUS IRQBALANCE_BANNED_CPULIST={cpus}"
    start = f"ExecStart={command} /usr/sbin/irqbalance --foreground $IRQBALANCE_ARGS{banned}"
    return (
        f"# Written by rbops: data-plane cores and data ports are not irqbalance's.\n[Service]\nExecStart=\n{start}\n"
    )


def _label(cpus: str, numbers: tuple[int, ...]) -> str:
    return f"CPUs {cpus or 'none'}, interrupts {list_text(numbers) or 'none'}"
