"""The Click data plane as rbops asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbops.dataplane.base import NOT_LOADED, Additions, Controller, Places, Rendering

if TYPE_CHECKING:
    from rbops.errors import Diagnostic
    from rbops.plan import ClusterPlan
    from rbops.planning.servers import Built
    from rbops.render.routes import Table
    from rbops.spec import Spec
    from rbops.spec.source import Node
    from rbops.topology.choice import Choice
    from rbops.verify.case import Case
    from rbops.verify.host import ServerUnderTest

__all__ = ["HALF"]

_SOCKET = "socket"
_DPDK = frozenset({"dpdk", "fastclick"})


class _Click(Controller):
    kind = "click"
    applications = ("forward", "route", "ipsec")
    own_element = True
    answers_probes = True
    drains = True
    process = "rbops-click.service"
    compiles = True
    places = Places(
        own=("/etc/rbops/click",),
        stale=("/etc/rbops/click/elements",),
        beside=(
            "/etc/modprobe.d/zz-rbops-click.conf",
            "/etc/modules-load.d/rbops-click.conf",
            "/etc/systemd/system/rbops-click.service",
        ),
    )
    checks = Path(__file__).with_name("checks") / "test_click.py"

    def mistakes(self, root: Node) -> Iterator[Diagnostic]:
        from rbops.dataplane.click.controller.section import mistakes

        return mistakes(root)

    def one_queue(self, spec: Spec) -> bool:
        """AF_PACKET gives a program one queue a device."""
        return spec.click.dialect == _SOCKET

    def packet_cycles(self, spec: Spec) -> float:
        from rbops.hardware.costs import SOCKET_CYCLES

        return SOCKET_CYCLES if spec.click.dialect == _SOCKET else 0

    def hands_over(self, spec: Spec) -> bool:
        return spec.click.dialect in _DPDK

    def no_steering(self, spec: Spec) -> str | None:
        if self.hands_over(spec):
            return "Click on DPDK has the devices to itself: the kernel cannot set rules in them"
        return None

    def offloads(self, spec: Spec, driver: str, *, steering: bool) -> Iterator[tuple[str, bool]]:
        """Click gets frames from the kernel as they are: none merged, none still to be cut, no tag taken off."""
        if self.hands_over(spec):
            return
        # A veth takes frames that a program redirected to it only while NAPI runs, which GRO turns on.
        yield from (("gro", driver == "veth"), ("lro", False), ("gso", False), ("tso", False))
        if driver == "veth":
            yield "tx", False
            return
        yield from (("rx-gro-hw", False), ("rxvlan", False), ("rx-vlan-stag-hw-parse", False))

    def additions(self, spec: Spec) -> Additions:
        from rbops.dataplane.click.controller.planning import additions

        return additions(spec)

    def limits(self, spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
        from rbops.dataplane.click.controller.warnings import limits

        return limits(spec, choice, built)

    def batching(self, spec: Spec) -> Iterator[str]:
        from rbops.dataplane.click.controller.warnings import batching

        return batching(spec)

    def render(self, plan: ClusterPlan, digest: str, routes: Table) -> Rendering:
        from rbops.dataplane.click.controller.rendering import rendering

        return rendering(plan, digest, routes)

    def loses_early(self, plan: ClusterPlan) -> bool:
        return plan.forwarding.click_dialect == _SOCKET

    def status_line(self, status: Mapping[str, Any]) -> str:
        return f"click {status.get('version')}, {status.get('dialect')}" if status.get("loaded") else NOT_LOADED

    def cases(self) -> Mapping[str, Callable[[ServerUnderTest], Iterator[Case]]]:
        from rbops.dataplane.click.controller.cases import keys, threads

        return {"click_thread_case": threads, "click_keys_case": keys}

    def lab_folder(self, plan: ClusterPlan) -> str | None:
        from rbops.dataplane.click.controller.lab import folder

        return folder(plan)

    def prepare_lab(self, folder: str, directory: Path, uppers: list[Path], progress: Callable[[str], None]) -> None:
        from rbops.dataplane.click.controller.lab import give

        give(folder, directory, uppers, progress)

    def prepare_demo(self, spec: Path, say: Callable[[str], None]) -> None:
        from rbops.dataplane.click.controller.demo import prepare

        prepare(spec, say)


HALF = _Click()
