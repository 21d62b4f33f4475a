"""What the verbs print with: data on stdout, messages and progress on stderr.

Colour and moving lines appear only where stderr is a terminal, and never with ``NO_COLOR`` set.
Imports rich only when a console is asked for: it takes a third of the start-up budget.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Format", "console", "emit", "emit_json", "say", "stdout_console", "step"]


class Format(StrEnum):
    """How a verb that reports writes its result."""

    TEXT = "text"
    JSON = "json"


def console() -> Console:
    """A rich console on stderr, for messages, tables of progress and prompts."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """A rich console on stdout, for tables that are a verb's result; plain text where it is no terminal."""
    from rich.console import Console

    # A pipe has no width: 80 columns would fold the tables that people grep.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def emit(text: str) -> None:
    """Write a verb's result to stdout, ending in exactly one newline."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def emit_json(value: Any) -> None:
    """Write a verb's result as JSON: sorted keys, two spaces, so that two runs can be compared."""
    emit(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def say(text: str) -> None:
    """A message for the person at the terminal, on stderr."""
    sys.stderr.write(text if text.endswith("\n") else text + "\n")
    sys.stderr.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is being done, and how long it took when it is done; silent about the time if it fails."""
    say(f"{title} ...")
    start = time.monotonic()
    yield
    say(f"{title}: {time.monotonic() - start:.1f} s")
