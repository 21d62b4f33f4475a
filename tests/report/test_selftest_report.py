"""The report's text as golden files, its JSON form, and JUnit XML that other tools can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console

from rbops.report.junit import Case, Suite, junit_xml, write_junit
from rbops.report.selftest import selftest_blocks, selftest_junit
from rbops.report.tables import plain, rich_text
from rbops.selftest.balance import Balance, CoreLoad, PairShare, ServerLoad
from rbops.selftest.result import (
    Fault,
    Pair,
    PathCount,
    Phase,
    PortService,
    QueueService,
    RateResult,
    SelftestResult,
    Source,
    Trial,
)

GOLDEN = Path(__file__).parent / "golden"


def matrix(*, broken: bool) -> Phase:
    pairs = [Pair(a, b, 3_000_000, 3_000_000) for a in range(3) for b in range(3) if a != b]
    if broken:
        pairs[1] = replace(pairs[1], received=2_999_988)
        pairs[4] = replace(pairs[4], late=3, sequences=2, duplicates=1)
    sources = tuple(Source(port, 6_000_000, 0, 2.0) for port in range(3))
    spread = (PathCount("n0", "n1", None, 3_000_000), PathCount("n0", "n2", None, 2_400_000),
              PathCount("n0", "n2", "n1", 600_000), PathCount("n2", "n2", None, 7))  # fmt: skip
    wrong = "790 of its 800 interrupts were not on core 1: 790 on CPU 0" if broken else None
    queues = (
        QueueService("n0", "ext0", 0, 0, 3_000_000, ((0, 61_000),)),
        QueueService("n0", "ext0", 1, 1, 3_000_000, ((0, 790), (1, 10)) if broken else ((1, 800),), wrong),
    )
    veth = (QueueService("n1", "ext1", 0, 0, 0), QueueService("n1", "ext1", 1, 1, 6_000_000))
    uncounted = (QueueService("n2", "ext2", 0, 0, None),)
    service = (
        PortService("n0", "ext0", queues, ((0, 3_000_000), (1, 3_000_000))),
        PortService("n1", "ext1", veth, ((1, 6_000_000),)),
        PortService("n2", "ext2", uncounted),
    )
    even = Balance(
        (
            PairShare("n0", "n1", 3_000_000, 1.0, (), 1.0),
            PairShare("n0", "n2", 3_000_000, 0.8, (("n1", 0.2),), 0.75),
        ),
        (
            ServerLoad("n0", 6_000_000, 12_000_000, 12_000_000.0),
            ServerLoad("n1", 6_000_000, 13_000_000, 12_500_000.0),
            ServerLoad("n2", 0, 0, None),
        ),
        (CoreLoad("n0", 0, 4_000_000, 0.5, 0.25, 0.2), CoreLoad("n0", 1, 8_000_000)),
    )
    return Phase("matrix", 64, 2.0, sources, tuple(pairs), spread, service, stray=4, balance=even)


def result(*, broken: bool = False) -> SelftestResult:
    pair = Phase(
        "pair", 1518, 1.0, (Source(0, 800_000, 0, 1.0),), (Pair(0, 2, 800_000, 800_000, late=900, sequences=400),),
        (PathCount("n0", "n2", None, 300_000), PathCount("n0", "n2", "n1", 500_000)),
    )  # fmt: skip
    faults = (
        Fault("loss", "loss 12 of 3,000,000 from port 0 to port 2 [n2 dropped 12: mtu]", "matrix", 12, 0, 2, "n2"),
        Fault("affinity", "n0:ext0 queue 1 (core 1): 790 of its 800 interrupts ...", "matrix", 3_000_000, server="n0"),
        Fault("counters", "counters of n1 do not agree", "pair", server="n1"),
    )
    return SelftestResult(
        name="rb4",
        digest="0f5b666af4dfc9d234a58adebac0994cbd6d94a688df69a1337180bf6315de9e",
        seed=1,
        ports=((0, "n0"), (1, "n1"), (2, "n2")),
        phases=(matrix(broken=broken), pair),
        rate=None if broken else RateResult(64, 4.2e6, "precision", (Trial(None, 5e6, 100, 3, 0),)),
        faults=faults if broken else (),
        seconds=14.25,
        notes=("a tester outran its own device",) if broken else (),
        predicted_pps=22_360_000,
    )


def selftest_text(measured: SelftestResult) -> str:
    return plain(selftest_blocks(measured))


def test_text_of_a_healthy_router(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "selftest-passed.txt", selftest_text(result()))


def test_text_of_a_broken_router(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "selftest-failed.txt", selftest_text(result(broken=True)))


def test_json(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "selftest.json", json.dumps(result(broken=True).to_dict(), indent=1) + "\n")


def test_junit(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "selftest.xml", junit_xml([selftest_junit(result(broken=True))]))


def test_json_says_what_other_tools_rely_on() -> None:
    body = result().to_dict()
    assert body["schema_version"] == 1
    assert body["passed"] is True
    assert body["phases"][0]["matrix"]["sent"][0] == [None, 3_000_000, 3_000_000]
    assert body["phases"][1]["reordering"]["fraction"] == 400 / 800_000
    assert json.loads(json.dumps(body)) == body


def test_nothing_checked_is_a_failure() -> None:
    empty = replace(result(), phases=(), rate=None)
    assert not empty.passed
    assert "FAILED: nothing was tested" in selftest_text(empty)
    silent = replace(result(), phases=(replace(matrix(broken=False), pairs=(Pair(0, 1, 5, 0),)),))
    assert silent.checked == 0
    assert not silent.passed


def test_the_terminals_report_has_the_same_facts() -> None:
    console = Console(width=160, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    try:
        console.print(rich_text(selftest_blocks(result(broken=True))))
        text = console.export_text()
    finally:
        console.file.close()
    for part in (
        "2,999,988 (12 lost)",
        "n1 20.0%",
        "FAULT matrix: loss 12 of",
        "self-test of rb4 FAILED: 3 faults",
        "NOT as planned",
    ):
        assert part in text


def test_junit_counts_and_properties() -> None:
    root = ET.fromstring(junit_xml([selftest_junit(result(broken=True))]))
    suite = root[0]
    assert (suite.get("tests"), suite.get("failures")) == ("8", "2")
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["port 0 to port 2", "the whole router"]


def test_junit_without_a_case_fails() -> None:
    root = ET.fromstring(junit_xml([Suite("empty", ())]))
    assert root[0].get("failures") == "1"
    assert root[0].find("testcase/failure") is not None


def test_junit_survives_any_text(tmp_path: Path) -> None:
    nasty = "a<b>&\"'\x00\x1b[31m\ud800 ]]> \u20ac"
    path = tmp_path / "out.xml"
    write_junit(path, [Suite(nasty, (Case(nasty, nasty, 1, (nasty,), output=nasty), Case("b", "c", skipped=nasty)))])
    case = ET.parse(path).getroot()[0][0]
    assert case.get("name") == "a<b>&\"'\ufffd\ufffd[31m\ufffd ]]> \u20ac"
    assert case.find("failure") is not None
    assert case.find("system-out") is not None
