"""The libraries of rendered configurations, for checking them without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rbops.click import ClickText
from rbops.click.installed import text_of
from rbops.click.parser import Library
from rbops.dataplane.click.controller.files import KEYS, stand_ins
from rbops.errors import Diagnostic
from rbops.render import File

__all__ = ["Keyless", "Rendered"]

_RENDERED = "Written by rbops from the plan"


@dataclass(frozen=True, slots=True)
class Keyless:
    """Libraries as ``found`` has them, but for the tunnels' keys of a rendered configuration: stand-ins, never keys.

    The keys are in no rendered file, and on a server in one that root alone reads. ``places`` fills with where
    a configuration asked for them.
    """

    found: Library
    places: list[Diagnostic] = field(default_factory=list)

    def library(self, name: str, asking: ClickText) -> ClickText | None:
        """The text of ``require(library NAME)``."""
        asked = f"require(library {name})"
        text = stand_ins(asking.characters) if name == KEYS and _RENDERED in asking.characters else ""
        if not text:
            return self.found(name, asking)
        start = max(0, asking.characters.find(asked))
        line = asking.characters.count("\n", 0, start) + 1
        column = start - (asking.characters.rfind("\n", 0, start) + 1) + 1
        snippet = asking.characters.splitlines()[line - 1]
        message = f"the tunnels' keys are on servers only: placeholders are used instead of {name}"
        self.places.append(
            Diagnostic(asking.name, line, column, message, None, snippet, len(asked), code="click.library-use")
        )
        return ClickText(f"{name} (stand-ins)", text)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a server would get; ``libraries`` fills with the files that its configurations require.

    ``texts`` fills with what was read, by content: files that all servers share are read once.
    """

    server: str
    files: tuple[File, ...]
    texts: dict[bytes, ClickText]
    libraries: set[str] = field(default_factory=set)

    def configurations(self) -> Iterator[ClickText]:
        """Every configuration, named ``SERVER:PATH``."""
        for file in self.files:
            if file.path.endswith(".click"):
                name = f"{self.server}:{file.path}"
                if file.content not in self.texts:
                    self.texts[file.content] = text_of(name, file.content)
                yield self.texts[file.content].named(name)

    def library(self, name: str, asking: ClickText) -> ClickText | None:
        """A file beside the asking one."""
        folder = PurePosixPath(asking.name.removeprefix(f"{self.server}:")).parent
        wanted = f"{self.server}:{folder / name}"
        found = next((text for text in self.configurations() if text.name == wanted), None)
        if found is not None:
            self.libraries.add(wanted)
        return found
