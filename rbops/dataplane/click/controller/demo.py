"""The starter spec turned into one for Click's socket dialect."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from rbops.dataplane.click.controller.build import ClickError, find
from rbops.errors import Mismatch, RbopsError

__all__ = ["prepare"]


def prepare(spec: Path, say: Callable[[str], None]) -> None:
    """As a user would. Mismatch (3) where this machine has no Click."""
    prefix = _prefix()
    say(f"\nthe spec: `line_rate: 10Mbps`, `dataplane: click`, `click: {{dialect: socket, prefix: {prefix}}}`")
    text = spec.read_text(encoding="utf-8")
    written = f"click: {{dialect: socket, prefix: {json.dumps(prefix)}}}"
    # What four servers on the sockets of one machine can carry, so that the pair phase passes the direct quota.
    text = text.replace("line_rate: 10Gbps", "line_rate: 10Mbps")
    changed, count = re.subn(r"(?m)^dataplane: xdp.*$", f"dataplane: click\n{written}".replace("\\", r"\\"), text)
    if count != 1:
        raise RbopsError("the starter spec has no line `dataplane: xdp`", code="demo.starter")
    spec.write_text(changed, encoding="utf-8")


def _prefix() -> str:
    try:
        return str(find(os.environ.get("CLICK_PREFIX") or None).prefix)
    except ClickError as error:
        raise Mismatch(
            str(error),
            code="demo.no-click",
            hint="install Click 2.1 (github.com/kohler/click: ./configure --enable-user-multithread, make install) and "
            "put its bin/ on PATH, or name its folder: CLICK_PREFIX=/opt/click",
        ) from error
