"""The part of node.json about a routing daemon: whose packets it gets, and which key files it was given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network

from rbops.common.daemons import DAEMONS
from rbops.common.services import services
from rbops.node.schema.fields import Field, Fields

__all__ = ["RoutingDaemon", "Session"]

_KEY = re.compile(r"([a-z][a-z0-9_]{0,63})?")


@dataclass(frozen=True, slots=True)
class Session:
    """Packets of ``service`` (``rbops.common.services``) from ``source``, a prefix, are for the daemon."""

    service: str
    source: str

    @classmethod
    def parse(cls, entry: Field) -> Session:
        """FieldError for what is wrong: it becomes a part of what nft reads."""
        word, source = entry.pair()
        try:
            services(word.text())
            network = str(ip_network(source.text()))
        except ValueError as error:
            raise entry.error(str(error)) from error
        return cls(word.text(), network)


@dataclass(frozen=True, slots=True)
class RoutingDaemon:
    """``kind``: bird, frr. ``keys``: (name, file on the controller) of each password, no name for a file as it is."""

    kind: str
    keys: tuple[tuple[str, str], ...]
    sessions: tuple[Session, ...]

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "daemon": self.kind,
            "keys": [list(key) for key in self.keys],
            "sessions": [[session.service, session.source] for session in self.sessions],
        }

    @classmethod
    def parse(cls, part: Fields) -> RoutingDaemon:
        """FieldError for what is wrong."""
        pairs = (entry.pair() for entry in part["keys"].items())
        return cls(
            part["daemon"].choice(*DAEMONS),
            tuple((name.text(_KEY), file.text()) for name, file in pairs),
            tuple(Session.parse(entry) for entry in part["sessions"].items()),
        )
