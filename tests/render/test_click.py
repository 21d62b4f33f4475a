"""What specs with ``dataplane: click`` become: read once by a person, and proved by rbops's own checker."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rbops.click import CheckOptions, ClickText, bundled, check
from rbops.click.config import argvec
from rbops.dataplane.click.controller.build import Click
from rbops.dataplane.click.controller.command import threads
from rbops.dataplane.click.controller.files import keyless
from rbops.errors import SpecError, UsageError
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render import File, render
from tests.support.errors import raises

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "golden" / "click"
DIALECTS = ("socket", "dpdk", "fastclick", "kernel")
GOLDENS = [
    (dialect, application)
    for dialect in DIALECTS
    for application in ("forward", "route", "ipsec")
    if (dialect, application) != ("kernel", "ipsec")
]
"""Every pair but the one that is refused (tests/click/test_ipsec.py)."""
FIREWALL = (
    "elementclass Firewall {\n  input -> f :: IPFilter(deny dst port 9, allow all) -> output; f[1] -> [1]output\n}\n"
)


def spec(folder: Path, dialect: str = "socket", application: str = "route", router: str = "", **more: str) -> Path:
    lines = [
        "name: rb4",
        f"router: {{external_ports: 4, line_rate: 10Gbps, application: {application}{router}}}",
        "servers: {profile: lab}"
        if dialect == "socket"
        else "servers: {hardware: {sockets: 1, cores_per_socket: 3, "
        "clock: 2GHz, nics: [{driver: ixgbe, ports: 4, port_rate: 10Gbps, queues: 16}]}}",
        "dataplane: click",
        f"click: {{dialect: {dialect}}}",
        "routes:",
        "  - {prefix: 203.0.113.0/24, via: 198.18.3.2}",
        "  - {prefix: 203.0.113.128/25, via: 198.18.0.2}",
        *(f"{key}: {value}" for key, value in more.items()),
    ]
    path = folder / "router.yml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plan_of(folder: Path, dialect: str, application: str) -> ClusterPlan:
    """The plan of a golden file."""
    if application != "ipsec":
        return load_plan(spec(folder, dialect, application))
    keys = folder / "peer.keys"
    keys.touch(0o600)
    keys.write_text(f"{'0a' * 16}\n{'0b' * 16}\n")
    tunnel = "[{peer: 198.18.3.2, prefixes: [203.0.113.0/24], spi: 7, keys: peer.keys}]"
    return load_plan(spec(folder, dialect, application, ipsec=tunnel))


def files(plan: ClusterPlan, server: str = "n0") -> dict[str, str]:
    return {
        file.path: file.content.decode()
        for file in render(plan).files_of(server)
        if file.path.endswith((".click", ".json", ".service"))
    }


def libraries(rendered: tuple[File, ...]) -> Callable[[str, ClickText], ClickText | None]:
    known = {file.path: file.content.decode() for file in rendered if file.path.endswith(".click")}

    def find(name: str, _asking: ClickText) -> ClickText | None:
        path = f"/etc/rbops/click/{name}"
        return ClickText(path, known[path]) if path in known else None

    return find


def breaches(plan: ClusterPlan) -> list[str]:
    """The checker's verdict on the first and the last server: no mistake, and these rules broken."""
    rendered, dialect, found = render(plan), plan.forwarding.click_dialect, []
    for server in (plan.servers[0], plan.servers[-1]):
        options = CheckOptions(
            driver="linuxmodule" if dialect == "kernel" else "userlevel",
            threads=threads(server) if dialect in ("socket", "kernel") else len(server.cores.dataplane),
            fastclick=dialect == "fastclick",
            library=libraries((*rendered.files_of(server.name), *keyless(plan))),
        )
        text = next(file.content.decode() for file in rendered.hosts[server.name] if file.path.endswith("router.click"))
        report = check(ClickText(f"{server.name}.click", text), bundled(), options)
        assert not report.errors, [error.render() for error in report.errors]
        found += [breach.rule for breach in report.breaches]
    return found


@pytest.mark.parametrize(("dialect", "application"), GOLDENS)
def test_golden(dialect: str, application: str, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    plan = plan_of(tmp_path, dialect, application)
    found = files(plan)
    text = found["/etc/rbops/click/router.click"]
    if application == "forward":
        # Without a look-up nobody would know where to: the same but for its name, and so but for its digest.
        text = re.sub(r"return [0-9a-f]{64}", "return", text.replace("Application forward", "Application route"))
        route = (GOLDEN / f"{dialect}-route.click").read_text()
        assert text == re.sub(r"return [0-9a-f]{64}", "return", route)
    else:
        golden(GOLDEN / f"{dialect}-{application}.click", text)
    line = next(s for s in found["/etc/systemd/system/rbops-click.service"].splitlines() if "ExecStart=" in s)
    golden(GOLDEN / f"{dialect}.command", line + "\n")
    assert breaches(plan) == []
    assert not plan.violations
    modules = [
        file.path for file in render(plan).hosts["n0"] if "modules-load.d" in file.path or "modprobe.d" in file.path
    ]
    assert len(modules) == (2 if dialect == "kernel" else 0)


def test_golden_shared(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    found = files(load_plan(spec(tmp_path)))
    golden(GOLDEN / "routes.click", found["/etc/rbops/click/routes.click"])
    node = json.loads(found["/etc/rbops/node.json"])
    golden(GOLDEN / "host.json", json.dumps({"host": node["host"], "sysctl": node["sysctl"]}, indent=1) + "\n")


def test_sources_name_queue_and_core(tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path, "dpdk"))
    text = files(plan)["/etc/rbops/click/router.click"]
    for port in plan.server("n0").ports:
        for queue in port.queues:
            assert f"// {port.name} rx queue {queue.index}, CPU {queue.rx_core}\n" in text
            assert f"// {port.name} tx queue {queue.index}, CPU {queue.tx_core}\n" in text


@pytest.mark.parametrize(
    ("dialect", "timeout", "rendered", "warned"),
    [
        ("dpdk", "400us", "TIMEOUT 0", "less than the millisecond"),
        ("dpdk", "2ms", "TIMEOUT 2", None),
        # It fails on any: "Timeout parameter does not make sense without the IQUEUE feature".
        ("fastclick", "2ms", None, "ToDPDKDevice refuses a timeout"),
    ],
)
def test_timeout(dialect: str, timeout: str, rendered: str | None, warned: str | None, tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path, dialect, batching=f"{{rx_burst: 32, tx_burst: 16, timeout: {timeout}}}"))
    text = files(plan)["/etc/rbops/click/router.click"]
    assert (f"{rendered}," in text) if rendered else ("TIMEOUT" not in text)
    warnings = [warning for warning in plan.warnings if "ToDPDKDevice" in warning]
    assert [warned in warning for warning in warnings if warned] == [True] * len(warnings)
    assert len(warnings) == (warned is not None)


def test_one_socket_queue_one_core(tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path))
    assert {server.cores.dataplane for server in plan.servers} == {(0,)}
    assert {len(port.queues) for server in plan.servers for port in server.ports} == {1}
    assert any("one queue a port" in warning for warning in plan.warnings)


def test_allowed_breach_is_recorded(tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path, router=", allow: [cross-core]"))
    assert plan.server("n0").cores.dataplane == (0, 1)
    assert {(breach.rule, breach.server) for breach in plan.violations} == {("rule2", f"n{n}") for n in range(4)}
    assert all(0 < breach.predicted_loss < 1 for breach in plan.violations)
    assert set(breaches(plan)) == {"rule2"}


def test_a_core_without_a_link_may_be_allowed(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text(
        "name: two\nrouter: {external_ports: 2, line_rate: 10Gbps, allow: [cross-core]}\n"
        "servers: {profile: lab}\ndataplane: click\n"
    )
    plan = load_plan(path)
    assert len(plan.server("n0").cores.dataplane) > len([port for port in plan.server("n0").ports if port.peer])
    assert set(breaches(plan)) == {"rule2"}


def test_routes_leave_the_configuration_alone(tmp_path: Path) -> None:
    before = files(load_plan(spec(tmp_path)))
    path = spec(tmp_path)
    path.write_text(path.read_text() + "  - {prefix: 192.0.2.0/24, via: 198.18.1.2}\n")
    after = files(load_plan(path))
    assert before["/etc/rbops/click/router.click"] == after["/etc/rbops/click/router.click"]
    assert before["/etc/rbops/click/routes.click"] != after["/etc/rbops/click/routes.click"]


def test_fragment(tmp_path: Path) -> None:
    (tmp_path / "my.click").write_text(FIREWALL)
    plan = load_plan(spec(tmp_path, router=", click_element: my.click"))
    text = files(plan)["/etc/rbops/click/router.click"]
    assert FIREWALL in text
    assert "own_ext0_c0 :: Fragment -> rt_c0" in text
    assert "own_ext0_c0[1] -> own_dropped_ext0_c0 :: Counter -> drop_c0" in text
    assert breaches(plan) == []


def test_fragment_that_breaks_a_rule(tmp_path: Path) -> None:
    (tmp_path / "my.click").write_text("input -> Queue(64) -> Unqueue -> output")
    with raises(SpecError, "click.cross-core"):
        load_plan(spec(tmp_path, router=", click_element: my.click"))
    plan = load_plan(spec(tmp_path, router=", click_element: my.click, allow: [cross-core]"))
    recorded = [breach for breach in plan.violations if "router.click_element, line 1" in breach.detail]
    assert [(breach.rule, breach.predicted_loss) for breach in recorded] == [("rule2", 0.647)] * 4
    assert set(breaches(plan)) <= {"rule2"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("input -> output; } x :: Idle {", "click.syntax"),
        ("input -> Nonsense -> output", "click.unknown-class"),
        ("input -> Discard", "fragment.outputs"),
    ],
)
def test_invalid_fragment(text: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "my.click").write_text(text)
    with raises(SpecError, code, line=1):
        load_plan(spec(tmp_path, router=", click_element: my.click"))


@pytest.mark.parametrize("prefix", ["/opt/a b", "/opt/$(x)", "/opt/x;y", "/opt/%n", '/opt/"', "/opt/x\ny"])
def test_prefix_is_a_path_and_no_more(prefix: str, tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path))
    with raises(UsageError, "render.name"):
        render(replace(plan, forwarding=replace(plan.forwarding, click_prefix=prefix)))


@pytest.mark.parametrize(
    ("package", "prefix"),
    [
        *((f"/srv/click.{end}", "/opt/rbops-click") for end in ("tar", "tar.gz", "tar.xz", "tgz", "txz")),
        ("/srv/click.deb", None),
        ("click", None),
        ("click.target", None),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_click_of_an_archive_runs_from_where_it_is_unpacked(
    dialect: str, package: str, prefix: str | None, tmp_path: Path
) -> None:
    path = spec(tmp_path, dialect)
    path.write_text(path.read_text().replace(f"{{dialect: {dialect}}}", f"{{dialect: {dialect}, package: {package}}}"))
    made = files(load_plan(path))
    plane = json.loads(made["/etc/rbops/node.json"])["dataplane"]
    assert (plane["package"], plane["prefix"]) == (package, prefix)
    program = "sbin/click-install" if dialect == "kernel" else "bin/click"
    command = f"{prefix}/{program}" if prefix else program.split("/")[1]
    unit = made["/etc/systemd/system/rbops-click.service"].splitlines()
    started = next(line for line in unit if line.startswith("ExecStart="))
    assert command in started.removeprefix("ExecStart=").split()
    # Our package's folder first; the empty folder at the end is what that Click itself has.
    assert "/var/lib/rbops/click:/etc/rbops/click:" in started.split()


def test_what_is_an_archive_is_the_same_for_the_role() -> None:
    from rbops.dataplane.click.controller.planning import _ARCHIVE

    tasks = (ROOT / "roles/click/tasks/main.yml").read_text()
    pattern = re.search(r"'archive' if click_named is match\('(.*)'\)", tasks)
    assert pattern is not None
    for name in ("a.tar", "a.tar.bz2", "a.tgz", "a.txz", "a.deb", "click", "a.tarx", "tar", "a.tar.", "a.tbz"):
        assert bool(re.match(pattern[1], name)) == bool(_ARCHIVE.fullmatch(name)), name


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.text(max_size=24), st.sampled_from(["name", "server", "port", "mac", "address", "device"]))
def test_no_text_escapes(text: str, place: str) -> None:
    """Whatever stands in the plan: refused, or the configuration has the same elements as before."""
    from tests.render.rb4 import mesh

    plain = mesh(2)
    plain = replace(plain, forwarding=replace(plain.forwarding, dataplane="click"))
    server = plain.servers[0]
    port = server.ports[0]
    if place == "name":
        wrong = replace(plain, name=text)
    elif place == "server":
        wrong = replace(plain, servers=(replace(server, name=text), *plain.servers[1:]))
    else:
        near = port.adjacencies[0]
        port = {
            "port": replace(port, name=text),
            "mac": replace(port, adjacencies=(replace(near, mac=text),)),
            "address": replace(port, addresses=(text,)),
            "device": replace(port, selector=replace(port.selector, name=text)),
        }[place]
        server = replace(server, ports=(port, *server.ports[1:]))
        wrong = replace(plain, servers=(server, *plain.servers[1:]))
    try:
        made = render(wrong)
    except UsageError:
        return
    reports = []
    for rendered, name in ((made, wrong.servers[0].name), (render(plain), plain.servers[0].name)):
        source = next(file.content.decode() for file in rendered.hosts[name] if file.path.endswith("router.click"))
        options = CheckOptions(driver="userlevel", library=libraries(rendered.files_of(name)))
        report = check(ClickText("x.click", source), bundled(), options)
        assert not report.errors
        assert report.router is not None
        # Names follow the ports', and the list goes by names.
        reports.append(sorted(element.kind for element in report.router.elements))
    assert reports[0] == reports[1]


def test_arguments_are_whole(tmp_path: Path) -> None:
    text = files(load_plan(spec(tmp_path)))["/etc/rbops/click/router.click"]
    inside = text.split("vlb_c0 :: DirectVLB(")[1].split(");")[0]
    words = {argument.split()[0] for argument in argvec(inside)}
    assert {"SELF", "OWNERS", "VIA", "LINKS", "SOURCE", "INTERMEDIATES", "QUOTA", "FLOWLET", "CORES"} <= words


@pytest.mark.click
@pytest.mark.root
def test_socket_configuration_runs(tmp_path: Path, installed: Click, package: Path) -> None:
    """The rendered files in a network namespace with the planned devices: Click starts, and lists what was rendered."""
    plan = load_plan(spec(tmp_path))
    for path, text in files(plan).items():
        if path.endswith(".click"):
            (tmp_path / Path(path).name).write_text(text)
    devices = [port.name for port in plan.server("n0").ports]
    lines = [f"ip link add {name} type veth peer name p-{name}\nip link set {name} up" for name in devices]
    run = f"timeout 20 {installed.program} router.click -h configuration.config -h rt_c0/table.table -q"
    script = "\n".join(["set -e", *lines, "ip tuntap add dev rbops0 mode tap", run])
    environment = {**os.environ, "CLICKPATH": f"{package}:{tmp_path}:"}
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    marker = json.loads(files(plan)["/etc/rbops/node.json"])["dataplane"]["marker"]
    assert marker in done.stdout
    assert ["203.0.113.128/25", "-", "3"] in [line.split() for line in done.stdout.splitlines()]


HARDWARE = (
    "{{sockets: 1, cores_per_socket: 2, clock: 3GHz, housekeeping: [], "
    "nics: [{{driver: veth, ports: {ports}, port_rate: {rate}, queues: 2}}]}}"
)


PAIRED = "ports: [{id: 0, server: n0}, {id: 1, server: n0}, {id: 2, server: n1}, {id: 3, server: n1}]"


def planned(folder: Path, router: str, ports: int, rate: str, *more: str) -> ClusterPlan:
    hardware = HARDWARE.format(ports=ports, rate=rate)
    lines = ["name: more", f"router: {router}", f"servers: {{hardware: {hardware}}}", "dataplane: click", *more]
    (folder / "router.yml").write_text("\n".join(lines) + "\n")
    return load_plan(folder / "router.yml")


def vlb(plan: ClusterPlan, server: str) -> dict[str, str]:
    """DirectVLB's arguments, by keyword."""
    inside = files(plan, server)["/etc/rbops/click/router.click"].split("vlb_c0 :: DirectVLB(")[1].split(");")[0]
    return {keyword: rest for keyword, _, rest in (argument.partition(" ") for argument in argvec(inside))}


def test_parallel_cables_are_a_bundle(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{external_ports: 4, line_rate: 200Mbps, traffic: uniform}", 4, "200Mbps", PAIRED)
    assert not [warning for warning in plan.warnings if "cables run between" in warning]
    assert breaches(plan) == []
    found = vlb(plan, "n0")
    assert (found["VIA"], found["LINKS"]) == ("1:0:1", "200000000 200000000")
    assert "SOURCE" in found


FLY_PORTS = "ports: [{id: 0, server: n0}, {id: 1, server: n1}, {id: 2, server: n2}, {id: 3, server: n3}]"


def test_a_fly_says_where_frames_go(tmp_path: Path) -> None:
    """Servers without ports too: what stands between others passes frames on."""
    router = "{external_ports: 4, line_rate: 200Mbps, traffic: uniform}"
    plan = planned(tmp_path, router, 5, "1Gbps", "interconnect: {topology: fly, routing: vlb}", FLY_PORTS)
    assert (plan.topology.kind, len(plan.servers)) == ("fly", 8)
    assert breaches(plan) == []
    found = vlb(plan, "n0")
    assert (found["RELAY"], found["INTERMEDIATES"]) == ("true", "1 2 3")
    assert "SOURCE" not in found
    between = files(plan, "n4")["/etc/rbops/click/router.click"]
    assert "INTERMEDIATES" in vlb(plan, "n4")
    assert "PORTS" not in between
    ways = dict(word.split(":", 1) for word in vlb(plan, "n4")["VIA"].split())
    assert {"0", "1", "2", "3"} <= set(ways)
