"""The node program's modules as this machine's Python has compiled them, for servers that would compile them anew."""

from __future__ import annotations

import hashlib
import io
import marshal
import platform
import zlib
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from zipfile import ZipFile

import rbops
from rbops.deploy.node import INSTALLED
from rbops.deploy.probe import Probe
from rbops.node.start import file_name, packed, parts

__all__ = ["compiled", "files_for"]


def files_for(servers: Mapping[str, Probe], program: bytes) -> dict[str, dict[str, bytes]]:
    """What is staged beside ``program`` on a server: its code, for those with this Python that have another program."""
    digest = hashlib.sha256(program).hexdigest()
    fresh = [name for name, found in servers.items() if found.files.get(INSTALLED, ("", ""))[1] != digest]
    version = platform.python_version_tuple()[:2]
    same = [name for name in fresh if tuple(servers[name].python.split(".")[:2]) == version]
    if not same:
        return {}
    beside = {file_name(digest): compiled(program)}
    return dict.fromkeys(same, beside)


def compiled(program: bytes) -> bytes:
    """What :mod:`rbops.node.start` keeps, compressed. What is the same here as in ``program`` was compiled before."""
    root = Path(rbops.__file__).parent.parent
    modules = {}
    with ZipFile(io.BytesIO(program)) as archive:
        for file in archive.namelist():
            if file.startswith("rbops/"):
                name, package = parts(file)
                code = _moved(_code(name, root / file, archive.read(file)), f"{INSTALLED}/{file}")
                modules[name] = (file, package, marshal.dumps(code))
    return zlib.compress(packed(modules, {}), 1)


def _code(name: str, path: Path, source: bytes) -> CodeType:
    """Python's own, kept beside the source, where that is the same."""
    if path.is_file() and path.read_bytes() == source:
        found = SourceFileLoader(name, str(path)).get_code(name)
        if found is not None:
            return found
    return compile(source, path, "exec", dont_inherit=True)


def _moved(code: CodeType, path: str) -> CodeType:
    """With the server's path, for tracebacks."""
    inner = tuple(_moved(each, path) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=inner)
