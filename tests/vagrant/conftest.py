"""Two virtual machines for the whole room, by the commands a user types: up, apply, then what the tests look at.

The tests run in the order of their file. On two CPUs without KVM each step takes minutes: with ``RBOPS_VMS=DIR`` they
begin on machines that are there, a lab called rbt-vm2 to which ``DIR/router.yml`` was applied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.driver import Cluster, Done

LONG_S = 1500.0

SPEC = """\
name: vm2
router: {external_ports: 2, line_rate: 10Gbps}
interconnect: {probe_interval: 200ms, probe_multiplier: 5}
servers: {profile: vagrant}
kernel:
  isolate: on
  parameters: {mitigations: off}
  modules: {virtio_net: {napi_weight: 32}}
"""


@pytest.fixture(scope="package")
def steps() -> dict[str, Done]:
    """How each command went that made the machines, by its verb."""
    return {}


@pytest.fixture(scope="package")
def vms(steps: dict[str, Done], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A router of two virtual machines, applied, and booted once more since."""
    ready = os.environ.get("RBOPS_VMS")
    if ready:
        yield cluster(Path(ready), "rbt-vm2")
        return
    made = cluster(tmp_path_factory.mktemp("vm2"), "rbt-vm2")
    made.run("lab", "down", "none", "--name", made.name)
    try:
        steps["lab up"] = made.run(
            "lab", "up", str(made.spec), "--name", made.name, "--provider", "vagrant", seconds=LONG_S
        )
        assert steps["lab up"].code == 0, steps
        steps["apply"] = made.verb("apply", seconds=LONG_S)
        assert steps["apply"].code == 0, steps
        for server in ("n0", "n1"):
            made.lab.reboot(server)
        yield made
    finally:
        steps["lab down"] = made.run("lab", "down", "none", "--name", made.name)


def cluster(folder: Path, name: str) -> Cluster:
    """A cluster that is not there yet, with its spec."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    (folder / "router.yml").write_text(SPEC, encoding="utf-8")
    return Cluster(folder, name, {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(temporary)})
