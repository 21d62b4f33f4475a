"""The data plane on the oldest kernel that servers may have: Debian 12's, booted once over this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]

LOADED = ("tests.dataplane.test_loader", "tests.dataplane.test_verifier", "tests.dataplane.test_sampling")
TUNNELS = ("tests.fullkernel.tunnels_live", "tests.fullkernel.ike_live")
MANAGED = (
    "tests.node.test_management",
    "tests.node.test_live",
    "tests.node.test_routing_live",
    "tests.node.test_frr_ospf",
)

# Of the loader what asks something of the kernel: loading, replacing programs and memory. What counts lost packets is
# nothing for an emulated processor. Bridges are in every kernel, and filters the same in all: the tests of the node
# program have them.
CHOSEN = (
    "test_loader and (second_apply or new_program or new_configuration or what_packets or half_there or not_planned) "
    "or test_sampling and (as_it_came_in or another_rate) "
    "or test_verifier or tunnels_live or ike_live or test_routing_live or test_frr_ospf and not refused "
    "or (test_management and not filter or test_live) and (routed or in_use and not br0 or a_vrf_is_refused)"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """How the tests of each module ended in the machine: their outcomes."""
    out = tmp_path_factory.mktemp("machine")
    command = ["scripts/full-kernel", "--timeout", "2700", "--output", str(out), "--"]
    files = (f"{module.replace('.', '/')}.py" for module in (*LOADED, *MANAGED, *TUNNELS))
    # $OUT is a folder of the machine's: only a shell there knows it.
    tests = 'exec "$0" -m pytest -q -p no:cacheprovider -o timeout=600 --junitxml="$OUT/results.xml" "$@"'
    command += ["sh", "-c", tests, sys.executable, *files, "-k", CHOSEN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr}"
    found: dict[str, list[str]] = {}
    for case in ET.parse(out / "results.xml").iter("testcase"):
        outcomes = found.setdefault(".".join(case.attrib["classname"].split(".")[:3]), [])
        outcomes.append(next((child.tag for child in case if child.tag in ("skipped", "failure", "error")), "passed"))
    return found


@pytest.mark.full_kernel
@pytest.mark.timeout(2800)
@pytest.mark.parametrize("module", LOADED)
def test_programs_load_and_are_swapped(machine: dict[str, list[str]], module: str) -> None:
    assert set(machine[module]) == {"passed"}


@pytest.mark.full_kernel
@pytest.mark.timeout(2800)
@pytest.mark.parametrize("module", MANAGED)
def test_the_management_is_kept_apart_by_a_vrf(machine: dict[str, list[str]], module: str) -> None:
    """The same frames as on a kernel without VRFs, one set of routes suffices here; ports below bonds and VLANs.

    BIRD's sessions are in the VRF too, and what follows the kernel's routes; FRR has OSPF there alone. A revert leaves
    nothing of the VRF.
    """
    assert set(machine[module]) == {"passed"}


@pytest.mark.full_kernel
@pytest.mark.timeout(2800)
@pytest.mark.parametrize("module", TUNNELS)
def test_the_servers_kernels_encrypt_for_tunnels(machine: dict[str, list[str]], module: str) -> None:
    """What this machine's kernel may lack: a Linux gateway and strongSwan as peers, two servers."""
    assert set(machine[module]) == {"passed"}
