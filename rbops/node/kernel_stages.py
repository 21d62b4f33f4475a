"""Kernel settings beyond the NICs, as stages of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rbops.node import boot, governor, irqbalance, modules
from rbops.node.schema import NodeConfig
from rbops.node.settings import Setting
from rbops.node.state import State
from rbops.node.system import System

__all__ = ["SUBJECTS", "after_reboot", "balance", "check", "stages"]

SUBJECTS = frozenset({boot.SUBJECT, irqbalance.SUBJECT, modules.SUBJECT})
"""What outlives a reboot: to be restored even when the kernel has forgotten everything else."""

Stage = tuple[str, Callable[[], list[Setting]]]


def check(config: NodeConfig, system: System) -> None:
    """Mismatch (3) for what this server cannot have, before anything is changed on it."""
    boot.check(config.kernel.boot, system, config.server)
    governor.check(config.kernel.governor, config.cores, system, config.server)
    modules.check(config.kernel.modules, system, config.server)


def balance(config: NodeConfig, devices: Iterable[str], system: System) -> list[Setting]:
    """Who else moves interrupts: settled when they have their numbers, and before they are given cores."""
    return irqbalance.settings(config.kernel.irqbalance, config.cores, devices, system)


def stages(config: NodeConfig, system: System, state: State) -> list[Stage]:
    """What belongs to no NIC; what the server boots with last, since it takes longest."""
    return [
        ("governor", lambda: governor.settings(config.kernel.governor, config.cores, system)),
        ("modules", lambda: modules.settings(config.kernel.modules, system)),
        ("boot", lambda: boot.settings(config.kernel.boot, boot.owned(state), system)),
    ]


def after_reboot(config: NodeConfig, system: System, state: State) -> list[Setting]:
    """What is planned and waits for a reboot, ``have`` being what is active."""
    every = boot.settings(config.kernel.boot, boot.owned(state), system)
    every += modules.settings(config.kernel.modules, system)
    found = [setting for setting in every if setting.unsupported in (boot.REBOOT, modules.RELOAD)]
    asked = system.read("/run/reboot-required")
    if asked is not None:
        packages = ", ".join(sorted(set((system.read("/run/reboot-required.pkgs") or "").split()))) or "a package"
        found.append(Setting("system", "reboot", "running since before", f"required by {packages}"))
    return found
