"""The pytest plugin that parametrises the checks from what was rendered and collects their outcome."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from rbops.errors import Unreachable
from rbops.verify.case import Case
from rbops.verify.kernel_cases import kernel_cases
from rbops.verify.result import Check

if TYPE_CHECKING:
    from rbops.verify.host import ServerUnderTest
    from rbops.verify.result import Outcome

__all__ = ["Case", "VerifyPlugin"]

Cases = Callable[["ServerUnderTest"], Iterator[Case]]


class VerifyPlugin:
    """Gives the checks their cases and keeps what came of them.

    A check asks for its cases by fixture name: ``server_case`` (one a server), ``row_case`` (each row that
    rbops-node shows), ``port_case`` (those that the kernel keeps), ``vector_case`` (queues of hardware),
    ``file_case``, ``peer_case`` (every other server), ``answer_case`` (the same, where the server has an address that
    answers come to), ``daemon_case`` (servers with a routing daemon), ``exporter_case`` (servers with an exporter),
    ``sflow_case`` (servers that send samples), ``ike_case`` (tunnels whose keys a server negotiates), and those of
    :mod:`rbops.verify.kernel_cases` and ``own_cases``, the data plane's.
    """

    def __init__(
        self, servers: Sequence[ServerUnderTest], own_cases: Mapping[str, Cases], progress: Callable[[Check], None]
    ) -> None:
        self._servers = servers
        self._own_cases = own_cases
        self._progress = progress
        self.checks: list[Check] = []
        self.unreachable: Unreachable | None = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrise by the one ``*_case`` fixture a check asks for."""
        kinds: dict[str, Cases] = {
            "server_case": self._server_cases,
            "port_case": self._port_cases,
            "row_case": self._row_cases,
            "vector_case": self._vector_cases,
            "file_case": self._file_cases,
            **kernel_cases(),
            "peer_case": self._peer_cases,
            "answer_case": self._answer_cases,
            "daemon_case": self._daemon_cases,
            "exporter_case": self._exporter_cases,
            "sflow_case": self._sflow_cases,
            "ike_case": self._ike_cases,
            **self._own_cases,
        }
        for name, cases in kinds.items():
            if name in metafunc.fixturenames:
                found = [case for server in self._servers for case in cases(server)]
                metafunc.parametrize(name, found, ids=[case.label for case in found])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Server by server, so that progress reads like the plan; subjects keep the files' order."""
        order = {server.name: index for index, server in enumerate(self._servers)}
        # A check without a case (no peers, no modules) stays out: pytest would report it as skipped.
        cases = {item: case for item in items if (case := _case(item))}
        items[:] = sorted(cases, key=lambda item: order[cases[item].server.name])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the outcome: the call's, or that of a set-up that failed before it."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, Unreachable):
            self.unreachable = call.excinfo.value
            item.session.shouldstop = str(call.excinfo.value)
        elif report.when == "call" or (report.when == "setup" and not report.passed):
            self._keep(item, report, call)
        return report

    def _keep(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        outcome: Outcome = report.outcome
        detail = ""
        if report.failed and call.excinfo is not None:
            detail = str(call.excinfo.value).strip() or call.excinfo.typename
        elif report.skipped and isinstance(report.longrepr, tuple):
            detail = report.longrepr[2].removeprefix("Skipped: ")
        case = _case(item)
        check = Check(
            server=case.server.name if case else "",
            subject=item.path.stem.removeprefix("test_"),
            name=item.name.removeprefix("test_"),
            outcome=outcome,
            detail=detail,
            duration_s=round(report.duration, 4),
        )
        self.checks.append(check)
        self._progress(check)

    @staticmethod
    def _server_cases(server: ServerUnderTest) -> Iterator[Case]:
        yield Case(server, server.name)

    @staticmethod
    def _port_cases(server: ServerUnderTest) -> Iterator[Case]:
        for port in server.node.kernel_ports:
            yield Case(server, f"{server.name}:{port.name}", port)

    @staticmethod
    def _row_cases(server: ServerUnderTest) -> Iterator[Case]:
        for row in server.rows:
            yield Case(server, f"{server.name}:{row.subject}:{row.setting}", row=row)

    @staticmethod
    def _vector_cases(server: ServerUnderTest) -> Iterator[Case]:
        for port in server.node.kernel_ports:
            # A veth is not hardware: its queues are polled without an interrupt.
            for queue in port.queues if port.driver != "veth" else ():
                yield Case(server, f"{server.name}:{port.name}:{queue.index}", port, queue)

    @staticmethod
    def _file_cases(server: ServerUnderTest) -> Iterator[Case]:
        for path, digest in server.files.items():
            yield Case(server, f"{server.name}:{path}", key=path, want=digest)

    @staticmethod
    def _daemon_cases(server: ServerUnderTest) -> Iterator[Case]:
        if server.node.routing is not None:
            yield Case(server, server.name, key=server.node.routing.kind)

    @staticmethod
    def _exporter_cases(server: ServerUnderTest) -> Iterator[Case]:
        if server.node.exporter is not None:
            yield Case(server, server.name)

    @staticmethod
    def _sflow_cases(server: ServerUnderTest) -> Iterator[Case]:
        if server.node.sflow is not None:
            yield Case(server, server.name)

    @staticmethod
    def _ike_cases(server: ServerUnderTest) -> Iterator[Case]:
        for tunnel in () if server.node.ipsec is None else server.node.ipsec.negotiated:
            yield Case(server, f"{server.name}:tunnel {tunnel.number}", key=str(tunnel.number), want=tunnel.peer)

    def _peer_cases(self, server: ServerUnderTest) -> Iterator[Case]:
        for peer in self._servers:
            if peer is not server and peer.external_addresses:
                yield Case(server, f"{server.name}:{peer.name}", peer=peer)

    def _answer_cases(self, server: ServerUnderTest) -> Iterator[Case]:
        if server.external_addresses:
            yield from self._peer_cases(server)


def _case(item: pytest.Item) -> Case | None:
    params = item.callspec.params  # type: ignore[attr-defined]
    return next((value for value in params.values() if isinstance(value, Case)), None)
