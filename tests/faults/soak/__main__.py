"""``python -m tests.faults.soak --changes 200``: on a lab of its own; the figures go to ``tests/faults/soak.md``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from math import inf
from pathlib import Path

from rbops.lab.providers import provider
from rbops.planner import load_plan
from tests.faults.arena import Arena
from tests.faults.soak.changes import BASE, text
from tests.faults.soak.run import Soak, table
from tests.faults.soak.stream import streaming

_LAB = "rbt-soak"
_FIGURES = Path(__file__).parents[1] / "soak.md"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """1 when a change ended otherwise than planned, or lost packets that was called hitless."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=inf, help="end after this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("build/soak.jsonl"))
    options = parser.parse_args()
    options.log.parent.mkdir(exist_ok=True)
    nspawn = provider("nspawn")
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_STATE_HOME"] = name  # the journals of a soak are nobody's
        specs = {word: Path(name, f"{word}.yml") for word in ("old", "new")}
        specs["old"].write_text(text(BASE), encoding="utf-8")
        nspawn.down(_LAB)
        lab = nspawn.up(load_plan(specs["old"]), _LAB)
        try:
            with streaming(lab.tester_netns(0), lab.tester_netns(1), "198.18.1.2") as stream:
                soak = Soak(Arena(lab, specs), stream, options.seed, options.minutes)
                done = soak.run(options.changes, options.log, _say)
        finally:
            nspawn.down(_LAB)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    figures = table(day, f"make soak CHANGES={options.changes}", options.minutes, done)
    _FIGURES.write_text(figures, encoding="utf-8")
    _say(figures)
    return 1 if any(change.wrong for change in done) else 0


if __name__ == "__main__":
    sys.exit(main())
