"""``docs/cli.md``: every verb, option and exit code of both programs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from scripts.reference.model import Option, Program, Verb

__all__ = ["cli_page"]

_WIDTH = 120

_HEAD = """# Command line

Generated from the programs by `make docs`: what `--help` says, on one page. The same is in the man pages `rbops(1)` and
`rbops-node(8)`; the spec's keys are in `rbops-spec(5)` and, with more words, in [the spec](spec.md).

Data goes to stdout, messages and progress to stderr. With `--format json` a verb writes one JSON value with a
`schema_version`. Without a terminal there are no colours and no progress bars; `NO_COLOR` switches colours off.
"""


def cli_page(controller: Program, node: Program, codes: Iterable[tuple[int, str]]) -> str:
    """The whole page."""
    lines = [_HEAD, "## Exit codes", "", "Those of both programs; [apply](apply.md#exit-codes) explains them.", ""]
    lines += ["| code | meaning |", "| --- | --- |", *(f"| {code} | {text} |" for code, text in codes), ""]
    for program in (controller, node):
        lines += [f"## {program.name}", "", *program.text, "", *_options(program.options), ""]
        for verb in program.verbs:
            lines += [*_verb(verb), ""]
    return "\n".join(lines)


def _verb(verb: Verb) -> Iterator[str]:
    yield f"### {verb.name}"
    yield ""
    yield f"    {verb.usage}"
    yield ""
    for number, paragraph in enumerate(verb.text):
        if number:
            yield ""
        yield from textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)
    if verb.options:
        yield ""
        yield from _options(verb.options)


def _options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        # A line of its own for the default would double the page; in brackets it is as `--help` has it.
        text = f"- `{option.spelling}`: {_escaped(option.text)}"
        yield from textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _escaped(text: str) -> str:
    """Brackets of a default would otherwise be read as the beginning of a link where a parenthesis follows."""
    return re.sub(r"([<>])", r"\\\1", text)
