"""What the verbs print with: results on stdout, messages and progress on stderr.

Colour and moving lines appear only where stderr is a terminal, and never with ``NO_COLOR`` set.
Imports rich only when a console is asked for: it takes a third of the start-up budget.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from rbops.errors import RbopsError
    from rbops.report.junit import Suite
    from rbops.report.tables import Block
    from rbops.selftest.result import SelftestResult

__all__ = [
    "Format",
    "Reported",
    "conclude_json",
    "console",
    "emit",
    "emit_json",
    "emit_pieces",
    "error_json",
    "save_examples",
    "save_junit",
    "say",
    "show",
    "warnings_on_stderr",
]


class Format(StrEnum):
    """How a verb that reports writes its result."""

    TEXT = "text"
    JSON = "json"


class Reported(Exception):
    """Ends a verb with ``error``, which the JSON result on stdout has already."""

    def __init__(self, error: RbopsError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """What rbops's parts log is a message for the user, each text once."""
    import logging

    class Messages(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text not in seen:
                seen.add(text)
                say(text)

    seen: set[str] = set()
    logger, handler = logging.getLogger("rbops"), Messages(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def console() -> Console:
    """A rich console on stderr, for messages, tables of progress and prompts."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def emit(text: str) -> None:
    """Write a verb's result to stdout, ending in exactly one newline."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def emit_pieces(pieces: Iterable[str]) -> None:
    """The same for a result that is too large to be held at once, and that ends in no newline itself."""
    sys.stdout.writelines(pieces)
    emit("")


def emit_json(value: Any) -> None:
    """Write a verb's result as JSON: sorted keys, two spaces, so that two runs can be compared."""
    emit(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def error_json(error: RbopsError) -> dict[str, Any]:
    """What ``--format json`` writes instead of a result."""
    return {"schema_version": 1, "error": error.to_json()}


def conclude_json(result: Mapping[str, Any], error: RbopsError | None) -> None:
    """Write a verb's result as one JSON document, with the ``error`` that ends the verb. Raises Reported for that."""
    emit_json(result if error is None else {**result, "error": error.to_json()})
    if error is not None:
        raise Reported(error)


def show(blocks: Iterable[Block]) -> None:
    """Write a report to stdout: coloured and folded to its width on a terminal, plain aligned text elsewhere."""
    from rbops.report.tables import plain, rich_text

    if not sys.stdout.isatty():
        emit(plain(blocks))
        return
    from rich.console import Console

    Console(highlight=False).print(rich_text(blocks))


def say(text: str) -> None:
    """Write a message to stderr."""
    sys.stderr.write(text if text.endswith("\n") else text + "\n")
    sys.stderr.flush()


def save_examples(target: Path, result: SelftestResult) -> None:
    """Write the wrong packets of a self-test as pcapng; UsageError (2) where that cannot be."""
    from rbops.errors import UsageError, Where
    from rbops.report.examples import write_examples
    from rbops.report.words import counted

    try:
        with target.open("wb") as file:
            write_examples(file, result.examples, result.name)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", code="report.examples", where=Where(file=str(target))
        ) from error
    say(f"wrote {counted(len(result.examples), 'wrong packet')} to {target}")


def save_junit(target: Path, suites: Iterable[Suite]) -> None:
    """Write a JUnit file; UsageError (2) where it cannot be written."""
    from rbops.errors import UsageError, Where
    from rbops.report.junit import write_junit

    try:
        write_junit(target, suites)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", code="report.junit", where=Where(file=str(target))
        ) from error
