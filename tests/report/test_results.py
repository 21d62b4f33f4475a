"""Saved results: read back as they were, by the schema that ships, as text, page and JUnit, and compared."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from rbops.cli.app import build
from rbops.errors import UsageError
from rbops.report.results.compare import changes, series
from rbops.report.results.document import ResultDoc, read, schema
from rbops.report.results.page import page
from rbops.report.results.restore import restored
from rbops.report.selftest import selftest_blocks, selftest_junit
from rbops.report.tables import plain
from rbops.selftest.beside import PaperFigure
from rbops.selftest.context import Context, PortContext, ServerContext
from rbops.selftest.example import Example
from rbops.selftest.latency import Distribution, LatencyPoint
from rbops.selftest.matrices import MatrixRun, PathShare
from rbops.selftest.outage import Outage
from rbops.selftest.rateresult import Bounds, RateResult, RateRun, Trial
from rbops.selftest.reordering import Lateness
from rbops.selftest.result import Fault, SelftestResult
from rbops.selftest.sizes import SizeCount
from rbops.selftest.soak import Slice, SoakResult
from rbops.selftest.tcprun import TcpRun
from rbops.selftest.tunnelrun import TunnelRun
from tests.report.test_selftest_report import result as made
from tests.support.browser import opened
from tests.support.errors import raises

CONTEXT = Context(
    "0.1.0",
    "2026-11-29T20:00:00+00:00",
    "rbops selftest router.yml -i hosts.yml",
    lab=True,
    servers=(ServerContext("n0", "6.1.0", "a <processor>", "none", (PortContext("ext0", "eth7", "ice", "4.2"),)),),
)


_SPREAD = Distribution(1000, 1.5e-6, (2e-6, 3e-6, 4e-6, 5e-6), 9e-6, 2.1e-6, 4e-7, ((2000, 900), (9000, 100)))
_POINT = LatencyPoint(64, 0.5, 1e6, 0.99e6, 2_000_000, 3, _SPREAD, _SPREAD)
_BOTH_WAYS = replace(_POINT, way="round trip")


_TUNNELS = (
    TunnelRun(7, "198.18.1.2", "out", "n0", 0, 24, 24),
    TunnelRun(7, "198.18.1.2", "in", "n0", 0, 24, 21, 1, 1, 2, 0),
)
_TCP = (TcpRun(1, 0, 1, 4.5e9, 3.0, 2e9, 5, 2, 12_000, 6), TcpRun(8, 0, 1, 4.5e9, failure="iperf3 is not installed"))


_EXAMPLES = (Example("matrix", "duplicate", 2, 1_790_000_000_000_000_000, bytes(range(60))),)
_SOAK = SoakResult(64, 0.9, 1e6, 21.5, (Slice(10_000_000, 0, 10.0), Slice(9_000_000, 3, 10.0)), complete=True)


_PATHS = (PathShare("n0", "n1", None, 0.4, 0.41), PathShare("n0", "n1", "n2", 0.6, 0.59))
_APART = (PathShare("n0", "n1", None, 0.9, 0.41), PathShare("n0", "n1", "n2", 0.1, 0.59))
_PAPER = (PaperFigure("rate, 64-byte packets", "bps", 12e9, 12e9, 3e9), PaperFigure("latency", "s", 4e-5, 6e-5, 5e-6))
_MATRICES = (
    MatrixRun("permutation", 0.6, 9000, 0.4, 0.41, _PATHS),
    MatrixRun("site.csv", None, reason="the servers' counters are not read"),
)


def result(*, broken: bool = False) -> SelftestResult:
    outages = (Outage("cable cut", False, "n0", ("int1",), 4000, 8000, 2, 0.5),)  # noqa: FBT003 - a row
    trials = (Trial(None, 4e6, 2_000_000, 0, 0), Trial(2e6, 2e6, 1_000_000, 3, 0))
    bounds = (Bounds(0.0, 1_990_000.0, 2_000_000.0), Bounds(0.005, 4e6, None, limited=True))
    runs = (RateRun(64, 1, "mlr", 0.005, 0.5, 4e6, *bounds, True, trials, 31.5),)  # noqa: FBT003 - a row
    whole = made(broken=broken)
    late = Lateness((0, 890, 10, *[0] * 61), (100, 800, *[0] * 62))
    pair = replace(whole.phases[1], mix="imix", size=362, sizes=(SizeCount(64, 700_000, 700_000),), lateness=late)
    return replace(
        whole, context=CONTEXT, outages=outages, rate_runs=runs, latencies=(_POINT, _BOTH_WAYS), tcp_runs=_TCP,
        tunnel_runs=_TUNNELS,
        phases=(whole.phases[0], pair), examples=_EXAMPLES if broken else (), soaks=(_SOAK,), paper=_PAPER,
        matrices=(replace(_MATRICES[0], paths=_APART), _MATRICES[1]) if broken else _MATRICES,
    )  # fmt: skip


def saved(folder: Path, measured: SelftestResult, name: str = "result") -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(measured.to_dict()))
    return path


@pytest.mark.parametrize("broken", [False, True])
def test_what_is_written_is_what_the_schema_says_and_reads_back(tmp_path: Path, *, broken: bool) -> None:
    value = result(broken=broken).to_dict()
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema()).validate(value)
    again = restored(read(saved(tmp_path, result(broken=broken))))
    assert again.to_dict() == json.loads(json.dumps(value))
    assert not list(Draft202012Validator(schema()).iter_errors({**value, "a newer key": 1}))
    assert list(Draft202012Validator(schema()).iter_errors({**value, "seed": "one"}))


def test_text_is_the_verbs_own(tmp_path: Path) -> None:
    done = CliRunner().invoke(build(), ["report", str(saved(tmp_path, result()))])
    assert (done.exit_code, done.stdout) == (0, plain(selftest_blocks(result())))


def test_junit_is_the_verbs_own(tmp_path: Path) -> None:
    target = tmp_path / "report.xml"
    done = CliRunner().invoke(build(), ["report", str(saved(tmp_path, result())), "--junit", str(target)])
    assert done.exit_code == 0
    assert 'name="port 0 to port 1"' in target.read_text()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "report.unreadable"),
        ("name: x", "report.no-json"),
        ('{"schema_version": 2}', "report.no-result"),
        ("[]", "report.no-result"),
    ],
)
def test_what_is_no_result(tmp_path: Path, content: str | None, code: str) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with raises(UsageError, code):
        read(path)


def document(rate_pps: float, *, lost: int = 0) -> ResultDoc:
    measured = result()
    phase = measured.phases[0]
    pairs = (replace(phase.pairs[0], received=phase.pairs[0].received - lost), *phase.pairs[1:])
    phases = (replace(phase, pairs=pairs), *measured.phases[1:])
    rate = RateResult(64, rate_pps, "precision", (Trial(None, rate_pps, 100, 0, 0),))
    return ResultDoc.model_validate(replace(measured, phases=phases, rate=rate).to_dict())


def test_a_change_is_more_than_the_spread_of_the_runs_before() -> None:
    steady = [document(rate) for rate in (4.0e6, 4.2e6, 3.9e6, 4.1e6, 4.3e6)]
    assert [change for change in changes(series(steady)) if "highest" in change.series.name and change.run > 1] == []
    (slower,) = [c for c in changes(series([*steady[2:], document(2.0e6)])) if "highest" in c.series.name and c.run > 2]
    assert (slower.run, slower.good, round(slower.ratio, 2)) == (3, False, 0.49)
    # What comes after it is compared with the new level.
    after = [*steady[2:], document(2.0e6), document(2.01e6)]
    assert [c.run for c in changes(series(after)) if "highest" in c.series.name and c.run > 2] == [3]


def test_loss_after_none_is_worse() -> None:
    (change,) = [one for one in changes(series([document(4e6), document(4e6, lost=5)])) if one.series.name == "lost"]
    assert (change.run, change.before, change.good) == (1, 0, False)


def test_matrices_have_their_verdict_in_text_page_and_junit() -> None:
    for broken, word in (
        (False, "as simulated: at most 1.00 points"),
        (True, "NOT as simulated: at most 49.00 points"),
    ):
        found = result(broken=broken)
        if broken:
            found = replace(found, faults=(*found.faults, Fault("shares", "90% went directly", "matrices permutation")))
        text = plain(selftest_blocks(found))
        assert f"{word} apart, 2 allowed" in text
        assert "not compared: the servers' counters are not read" in text
        html = page(ResultDoc.model_validate(found.to_dict()))
        assert ("NOT as simulated" in html) == broken
        cases = {case.name: case for case in selftest_junit(found).cases}
        assert cases["shares of permutation"].failures == (("90% went directly",) if broken else ())
        assert cases["shares of site.csv"].skipped == "the servers' counters are not read"


def test_the_papers_figures_stand_beside_those_measured() -> None:
    text = plain(selftest_blocks(result()))
    html = page(ResultDoc.model_validate(result().to_dict()))
    for row in ("12.00 Gbps 3.00 Gbps 0.250", "40.0 us to 60.0 us 5.0 us -"):
        assert row in " ".join(text.split())
        assert row in " ".join(re.sub("<[^>]*>", " ", html).split())


def test_rates_latency_and_soaks_are_compared_too() -> None:
    first = ResultDoc.model_validate(result().to_dict())
    slow = replace(_POINT, found=replace(_SPREAD, percentiles_s=(8e-6, 3e-6, 40e-6, 5e-6)))
    second = ResultDoc.model_validate(replace(result(), latencies=(slow, _BOTH_WAYS), soaks=()).to_dict())
    found = {one.name: one.values for one in series([first, second])}
    assert found["NDR of 64-byte frames"] == (1.99, 1.99)
    assert found["PDR of 64-byte frames"] == (4.0, 4.0)
    assert found["latency p50 of 64-byte frames, at 50%"] == pytest.approx((2.0, 8.0))
    assert found["latency p99 of 64-byte frames, at 50%"] == pytest.approx((4.0, 40.0))
    assert found["latency p50 of 64-byte frames, at 50%, round trip"] == pytest.approx((2.0, 2.0))
    assert found["loss ratio of the soak of 64-byte frames"] == (pytest.approx(3 / 19e6), None)
    worse = [change.series.name for change in changes(series([first, second])) if not change.good]
    assert worse == ["latency p50 of 64-byte frames, at 50%", "latency p99 of 64-byte frames, at 50%"]


def test_several_are_a_table_with_the_changes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.json" for name in ("mon", "tue")]
    for path, rate in zip(paths, (4e6, 2e6), strict=True):
        path.write_text(document(rate).model_dump_json(by_alias=True))
    done = CliRunner().invoke(build(), ["report", *map(str, paths)])
    assert done.exit_code == 0
    assert "highest rate without loss (Mpps)" in done.stdout
    assert "tue: highest rate without loss is 0.5 times what the runs before had (worse)" in done.stdout
    target = tmp_path / "both.html"
    done = CliRunner().invoke(build(), ["report", *map(str, paths), "-o", str(target)])
    assert done.exit_code == 0
    assert "2 *" in target.read_text()


def test_a_page_is_whole_in_itself(tmp_path: Path) -> None:
    text = page(read(saved(tmp_path, result(broken=True))))
    assert "a &lt;processor&gt;" in text, "what servers say of themselves is no markup"
    assert "http" not in text.replace("http-equiv", "").split("data:application/json")[0], "nothing is fetched"
    assert "<script" not in text


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desktop", "phone, dark"])
def test_a_browser_shows_it(tmp_path: Path, width: int, *, dark: bool) -> None:
    target = tmp_path / "page.html"
    target.write_text(page(read(saved(tmp_path, result(broken=True)))))
    with opened(target, tmp_path / "profile", width=width, dark=dark) as found:
        tree = found.tree()
        headings = [name for role, name in tree if role == "heading"]
        assert headings[0] == "Self-test of rb4"
        latency = {f"Latency of 64-byte frames, {way}" for way in ("one way", "round trip")}
        assert {"Faults", "Phases", "Load of the cores: matrix", "NDR and PDR", *latency} <= set(headings)
        pictures = [name for role, name in tree if role in {"image", "img"}]
        assert pictures
        assert all(pictures), "each picture has a description"
        cells = [name for role, name in tree if role in {"cell", "gridcell"}]
        assert "2,999,988 (12 lost)" in cells, "a loss is said in words, not by colour alone"
        assert found.value("document.documentElement.scrollWidth") <= width, "no part is wider than the window"
        paper = found.value("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
