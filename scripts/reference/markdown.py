"""``docs/cli.md`` and ``docs/errors.md``: every verb, option and exit code of both programs, every error code."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from scripts.reference.error_codes import Raised
from scripts.reference.meanings import MEANINGS
from scripts.reference.model import Option, Program, Verb

__all__ = ["cli_page", "errors_page"]

_WIDTH = 120

_HEAD = """# Command line

Generated from the programs by `make docs`: what `--help` says, on one page. The same is in the man pages `rbops(1)` and
`rbops-node(8)`; the spec's keys are in `rbops-spec(5)` and, with more words, in [the spec](spec.md).

Data goes to stdout, messages and progress to stderr. With `--format json` a verb writes one JSON value with a
`schema_version`. Without a terminal there are no colours and no progress bars; `NO_COLOR` switches colours off.
"""

_ERRORS_HEAD = """# Error codes

Generated from the program by `make docs`. A code is stable and has one meaning; messages may be reworded. With
`--format json` a verb that fails writes `error` to stdout, with `code`, `exit_code`, `message`, `where` and `hint`
(`errors` lists those of a spec), in its result where it has one. Message and hint go to stderr in any case.
Words in capitals stand for values, `...` for lists and parts that depend on the case. What to do by exit code and by
symptom is in [troubleshooting](troubleshooting.md).
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
        yield from _wrapped(paragraph)
    if verb.options:
        yield ""
        yield from _options(verb.options)


def _options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        # A line of its own for the default would double the page; in brackets it is as `--help` has it.
        text = f"- `{option.spelling}`: {_escaped(option.text)}"
        yield from _wrapped(text, indent="  ")


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Lines of the page's width; what is between backticks stays on one."""
    joined = re.sub(r"`[^`]+`", lambda span: span[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(joined, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    yield from (line.replace("\0", " ") for line in lines)


def _escaped(text: str) -> str:
    """A < before a letter would otherwise begin an HTML tag."""
    return re.sub(r"<(?=[A-Za-z/])", r"\\<", text)


def errors_page(places: Iterable[Raised]) -> str:
    """``docs/errors.md``: each code once, with its exit code, messages and hints."""
    codes: dict[str, list[Raised]] = {}
    for place in places:
        codes.setdefault(place.code, []).append(place)
    lines = [_ERRORS_HEAD]
    area = ""
    for code, raised in codes.items():
        if code.partition(".")[0] != area:
            area = code.partition(".")[0]
            lines += ["", f"## {area}", ""]
        lines += _error(code, raised)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _error(code: str, raised: list[Raised]) -> Iterator[str]:
    exits = sorted({place.exit_code for place in raised if place.exit_code is not None})
    number = f" (exit {', '.join(map(str, exits))})" if exits else ""
    messages = dict.fromkeys(_line(place.message) for place in raised if place.message)
    hints = dict.fromkeys(_line(place.hint) for place in raised if place.hint)
    if not messages and code not in MEANINGS:
        raise SystemExit(
            f"{code}: the source has no text of its own; say what it means in scripts/reference/meanings.py"
        )
    text = f"- `{code}`{number}: {'; or: '.join(messages) or MEANINGS[code]}."
    text += f" Hint: {'; or: '.join(hints)}." if hints else ""
    text = _escaped(text.replace("....", "...").replace("?.", "?"))
    yield from _wrapped(text, indent="  ")


def _line(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text if text.endswith("...") else text.removesuffix(".")
