"""The coverage-guided fuzzer, atheris: ``make fuzz``.

    python -m tests.fuzz [--seconds 60] [--memory-mb 1500] [TARGET ...]

The targets run side by side. Each has a folder build/fuzz/TARGET: `log` is what the fuzzer said, `corpus` keeps the
inputs that reached new code, also for the next run; an input that crashed, hung (20 s) or used too much memory lies
beside them as crash-*, timeout-* or oom-*. Exit 1 then.
`python -m tests.fuzz TARGET --input FILE` runs one input again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "build" / "fuzz"
_NAMES = ("spec", "click", "facts", "netlink", "capture", "agent", "node")
_HANG_S = 20
_LONGEST = 8192
_WORD = re.compile(rb"[A-Za-z_-]{3,}")


def _fuzz(name: str, seconds: int, memory_mb: int) -> None:
    """In a process of its own: libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["rbops"]):
        from tests.fuzz.targets import TARGETS
    place = _FOLDER / name
    corpus, seeds = place / "corpus", place / "seeds"
    for folder in (corpus, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    found = TARGETS[name].seeds()
    for number, seed in enumerate(found):
        (seeds / str(number)).write_bytes(seed)
    words = sorted({word for seed in found for word in _WORD.findall(seed)})
    (place / "words").write_text("".join(f'"{word.decode()}"\n' for word in words))
    options: dict[str, object] = {
        "max_total_time": seconds,
        "timeout": _HANG_S,
        "rss_limit_mb": memory_mb,
        "max_len": _LONGEST,
        "artifact_prefix": f"{place}/",
        "print_final_stats": 1,
    }
    if words:  # an empty dictionary is an error
        options["dict"] = f"{place}/words"
    arguments = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([name, *arguments, str(corpus), str(seeds)], TARGETS[name].run)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(_NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--memory-mb", type=int, default=1500, help="the most that a target's process may use")
    parser.add_argument("--input", type=Path, help="run this input once instead")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _fuzz(options.one, options.seconds, options.memory_mb)
        return 0
    unknown = sorted(set(options.targets) - set(_NAMES))
    if unknown:
        parser.error(f"{', '.join(unknown)}: targets are {', '.join(_NAMES)}")
    if options.input:
        from tests.fuzz.targets import TARGETS

        for name in options.targets:
            TARGETS[name].run(options.input.read_bytes())
        return 0
    names = tuple(options.targets or _NAMES)
    with ThreadPoolExecutor(len(names)) as pool:
        failed = [
            name for name, good in zip(names, pool.map(lambda n: _process(n, options), names), strict=True) if not good
        ]
    return 1 if failed else 0


def _process(name: str, options: argparse.Namespace) -> bool:
    """Fuzz a target in a process of its own, its words in a log; whether nothing was found."""
    log = _FOLDER / name / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    limits = ("--seconds", str(options.seconds), "--memory-mb", str(options.memory_mb))
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, *limits]
    with tempfile.TemporaryDirectory(prefix="rbops-fuzz-") as folder, log.open("w") as said:
        environment = {**os.environ, "RBOPS_FUZZ_FOLDER": folder}
        done = subprocess.run(command, env=environment, check=False, stdout=said, stderr=subprocess.STDOUT)
    runs = [
        line.split()[-1] for line in log.read_text(errors="replace").splitlines() if "number_of_executed_units" in line
    ]
    found = f"nothing found in {runs[-1] if runs else '?'} inputs" if done.returncode == 0 else f"FAILED, see {log}"
    print(f"{name}: {found}, {options.seconds} s", flush=True)  # noqa: T201
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
