"""What a server's kernel is told, from its cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.affinity.kernel import isolated
from rbops.errors import SpecError
from rbops.plan import ClusterPlan, Cores
from rbops.planner import load_plan
from rbops.render import render
from rbops.render.sysctl import sysctl
from rbops.spec import load_spec
from tests.support.errors import raises

SMT = """
servers:
  hardware:
    sockets: 1
    cores_per_socket: 4
    threads_per_core: 2
    clock: 3GHz
    nics: [{driver: ice, ports: 4, port_rate: 10Gbps, queues: 64}]
"""
ROUTER = "router: {external_ports: 4, line_rate: 10Gbps}\n"


def plan(tmp_path: Path, text: str) -> ClusterPlan:
    path = tmp_path / "router.yml"
    path.write_text(ROUTER + text)
    return load_plan(path)


def test_siblings_of_data_plane_cores_are_kept_free_too(tmp_path: Path) -> None:
    """ice rings go by CPU id: cores 0 to 2 and their second threads 4 to 6 carry packets, 3 and 7 do the rest."""
    server = plan(tmp_path, SMT + "kernel: {isolate: on, parameters: {nosmt: ''}}").server("n0")
    assert (server.cores.dataplane, server.cores.housekeeping) == ((0, 1, 2), (3, 7))
    assert server.kernel.boot == (
        ("isolcpus", "managed_irq,domain,0-2,4-6"),
        ("nohz_full", "1-2,4-6"),
        ("rcu_nocbs", "0-2,4-6"),
        ("irqaffinity", "3,7"),
        ("nosmt", ""),
    )


def test_a_profile_without_housekeeping_keeps_one_core(tmp_path: Path) -> None:
    with_all = plan(tmp_path, "servers: {profile: nehalem}").server("n0")
    apart = plan(tmp_path, "servers: {profile: nehalem}\nkernel: {isolate: on}").server("n0")
    assert with_all.cores == Cores(tuple(range(8)), ())
    assert apart.cores == Cores(tuple(range(1, 8)), (0,))
    assert with_all.kernel.boot == ()


def test_no_housekeeping_at_all(tmp_path: Path) -> None:
    """An empty list is not the same as none: every core carries packets, and none can be isolated then."""
    none = SMT.replace("threads_per_core: 2", "threads_per_core: 2\n    housekeeping: []")
    server = plan(tmp_path, none).server("n0")
    assert (server.cores.dataplane, server.cores.housekeeping) == ((0, 1, 2, 3), ())
    with pytest.raises(SpecError) as caught:
        plan(tmp_path, none + "kernel: {isolate: on}")
    (found,) = caught.value.diagnostics
    assert (found.field, "`housekeeping`" in (found.hint or "")) == ("kernel.isolate", True)


def test_one_core_cannot_be_isolated(tmp_path: Path) -> None:
    one = SMT.replace("cores_per_socket: 4", "cores_per_socket: 1").replace(
        "threads_per_core: 2", "threads_per_core: 1"
    )
    with raises(SpecError, "plan.no-housekeeping-cpu", field="kernel.isolate"):
        plan(tmp_path, one + "kernel: {isolate: on}")


def test_isolated_needs_no_siblings() -> None:
    from rbops.hardware import profile

    assert isolated(Cores((1,), (0,)), profile("lab")) == (1,)


def test_nothing_is_asked_by_default(tmp_path: Path) -> None:
    found = plan(tmp_path, "")
    assert found.server("n0").kernel.governor is None
    node = next(file for file in render(found).files_of("n0") if file.path == "/etc/rbops/node.json")
    assert b'"kernel"' not in node.content


def test_the_routers_own_sysctls_are_refused_in_a_spec(tmp_path: Path) -> None:
    for key in sysctl(plan(tmp_path, "").server("n0")):
        path = tmp_path / "router.yml"
        path.write_text(f"{ROUTER}kernel: {{sysctl: {{{key}: 7}}}}\n")
        with raises(SpecError, "spec.reserved", field=f"kernel.sysctl.{key}"):
            load_spec(path)


def test_sysctls_of_the_spec_are_added(tmp_path: Path) -> None:
    found = sysctl(
        plan(tmp_path, "kernel: {sysctl: {net.core.rmem_max: 1, net.ipv4.tcp_rmem: 4096 87380 6291456}}").servers[0]
    )
    assert (found["net.core.rmem_max"], found["net.ipv4.tcp_rmem"]) == ("1", "4096 87380 6291456")
    assert found["net.ipv4.ip_forward"] == "1"


def test_sysctls_of_a_port_go_to_its_server(tmp_path: Path) -> None:
    made = plan(tmp_path, "kernel: {sysctl: {net.ipv4.conf.ext1.log_martians: 1}}")
    assert [s.name for s in made.servers if "net.ipv4.conf.ext1.log_martians" in sysctl(s)] == ["n1"]
