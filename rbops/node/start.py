"""The program's own ``__main__``: keeps compiled code in memory, below /run.

Python compiles the sources in a zip archive anew at every start, and the text that ``dataclasses`` writes for every
class: most of the time that a short verb takes. The code of both is kept by the archive's SHA-256 and the interpreter's
version, in a folder of root's alone; that of the modules comes with the archive from a controller with the same Python.
Without it, or when it cannot be kept, everything is compiled as before. Standard library only, nothing of rbops: it
runs first.
"""

from __future__ import annotations

import builtins
import gc
import hashlib
import marshal
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType, ModuleType

__all__ = ["FOLDER", "Compiled", "file_name", "load", "packed", "parts", "start"]

FOLDER = "/run/rbops-node"
_KEPT = 4
# Installed, or of a run that changes the server: elsewhere, and where `rbops discover` looks, it leaves nothing behind.
_PLACES = ("/usr/sbin/", "/run/")
_LOOKS_ONLY = "-discover-"
_WRITABLE_BY_OTHERS = 0o022


class Compiled:
    """Finds and loads the modules of an archive from their code: (file, is a package, code) by name.

    ``texts``: the code of texts that ``dataclasses`` has written, which grows; ``kept``: the file of all this.
    """

    def __init__(
        self, archive: str, kept: Path, modules: dict[str, tuple[str, bool, bytes]], texts: dict[str, CodeType]
    ) -> None:
        self._archive = archive
        self._kept = kept
        self._modules = modules
        self._texts = texts
        self._known = -1 if not texts else len(texts)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, when it is one of the archive's."""
        del path, target
        if name not in self._modules:
            return None
        file, package, _ = self._modules[name]
        spec = ModuleSpec(name, self, origin=f"{self._archive}/{file}", is_package=package)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """As Python makes them."""

    def exec_module(self, module: ModuleType) -> None:
        """Run its code."""
        exec(marshal.loads(self._modules[module.__name__][2]), module.__dict__)  # noqa: S102, S302 - what an import is

    def get_source(self, name: str) -> str | None:
        """Its text, for tracebacks."""
        from zipfile import BadZipFile, ZipFile

        try:
            with ZipFile(self._archive) as file:
                return file.read(self._modules[name][0]).decode()
        except (OSError, KeyError, BadZipFile):
            return None

    def run(
        self, source: str | CodeType, names: dict[str, object], local: Mapping[str, object] | None = None, /
    ) -> None:
        """What ``exec`` does, with the code of a text that was compiled before."""
        if isinstance(source, str):
            code = self._texts.get(source)
            if code is None:
                code = self._texts[source] = compile(source, "<string>", "exec", dont_inherit=True)
            source = code
        builtins.exec(source, names, local)  # noqa: S102 - in place of it

    def keep(self) -> None:
        """Write the file, if there is something new; without a word where that cannot be."""
        if len(self._texts) == self._known:
            return
        self._known = len(self._texts)
        part = self._kept.with_suffix(f".{os.getpid()}")
        try:
            part.write_bytes(packed(self._modules, self._texts))
            part.replace(self._kept)
        except OSError:
            return


def load(archive: str, folder: str) -> Compiled | None:
    """The archive's code from ``folder``, or compiled and kept there; None where that cannot be."""
    try:
        digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
        Path(folder).mkdir(mode=0o700, exist_ok=True)
        about = os.lstat(folder)
        if about.st_uid != os.geteuid() or about.st_mode & _WRITABLE_BY_OTHERS:
            return None
        name = file_name(digest)
        kept = Path(folder, name)
        found = _read(archive, kept, kept)
        if found is not None:
            return found
        found = _read(archive, kept, Path(archive).with_name(name), sent=True)
        found = found or Compiled(archive, kept, _compile(archive), {})
        found.keep()
        for old in sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return found


def _read(archive: str, kept: Path, place: Path, *, sent: bool = False) -> Compiled | None:
    """What a file of root's has; None where there is none that this Python can use."""
    try:
        data = _unzipped(place.read_bytes()) if sent else place.read_bytes()
        if not data.startswith(MAGIC_NUMBER):
            return None
        modules, texts = marshal.loads(memoryview(data)[len(MAGIC_NUMBER) :])  # noqa: S302 - root's own
        return Compiled(archive, kept, modules, texts)
    except (FileNotFoundError, EOFError, ValueError, TypeError):
        return None


def _unzipped(data: bytes) -> bytes:
    from zlib import decompress, error

    try:
        return decompress(data)
    except error:
        return b""


def packed(modules: Mapping[str, tuple[str, bool, bytes]], texts: Mapping[str, CodeType]) -> bytes:
    """The content of the file; it is sent compressed (zlib)."""
    return MAGIC_NUMBER + marshal.dumps((dict(modules), dict(texts)))


def file_name(digest: str) -> str:
    """What the file is called that has the code of the archive with this SHA-256, for the running interpreter."""
    return f"{digest}.{sys.implementation.cache_tag}"


def parts(file: str) -> tuple[str, bool]:
    """A module's name, and whether it is a package, by its file in the archive."""
    words = file.removesuffix(".py").split("/")
    package = words[-1] == "__init__"
    return ".".join(words[:-1] if package else words), package


def _compile(archive: str) -> dict[str, tuple[str, bool, bytes]]:
    # Not where the code is there already: it takes as long to import as all of that to read.
    from zipfile import ZipFile

    modules = {}
    with ZipFile(archive) as file:
        for name in file.namelist():
            if name.startswith("rbops/"):
                module, package = parts(name)
                code = compile(file.read(name), f"{archive}/{name}", "exec", dont_inherit=True)
                modules[module] = (name, package, marshal.dumps(code))
    return modules


def start() -> None:
    """Run rbops-node."""
    # Imports leave nothing to collect, and what they made stays.
    gc.disable()
    own = os.geteuid() == 0 and sys.argv[0].startswith(_PLACES) and _LOOKS_ONLY not in sys.argv[0]
    found = load(sys.argv[0], FOLDER) if own else None
    if found is not None:
        import dataclasses

        sys.meta_path.insert(0, found)
        dataclasses.exec = found.run  # type: ignore[attr-defined]
    from rbops.node.__main__ import main

    if found is not None:
        found.keep()
    gc.freeze()
    gc.enable()
    try:
        main()
    finally:
        if found is not None:
            found.keep()


if __name__ == "__main__":
    start()
