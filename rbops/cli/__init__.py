"""The command line: parse, call, print. The only place in rbops that prints or exits.

A module a group of verbs; each imports what it needs inside the verb, so that ``rbops --help``
and ``rbops check`` start fast. Exit codes are those of :mod:`rbops.errors`.
"""

from __future__ import annotations

from rbops.cli.app import main

__all__ = ["main"]
