"""Examples of verbs that touch no server: what the pages show is what the program prints today."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbops.spec.starter import starter

DOCS = Path(__file__).parents[2] / "docs"
PURE = ("check", "plan", "predict", "simulate", "click-check", "graph")

BAD = """\
name: bad
router:
  external_ports: 4
  line_rate: 10
  aplication: route
servers:
  profile: lab
interconnect:
  flowlet_timeout: 100 msec
routes:
  - {prefix: 203.0.113.7/24, via: 198.18.3.2}
  - {prefix: 203.0.112.0/24, via: 198.18.7.2}
"""
TWO = "rx :: FromDevice(eth0) -> q :: Queue -> tx :: ToDevice(eth1);\nStaticThreadSched(rx 0, tx 1);\n"


@dataclass(frozen=True, slots=True)
class Example:
    """A command of a page and the lines below it, ``...`` where some were left out."""

    where: str
    words: tuple[str, ...]
    lines: tuple[str, ...]


def examples() -> Iterator[Example]:
    for page in sorted(DOCS.glob("*.md")):
        lines = page.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            match = re.match(rf"( +)[$#] rbops ((?:{'|'.join(PURE)}) .*)", line)
            if match and "INV" not in line:
                shown = []
                for below in lines[number + 1 :]:
                    if below.strip() and not below.startswith(match[1]):
                        break
                    shown.append(below[len(match[1]) :])
                yield Example(f"{page.name}:{number + 1}", tuple(shlex.split(match[2])), tuple(shown))


def rack(before: str) -> str:
    """The tutorial's spec where the text ``before`` ends: what it shows, with the edits that it describes."""
    shown = before.partition("$ cat rack/router.yml\n")[2].partition("hosts:")[0]
    spec = re.sub(r"hardware: .*", "profile: lab", "\n".join(line[4:] for line in shown.splitlines()))
    via = "198.18.3.2" if "With `198.18.3.2`" in before else "198.18.3.9"
    return f"{spec.rstrip()}\nroutes:\n  - {{prefix: 203.0.113.0/24, via: {via}}}\n"


ALL = list(examples())


def test_there_are_examples() -> None:
    assert {example.words[0] for example in ALL} >= {"check", "plan", "predict", "simulate", "click-check"}


@pytest.mark.parametrize("example", ALL, ids=lambda example: f"{example.where} {example.words[0]}")
def test_an_example_is_what_the_program_prints(example: Example, tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_bytes(starter("rb4")["router.yml"])
    (tmp_path / "bad.yml").write_text(BAD, encoding="utf-8")
    (tmp_path / "two.click").write_text(TWO, encoding="utf-8")
    if "rack/router.yml" in example.words:
        page, _, number = example.where.partition(":")
        above = (DOCS / page).read_text(encoding="utf-8").splitlines()[: int(number)]
        (tmp_path / "rack").mkdir()
        (tmp_path / "rack" / "router.yml").write_text(rack("\n".join(above)), encoding="utf-8")
    command = [sys.executable, "-c", "from rbops.cli import main; main()", *example.words]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(DOCS.parent), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    printed = iter([line.rstrip() for line in done.stdout.splitlines()])
    for line in example.lines:
        if line.strip() not in {"", "..."}:
            assert line.rstrip() in printed, f"{example.where}: not printed, or out of order: {line}\n{done.stdout}"
