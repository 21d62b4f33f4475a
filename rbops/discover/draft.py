"""The new text of a spec and its hardware files, planned before anything is written."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rbops.errors import Mismatch, SpecError, UsageError, Where
from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.spec.edit import Change, edit, put_block
from rbops.spec.hardware import Hardware, Nic
from rbops.spec.hardware_text import blocks, hardware_text
from rbops.spec.load import load_bytes
from rbops.spec.reader import MAX_SPEC_BYTES, decode, parse, read_bytes
from rbops.spec.section import read
from rbops.spec.units import InvalidValue
from rbops.topology.names import server_index

__all__ = ["Draft", "open_draft", "read_draft", "replace_file"]

_NEW = """\
# Written by `rbops discover`: a router of the servers that were found, one external port on each.
# `rbops plan` shows what it gives; `rbops explain` why.
router:
  external_ports: {ports}  # N: more of them are more ports a server, see `ports` below
  line_rate: {rate}  # R, the rate of the slowest ports

servers:
  hardware: {hardware}  # of a server that `hosts` does not describe

ports:  # addresses are generated unless they are written here
{pins}"""


@dataclass(frozen=True, slots=True)
class Draft:
    """``text`` is the spec's, ``files`` the hardware files' by path, ``before`` the contents on disk (None: no file).

    ``attached`` are the hardware texts by the place in the spec that names their file.
    """

    path: Path
    text: str
    files: Mapping[Path, str]
    attached: Mapping[str, str]
    before: Mapping[Path, bytes | None]

    @property
    def fresh(self) -> bool:
        """Whether the spec does not exist yet."""
        return self.before[self.path] is None

    def plan(self) -> ClusterPlan:
        """The plan of it. Raises SpecError; Mismatch (3) when a new spec's servers cannot be planned."""
        try:
            return plan_spec(load_bytes(self.text.encode(), self.path, self.attached))
        except SpecError as error:
            if not self.fresh:
                raise
            reasons = "\n".join(f"  {found.message}" for found in error.diagnostics)
            raise Mismatch(
                f"no router can be planned with these servers:\n{reasons}",
                code="discover.no-router",
                hint="write a spec by hand and name it as SPEC",
            ) from error

    def changed(self, changes: Sequence[Change]) -> Draft:
        """With ``changes`` made to the spec; raises UsageError where one cannot be."""
        return replace(self, text=edit(self.text, changes, str(self.path)))

    def save(self) -> list[Path]:
        """Write what differs from the disk, each file whole or not at all; their paths.

        Raises UsageError when a file changed meanwhile or cannot be written.
        """
        wanted = {**{path: text.encode() for path, text in self.files.items()}, self.path: self.text.encode()}
        for path in wanted:
            if _bytes(path) != self.before[path]:
                raise UsageError(
                    "the file was changed since it was read",
                    code="discover.file-changed",
                    where=Where(file=str(path)),
                    hint="run it again",
                )
        written = [path for path, data in wanted.items() if data != self.before[path]]
        for path in written:
            replace_file(path, wanted[path])
        return written


def read_draft(path: Path) -> Draft:
    """The spec at ``path`` as it is, to be changed."""
    data = _bytes(path)
    if data is None:
        raise UsageError("the file does not exist", code="discover.no-file", where=Where(file=str(path)))
    return Draft(path, _decoded(data, path), {}, {}, {path: data})


def open_draft(path: Path, source: Path | None, hardware: Mapping[str, Hardware]) -> Draft:
    """The spec at ``path`` with a hardware file for each of these servers.

    A spec that does not exist starts as ``source``, or as a new one. Raises Mismatch (3) for a server name that no
    plan has, UsageError for a spec that cannot be changed.
    """
    for name in hardware:
        if server_index(name) is None:
            raise Mismatch(
                f"{name!r} is not a valid server name, expected n0, n1, ...",
                code="discover.server-name",
                where=Where(server=name),
                hint="rename the servers in the inventory, in the order of the router",
            )
    before = _bytes(path)
    given = before if before is not None or source is None else read_bytes_of(source)
    text = _decoded(given, path) if given is not None else _new_text(hardware)
    tree = parse(text, str(path))[0].plain()
    if not isinstance(tree, dict):
        raise UsageError(
            "not a valid spec, expected a mapping",
            code="discover.spec",
            where=Where(file=str(path)),
            hint="name another file",
        )
    paths = _hardware_paths(tree, hardware)
    files = {path.parent / name: _hardware_file(path.parent / name, hardware[host]) for host, name in paths.items()}
    attached = {f"hosts.{host}.hardware": files[path.parent / name] for host, name in paths.items()}
    default = _default(tree, paths)
    if default is not None and path.parent / default in files:
        attached["servers.hardware"] = files[path.parent / default]
    disk = {file: _bytes(file) for file in files}
    draft = Draft(path, text, files, attached, {**disk, path: before})
    return draft.changed(list(_changes(tree, paths)))


def _default(tree: Mapping[str, Any], paths: Mapping[str, str]) -> str | None:
    """The file of servers that are not described: the spec's own, or the first server's."""
    servers = tree.get("servers") or {}
    if not isinstance(servers, dict) or servers.get("profile") is not None:
        return None
    named = servers.get("hardware")
    return next(iter(paths.values())) if named is None else named if isinstance(named, str) else None


def _changes(tree: Mapping[str, Any], paths: Mapping[str, str]) -> Iterator[Change]:
    default = _default(tree, paths)
    if default is not None and (tree.get("servers") or {}).get("hardware") is None:
        yield Change(("servers", "hardware"), default)
    hosts = tree.get("hosts") or {}
    for name, file in paths.items():
        host = hosts.get(name) or {}
        if host.get("hardware") != file:
            instead = "profile" if host.get("profile") is not None else None
            yield Change(("hosts", name, "hardware"), file, instead)


def _hardware_paths(tree: Mapping[str, Any], hardware: Mapping[str, Hardware]) -> dict[str, str]:
    """Server -> the file of its hardware, relative to the spec: the one it names, if no other server does."""
    hosts = tree.get("hosts") or {}
    if not isinstance(hosts, dict) or not all(isinstance(host, dict | None) for host in hosts.values()):
        raise UsageError(
            "expected a mapping of servers",
            code="discover.hosts",
            where=Where(field="hosts"),
            hint="see the errors of `rbops check`",
        )
    named = {name: (hosts.get(name) or {}).get("hardware") for name in hardware}
    for name, value in named.items():
        if isinstance(value, dict):
            raise UsageError(
                "the hardware is described in the spec itself, which discover does not change",
                code="discover.inline-hardware",
                where=Where(field=f"hosts.{name}.hardware"),
                hint=f"move it into a file and write `hardware: hardware/{name}.yml`, or remove it",
            )
    uses = Counter(host.get("hardware") for host in hosts.values() if host and isinstance(host.get("hardware"), str))
    return {
        name: value if isinstance(value, str) and uses[value] == 1 else f"hardware/{name}.yml"
        for name, value in named.items()
    }


def _hardware_file(path: Path, found: Hardware) -> str:
    """The file's new text. Values that cannot be read from a server (bounds, power, names) stay."""
    data = _bytes(path)
    if data is None:
        return hardware_text(found)
    text = _decoded(data, path)
    known = _known(text, path)
    wanted = _kept(found, known)
    old, new = blocks(known), blocks(wanted)
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            text = put_block(text, key, new.get(key, ""))
    if _known(text, path) != wanted:
        raise UsageError(
            "the file cannot be edited without changing other values",
            code="discover.edit",
            where=Where(file=str(path)),
            hint="move it away, a new one is written then",
        )
    return text


def _known(text: str, path: Path) -> Hardware:
    try:
        return read(Hardware, parse(text, str(path))[0].plain())
    except (SpecError, ValidationError) as error:
        raise UsageError(
            "not a valid hardware description",
            code="discover.hardware-file",
            where=Where(file=str(path)),
            hint="correct it, or move it away",
        ) from error


def _kept(found: Hardware, known: Hardware) -> Hardware:
    achievable = {_places(nic): nic.achievable_bps for nic in known.nics}
    return replace(
        found,
        name=known.name,
        housekeeping=found.housekeeping if known.housekeeping is None else known.housekeeping,
        bounds=known.bounds,
        power_w=known.power_w,
        price_usd=known.price_usd,
        rack_units=known.rack_units,
        nics=tuple(replace(nic, achievable_bps=achievable.get(_places(nic))) for nic in found.nics),
    )


def _places(nic: Nic) -> tuple[str | None, ...]:
    return tuple(device.pci or device.mac or device.name for device in nic.devices)


def _new_text(hardware: Mapping[str, Hardware]) -> str:
    names = sorted(hardware, key=lambda name: server_index(name) or 0)
    rate = min(nic.port_rate_bps for one in hardware.values() for nic in one.nics if _free(nic))
    pins = "".join(f"  - {{id: {number}, server: {name}}}\n" for number, name in enumerate(names))
    written = f"{rate // 10**6}Mbps" if rate % 10**9 else f"{rate // 10**9}Gbps"
    return _NEW.format(ports=len(names), rate=written, hardware=f"hardware/{names[0]}.yml", pins=pins)


def _free(nic: Nic) -> bool:
    return nic.ports > sum(device.management for device in nic.devices)


def read_bytes_of(path: Path) -> bytes:
    """The file's bytes; UsageError when it cannot be read."""
    try:
        return read_bytes(path, MAX_SPEC_BYTES)
    except InvalidValue as wrong:
        raise UsageError(
            wrong.message, code="discover.unreadable", where=Where(file=str(path)), hint=wrong.hint
        ) from None


def _bytes(path: Path) -> bytes | None:
    """None when the file does not exist; a symbolic link is refused: replacing it would not change its target."""
    if path.is_symlink():
        raise UsageError(
            "symbolic links are not replaced",
            code="discover.symlink",
            where=Where(file=str(path)),
            hint="name the file that it points to",
        )
    return read_bytes_of(path) if path.exists() else None


def _decoded(data: bytes, path: Path) -> str:
    return ("\ufeff" if data.startswith(b"\xef\xbb\xbf") else "") + decode(data, str(path))


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, keeping its mode. Raises UsageError; the old one is unchanged then."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UsageError(
            f"cannot write the file: {error.strerror}", code="discover.unwritable", where=Where(file=str(path))
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except OSError as error:
        Path(part).unlink(missing_ok=True)
        raise UsageError(
            f"cannot write the file: {error.strerror}", code="discover.unwritable", where=Where(file=str(path))
        ) from error
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
