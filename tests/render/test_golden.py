"""What RB4 becomes, read once by a person and compared ever since."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rbops.plan import ClusterPlan
from rbops.render import render

GOLDEN = Path(__file__).parent / "golden"
# Digests of the compiled program and table change with every line of them; that they are right is tested below.
DIGEST = re.compile(r'"((?:object|fib)_sha256)": "[0-9a-f]{64}"')


def text(plan: ClusterPlan, server: str, path: str) -> str:
    (found,) = [file.content for file in render(plan).files_of(server) if file.path == path]
    return found.decode()


@pytest.mark.parametrize("server", ["n0", "n3"])
def test_node(rb4: ClusterPlan, server: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{server}.json", DIGEST.sub(r'"\1": "..."', text(rb4, server, "/etc/rbops/node.json")))


def test_node_of_the_kernel_data_plane(rb4: ClusterPlan, golden: Callable[[Path, str], None]) -> None:
    plan = replace(rb4, forwarding=replace(rb4.forwarding, dataplane="kernel"))
    golden(GOLDEN / "kernel.json", text(plan, "n0", "/etc/rbops/node.json"))


@pytest.mark.parametrize("unit", ["rbops.service", "rbops-watch.service"])
def test_units(rb4: ClusterPlan, unit: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / unit, text(rb4, "n0", f"/etc/systemd/system/{unit}"))


def test_routes(rb4: ClusterPlan, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "routes.csv", text(rb4, "n0", "/etc/rbops/routes.csv"))


def test_top(rb4: ClusterPlan, golden: Callable[[Path, str], None]) -> None:
    files = {file.path: file.content.decode() for file in render(rb4).top}
    golden(GOLDEN / "ansible.cfg", files["ansible.cfg"])
    golden(GOLDEN / "hosts.yml", files["inventory/hosts.yml"])
    assert json.loads(files["plan.json"])["digest"] == rb4.digest


def test_hardware(golden: Callable[[Path, str], None]) -> None:
    from tests.render.rb4 import mesh

    ports = json.loads(text(mesh(4, driver="mlx5_core"), "n0", "/etc/rbops/node.json"))["ports"]
    golden(GOLDEN / "mlx5_port.json", json.dumps(ports[1], indent=1) + "\n")
