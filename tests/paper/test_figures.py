"""The paper's figures file, where this machine has one: every entry of it against rbops, by its kind.

``RBOPS_PAPER_FIGURES`` names the file; else it is ``paper/figures.yml`` in a directory beside the checkout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbops import hardware
from rbops.paper import Entry
from rbops.paper.server import application_rate
from rbops.predict.reference import disputed
from rbops.topology.wiring import fly_stages
from tests.paper.test_paper import OURS

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"kind", "note", "why", "tolerance", "model_tolerance", "limited_by", "app", "packets", "kp", "kn"}
"""What an entry says of itself: how to check it, and which one it is."""


def figures_file() -> Path | None:
    named = os.environ.get("RBOPS_PAPER_FIGURES")
    if named:
        return Path(named)
    return next(iter(sorted(ROOT.parent.glob("*/paper/figures.yml"))), None)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the file: ``path`` to it, what its surroundings say of it, and its value."""

    path: str
    value: Any
    kind: str | None
    tolerance: float | None


def figures(node: Any, path: str = "", kind: str | None = None, tolerance: float | None = None) -> Iterator[Figure]:
    """All values below ``node``; items of lists are called by what tells them apart."""
    if isinstance(node, dict):
        kind = node.get("kind", kind)
        tolerance = node.get("tolerance", node.get("model_tolerance", tolerance))
        for key, value in node.items():
            if key not in ABOUT:
                yield from figures(value, f"{path}.{key}".lstrip("."), kind, tolerance)
    elif isinstance(node, list):
        for item in node:
            which = [str(item[key]) for key in ("app", "packets", "kp", "kn") if key in item]
            yield from figures(item, f"{path}[{','.join(which)}]", kind, tolerance)
    else:
        yield Figure(path, node, kind, tolerance)


@dataclass(frozen=True, slots=True)
class Check:
    """Which of rbops's entries a figure is. ``derive`` makes the entry's number of the figure's (and others).

    ``kind`` where the file names the kind of a neighbour only.
    """

    entry: str
    derive: Callable[[Any], float] = float
    kind: str | None = None


def same(prefix: str, **names: str) -> dict[str, Check]:
    return {f"{prefix}.{key}": Check(name) for key, name in names.items()}


def times_r(text: str) -> float:
    assert text.endswith("R")
    return float(text.removesuffix("R"))


def of_links(text: str) -> float:
    """2R/N for a mesh of 32 ports of 10 Gbps, 2sR/N with two of them a server."""
    assert text in ("2R/N", "2sR/N")
    return 2 * 10e9 / 32 * (2 if "s" in text else 1)


CHECKS: dict[str, Check] = {
    **same(
        "server_nehalem", sockets="sockets", cores_per_socket="cores per socket", clock_hz="clock",
        l3_bytes_per_socket="L3 cache per socket", max_input_bps="most input traffic",
        nominal_power_w="power of a server", price_usd="price of a server",
    ),
    "server_nehalem.pcie.version": Check(
        "PCIe buses, from 8 lanes of PCIe 1.1 each", lambda version: 64e9 if version == "1.1" else 0
    ),
    "server_nehalem.pcie.slots": Check("slots"),
    "server_nehalem.pcie.lanes": Check(
        "PCIe buses, from 8 lanes of PCIe 1.1 each", lambda lanes: 2 * 2 * lanes * 2.0e9  # 2.5 GT/s, 8b/10b, both ways
    ),
    "server_nehalem.pcie.payload_bytes": Check("largest kn, 256 bytes of PCIe payload", lambda payload: payload / 16),
    **same("server_nehalem.pcie", nominal_bps="PCIe buses, nominal", empirical_bps="PCIe buses, benchmark"),
    **same(
        "server_nehalem.nics", count="slots", ports_per_nic="ports per NIC", port_bps="rate of a port",
        achievable_bps_per_nic="rate of a NIC",
    ),
    **same("server_nehalem.memory", nominal_bps="memory, nominal", empirical_bps="memory, benchmark"),
    **same(
        "server_nehalem.inter_socket", nominal_bps="inter-socket link, nominal",
        empirical_bps="inter-socket link, benchmark",
    ),
    **same(
        "server_nehalem.io_socket", nominal_bps="I/O-socket links, nominal", empirical_bps="I/O-socket links, benchmark"
    ),
    **{
        f"applications.{app}.{key}": Check(f"{app}, {name}")
        for app in ("forward", "route", "ipsec")
        for key, name in (
            ("instructions_per_packet", "instructions per packet"),
            ("cycles_per_instruction", "cycles per instruction"),
        )
    },
    "applications.route.routing_table_entries": Check("route, entries in the table"),
    **same(
        "load_growth_64_to_1024_bytes", memory="memory load, 1024 B over 64 B", io="I/O load, 1024 B over 64 B",
        cpu="CPU load, 1024 B over 64 B",
    ),
    **{
        f"single_server_rate_bps[{app},{packets}].value": Check(f"{app}, {name}")
        for app in ("forward", "route", "ipsec")
        for packets, name in (("64B", "64 B"), ("abilene", "Abilene"))
    },
    "single_server_rate_bps[forward,64B].pps": Check("forward, 64 B, packets"),
    **{
        f"batching[{kp},{kn}].value_bps": Check(f"batching, kp {kp}, kn {kn}")
        for kp, kn in ((1, 1), (32, 1), (32, 16))
    },
    "max_kn": Check("largest kn, 256 bytes of PCIe payload"),
    **same(
        "fig6_toy_bps", parallel_one_core="toy forwarding path, one core",
        pipeline_shared_l3="toy path, pipelined within an L3 cache",
        pipeline_across_l3="toy path, pipelined across L3 caches",
        overlapping_paths_single_queue="toy paths that overlap, one queue",
        overlapping_paths_multi_queue="toy paths that overlap, many queues",
        split_stream_multi_over_single_queue="split stream, many queues over one",
    ),
    **same(
        "fig7_improvement", over_same_server_unmodified="gain over the unmodified server",
        over_shared_bus_xeon="gain over a shared-bus Xeon server",
    ),
    **same(
        "numa", forwarding_4_cores_either_socket_bps="forward, 64 B, four cores of either socket",
        remote_access_fraction="memory accesses to the other socket",
    ),
    **{
        f"next_generation.{app}.value_bps": Check(f"next generation, {app}, 64 B")
        for app in ("forward", "ipsec", "route")
    },
    "next_generation.forward_abilene_unlimited_nics.value_bps": Check("forward, Abilene, unlimited NICs"),
    "vlb.per_node_rate.uniform": Check("processing per port, uniform traffic", times_r),
    "vlb.per_node_rate.worst_case": Check("processing per port, worst traffic", times_r),
    "vlb.internal_link_capacity.full_mesh_one_port_per_server": Check("internal link, 32-port mesh", of_links),
    "vlb.internal_link_capacity_s_ports.paper": Check("internal link, 2 ports a server, 32 ports", of_links),
    **{
        f"topology_fig3.configurations.{name}.{key}": Check(f"{what}, {name}")
        for name in ("current", "more_nics", "faster")
        for key, what in (("ports_per_server", "external ports per server"), ("nics", "NICs"))
    },
    **{
        f"topology_fig3.mesh_limit_ports.{name}.value": Check(f"mesh limit, {name}")
        for name in ("current", "more_nics", "faster")
    },
    "topology_fig3.fly.example.intermediate_servers_per_port": Check("intermediate servers per port, 1,024 ports"),
    "topology_fig3.fly.example.latency_s": Check("latency, 1,024 ports"),
    "topology_fig3.switched_cluster.switch_ports": Check("switched cluster of 48 ports", lambda ports: ports * 5 / 4),
    "topology_fig3.switched_cluster.usd_per_port": Check("price of these", lambda usd: 48 * (2000 + usd)),
    "topology_fig3.switched_cluster.server_usd": Check("price of these", lambda usd: 48 * (usd + 500)),
    "topology_fig3.switched_cluster.servers_per_switch_ports": Check(
        "switched cluster of 48 ports", lambda ports: 48 + 48 / ports
    ),
    "rb4.nodes": Check("RB4, servers"),
    **{
        f"rb4.rate_{key}_bps.{part}": Check(f"RB4, {name}{suffix}", kind=kind)
        for key, name in (("64B", "64 B"), ("abilene", "Abilene"))
        for part, suffix, kind in (
            ("measured", "", "measured"),
            ("expected_low", ", expected at least", "exact"),
            ("expected_high", ", expected at most", "exact"),
        )
    },
    "rb4.reordered_sequences.with_flowlets": Check("reordered sequences, Direct VLB with flowlets"),
    "rb4.reordered_sequences.direct_vlb_alone": Check("reordered sequences, Direct VLB alone"),
    "rb4.flowlet_delta_s": Check("flowlet timeout"),
    "rb4.latency_per_server_s.value": Check("latency per server"),
    **same(
        "rb4.latency_per_server_s.terms", dma_transfers="DMA transfers per packet", dma_s="a DMA transfer",
        batching_wait_s="wait for a batch of 16", cpu_s="CPU time of a packet",
    ),
    "rb4.latency_cluster_s.two_hops": Check("latency, two servers", kind="exact"),
    "rb4.latency_cluster_s.three_hops": Check("latency, three servers"),
    "rb4.power_w": Check("RB4 power"),
    "rb4.cost_usd": Check("RB4 price"),
    "rb4.receive_queue_limit.external_ports_max": Check("external ports with queues of their own"),
    "form_factor.servers_height_u": Check("RB4, rack units", lambda units: 4 * units),
    "form_factor.motherboard_ports.tengig": Check("motherboard ports of 10 Gbps"),
    "form_factor.motherboard_ports.gig": Check("motherboard ports of 1 Gbps"),
    "form_factor.extra_power_w": Check("power for them"),
}  # fmt: skip

RULES = {
    "applications.ipsec.cipher": "AES-128",
    "vlb.internal_link_capacity_s_ports.derived": "2sR/M with M = N/s servers, i.e. 2 s^2 R/N",
    "vlb.direct_quota": "R/N of the traffic from S to D goes direct, the rest over the other nodes",
    "topology_fig3.fly.stages": "n = ceil(log_k M)",
    "topology_fig3.fly.extra_servers": "n per port server",
    "topology_fig3.fly.example.configuration": "current",
    "topology_fig3.fly.example.ports": 1024,
    "topology_fig3.switched_cluster.clos": "strictly non-blocking",
    "rb4.external_ports": 4,
    "rb4.line_rate_bps": 10e9,
}
"""Rules in words, and what goes into the entries above: what rbops follows must be what the file says."""

FILE = figures_file()
FIGURES = {figure.path: figure for figure in figures(yaml.safe_load(FILE.read_text()) if FILE else {})}

pytestmark = pytest.mark.skipif(
    FILE is None, reason="the paper's figures file is not on this machine (RBOPS_PAPER_FIGURES names it)"
)


def test_every_figure_has_its_check() -> None:
    assert sorted(FIGURES) == sorted({**CHECKS, **RULES})


def test_every_check_has_its_entry() -> None:
    assert {check.entry for check in CHECKS.values()} <= set(OURS)


@pytest.mark.parametrize("path", CHECKS)
def test_figure(path: str) -> None:
    check, figure = CHECKS[path], FIGURES[path]
    entry, value = OURS[check.entry], check.derive(figure.value)
    assert entry.paper == pytest.approx(value, rel=1e-9)
    kind = check.kind or figure.kind
    assert kind in (None, entry.kind)
    _by_kind(entry, value, figure.tolerance)


def _by_kind(entry: Entry, value: float, tolerance: float | None) -> None:
    if entry.rbops is None:
        assert entry.tolerance is None
    elif entry.kind == "disputed":
        assert entry.rbops != pytest.approx(value, rel=0.05)
    elif entry.kind == "exact":
        assert entry.rbops == pytest.approx(value, rel=0.01)
    elif tolerance is not None:
        assert entry.rbops == pytest.approx(value, rel=tolerance)
    else:
        assert entry.kind == "measured"
        assert entry.rbops > 0


@pytest.mark.parametrize("path", RULES)
def test_rule(path: str) -> None:
    assert FIGURES[path].value == RULES[path]


def test_each_disputed_figure_is_explained() -> None:
    """With both values and why they differ."""
    wanted = {path for path, check in CHECKS.items() if FIGURES[path].kind == "disputed" and check.kind is None}
    assert len(wanted) == len(disputed()) == 4
    for item in disputed():
        assert item.why
        assert item.paper != item.rbops


def test_what_the_slots_limit() -> None:
    """Where the file says that the NICs' slots limit a server, they do."""
    assert FILE is not None
    listed = yaml.safe_load(FILE.read_text())["single_server_rate_bps"]
    limited = [(item["app"], item["packets"]) for item in listed if item.get("limited_by") == "nic_slots"]
    assert limited
    nehalem = hardware.profile("nehalem")
    assert {application_rate(nehalem, app, packets).bottleneck for app, packets in limited} == {"nic"}


def test_stages_are_the_papers() -> None:
    """The rule ``n = ceil(log_k M)``, in whole numbers: k^n reaches M and k^(n-1) does not."""
    for degree in range(2, 33):
        for servers in (2, 3, 31, 32, 33, 1000, 1024, 4096):
            stages = fly_stages(servers, degree)
            assert degree**stages >= servers
            assert stages == 1 or degree ** (stages - 1) < servers
