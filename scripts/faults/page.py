"""The page ``docs/faults.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scripts.faults.model import Group, Promise, Results

__all__ = ["page"]

_HEAD = """\
# What rbops survives

Generated from `tests/faults/promises.yml` and the last run of `make test-faults`, which tries all of it; `make test`
has a sample of the matrix and every other test of the first table, whose last column is of the last run of its tests.

The rule of every change: **each server ends as it was or as it was planned, or rbops ends with exit 6 and names it.**
A verdict compares what is read from the servers, never messages: files with mode and owner, links, addresses, routes,
rules, filters, sysctl, offloads, programs, units, locks, snapshots, and rbops-node's own comparison of kernel, programs
and maps with the plan. The next change must then succeed.
"""
_SOAK = """\
## Many changes in a row

`make soak CHANGES=200` makes random changes of the spec (routes, punt rates, services, sysctl, flowlets, batching,
offloads) on a lab of two servers while a stream of packets crosses it, kills rbops in some of them, and looks
afterwards: the servers are in the state of the spec that was applied last, and in a change of which `rbops diff` said
"hitless" or "moves traffic", and nothing worse, no packet was lost.
"""


def page(promises: Sequence[Promise], results: Results, total: int, soak: str = "") -> str:
    """The whole page. ``total``: how many faults the matrix has."""
    lines = [_HEAD, _last(results, total), *_promises(promises, results), *_matrix(results.groups), _SOAK]
    return "\n".join([*lines, *([soak] if soak else [])]).rstrip() + "\n"


def _last(results: Results, total: int) -> str:
    lost = sum(group.failed for group in results.groups) + results.memory_failed
    lab, every = results.in_the_lab, results.in_the_lab + results.memory
    return (
        f"Last run: {results.day}, {every:,} faults: {lab:,} of the matrix's {total:,} into booted servers of a lab,\n"
        "the others into one server's transaction without a kernel (every write of a verb, five faults each);\n"
        f"{results.minutes:.0f} minutes of tests. Faults after which a promise was broken: {lost}.\n"
    )


def _promises(promises: Sequence[Promise], results: Results) -> Iterator[str]:
    yield "## Promises\n"
    yield "| | whatever happens | shown by | last result |"
    yield "| --- | --- | --- | --- |"
    section = ""
    for promise in promises:
        if promise.section != section:
            section = promise.section
            yield f"| | **{section}** | | |"
        tests = "<br>".join([*(f"`{_short(node)}`" for node in promise.nodes), *_faults(promise)])
        yield f"| {promise.number} | {promise.text} | {tests} | {_result(results.promises.get(promise.number, {}))} |"
    yield ""


def _short(node: str) -> str:
    return node.removeprefix("tests/").replace("|", "\\|")


def _faults(promise: Promise) -> list[str]:
    return [f"faults `{pattern}`" for pattern in promise.patterns]


def _result(counts: dict[str, int]) -> str:
    if not counts:
        return "not run"
    return ", ".join(
        f"{number} {word}" for word, number in sorted(counts.items(), key=lambda item: item[0] != "failed")
    )


_WORDS = {
    "first": "apply, the first",
    "reboot": "apply --reboot",
    "serial": "apply --serial 1",
    "grow": "apply, a server more",
    "shrink": "apply, a server less",
}


def _matrix(groups: Sequence[Group]) -> Iterator[str]:
    yield "## The matrix\n"
    yield "Faults by what was interrupted; each at several points, kills of rbops at every entry of its journal. `one`"
    yield "and `all` are the servers that are struck.\n"
    yield "| change | fault | servers | faults | kept |"
    yield "| --- | --- | --- | --- | --- |"
    for group in groups:
        total = group.passed + group.failed
        verb = _WORDS.get(group.verb, group.verb)
        yield f"| {verb} | {group.damage} | {group.role or '-'} | {total} | {group.passed} |"
    yield ""
