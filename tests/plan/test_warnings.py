"""What a plan says it cannot give: Direct VLB's worst case, and what the XDP data plane cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rbops.planner import Planning, calibrated, planning
from rbops.planning.explain import Reason, reasons
from rbops.predict.calibrate import Measurement
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.interconnect import Interconnect
from rbops.spec.load import load
from rbops.spec.ports import PortSpec
from rbops.spec.punts import Punts
from rbops.spec.router import Router

R = 10_000_000_000


def made(ports: int, profile: str = "lab", dataplane: str = "xdp", rate: int = R, **joined: object) -> Planning:
    spec = Spec("x", Router(ports, rate), Servers(profile), Interconnect(**joined))  # type: ignore[arg-type]
    return planning(replace(spec, dataplane=dataplane))  # type: ignore[arg-type]


def said(plan: Planning, *words: str) -> list[str]:
    return [text for text in plan.plan.warnings if all(word in text for word in words)]


def worst(plan: Planning) -> list[Reason]:
    found = reasons(plan.spec, plan.demand, plan.choice, plan.built, plan.forecast)
    return [reason for reason in found if reason.choice.startswith("worst case of an internal link")]


def test_a_quota_of_three_servers_that_the_links_bear() -> None:
    """2R/M is 6.7 of 10 Gbps; the paper's quota R/M puts 4R/M on a link, the surplus quota no more than it carries."""
    plan = made(3, direct_quota="paper")
    assert said(plan, "13.33 Gbps on a link", "(6.667 Gbps)", "quota of 3.333 Gbps", "provides 10 Gbps")
    assert "too little for the worst matrix" in worst(plan)[0].constraint
    assert not said(made(3, routing="vlb", direct_quota="paper"), "direct-vlb")
    plan = made(3)
    assert not said(plan, "on a link")
    assert "enough for the worst matrix" in worst(plan)[0].constraint


def test_links_that_bear_everything_are_explained_only() -> None:
    plan = made(4)
    assert not said(plan, "on a link")
    assert worst(plan)[0].value == "7.5 Gbps"
    assert "enough for the worst matrix" in worst(plan)[0].constraint


@pytest.mark.parametrize(("ports", "routing"), [(1, "direct-vlb"), (2, "direct-vlb"), (4, "vlb")])
def test_no_intermediates_no_worst_case(ports: int, routing: str) -> None:
    assert worst(made(ports, routing=routing)) == []


@pytest.mark.parametrize("plane", ["xdp", "click"])
def test_one_path_between_two_servers_of_a_fly(plane: str) -> None:
    words = ("one shortest path between each two servers of a fly",)
    assert said(made(64, "current", plane), *words)
    assert not said(made(32, "current", plane), *words)


def test_xdp_holds_so_many_servers() -> None:
    assert said(made(128, "current"), "384 servers", "holds 256")
    assert not said(made(64, "current"), "holds 256")


def test_a_calibrated_latency_has_the_measured_cpu_in_it() -> None:
    spec = made(4).spec
    before = planning(spec).plan.prediction.latency_s.direct
    slower = calibrated(spec, Measurement(64, 4e6, limited_by_testers=False))
    assert planning(spec, slower).plan.prediction.latency_s.direct > before


def test_one_server_is_not_divided_by_hops() -> None:
    plan = made(1)
    span = plan.forecast.bounds
    assert (span.low_bps, span.at_3r_bps, span.low_factor) == (plan.forecast.app.rate_bps,) * 2 + (1,)


@pytest.mark.parametrize(("dataplane", "urpf", "punts"), [("xdp", 0, 0), ("click", 1, 1), ("kernel", 0, 1)])
def test_what_a_data_plane_does_not_refuse_is_said(dataplane: str, urpf: int, punts: int) -> None:
    """Sources are checked by xdp and the kernel, what goes to the kernel is limited by xdp alone."""
    spec = Spec("x", Router(4, R), Servers("lab"), dataplane=dataplane)
    wanted = replace(spec, ports=(PortSpec(1, urpf="strict"),), punts=Punts(arp=50))
    found = planning(wanted)
    assert len(said(found, "urpf:", "port 1 takes")) == urpf
    assert len(said(found, "punts:")) == punts
    assert not said(planning(spec), "urpf:")
    assert not said(planning(spec), "punts:")


def test_a_ports_urpf_goes_before_the_routers() -> None:
    spec = Spec("x", Router(3, R, urpf="loose"), Servers("lab"))
    found = planning(replace(spec, ports=(PortSpec(0, urpf="off"), PortSpec(2, urpf="strict"))))
    external = {port.id: port.urpf for server in found.plan.servers for port in server.ports if port.id is not None}
    assert external == {0: "off", 1: "loose", 2: "strict"}
    assert {port.urpf for server in found.plan.servers for port in server.ports if port.id is None} == {"off"}


@pytest.mark.parametrize(("daemon", "count"), [("frr", 1), ("bird", 0)])
def test_ospf_with_frr_leaves_ipv6_out(tmp_path: Path, daemon: str, count: int) -> None:
    """A port with IPv6 that speaks OSPF, and one without."""
    text = (
        "router: {external_ports: 2, line_rate: 10Gbps}\nservers: {profile: lab}\ndataplane: xdp\n"
        "ports:\n  - {id: 0, address: 198.18.0.1/24, ipv6: {address: '2001:db8::1/64'}}\n"
        "  - {id: 1, address: 198.18.1.1/24}\n"
        f"routing: {{daemon: {daemon}, as: 64512, routes: 1000, ospf: [{{port: 0}}, {{port: 1}}]}}\n"
    )
    (tmp_path / "router.yml").write_text(text)
    found = planning(load(tmp_path / "router.yml", {}))
    assert len(said(found, "port 0: OSPF with FRR is version 2")) == count
