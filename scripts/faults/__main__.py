"""``python -m scripts.faults``: the page anew; with ``run`` all its tests before that, further arguments for pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.faults.model import FOLDER, promises, read_results, summary
from scripts.faults.page import page

__all__ = ["current"]

_TOP = Path(__file__).parents[2]
_PAGE = _TOP / "docs" / "faults.md"
_SOAK = FOLDER / "soak.md"


def current() -> str:
    """The page as the stored results have it."""
    from tests.faults.cases import cases
    from tests.faults.test_server import POINTS, STEPS

    total = len(cases()) + len(STEPS) * (POINTS - 1)
    return page(promises(), read_results(), total, _SOAK.read_text(encoding="utf-8") if _SOAK.exists() else "")


def _run(arguments: Sequence[str]) -> int:
    """Run the tests; their lines go to ``build/faults.jsonl``, which another run with ``--more`` continues."""
    record = _TOP / "build" / "faults.jsonl"
    record.parent.mkdir(exist_ok=True)
    if "--more" not in arguments:
        record.unlink(missing_ok=True)
    rest = [argument for argument in arguments if argument != "--more"]
    tests = rest or ["tests/faults", *sorted({node.partition("[")[0] for p in promises() for node in p.nodes})]
    options = ["-n", "0", "-q", "-p", "tests.faults.record", "-m", "faults or not faults"]
    environment = {**os.environ, "RBOPS_FAULTS_RECORD": str(record)}
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *tests], cwd=_TOP, env=environment, check=False)
    _store(record)
    return done.returncode


def _store(record: Path) -> None:
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    found = summary(time.strftime("%Y-%m-%d", time.gmtime()), lines)
    (FOLDER / "results.json").write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Returns pytest's exit code."""
    code = _run(sys.argv[2:]) if sys.argv[1:2] == ["run"] else 0
    _PAGE.write_text(current(), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
