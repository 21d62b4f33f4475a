"""A changed plan over a running lab: what stays, comes and goes; and one grown and shrunk under traffic."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from rbops.errors import Mismatch
from rbops.lab import manifest as manifests
from rbops.lab import net, reconcile
from rbops.lab.cgroup import lab_cgroup
from rbops.lab.layout import server_cgroup
from rbops.lab.manifest import Manifest
from rbops.lab.merge import changes
from rbops.lab.model import Lab
from rbops.lab.providers import provider
from tests.lab.plans import mesh, systems
from tests.support.errors import raises
from tests.support.lab import MakeLab


def lab(servers: int, **options: object) -> Manifest:
    plan = mesh(servers, **options)  # type: ignore[arg-type]
    made = manifests.from_plan(plan, "rbt-merge", 7, systems(plan), "nspawn")
    return dataclasses.replace(made, state="up")


def ports(manifest: Manifest) -> list[str]:
    return [f"{server.name}:{port.name}" for server in manifest.servers for port in server.ports]


def test_the_same_plan_changes_nothing() -> None:
    todo = changes(lab(3), lab(3))
    assert todo.empty
    assert todo.target == lab(3)


@pytest.mark.parametrize(("small", "large"), [(2, 3), (3, 6)])
def test_growing_and_shrinking_touch_what_differs_alone(small: int, large: int) -> None:
    old, new = lab(small), lab(large)
    names = [f"n{index}" for index in range(small, large)]
    todo = changes(old, new)
    assert [server.name for server in todo.new_servers] == names
    assert [tester.name for tester in todo.new_testers] == [f"t{name[1:]}" for name in names]
    ends = {end for cable in todo.new_cables for end in (cable.one.name, cable.other.name)}
    assert len(todo.new_cables) == large * (large - 1) // 2 - small * (small - 1) // 2
    assert set(names) < ends
    assert (todo.gone_servers, todo.gone_testers, todo.gone_ports, todo.readdressed) == ((), (), (), ())
    for server in old.servers:
        assert set(server.ports) <= set(todo.target.server(server.name).ports), "what is there stays where it is"
    assert sorted(ports(todo.target)) == sorted(ports(new))

    back = changes(todo.target, old)
    assert [server.name for server in back.gone_servers] == names
    assert (back.new_servers, back.new_testers, back.new_cables) == ((), (), ())
    assert {server.name for server in back.both.servers} == {server.name for server in new.servers}
    assert changes(back.target, old).empty


def test_a_cable_of_another_shape_is_made_anew() -> None:
    old, new = lab(3, cores=(0,)), lab(3, cores=(0, 1))
    todo = changes(old, new)
    assert len(todo.new_cables) == 3
    assert len(todo.gone_ports) == 9
    assert len(todo.new_testers) == 3
    panels = [port.panel for server in (*old.servers, *todo.target.servers) for port in server.ports]
    assert len(set(panels)) == len(panels), "old and new ends lie side by side on the panel"


def test_servers_that_changed_places_are_refused() -> None:
    old, planned = lab(2), lab(2)
    one, two = planned.servers
    swapped = (dataclasses.replace(one, name="n1"), dataclasses.replace(two, name="n0"))
    with raises(Mismatch, "lab.moved", server="n1"):
        changes(old, dataclasses.replace(planned, servers=swapped))
    with raises(Mismatch, "lab.folder"):
        changes(old, dataclasses.replace(planned, folder="/opt/click"))


def pids(lab: Lab) -> dict[str, list[int]]:
    """The first process of each running system."""
    group = lab_cgroup(lab.name)
    systems = {server.name: server_cgroup(group, server).child("payload/init.scope") for server in lab.servers}
    return {name: cgroup.pids() for name, cgroup in systems.items()}


def ping(lab: Lab, source: str, target: str) -> int:
    command = ["sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9; do ping -c 1 -W 1 {target} && exit; done"]
    return subprocess.run(lab.command(source, command), capture_output=True, check=False).returncode


def up(lab: Lab, device: str, server: str, address: str) -> None:
    line = f"ip addr replace {address} dev {device} && ip link set {device} up"
    subprocess.run(lab.command(server, ["sh", "-c", line]), check=True, capture_output=True)


@pytest.mark.lab
@pytest.mark.root
def test_a_running_lab_is_grown_and_shrunk(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    nspawn = provider("nspawn")
    name = "rbt-grow"
    small = make_lab(mesh(2), name)
    before = pids(small)
    up(small, "int1", "n0", "192.0.2.1/30")
    up(small, "int0", "n1", "192.0.2.2/30")
    assert ping(small, "n0", "192.0.2.2") == 0

    with monkeypatch.context() as patch:

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(reconcile.net, "configure_tester", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nspawn.up(mesh(3), name)
    assert manifests.read(small.inventory.parent) == small.manifest
    assert not net.exists(changes(small.manifest, manifest_of(3, small)).new_testers[0].netns)
    assert {link["ifname"] for link in net.links(small.servers[0].netns)} == {"lo", "mgmt0", "ext0", "int1"}

    grown = nspawn.up(mesh(3), name)
    assert [server.name for server in grown.servers] == ["n0", "n1", "n2"]
    now = pids(grown)
    assert {server: now[server] for server in before} == before, "who was there did not notice"
    up(grown, "int2", "n0", "192.0.2.5/30")
    up(grown, "int0", "n2", "192.0.2.6/30")
    assert ping(grown, "n0", "192.0.2.6") == 0
    assert nspawn.up(mesh(3), name).manifest == grown.manifest
    grown.reboot("n0")
    assert {link["ifname"] for link in net.links(grown.servers[0].netns)} == {"lo", "mgmt0", "ext0", "int1", "int2"}

    shrunk = nspawn.up(mesh(2), name)
    assert shrunk.manifest == small.manifest
    assert pids(shrunk)["n1"] == before["n1"]
    assert not net.exists(grown.servers[2].netns)
    assert not net.exists(grown.testers[2].netns)
    assert {link["ifname"] for link in net.links(shrunk.servers[1].netns)} == {"lo", "mgmt0", "ext1", "int0"}


def manifest_of(servers: int, lab: Lab) -> Manifest:
    plan = mesh(servers)
    return manifests.from_plan(plan, lab.name, lab.manifest.subnet, systems(plan), "nspawn")
