"""``python -m scripts.faults``: the page anew.

With ``run`` all its tests before that, further arguments for pytest; with ``take FILE...`` what other runs of pytest
recorded (tests/faults/record.py; ``make test`` leaves ``build/tests.jsonl``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.faults.model import FOLDER, Results, merged, promises, read_results, summary
from scripts.faults.page import page

__all__ = ["current"]

_TOP = Path(__file__).parents[2]
_PAGE = _TOP / "docs" / "faults.md"
_SOAK = FOLDER / "soak.md"
_MATRIX = [f"tests/faults/test_{name}.py" for name in ("cluster", "server", "recovery")]
_NONE_LEFT = 5  # pytest's code when no test was collected


def current() -> str:
    """The page as the stored results have it."""
    from tests.faults.cases import cases
    from tests.faults.test_server import POINTS, STEPS

    total = len(cases()) + len(STEPS) * (POINTS - 1)
    return page(promises(), read_results(), total, _SOAK.read_text(encoding="utf-8") if _SOAK.exists() else "")


def _run(arguments: Sequence[str]) -> int:
    """Run the tests; their lines go to ``build/faults.jsonl``.

    Another run with ``--more`` continues that: it leaves out what has passed. The matrix is divided among two labs side
    by side; the other tests share labs of fixed names, and run one after the other.
    """
    record = _TOP / "build" / "faults.jsonl"
    record.parent.mkdir(exist_ok=True)
    environment = {**os.environ, "RBOPS_FAULTS_RECORD": str(record)}
    if "--more" in arguments:
        environment["RBOPS_FAULTS_MORE"] = "1"
    else:
        record.unlink(missing_ok=True)
    tests = [argument for argument in arguments if argument != "--more"]
    parts = [["-n", "0", *tests]] if tests else [["-n", "2", "--dist", "load", *_MATRIX], ["-n", "0", *_others()]]
    options = ["-q", "-p", "tests.faults.record", "-m", "faults or not faults"]
    command = [sys.executable, "-m", "pytest", *options]
    codes = [subprocess.run([*command, *part], cwd=_TOP, env=environment, check=False).returncode for part in parts]
    _store([record])
    return max(code % _NONE_LEFT for code in codes)


def _others() -> list[str]:
    """Tests of promises outside of the matrix, and the rest of this room."""
    nodes = {node.partition("[")[0] for promise in promises() for node in promise.nodes}
    return ["tests/faults", *(f"--ignore={path}" for path in _MATRIX), *sorted(nodes, key=_place)]


def _place(node: str) -> tuple[str, int]:
    """A test's file and where it is in that: tests that share a lab have their order."""
    path, *_, name = node.split("::")
    return path, (_TOP / path).read_text(encoding="utf-8").find(f"def {name}(")


def _store(records: Sequence[Path], earlier: Results | None = None) -> None:
    lines = [json.loads(line) for record in records for line in record.read_text(encoding="utf-8").splitlines()]
    found = summary(time.strftime("%Y-%m-%d", time.gmtime()), lines)
    if earlier:
        found = merged(earlier, found)
    (FOLDER / "results.json").write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Returns pytest's exit code."""
    code = _run(sys.argv[2:]) if sys.argv[1:2] == ["run"] else 0
    if sys.argv[1:2] == ["take"]:
        _store([Path(name) for name in sys.argv[2:]], read_results())
    _PAGE.write_text(current(), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
