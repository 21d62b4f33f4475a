"""Whole plans: RB4, the fly, pins, unlike servers, and what cannot be planned."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops import hardware
from rbops.affinity.rules import check
from rbops.errors import SpecError, UsageError
from rbops.plan import ClusterPlan
from rbops.planner import Assumptions, calibrated, load_plan, plan_spec, planning
from rbops.predict.calibrate import Measurement
from rbops.predict.packets import mix
from rbops.spec import load_spec
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.interconnect import Interconnect
from rbops.spec.ports import PortSpec
from rbops.spec.router import Router
from tests.support.errors import raises

R = 10_000_000_000


def spec(ports: int = 4, profile: str = "lab", **router: object) -> Spec:
    return Spec("rb4", Router(ports, R, **router), Servers(profile))  # type: ignore[arg-type]


def papers(made: Spec) -> Spec:
    """With the paper's quota."""
    return dataclasses.replace(made, interconnect=Interconnect(direct_quota="paper"))


def cables(plan: ClusterPlan) -> None:
    """Every cable end is a port that names the other end, and every internal port is cabled once."""
    ports = {f"{server.name}:{port.name}": port for server in plan.servers for port in server.ports}
    ends = [end for link in plan.links for end in (link.a, link.b)]
    assert len(ends) == len(set(ends))
    assert set(ends) == {name for name, port in ports.items() if port.kind == "internal"}
    for link in plan.links:
        assert ports[link.a].peer == link.b
        assert ports[link.b].peer == link.a
        assert ports[link.a].rate_bps == ports[link.b].rate_bps == link.rate_bps


def test_rb4_in_the_lab() -> None:
    plan = plan_spec(spec())
    assert [server.name for server in plan.servers] == ["n0", "n1", "n2", "n3"]
    assert [server.external_ports for server in plan.servers] == [(0,), (1,), (2,), (3,)]
    assert [f"{link.a} {link.b}" for link in plan.links] == [
        "n0:int1 n1:int0", "n0:int2 n2:int0", "n0:int3 n3:int0",
        "n1:int2 n2:int1", "n1:int3 n3:int1", "n2:int3 n3:int2",
    ]  # fmt: skip
    cables(plan)
    assert plan.topology.kind == "mesh"
    assert (plan.topology.internal_link.required_bps, plan.topology.internal_link.provided_bps) == (R // 2, R)
    assert plan.forwarding.direct_quota_bps == 3 * R // 4
    for server in plan.servers:
        assert (server.cores.dataplane, server.cores.housekeeping) == ((0, 1), ())
        for port in server.ports:
            assert [(queue.index, queue.rx_core, queue.tx_core) for queue in port.queues] == [(0, 0, 0), (1, 1, 1)]
            assert (port.driver, port.rate_bps) == ("veth", R)
    assert plan.violations == ()
    assert any("calibrate" in text for text in plan.warnings)


def test_rb4_of_the_paper() -> None:
    plan = plan_spec(papers(spec(profile="nehalem")))
    top = plan.topology
    assert (top.kind, top.degree, top.stages, top.servers, top.ports_per_server) == ("mesh", 3, 0, 4, 1)
    assert (top.processing_bps.uniform, top.processing_bps.worst_case, top.processing_bps.available) == (
        2 * R,
        3 * R,
        6_350_000_000,
    )
    one = plan.prediction
    assert 12_700_000_000 <= one.rate_bps <= 19_400_000_000
    assert (one.bottleneck, one.power_w, one.price_usd) == ("cpu", 2600, 14500)
    assert one.latency_s.direct == pytest.approx(47.68e-6)
    sustained = f"sustains {one.rate_bps / 1e9:.1f} of 40 Gbps"
    assert any(sustained in text for text in plan.warnings)


def test_abilene_is_limited_by_the_nics() -> None:
    one = plan_spec(papers(spec(profile="nehalem", packets="abilene"))).prediction
    assert one.bottleneck == "nic"
    assert 32_800_000_000 <= one.rate_bps <= 40_000_000_000


@pytest.mark.parametrize(
    ("ports", "profile", "servers"), [(64, "current", 192), (24, "faster", 12), (16, "current", 16)]
)
def test_other_topologies_are_cabled_whole(ports: int, profile: str, servers: int) -> None:
    plan = plan_spec(spec(ports, profile))
    assert plan.topology.servers == len(plan.servers) == servers
    cables(plan)
    assert check(plan) == ()
    assert sorted(port for server in plan.servers for port in server.external_ports) == list(range(ports))
    assert {server.role for server in plan.servers if not server.external_ports} <= {"intermediate"}


def test_parallel_cables_have_names_of_their_own() -> None:
    names = [port.name for port in plan_spec(spec(16, "current")).servers[0].ports]
    assert names[:3] == ["ext0", "int1p0", "int1p1"]


@pytest.mark.parametrize(("dataplane", "said"), [("kernel", 1), ("click", 0), ("xdp", 0)])
def test_parallel_cables_are_more_than_the_kernel_uses(dataplane: str, said: int) -> None:
    plan = plan_spec(dataclasses.replace(spec(16, "current"), dataplane=dataplane))  # type: ignore[arg-type]
    assert sum("2 cables run between" in text for text in plan.warnings) == said


@given(
    ports=st.integers(1, 40),
    profile=st.sampled_from(hardware.names()),
    traffic=st.sampled_from(("uniform", "worst-case")),
    packets=st.sampled_from((64, 594, 1518, "imix", "abilene")),
    gbps=st.sampled_from((1, 10, 25)),
)
@settings(max_examples=80, deadline=None)
def test_any_plan_is_consistent(ports: int, profile: str, traffic: str, packets: int | str, gbps: int) -> None:
    router = Router(ports, gbps * 10**9, traffic=traffic, packets=packets)  # type: ignore[arg-type]
    try:
        made = planning(Spec("x", router, Servers(profile)))
    except SpecError:
        return
    plan = made.plan
    cables(plan)
    assert check(plan) == ()
    assert plan.prediction.rate_bps <= ports * gbps * 10**9
    assert set(plan.port_owner) == set(range(ports))
    most = plan.topology.ports_per_server * gbps * 10**9
    assert most // plan.topology.port_servers <= plan.forwarding.direct_quota_bps <= most
    machine = hardware.profile(profile)
    seats = sum(max(card.ports for card in slot.options) for slot in machine.slots)
    assert all(len(server.ports) <= seats for server in plan.servers)


def test_the_same_spec_gives_the_same_bytes() -> None:
    assert plan_spec(spec(8)).to_json() == plan_spec(spec(8)).to_json()


def test_json_is_canonical() -> None:
    plan = plan_spec(spec(5))
    body = dataclasses.asdict(plan)
    body["servers"] = {server.pop("name"): server for server in body["servers"]}
    body["routes"].pop("file")
    body["schema_version"] = 1
    assert [body.pop(name) for name in ("exporter", "ipv6", "routing", "sflow")] == [None] * 4, (
        "only where the spec has them"
    )
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan.digest == hashlib.sha256(text.encode()).hexdigest()
    body["digest"] = plan.digest
    assert plan.to_json() == json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan.to_json(indent=2) == json.dumps(body, sort_keys=True, indent=2, ensure_ascii=False)


def test_json_has_the_designs_form() -> None:
    tree = json.loads(plan_spec(spec()).to_json(indent=2))
    assert set(tree) >= {
        "schema_version",
        "name",
        "digest",
        "topology",
        "links",
        "servers",
        "violations",
        "warnings",
        "prediction",
    }
    assert set(tree["topology"]["internal_link"]) == {"required_bps", "provided_bps"}
    assert set(tree["servers"]["n0"]) >= {"role", "external_ports", "cores", "ports", "steering", "batching"}
    assert set(tree["servers"]["n0"]["ports"][0]) >= {"name", "kind", "peer", "rate_bps", "queues"}
    parts = {"cpu", "memory", "io", "inter_socket", "pcie", "nic"}
    assert set(tree["prediction"]["per_component"]) == parts


def test_vlb_without_direct_costs_a_hop() -> None:
    direct, plain = (
        plan_spec(
            dataclasses.replace(spec(profile="nehalem"), interconnect=Interconnect(routing=routing))
        ).prediction.rate_bps  # type: ignore[arg-type]
        for routing in ("direct-vlb", "vlb")
    )
    assert plain < direct


def test_calibration_meets_the_measurement() -> None:
    found = calibrated(spec(), Measurement(64, 4e6, limited_by_testers=False))
    made = planning(spec(), Assumptions(found.cost_factor, mix(64)))
    assert made.plan.prediction.rate_pps == pytest.approx(4e6, rel=1e-3)
    assert found.cost_factor > 1
    assert not any("calibrate" in text for text in made.plan.warnings)


def test_calibration_needs_a_rate_that_the_cpu_limits() -> None:
    with raises(UsageError, "predict.not-cpu-bound"):
        calibrated(spec(), Measurement(1518, 1e9, limited_by_testers=False))


ROUTER = "router: {external_ports: 4, line_rate: 10Gbps}\n"
WRONG = {
    "guarantee": (
        "router: {external_ports: 4, line_rate: 10Gbps, guarantee: line-rate}\n",
        ("plan.below-line-rate", "router.guarantee", 1, 59),
        "line_rate: 2.11Gbps, or best-effort",
    ),
    "line rate": (
        "router: {external_ports: 4, line_rate: 40Gbps}\n",
        ("plan.slow-nics", "router.line_rate", 1, 40),
        "line_rate: 10Gbps",
    ),
    "pin": (
        ROUTER + "ports: [{id: 0, server: n9}]\n",
        ("plan.pin-beyond-servers", "ports[0].server", 2, 25),
        "server: n3",
    ),
    "host": (
        ROUTER + "hosts: {n9: {}}\n",
        ("plan.unknown-host", "hosts.n9", 2, 9),
        "leave it out, or give the router more external ports",
    ),
    "profile": (
        ROUTER + "servers: {profile: nehalm}\n",
        ("plan.unknown-profile", "servers.profile", 2, 20),
        "did you mean nehalem?",
    ),
    "selector": (
        ROUTER + "hosts: {n1: {ports: {ext0: {name: eth0}}}}\n",
        ("plan.unknown-port", "hosts.n1.ports.ext0", 2, 22),
        "its ports are ext1, int0, int2, int3",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_cannot_be_planned_is_a_spec_error_at_its_field(name: str, tmp_path: Path) -> None:
    text, place, hint = WRONG[name]
    path = tmp_path / "x.yml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    found = caught.value.diagnostics[0]
    assert (found.code, found.field, found.line, found.column) == place
    assert found.hint == hint


def test_the_rate_that_the_hint_names_does_work(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("router: {external_ports: 4, line_rate: 2.11Gbps, guarantee: line-rate}\n")
    assert load_plan(path).prediction.bottleneck == "line_rate"


def test_independent_mistakes_come_together() -> None:
    """Made in Python, so that the reader's own checks do not come first."""
    ports = (PortSpec(0, server="n9", address="10.0.0.1/24"), PortSpec(1, address="10.0.0.9/24"))
    with pytest.raises(SpecError) as caught:
        plan_spec(dataclasses.replace(spec(), ports=ports))
    assert [(found.code, found.field) for found in caught.value.diagnostics] == [
        ("plan.pin-beyond-servers", "ports[0].server"),
        ("plan.overlapping-networks", "ports[1].address"),
    ]


def errors(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    path = tmp_path / "x.yml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    return [(found.code, found.field) for found in caught.value.diagnostics]


def test_every_pin_too_many_is_named(tmp_path: Path) -> None:
    pins = ", ".join(f"{{id: {port}, server: n0}}" for port in range(6))
    text = f"router: {{external_ports: 8, line_rate: 10Gbps}}\nservers: {{profile: nehalem}}\nports: [{pins}]\n"
    assert errors(tmp_path, text) == [
        ("plan.pin-without-room", "ports[4].server"),
        ("plan.pin-without-room", "ports[5].server"),
    ]


def test_contradictions_with_the_plan_come_together(tmp_path: Path) -> None:
    text = (
        "router: {external_ports: 4, line_rate: 10Gbps, guarantee: line-rate}\nservers: {profile: nehalem}\n"
        "hosts: {n9: {}, n1: {ports: {ext0: {name: eth0}}}}\n"
    )
    fields = [field for _, field in errors(tmp_path, text)]
    assert fields == ["router.guarantee", "hosts.n9", "hosts.n1.ports.ext0"]


def test_wrong_names_come_together(tmp_path: Path) -> None:
    text = (
        "router: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: nehalm}\n"
        "ports: [{id: 0, server: first}]\nhosts: {n1: {profile: curent}}\n"
    )
    assert errors(tmp_path, text) == [
        ("plan.unknown-profile", "servers.profile"),
        ("plan.port-server", "ports[0].server"),
        ("plan.unknown-profile", "hosts.n1.profile"),
    ]


def test_what_wrong_pins_hide_is_told_with_them(tmp_path: Path) -> None:
    servers = "servers: {profile: nehalem}\nports: [{id: 0, server: n9}]\n"
    text = f"router: {{external_ports: 3, line_rate: 10Gbps}}\n{servers}hosts: {{n8: {{}}}}\n"
    assert [field for _, field in errors(tmp_path, text)] == ["ports[0].server", "hosts.n8"]
    text = f"router: {{external_ports: 5, line_rate: 10Gbps}}\n{servers}"
    assert [field for _, field in errors(tmp_path, text)] == ["router.external_ports", "ports[0].server"]


def test_unlike_servers_keep_their_own_cores(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(
        "router: {external_ports: 6, line_rate: 10Gbps, packets: imix, traffic: uniform}\n"
        "servers: {profile: xeon-e2388g-10g}\nhosts: {n1: {profile: nehalem}}\n"
    )
    plan = load_plan(path)
    cables(plan)
    assert [server.profile for server in plan.servers] == [
        "xeon-e2388g-10g",
        "nehalem",
        "xeon-e2388g-10g",
        "xeon-e2388g-10g",
    ]
    assert [len(server.external_ports) for server in plan.servers] == [2, 1, 2, 1]
    assert len(plan.server("n1").cores.dataplane) == 8
    assert len(plan.server("n0").cores.dataplane) == 7


def test_overrides_replace_values(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("router: {external_ports: 4, line_rate: 10Gbps}\n")
    assert load_plan(path, {"router.external_ports": "3"}).topology.servers == 3
    assert re.fullmatch("[0-9a-f]{64}", plan_spec(load_spec(path)).digest)


def with_driver(tmp_path: Path, driver: str, dataplane: str = "xdp") -> ClusterPlan:
    path = tmp_path / "x.yml"
    path.write_text(
        "router: {external_ports: 3, line_rate: 10Gbps}\nservers: {hardware: {sockets: 1, cores_per_socket: 12, "
        f"clock: 2GHz, nics: [{{driver: {driver}, ports: 4, port_rate: 10Gbps, queues: 8}}]}}}}\n"
        f"dataplane: {dataplane}\n"
    )
    return load_plan(path)


@pytest.mark.parametrize("dataplane", ["xdp", "kernel"])
@pytest.mark.parametrize(
    ("driver", "said"),
    [("e1000e", True), ("e1000", True), ("r8169", True), ("tg3", True), ("bnx2x", True), ("ixgbe", False)],
)
def test_a_driver_without_native_xdp_is_said(tmp_path: Path, *, driver: str, dataplane: str, said: bool) -> None:
    found = [text for text in with_driver(tmp_path, driver, dataplane).warnings if "native XDP" in text]
    assert bool(found) is (said and dataplane == "xdp")
    assert all("cannot be loaded" in text and "generic path" not in text for text in found)


@pytest.mark.parametrize("driver", ["vmxnet3", "gve"])
def test_a_driver_that_takes_xdp_from_a_later_kernel_is_said(tmp_path: Path, driver: str) -> None:
    found = [text for text in with_driver(tmp_path, driver).warnings if "native XDP from Linux 6." in text]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("driver", "dataplane", "queues"),
    [("ena", "xdp", 4), ("gve", "xdp", 4), ("nicvf", "xdp", 4), ("ena", "kernel", 8), ("ixgbe", "xdp", 8)],
)
def test_half_of_the_channels(tmp_path: Path, driver: str, dataplane: str, queues: int) -> None:
    plan = with_driver(tmp_path, driver, dataplane)
    assert {len(port.queues) for server in plan.servers for port in server.ports} == {queues}
    assert any("at most half of a port's channels can be used, 4 of 8" in text for text in plan.warnings) is (
        queues == 4
    )
