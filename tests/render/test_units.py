"""The units' sandboxes: no more exposed than docs/threats.md states, by systemd's own measure."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rbops.render.templates import template

ROOT = Path(__file__).parents[2]
COMMON = {"cluster": "rb4", "digest": "0" * 64}
CLICK = {**COMMON, "command": "/usr/bin/click router.click", "stop": "/bin/true"}
UNITS = {
    "`rbops-watch.service`": ("rbops-watch.service", {**COMMON, "start_timeout_s": 10}),
    "`rbops.service`": ("rbops.service", {**COMMON, "start_timeout_s": 10}),
    "`rbops-fib.service`": ("rbops-fib.service", COMMON),
    "`rbops-exporter.service`": ("rbops-exporter.service", {**COMMON, "port": 9482, "groups": "bird"}),
    "`rbops-sflow.service`": ("rbops-sflow.service", COMMON),
    "`rbops-bird.service`": ("rbops-bird.service", COMMON),
    "`rbops-frr.service`": ("rbops-frr.service", COMMON),
    "`rbops-ike.service`": ("rbops-ike.service", COMMON),
    "`rbops-click.service` on sockets": ("rbops-click.service", {**CLICK, "kernel": False, "dpdk": False}),
    "on DPDK": ("rbops-click.service", {**CLICK, "kernel": False, "dpdk": True}),
    "with the kernel module": ("rbops-click.service", {**CLICK, "kernel": True, "dpdk": False}),
}


def stated() -> dict[str, float]:
    """Unit -> exposure, as the page has it."""
    text = (ROOT / "docs/threats.md").read_text(encoding="utf-8")
    return {name: float(most) for name, most in re.findall(r"^\| (.+?) \| ([0-9.]+) \|", text, re.MULTILINE)}


def test_every_unit_is_stated() -> None:
    assert set(stated()) == set(UNITS)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", UNITS)
def test_exposure(name: str, tmp_path: Path) -> None:
    unit, values = UNITS[name]
    path = tmp_path / unit
    path.write_bytes(template(f"systemd/{unit}", **values))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert stated()[name] - 1 < float(found[1]) <= stated()[name], said
