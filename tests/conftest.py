"""What every test shares: what a machine must have for a test, golden files, and nothing left behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import Click, build, find
from tests.support import leftovers
from tests.support.lab import give_back

ELEMENTS = Path(__file__).parent.parent / "rbops" / "dataplane" / "click"
"""The sources of the element package."""

LAB_TEST_S = 600
"""The time limit of a lab test with its fixtures: the first one in a room boots the lab, or even builds the image."""

_BEFORE = pytest.StashKey[frozenset[str]]()
_LEFT = pytest.StashKey[list[str]]()
_INSTANCES = pytest.StashKey[str | None]()
_INOTIFY, _ENOUGH = Path("/proc/sys/fs/inotify/max_user_instances"), 1024


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")


def _no_root(_config: pytest.Config) -> str | None:
    return "needs root" if os.geteuid() != 0 else None


def _no_lab(config: pytest.Config) -> str | None:
    missing = [tool for tool in ("systemd-nspawn", "mmdebstrap") if not shutil.which(tool)]
    return _no_root(config) or (f"needs a lab: {', '.join(missing)} is not installed" if missing else None)


def _no_click(_config: pytest.Config) -> str | None:
    found = shutil.which("click") or os.environ.get("CLICK_PREFIX")
    return None if found else "needs Click: none on PATH and CLICK_PREFIX is not set"


def _no_full_kernel(config: pytest.Config) -> str | None:
    found = shutil.which("qemu-system-x86_64")
    return _no_root(config) or (None if found else "needs QEMU: scripts/setup-full-kernel.sh installs it")


def _no_browser(_config: pytest.Config) -> str | None:
    return None if shutil.which("chromium") else "needs Chromium: scripts/setup-browser.sh installs it"


def _no_vagrant(config: pytest.Config) -> str | None:
    # Minutes of work for both cores: only when they are asked for by name.
    if "vagrant" not in config.getoption("markexpr"):
        return "need VMs: make test-vagrant"
    return None if shutil.which("vagrant") else "need VMs: scripts/setup-vagrant.sh installs what makes them"


def _no_faults(config: pytest.Config) -> str | None:
    # An hour and more: `make test` has a sample of them, without the marker.
    return None if "faults" in config.getoption("markexpr") else "the whole matrix of faults: make test-faults"


_LACKING = {
    "root": _no_root,
    "lab": _no_lab,
    "click": _no_click,
    "full_kernel": _no_full_kernel,
    "browser": _no_browser,
    "vagrant": _no_vagrant,
    "faults": _no_faults,
}
"""For each marker of what a test needs: why this machine cannot run it, or None."""


def _lacking(item: pytest.Item) -> str | None:
    reasons = (why(item.config) for name, why in _LACKING.items() if item.get_closest_marker(name))
    return next((reason for reason in reasons if reason), None)


def _place(path: Path, *, own: bool) -> str:
    """The folder of a test file; the file itself where its labs are its own."""
    return (path.with_suffix("") if own else path.parent).relative_to(Path(__file__).parent).as_posix()


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        reason = _lacking(item)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        lab = item.get_closest_marker("lab")
        if lab or item.get_closest_marker("full_kernel"):
            # What shares labs shares a worker.
            own = lab is not None and lab.kwargs.get("own", False)
            item.add_marker(pytest.mark.xdist_group(f"labs of {_place(item.path, own=own)}"))
        if lab and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LAB_TEST_S))
    if hasattr(config, "workerinput"):
        _long_groups_first(items)


def _long_groups_first(items: list[pytest.Item]) -> None:
    """xdist's workers take groups in this order: the emulated machine first, then rooms of many tests, then the rest.

    xdist itself goes by the number of tests alone (it is told not to: pyproject.toml).
    """
    groups = [next((mark.args[0] for mark in item.iter_markers("xdist_group")), None) for item in items]
    sizes = Counter(groups)
    machine = {group for group, item in zip(groups, items, strict=True) if item.get_closest_marker("full_kernel")}
    order = sorted(
        range(len(items)),
        key=lambda at: (groups[at] not in machine, groups[at] is None, -sizes[groups[at]], groups[at] or "", at),
    )
    items[:] = [items[at] for at in order]


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no collection of garbage needs to look at it.

    pytest collects five times where it ends, and every `rbops verify` in this process is one.
    """
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # xdist starts its workers later
def pytest_configure(config: pytest.Config) -> None:
    _hear_signals()
    if not hasattr(config, "workerinput"):
        leftovers.mark()
        config.stash[_BEFORE] = leftovers.snapshot()
        config.stash[_INSTANCES] = _more_inotify()


def _more_inotify() -> str | None:
    """Room for the labs of all rooms at once: twenty systemds use 128 inotify instances up.

    What it was, None: it is as it was.
    """
    before = _INOTIFY.read_text()
    if os.geteuid() != 0 or int(before) >= _ENOUGH:
        return None
    try:
        _INOTIFY.write_text(str(_ENOUGH))
    except OSError:  # read-only in a container
        return None
    return before


def _hear_signals() -> None:
    """Give children the default of signals that this process was started to ignore, as a job in the background is.

    Many tests interrupt a child, and would wait for ever. This process goes on ignoring what nohup ignores.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A lab test that fails leaves its lab usable for the next one."""
    report = yield
    if call.when == "call" and report.failed and item.get_closest_marker("lab"):
        give_back()
    return report


@pytest.hookimpl(trylast=True)  # xdist's workers have ended
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the whole run when a test left a namespace, lab, mount or process behind."""
    if hasattr(session.config, "workerinput"):
        return
    if before := session.config.stash.get(_INSTANCES, None):
        _INOTIFY.write_text(before)
    session.config.stash[_LEFT] = left = leftovers.left(session.config.stash[_BEFORE])
    if left and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for item in config.stash.get(_LEFT, []):
        terminalreporter.write_line(f"left behind by the tests: {item}", red=True)
    skipped = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"left out: {count} test{'s' if count > 1 else ''}: {reason}")
    if os.environ.get("CI") and any("needs root" in reason or "needs a lab" in reason for reason in skipped):
        terminalreporter.write_line("CI must run the lab tests: leaving them out is a failure", red=True)
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if not skipped:
        terminalreporter.write_line("left out: nothing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare text with a golden file: ``golden(path, text)``; ``--update-golden`` writes it."""
    update = request.config.getoption("--update-golden")

    def compare(path: Path, text: str) -> None:
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest with --update-golden and read what it wrote"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def installed() -> Click:
    """The Click of CLICK_PREFIX, or on PATH. Only for tests with the marker click."""
    return find(os.environ.get("CLICK_PREFIX"))


@pytest.fixture(scope="session")
def package(installed: Click, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the elements compiled for it: Click's CLICKPATH."""
    base = tmp_path_factory.mktemp("package")
    assert build(installed, ELEMENTS, base).changed
    return base
