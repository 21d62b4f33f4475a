"""An FRR configuration with ``@name@`` in it for what only a server knows, and what is put there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["MARK", "TABLE_LINE", "filled", "passwords", "put_in"]

MARK = "! Written by rbops: the running FRR is changed line by line."
"""In a rendered configuration: it says each thing that another line would change the default of."""

TABLE_LINE = " set table 82"
"""In a route map: what it permits goes into the router's table, where no VRF has that one."""

_NAME = re.compile(r"@([A-Za-z][A-Za-z0-9_]*)@")
_PASSWORD = re.compile(r"^define ([A-Za-z][A-Za-z0-9_]{0,63}) = \"([!#-\[\]-~]{1,80})\";\r?$", re.MULTILINE)


def passwords(text: str) -> dict[str, str]:
    """Name -> password of the lines ``define NAME = "PASSWORD";`` of a key file."""
    return dict(_PASSWORD.findall(text))


def put_in(text: str, known: Mapping[str, str]) -> str:
    """With each ``@name@`` that is known replaced; a name that is not stays."""
    return _NAME.sub(lambda found: known.get(found[1], found[0]), text)


def filled(
    text: str, words: Mapping[str, str], *, vrf: str | None, devices: Mapping[int, str], routes: Iterable[str]
) -> str:
    """The configuration as FRR reads it; a name that is not known stays.

    ``words``: passwords. ``vrf``: that of the data ports, None where they are in none. ``devices``: external port ->
    device. ``routes``: lines that lead to other servers' ports.
    """
    known = {
        **words,
        **{f"port{port}": device for port, device in devices.items()},
        "vrf": f" vrf {vrf}" if vrf else "",
        "table": "" if vrf else TABLE_LINE,
        "routes": "\n".join(routes) or "!",
    }
    return put_in(text, known)
