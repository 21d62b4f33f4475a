from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from rbops.errors import Mismatch, StateUnknown
from rbops.lab import manifest as manifests
from rbops.lab import net
from rbops.lab.access import ssh_command, write_inventory
from rbops.lab.fit import check_fit, check_inotify
from rbops.lab.manifest import Manifest
from rbops.plan import ClusterPlan, Port, Selector
from tests.lab.plans import mesh, systems
from tests.support.errors import raises


def _manifest(plan: ClusterPlan) -> Manifest:
    return manifests.from_plan(plan, "lab", 9, systems(plan), "nspawn")


def _with_port(plan: ClusterPlan, **changes: object) -> ClusterPlan:
    """The plan with n0's first port changed."""
    server = plan.servers[0]
    port: Port = dataclasses.replace(server.ports[0], **changes)  # type: ignore[arg-type]
    server = dataclasses.replace(server, ports=(port, *server.ports[1:]))
    return dataclasses.replace(plan, servers=(server, *plan.servers[1:]))


def test_every_end_of_every_cable_is_there() -> None:
    manifest = _manifest(mesh(3, cores=(0, 1, 2)))
    ends = {f"{server.name}:{port.name}": port for server in manifest.servers for port in server.ports}
    assert set(ends) == {
        "n0:ext0",
        "n0:int1",
        "n0:int2",
        "n1:ext1",
        "n1:int0",
        "n1:int2",
        "n2:ext2",
        "n2:int0",
        "n2:int1",
    }
    assert ends["n1:int2"].peer == "n2:int1"
    assert ends["n1:ext1"].peer == "t1:ext1"
    assert {port.queues for port in ends.values()} == {3}
    assert ends["n2:int1"].mac == "02:4c:00:02:00:02"
    assert len({port.mac for port in ends.values()}) == len(ends)
    assert len({port.panel for port in ends.values()}) == len(ends)


def test_the_tester_is_the_first_neighbour() -> None:
    tester = _manifest(mesh(2)).testers[1]
    assert (tester.name, tester.device, tester.netns) == ("t1", "ext1", "rbops-lab-t1")
    assert (tester.address, tester.gateway, tester.mac) == ("198.18.1.2/24", "198.18.1.1", "02:4e:00:01:00:02")


def test_a_port_without_neighbours_gets_a_tester_without_address() -> None:
    tester = _manifest(_with_port(mesh(2), adjacencies=())).testers[0]
    assert (tester.address, tester.gateway, tester.mac) == (None, None, "02:4e:00:00:00:02")


def test_selectors_by_name_and_mac_name_the_device() -> None:
    port = _manifest(_with_port(mesh(2), selector=Selector(name="eth7"))).servers[0].ports[0]
    assert (port.name, port.device) == ("ext0", "eth7")
    port = _manifest(_with_port(mesh(2), selector=Selector(mac="02:00:00:00:00:77"))).servers[0].ports[0]
    assert port.mac == "02:00:00:00:00:77"


def test_a_pci_selector_is_refused() -> None:
    with raises(Mismatch, "lab.pci", server="n0", device="ext0"):
        _manifest(_with_port(mesh(2), selector=Selector(pci="0000:03:00.0")))


def test_write_and_read(tmp_path: Path) -> None:
    manifest = _manifest(mesh(3))
    manifests.write(manifest, tmp_path)
    assert manifests.read(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["lab.json"]
    assert manifests.finished(manifest).state == "up"


def test_no_manifest_is_none(tmp_path: Path) -> None:
    assert manifests.read(tmp_path) is None
    assert manifests.read(tmp_path / "absent") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 99}', '{"schema_version": 2, "servers": [{}]}'])
def test_a_manifest_that_is_not_ours_is_never_acted_upon(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text, encoding="utf-8")
    with raises(StateUnknown, "lab.manifest", file=str(tmp_path / "lab.json")):
        manifests.read(tmp_path)


def test_unknown_servers_and_testers_are_named() -> None:
    manifest = _manifest(mesh(2))
    with raises(Mismatch, "lab.no-server") as caught:
        manifest.server("n7")
    assert caught.value.hint == "its servers: n0, n1"
    with raises(Mismatch, "lab.no-target"):
        manifest.tester("t7")


def test_the_inventory(tmp_path: Path) -> None:
    import yaml

    path = write_inventory(tmp_path, _manifest(mesh(2)))
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["all"]["children"]
    server = groups["rbops_servers"]["hosts"]["n1"]
    assert server["ansible_host"] == "10.82.9.11"
    assert "StrictHostKeyChecking=yes" in server["ansible_ssh_common_args"]
    assert f"UserKnownHostsFile={tmp_path}/known_hosts" in server["ansible_ssh_common_args"]
    assert groups["rbops_testers"]["hosts"]["t1"] == {
        "ansible_connection": "local",
        "rbops_netns": "rbops-lab-t1",
        "rbops_device": "ext1",
        "rbops_port": 1,
    }


def test_a_command_reaches_the_server_as_it_was_given(tmp_path: Path) -> None:
    args = ssh_command(tmp_path, _manifest(mesh(2)).servers[0], ["echo", "$HOME; reboot", "-n"])
    assert args[-3:] == ["root@10.82.9.10", "--", "echo '$HOME; reboot' -n"]
    assert "StrictHostKeyChecking=yes" in args


def test_a_plan_that_fits() -> None:
    check_fit(mesh(2, cores=(0, 1)), frozenset({0, 1}))


def test_a_plan_for_other_servers_is_refused() -> None:
    with raises(Mismatch, "lab.profile", server="n0") as caught:
        check_fit(mesh(2, profile="nehalem"), frozenset({0, 1}))
    assert "profile: lab" in (caught.value.hint or "")


def test_cores_that_are_not_online_are_named() -> None:
    with raises(Mismatch, "lab.cores", server="n0") as caught:
        check_fit(mesh(2, cores=(0, 5, 7)), frozenset({0, 1}))
    assert "cores 5, 7" in str(caught.value)


def test_too_many_servers_for_a_management_network() -> None:
    plan = mesh(2)
    with raises(Mismatch, "lab.too-many-servers"):
        check_fit(dataclasses.replace(plan, servers=plan.servers * 123), frozenset({0}))


def test_too_few_inotify_instances_are_found_before_servers_boot_without_services() -> None:
    check_inotify(4, 128)
    with raises(Mismatch, "lab.inotify") as caught:
        check_inotify(32, 128)
    assert "208" in str(caught.value)


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    manifests.write(_manifest(mesh(2)), tmp_path)
    body = json.loads((tmp_path / "lab.json").read_text(encoding="utf-8"))
    assert body["schema_version"] == 2
    assert [server["netns"] for server in body["servers"]] == ["rbops-lab-s0", "rbops-lab-s1"]


def test_every_cable_is_made_once() -> None:
    manifest = _manifest(mesh(11))
    lines = net._cables(manifest)
    ends = [(line.split()[2], line.split()[line.split().index("peer") + 2]) for line in lines]
    panels = {f"{server.name}:{port.name}": port.panel for server in manifest.servers for port in server.ports}
    expected = {frozenset((panels[link.a], panels[link.b])) for link in mesh(11).links}
    assert len(ends) == len(expected) == 55
    assert {frozenset(pair) for pair in ends} == expected
