"""Configuration files, and the elements and libraries of an installed Click."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rbops.click.elements import Table, bundled, with_elementmap
from rbops.click.source import ClickText
from rbops.errors import UsageError, Where

__all__ = ["Installed", "find_click", "read_text", "text_of"]

_LARGEST = 64 << 20
_MAP = "elementmap.xml"
_HINT = "name a Click configuration, or a spec (.yml)"


def read_text(path: Path) -> ClickText:
    """A configuration file. Raises UsageError (2) when it cannot be read or is not text."""
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(
                f"larger than {_LARGEST >> 20} MiB",
                code="click-check.too-large",
                where=Where(file=str(path)),
                hint="is it a Click configuration?",
            )
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            error.strerror or str(error), code="click-check.unreadable", where=Where(file=str(path)), hint=_HINT
        ) from error
    return text_of(str(path), content)


def text_of(name: str, content: bytes) -> ClickText:
    """The text of a configuration. Raises UsageError (2) for archives and other binary files."""
    if content.startswith(b"!<arch>"):
        hint = f"take the configuration out: ar p {name} config"
        raise UsageError(
            "an archive of Click's tools, not a configuration",
            code="click-check.archive",
            where=Where(file=name),
            hint=hint,
        )
    if b"\0" in content:
        raise UsageError("not a text file", code="click-check.binary", where=Where(file=name), hint=_HINT)
    # Click reads bytes; what is not UTF-8 may be in comments and quotes.
    return ClickText(name, content.decode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class Installed:
    """What is known of the Click to check for; ``prefix`` None: none was looked at, the table is rbops's."""

    table: Table
    prefix: Path | None = None

    @property
    def fastclick(self) -> bool:
        """FastClick calls itself Click; batches are what it adds."""
        return self.prefix is not None and (self.prefix / "include" / "click" / "batchelement.hh").exists()

    def library(self, name: str, asking: ClickText) -> ClickText | None:
        """The file that ``require(library NAME)`` means: beside the asking file, or where Click looks.

        In a rendered tree, what all servers share lies in its folder ``common``.
        """
        own = Path(asking.name).parent
        shared = [parent.parent / "common" for parent in own.absolute().parents if parent.name == "hosts"]
        for folder in (own, *self._folders("conf"), *shared):
            path = folder / name
            if path.is_file():
                return read_text(path)
        return None

    def package(self, name: str) -> str | None:
        """The element map of a package."""
        if "/" in name or not name.isprintable():
            return None
        for folder in self._folders("share"):
            path = folder / f"elementmap-{name}.xml"
            if path.is_file():
                return _xml(path)
        return None

    def _folders(self, kind: str) -> Iterator[Path]:
        for entry in filter(None, os.environ.get("CLICKPATH", "").split(":")):
            yield from (Path(entry) / kind, Path(entry))
        if self.prefix is not None:
            yield self.prefix / "share" / "click"


def find_click(prefix: Path | None, *, look: bool) -> Installed:
    """The Click at ``prefix``; else with ``look`` that of CLICK_PREFIX or of the ``click`` on PATH; else rbops's table.

    Raises UsageError (2) when a prefix was named and no Click is there.
    """
    named = prefix or (Path(os.environ["CLICK_PREFIX"]) if look and os.environ.get("CLICK_PREFIX") else None)
    if named is not None:
        found = _map(named)
        if found is None:
            raise UsageError(
                f"no Click found in {named}",
                code="click-check.no-click",
                hint=f"name its installation prefix: the directory with share/click/{_MAP}",
            )
        return Installed(with_elementmap(bundled(), _xml(found), f"the Click at {named}"), named)
    program = shutil.which("click") if look else None
    if program is not None:
        # Python has a `click` too: only one with an element map is meant.
        beside = Path(program).resolve().parent.parent
        found = _map(beside)
        if found is not None:
            return Installed(with_elementmap(bundled(), _xml(found), f"the Click at {beside}"), beside)
    return Installed(bundled())


def _map(prefix: Path) -> Path | None:
    path = prefix / "share" / "click" / _MAP
    return path if path.is_file() else None


def _xml(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            error.strerror or str(error),
            code="click-check.element-map",
            where=Where(file=str(path)),
            hint="the element map of Click must be readable",
        ) from error
