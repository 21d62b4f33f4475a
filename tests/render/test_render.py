"""The bytes agree with each other, are the same every time, and hold nothing the user could turn into code."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from rbops.dataplane.xdp.controller.fib import lookup
from rbops.errors import RbopsError, UsageError
from rbops.plan import Adjacency, ClusterPlan, Port, Queue, Routes, Selector
from rbops.render import File, Rendered, render
from rbops.render.templates import template
from tests.render.rb4 import mesh
from tests.support.errors import raises

EVIL = "{{ lookup('pipe', 'touch /tmp/rbn-owned') }}"


def node(rendered: Rendered, server: str) -> dict[str, object]:
    files = {file.path: file for file in rendered.files_of(server)}
    value = json.loads(files["/etc/rbops/node.json"].content)
    assert isinstance(value, dict)
    return value


def first_port(plan: ClusterPlan, **changes: object) -> ClusterPlan:
    server = plan.servers[0]
    port = replace(server.ports[0], **changes)  # type: ignore[arg-type]
    return replace(plan, servers=(replace(server, ports=(port, *server.ports[1:])), *plan.servers[1:]))


def test_same_bytes(rb4: ClusterPlan) -> None:
    assert list(render(rb4).tree()) == list(render(mesh(4)).tree())


def test_same_bytes_in_another_process(rb4: ClusterPlan) -> None:
    """Neither hash seeds nor the environment nor the time zone show."""
    code = (
        "import hashlib; from tests.render.rb4 import mesh; from rbops.render import render\n"
        "print(hashlib.sha256(b''.join(f.path.encode() + f.content for f in render(mesh(4)).tree())).hexdigest())"
    )
    root = Path(__file__).parents[2]
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": str(root), "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd="/"
    )
    mine = hashlib.sha256(b"".join(file.path.encode() + file.content for file in render(rb4).tree())).hexdigest()
    assert done.stdout.strip() == mine


def test_digests_of_files(rb4: ClusterPlan) -> None:
    rendered = render(rb4)
    sums = {file.path: hashlib.sha256(file.content).hexdigest() for file in rendered.common}
    for server in rb4.servers:
        value = node(rendered, server.name)
        plane, routes = value["dataplane"], value["routes"]
        assert isinstance(plane, dict)
        assert isinstance(routes, dict)
        assert plane["object_sha256"] == sums[plane["object"]]
        assert plane["fib_sha256"] == sums[plane["fib"]]
        assert routes["sha256"] == sums[routes["file"]]
        assert value["digest"] == rb4.digest


def test_table_is_the_text(rb4: ClusterPlan) -> None:
    """The compiled table answers for an address inside every prefix what the text says."""
    files = {file.path: file.content for file in render(rb4).common}
    rows = [line.split(",") for line in files["/etc/rbops/routes.csv"].decode().splitlines()[1:]]
    assert len(rows) == 14
    for address, port, adjacency in (
        ("203.0.113.9", 3, 1),
        ("203.0.113.200", 0, 1),
        ("198.18.2.77", 2, 0),
        ("198.18.2.2", 2, 1),
    ):
        number = int.from_bytes(bytes(int(part) for part in address.split(".")), "big")
        assert lookup(files["/etc/rbops/fib.bin"], np.array([number], np.uint32))[0] == port << 16 | adjacency
    assert lookup(files["/etc/rbops/fib.bin"], np.array([0x08080808], np.uint32))[0] == 0xFFFFFFFF


def test_frames_spread_over_a_queue_a_core(rb4: ClusterPlan) -> None:
    """Rings by CPU id make more queues than cores; the first ones, one a core, receive."""
    cores = (1, 2)
    queues = tuple(Queue(index, cores[index % 2], index if index in cores else 1) for index in range(4))
    changed = first_port(rb4, driver="ice", queues=queues)
    name = changed.servers[0].name
    ports = node(render(changed), name)["ports"]
    assert isinstance(ports, list)
    assert (ports[0]["rss"], len(ports[0]["queues"])) == (2, 4)


def test_neighbor_without_mac_is_punted(rb4: ClusterPlan) -> None:
    plan = first_port(rb4, adjacencies=(Adjacency(1, "198.18.0.2", None),))
    text = next(file.content for file in render(plan).common if file.path.endswith("routes.csv")).decode()
    assert "203.0.113.128/25,0,0,198.18.0.2" in text
    assert node(render(plan), "n0")["dataplane"]["adjacencies"] == []  # type: ignore[index]


def test_route_file(rb4: ClusterPlan, tmp_path: Path) -> None:
    path = tmp_path / "routes.csv"
    path.write_text("prefix,via\n198.51.100.0/24,198.18.1.2\n203.0.113.0/24,198.18.1.2\n192.0.2.0/24,198.18.2.2\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plan = replace(rb4, routes=replace(rb4.routes, file=str(path), file_digest=digest))
    text = next(file.content for file in render(plan).common if file.path.endswith("routes.csv")).decode()
    rows = text.splitlines()[1:]
    assert "192.0.2.0/24,2,1,198.18.2.2" in rows
    assert "203.0.113.0/24,3,1,198.18.3.2" in rows, "a static route goes before the file's"
    assert "203.0.113.0/24,1,1,198.18.1.2" not in rows
    order = [
        (int.from_bytes(bytes(map(int, row.split("/")[0].split("."))), "big"), int(row.split("/")[1].split(",")[0]))
        for row in rows
    ]
    assert order == sorted(order)
    path.write_text("prefix,via\n")
    with raises(UsageError, "render.route-file-changed"):
        render(plan)


def test_route_file_of_256k(rb4: ClusterPlan, tmp_path: Path) -> None:
    path = tmp_path / "routes.csv"
    path.write_text(
        "".join(f"{20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24,198.18.{i % 4}.2\n" for i in range(1 << 18))
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plan = replace(rb4, routes=Routes(rb4.routes.connected, (), str(path), digest, 1 << 18))
    rendered = render(plan)
    routes = node(rendered, "n0")["routes"]
    assert isinstance(routes, dict)
    assert routes["count"] == (1 << 18) + 12


def test_fly_goes_by_shortest_way() -> None:
    """Servers that no link joins directly are reached over the one between them."""
    plan = mesh(3)
    cut = tuple(
        replace(
            server,
            ports=tuple(
                port for port in server.ports if {server.name, (port.peer or "").split(":")[0]} != {"n0", "n2"}
            ),
        )
        for server in plan.servers
    )
    value = node(render(replace(plan, servers=cut)), "n0")["dataplane"]
    assert isinstance(value, dict)
    assert value["next_hop"] == {"1": "int1", "2": "int1"}
    assert (value["intermediates"], value["relays"]) == ([1, 2], True)
    middle = node(render(replace(plan, servers=cut)), "n1")["dataplane"]
    assert isinstance(middle, dict)
    assert (middle["next_hop"], middle["relays"]) == ({"0": "int0", "2": "int2"}, True)


@pytest.mark.parametrize("what", ["servers", "ports on one server", "cables between two servers"])
def test_more_than_the_xdp_tables_hold_is_refused(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    limits = {"servers": "MAX_XDP_SERVERS", "ports on one server": "MAX_XDP_DEVICES"}
    monkeypatch.setattr(f"rbops.dataplane.xdp.controller.rendering.{limits.get(what, 'MAX_XDP_BUNDLE')}", 0)
    with raises(UsageError, "xdp.too-large") as caught:
        render(mesh(3))
    assert f" {what}: the XDP data plane holds 0" in str(caught.value)


def test_rotations_begin_behind_their_servers() -> None:
    """Bursts into several servers at once do not begin at the same intermediate."""
    rendered = render(mesh(4))
    orders = [node(rendered, f"n{me}")["dataplane"]["intermediates"] for me in range(4)]  # type: ignore[index]
    assert orders == [[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]]


def test_selectors(rb4: ClusterPlan) -> None:
    for selector, want in (
        (Selector(pci="0000:03:00.0"), {"pci": "0000:03:00.0"}),
        (Selector(mac="3C:FD:FE:00:00:01"), {"mac": "3c:fd:fe:00:00:01"}),
        (Selector(), {"name": "ext0"}),
    ):
        assert node(render(first_port(rb4, selector=selector)), "n0")["ports"][0]["select"] == want  # type: ignore[index]


@pytest.mark.parametrize("name", ["../x", "/x", "-x", "a\0b", "a\nb", EVIL, "", "a;b", "x" * 80, "$(id)"])
def test_names_stay_names(rb4: ClusterPlan, name: str) -> None:
    server = replace(rb4.servers[0], name=name)
    for plan in (
        replace(rb4, name=name),
        replace(rb4, servers=(server, *rb4.servers[1:])),
        first_port(rb4, name=name),
        first_port(rb4, selector=Selector(name=name)),
        first_port(rb4, selector=Selector(pci=name)),
    ):
        with pytest.raises(UsageError):
            render(plan)


def test_ansible_finds_no_template(rb4: ClusterPlan) -> None:
    """Only what rbops ships itself holds Jinja; nothing that a plan's values end up in does."""
    rendered = render(rb4)
    values = [file for file in rendered.top if file.path in ("plan.json", "ansible.cfg", "inventory/hosts.yml")]
    values += [file for files in rendered.hosts.values() for file in files]
    assert all(b"{{" not in file.content and b"{%" not in file.content for file in values)
    hosts = yaml.safe_load(next(file.content for file in rendered.top if file.path == "inventory/hosts.yml"))
    assert set(hosts["all"]["children"]["rbops_servers"]["hosts"]) == {"n0", "n1", "n2", "n3"}


def test_values_are_no_templates() -> None:
    assert EVIL.encode() in template("systemd/rbops.service", cluster=EVIL, digest="d", start_timeout_s=1)


def test_missing_value() -> None:
    with raises(RbopsError, "render.template"):
        template("systemd/rbops.service", digest="d", start_timeout_s=1)


@pytest.mark.parametrize("value", ["a\nExecStart=/bin/sh", "a\r", "a\0", "a\u2028b"])
def test_units_take_one_line(value: str) -> None:
    with raises(RbopsError, "render.template"):
        template("systemd/rbops.service", cluster=value, digest="d", start_timeout_s=1)


def test_what_cannot_be_rendered(rb4: ClusterPlan) -> None:
    refused = {"click": "click.no-tunnel", "kernel": "render.application"}
    for plane, code in refused.items():
        with raises(UsageError, code):
            render(replace(rb4, forwarding=replace(rb4.forwarding, dataplane=plane, application="ipsec")))


def test_program_needs_nothing_else(rb4: ClusterPlan, tmp_path: Path) -> None:
    """The archive starts with the system's Python alone, and holds no module that wants numpy."""
    program = next(file for file in render(rb4).common if file.path == "/usr/sbin/rbops-node")
    assert program.mode == 0o755
    names = zipfile.ZipFile(io.BytesIO(program.content)).namelist()
    assert "rbops/dataplane/xdp/loader.py" in names
    assert [name for name in names if "/controller/" in name] == []
    path = tmp_path / "rbops-node"
    path.write_bytes(program.content)
    done = subprocess.run([sys.executable, "-S", "-I", path, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "confirm" in done.stdout
    code = "import sys; sys.path.insert(0, sys.argv[1]); import rbops.dataplane.xdp.loader, rbops.node.__main__; "
    code += "from rbops.dataplane import registry; assert len(list(registry.node_halves())) == len(registry.KINDS)"
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_values_are_frozen(rb4: ClusterPlan) -> None:
    rendered = render(rb4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rendered.digest = ""  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        File("a", b"").path = "b"  # type: ignore[misc]


def test_port_names_differ_from_sysctl_words(rb4: ClusterPlan) -> None:
    """Port names become parts of sysctl keys: each key of the file is one that the node program accepts."""
    from rbops.node.schema import parse

    for server in rb4.servers:
        content = next(f.content for f in render(rb4).files_of(server.name) if f.path == "/etc/rbops/node.json")
        config = parse(content.decode(), Path("node.json"))
        assert config.server == server.name
        assert [port.name for port in config.ports] == [port.name for port in server.ports if isinstance(port, Port)]


def test_sources_are_checked_by_the_data_plane_or_the_kernel(rb4: ClusterPlan) -> None:
    checked = first_port(rb4, urpf="strict")
    plane = node(render(checked), "n0")["dataplane"]
    assert isinstance(plane, dict)
    assert plane["urpf"] == {"ext0": "strict"}
    assert set(plane["addresses"]) >= {"198.18.0.1", "198.18.3.1"}
    assert plane["punts"]["ttl"] == 1000
    for urpf, value in (("off", "0"), ("strict", "1"), ("loose", "2")):
        kernel = replace(checked, forwarding=replace(rb4.forwarding, dataplane="kernel"))
        sysctl = node(render(first_port(kernel, urpf=urpf)), "n0")["sysctl"]
        assert isinstance(sysctl, dict)
        assert sysctl["net.ipv4.conf.ext0.rp_filter"] == value
        assert sysctl["net.ipv4.conf.int1.rp_filter"] == sysctl["net.ipv4.conf.all.rp_filter"] == "0"
