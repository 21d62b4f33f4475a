"""Facts of recorded machines in, exact commands and writes out: golden files, one a driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.node import channels, irq, napi, nic, rss, steering, xps
from rbops.node.settings import Ip, Run, Setting
from tests.node.recorded import FACTS, recording

GOLDEN = Path(__file__).parent / "golden"


def every(name: str) -> list[Setting]:
    """All settings of the recorded port, in the engine's order."""
    system, port, device = recording(name)
    return [
        *channels.settings(port, device, channels.read(system, device, port.driver, len(port.queues)), "n0"),
        *(s for stage in ("rings", "coalescing", "offloads") for s in nic.settings(stage, port, device, system, "n0")),
        *rss.settings(port, device, rss.read(system, device)),
        *nic.settings("rss", port, device, system, "n0"),
        *steering.settings(port, device, steering.read(system, device), "n0"),
        *xps.settings(port, device, xps.read(system, device)),
        *irq.settings(port, irq.read(system, device)),
        *nic.settings("napi", port, device, system, "n0"),
        *(napi.settings(port, napi.read(system, device)) if port.nic.threaded_napi else ()),
    ]


def lines(setting: Setting) -> list[str]:
    if setting.have == setting.want:
        return [f"= {setting.name}: {setting.have}"]
    if setting.unsupported:
        return [f"! {setting.name}: {setting.have}, planned {setting.want}: {setting.unsupported}"]
    found = [f"* {setting.name}: {setting.have} -> {setting.want}"]
    for mark, actions in ((">", setting.actions), ("<", setting.undo)):
        for action in actions:
            if isinstance(action, Run):
                text = " ".join(action.argv)
            else:
                text = f"ip {action.line}" if isinstance(action, Ip) else f"write {action.value} {action.path}"
            found.append(f"    {mark} {text}")
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in FACTS.iterdir()))
def test_commands(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{name}.txt", "\n".join(line for setting in every(name) for line in lines(setting)) + "\n")
