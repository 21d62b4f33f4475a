"""From one FRR configuration to another while the daemons run: the lines to take back, and those to add.

FRR's configuration is a tree by indentation, and most of its lines are taken back with ``no`` before them, in the
place where they are. Sessions that a change does not concern live on that way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["change", "parse"]

Path = tuple[str, ...]
_AS = re.compile(r"neighbor (\S+) (interface )?remote-as ")
_THERE = re.compile(r"(interface|vrf) \S+")
"""Places that are the kernel's: FRR refuses to take them back, and their lines go one by one."""
_END = re.compile(r"(exit|exit-[a-z-]+|end)")


def parse(text: str) -> list[Path]:
    """Each line with the lines that it is in, outermost first; without comments and what ends a place."""
    found: list[Path] = []
    inside: list[tuple[int, str]] = []
    for raw in text.splitlines():
        line = " ".join(raw.split())
        if not line or line[0] in "!#" or _END.fullmatch(line):
            continue
        depth = len(raw) - len(raw.lstrip())
        while inside and inside[-1][0] >= depth:
            inside.pop()
        found.append((*(outer for _, outer in inside), line))
        inside.append((depth, line))
    return found


def change(old: str, new: str) -> str:
    """What vtysh has to read so that ``old``, which runs, becomes ``new``; empty where they say the same."""
    before, after = parse(old), parse(new)
    gone = [path for path in before if path not in set(after)]
    fresh = [path for path in after if path not in set(before)]
    again = [path for path in gone if _AS.match(path[-1])]
    for place, address in ((path[:-1], _neighbor(path[-1])) for path in again):
        # With its AS all goes that is said of a neighbour, in address families too.
        gone = [path for path in gone if path in again or not _is_of(path, place, address)]
        fresh = [path for path in after if path in set(fresh) or _is_of(path, place, address)]
    gone = [path for path in gone if not _THERE.fullmatch(path[-1])]
    removed = set(gone)
    outermost = [path for path in gone if not any(path[:depth] in removed for depth in range(1, len(path)))]
    return "".join(f"{line}\n" for line in _lines([*map(_taken_back, reversed(outermost)), *fresh]))


def _neighbor(line: str) -> str:
    return line.split()[1]


def _is_of(path: Path, place: Path, address: str) -> bool:
    words = path[-1].split()
    return path[: len(place)] == place and words[0] == "neighbor" and words[1] == address


def _taken_back(path: Path) -> Path:
    line = path[-1]
    return (*path[:-1], line.removeprefix("no ") if line.startswith("no ") else f"no {line}")


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    """As a file has them: each place once as long as one follows the other."""
    now: Path = ()
    for path in paths:
        common = 0
        while common < min(len(now), len(path) - 1) and now[common] == path[common]:
            common += 1
        for depth in range(len(now), common, -1):
            yield " " * (depth - 1) + "exit"
        for depth in range(common, len(path)):
            yield " " * depth + path[depth]
        now = path[:-1]
