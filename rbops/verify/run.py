"""Runs the verification suite with pytest, in place, over the servers of an inventory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from rbops.dataplane import registry
from rbops.deploy.inventory import Target
from rbops.deploy.ssh import each, raise_errors
from rbops.errors import CheckFailed, RbopsError
from rbops.node.schema import NodeConfig
from rbops.verify.host import ServerUnderTest
from rbops.verify.plugin import VerifyPlugin
from rbops.verify.reach import Reach
from rbops.verify.result import Check, VerifyResult

__all__ = ["run_verify"]

_AT_ONCE = 16
_SUITE = Path(__file__).with_name("checks")


def run_verify(
    plan_digest: str,
    targets: Sequence[Target],
    nodes: Mapping[str, NodeConfig],
    files: Mapping[str, dict[str, str]],
    *,
    junit: Path | None = None,
    select: str | None = None,
    progress: Callable[[Check], None] = lambda _: None,
) -> VerifyResult:
    """Check every target against what was rendered for it.

    ``nodes`` is each server's node.json, ``files`` each server's path -> SHA-256; ``select`` is
    pytest's ``-k`` expression; ``progress`` is called after every check; ``junit`` names a file for
    pytest's own JUnit report.

    Raises CheckFailed when no check was run at all, Unreachable when a server stops answering,
    KeyboardInterrupt when it is interrupted.
    """
    with ExitStack() as stack:
        opened = each(
            ((target.name, target) for target in targets),
            lambda target: ServerUnderTest(target, nodes[target.name], files[target.name]),
        )
        servers = [server for server in opened.values() if isinstance(server, ServerUnderTest)]
        reach = Reach(servers)
        for server in servers:
            server.reach = reach
            stack.callback(server.close)
        raise_errors(opened)
        # Before the checks are made of them, and on all servers at once.
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(lambda server: server.rows, servers))
        planes = [registry.controller(kind) for kind in sorted({node.dataplane.kind for node in nodes.values()})]
        own = {name: cases for plane in planes for name, cases in plane.cases().items()}
        suites = [_SUITE, *(plane.checks for plane in planes if plane.checks)]
        plugin = VerifyPlugin(servers, own, progress)
        status = pytest.main(_arguments(suites, junit, select), plugins=[plugin])
    if plugin.unreachable:
        raise plugin.unreachable
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status == pytest.ExitCode.NO_TESTS_COLLECTED or not plugin.checks:
        raise CheckFailed("no check was run", code="verify.no-checks", hint="look at --limit and -k")
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RbopsError(f"the verification suite could not run: pytest ended with {status}", code="verify.bug")
    return VerifyResult(plan_digest, tuple(plugin.checks))


def _arguments(suites: Sequence[Path], junit: Path | None, select: str | None) -> list[str]:
    arguments = [*map(str, suites), "--import-mode=importlib"]
    # Neither the current folder nor installed plugins may change what is checked.
    arguments += ["-c", os.devnull, f"--rootdir={_SUITE}", "--disable-plugin-autoload"]
    # Without -s the progress on the terminal would be captured too.
    arguments += ["-s", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler"]
    # For tests of programs: it collects garbage five times at the end.
    arguments += ["-p", "no:unraisableexception"]
    if select:
        arguments += ["-k", select]
    if junit:
        arguments += [f"--junitxml={junit.absolute()}"]
    return arguments
