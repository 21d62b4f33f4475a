"""JUnit XML, as Jenkins, GitLab and pytest read and write it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["Case", "Suite", "junit_xml", "write_junit"]

# What XML 1.0 cannot hold, escaped or not (section 2.2).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One test. ``failures`` are its reasons for failing, none if it passed; ``skipped`` why it did not run."""

    group: str
    name: str
    seconds: float = 0.0
    failures: tuple[str, ...] = ()
    skipped: str | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases that ran together, with facts about the run."""

    name: str
    cases: tuple[Case, ...]
    seconds: float = 0.0
    properties: tuple[tuple[str, str], ...] = ()


def junit_xml(suites: Iterable[Suite]) -> str:
    """The document, indented, with an XML declaration. A suite without any case gets one that failed."""
    root = ET.Element("testsuites")
    for suite in suites:
        cases = suite.cases or (Case(suite.name, "anything", failures=("no check was run",)),)
        element = ET.SubElement(
            root,
            "testsuite",
            name=_legal(suite.name),
            tests=str(len(cases)),
            failures=str(sum(bool(case.failures) for case in cases)),
            errors="0",
            skipped=str(sum(case.skipped is not None for case in cases)),
            time=f"{suite.seconds:.3f}",
        )
        if suite.properties:
            properties = ET.SubElement(element, "properties")
            for name, value in suite.properties:
                ET.SubElement(properties, "property", name=_legal(name), value=_legal(value))
        for case in cases:
            _add(element, case)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def write_junit(path: Path, suites: Iterable[Suite]) -> None:
    """Write the document to ``path``; its folder must exist. Raises OSError."""
    path.write_text(junit_xml(suites), encoding="utf-8")


def _add(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(
        suite, "testcase", classname=_legal(case.group), name=_legal(case.name), time=f"{case.seconds:.3f}"
    )
    for reason in case.failures:
        failure = ET.SubElement(element, "failure", message=_legal(reason.splitlines()[0] if reason else "failed"))
        failure.text = _legal(reason)
    if case.skipped is not None:
        ET.SubElement(element, "skipped", message=_legal(case.skipped))
    if case.output:
        ET.SubElement(element, "system-out").text = _legal(case.output)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
