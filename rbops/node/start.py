"""The program's own ``__main__``: keeps the modules' compiled code in memory, below /run.

Python compiles the sources in a zip archive anew at every start, which is most of the time that a short verb takes.
The code is kept by the archive's SHA-256 and the interpreter's version, in a folder of root's alone; without it, or
when it cannot be kept, everything is compiled as before. Standard library only, nothing of rbops: it runs first.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

__all__ = ["FOLDER", "Compiled", "load", "start"]

FOLDER = "/run/rbops-node"
_KEPT = 4
# Installed, or of a run that changes the server: elsewhere, and where `rbops discover` looks, it leaves nothing behind.
_PLACES = ("/usr/sbin/", "/run/")
_LOOKS_ONLY = "-discover-"
_WRITABLE_BY_OTHERS = 0o022


class Compiled:
    """Finds and loads the modules of an archive from their code: (file, is a package, code) by name."""

    def __init__(self, archive: str, modules: dict[str, tuple[str, bool, CodeType]]) -> None:
        self._archive = archive
        self._modules = modules

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
        exec(self._modules[module.__name__][2], module.__dict__)  # noqa: S102 - what an import is

    def get_source(self, name: str) -> str | None:
        """Its text, for tracebacks."""
        from zipfile import BadZipFile, ZipFile

        try:
            with ZipFile(self._archive) as file:
                return file.read(self._modules[name][0]).decode()
        except (OSError, KeyError, BadZipFile):
            return None


def load(archive: str, folder: str) -> Compiled | None:
    """The archive's code from ``folder``, or compiled and kept there; None where that cannot be."""
    try:
        digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
        Path(folder).mkdir(mode=0o700, exist_ok=True)
        about = os.lstat(folder)
        if about.st_uid != os.geteuid() or about.st_mode & _WRITABLE_BY_OTHERS:
            return None
        kept = Path(folder, f"{digest}.{sys.implementation.cache_tag}")
        try:
            return Compiled(archive, marshal.loads(kept.read_bytes()))  # noqa: S302 - a file of root's own
        except (FileNotFoundError, EOFError, ValueError, TypeError):
            modules = _compile(archive)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(marshal.dumps(modules))
        part.replace(kept)
        for old in sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return Compiled(archive, modules)


def _compile(archive: str) -> dict[str, tuple[str, bool, CodeType]]:
    # Not where the code is there already: it takes as long to import as all of that to read.
    from zipfile import ZipFile

    modules = {}
    with ZipFile(archive) as file:
        for name in file.namelist():
            if name.startswith("rbops/"):
                words = name.removesuffix(".py").split("/")
                package = words[-1] == "__init__"
                code = compile(file.read(name), f"{archive}/{name}", "exec", dont_inherit=True)
                modules[".".join(words[:-1] if package else words)] = (name, package, code)
    return modules


def start() -> None:
    """Run rbops-node."""
    own = os.geteuid() == 0 and sys.argv[0].startswith(_PLACES) and _LOOKS_ONLY not in sys.argv[0]
    found = load(sys.argv[0], FOLDER) if own else None
    if found is not None:
        sys.meta_path.insert(0, found)
    from rbops.node.__main__ import main

    main()


if __name__ == "__main__":
    start()
