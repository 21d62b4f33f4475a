"""The Click on a server: where it is, what it is, what it can, and the element package compiled for it.

Runs on servers, also inside an Ansible module: standard library only, and nothing of rbops is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BASE",
    "OLDEST",
    "Built",
    "Click",
    "ClickError",
    "build",
    "current",
    "elements",
    "find",
    "missing",
    "tools_missing",
]

BASE = Path("/var/lib/rbops/click")
"""Where compiled packages are kept on a server; Click's CLICKPATH."""

OLDEST = (2, 1)
"""The oldest Click with everything that rbops renders."""

_PACKAGE = "rbops"
_SUFFIX = {"userlevel": ".uo", "linuxmodule": ".ko"}
_KEPT = 3
_TIMEOUT_S = 600
_SHOWN_ERRORS = 5
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VERSION = re.compile(r"\(Click\) (\d+(?:\.\d+)+)")
_ERROR = re.compile(r"^(?:\./)?([^:\s][^:]*:\d+(?::\d+)?): (?:fatal )?error: (.*)$", re.MULTILINE)
# What an element needs of `configure` when it is not there (its requirements in Click's sources).
_CONFIGURED_WITH = (
    (re.compile("IPsec"), "--enable-ipsec"),
    (re.compile("DPDK"), "--enable-dpdk --enable-user-multithread"),
    (re.compile("Thread"), "--enable-user-multithread"),
    (re.compile("^MQ|PollDevice$"), "the multi-queue device elements of RouteBricks's kernel-mode Click"),
    (re.compile("IP6"), "--enable-ip6"),
)


class ClickError(Exception):
    """The server's Click is not what is needed; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Click:
    """An installed Click: ``program`` is its driver, bin/click or, of the kernel, sbin/click-install."""

    prefix: Path
    program: Path
    version: str
    driver: str = "userlevel"

    @property
    def fastclick(self) -> bool:
        """FastClick calls itself by Click's version; batches are what it adds."""
        return (self.prefix / "include/click/batchelement.hh").exists()

    def __str__(self) -> str:
        """For messages."""
        return f"{'FastClick' if self.fastclick else 'Click'} {self.version} in {self.prefix}"


@dataclass(frozen=True)
class Built:
    """A compiled package; ``changed`` False when it was there already."""

    path: Path
    changed: bool


def find(prefix: str | None = None, driver: str = "userlevel", oldest: tuple[int, ...] = OLDEST) -> Click:
    """The Click in ``prefix``, or on PATH. ClickError when there is none, or one older than ``oldest``."""
    name = "click" if driver == "userlevel" else "click-install"
    if prefix:
        places = [Path(prefix, folder, name) for folder in ("bin", "sbin")]
        program = next((place for place in places if place.is_file()), None)
        if program is None:
            raise ClickError(f"there is no Click in {prefix}: {places[0]} is missing", "look at click.prefix")
    else:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PATH}")
        if not found:
            raise ClickError(
                f"no Click is installed here: there is no `{name}` on PATH",
                "install Click, or name it in the spec: click.prefix (a folder) or click.package (a Debian package, "
                "a .deb or an archive)",
            )
        program = Path(found)
    text = _version_text(program)
    match = _VERSION.search(text)
    if not match:
        raise ClickError(f"{program} is not the Click modular router: it says {text.splitlines()[:1] or ['nothing']}")
    if tuple(int(part) for part in match[1].split(".")) < oldest:
        wanted = ".".join(map(str, oldest))
        raise ClickError(
            f"Click {match[1]} ({program}) is too old: {wanted} or newer is needed",
            "install a newer one, or name it in the spec: click.prefix or click.package",
        )
    return Click(Path(prefix) if prefix else program.resolve().parent.parent, program, match[1], driver)


def _version_text(program: Path) -> str:
    """What the program says of itself."""
    try:
        done = _run([str(program), "--version"], timeout_s=30)
        if done.returncode and not done.stdout:
            # FastClick built with DPDK crashes there, but has the version for those who ask its handler.
            asked = _run([str(program), "-q", "-e", "", "-h", "version"], timeout_s=30)
            if asked.returncode == 0 and asked.stdout.strip():
                return f"click (Click) {asked.stdout.strip()}"
    except OSError as error:
        raise ClickError(f"{program} does not run: {error.strerror}") from error
    if done.returncode:
        text = " ".join((done.stderr or done.stdout).split())
        raise ClickError(f"{program} does not run: {text[:300] or f'it ended with {done.returncode}'}")
    return done.stdout


def elements(click: Click) -> frozenset[str]:
    """The element classes that this Click has: userlevel says so itself, of the kernel's its element map."""
    if click.driver == "userlevel":
        done = _run([str(click.program), "-q", "-e", "", "-h", "classes"], timeout_s=30)
        if done.returncode == 0:
            return frozenset(done.stdout.split())
        raise ClickError(f"{click} does not list its elements: {done.stderr.strip()[:300]}")
    path = click.prefix / "share/click/elementmap.xml"
    try:
        root = ET.parse(path).getroot()  # noqa: S314 (a file of the installed Click, which runs as root anyway)
    except (OSError, ET.ParseError) as error:
        raise ClickError(f"{click} does not tell its elements: {error}", f"install {path}") from error
    space = root.tag[: -len("elementmap")]
    named = (entry for entry in root.iter(f"{space}entry") if "name" in entry.attrib)
    every = root.get("drivers", "")
    return frozenset(entry.attrib["name"] for entry in named if click.driver in entry.get("drivers", every).split())


def missing(click: Click, wanted: Iterable[str]) -> None:
    """Refuse a Click that lacks elements or threads: ClickError says which, and with what to configure Click."""
    if click.driver == "userlevel":
        # Without threads it would run, on whatever CPU the kernel chooses: rule 1 and rule 2 could not be kept.
        done = _run([str(click.program), "-q", "-j", "2", "-e", "", "-h", "version"], timeout_s=30)
        if "without multithread" in done.stderr + done.stdout:
            raise ClickError(f"{click} was built without threads", "configure Click with --enable-user-multithread")
    there = elements(click)
    absent = sorted(set(wanted) - there)
    if not absent:
        return
    options = sorted({option for name in absent for pattern, option in _CONFIGURED_WITH if pattern.search(name)})
    hint = f"configure Click with {' '.join(options)}" if options else "use a Click that has them"
    what = "element" if len(absent) == 1 else "elements"
    raise ClickError(f"{click} lacks the {what} {', '.join(absent)}", hint)


def tools_missing(click: Click) -> None:
    """Refuse where the element package cannot be compiled; ClickError says what to install."""
    absent = [tool for tool in ("g++", "make") if not shutil.which(tool, path=_PATH)]
    if absent:
        raise ClickError(
            f"the element package cannot be compiled: {' and '.join(absent)} not found",
            f"apt-get install {' '.join(absent)}",
        )
    for path, what in (("include/click/config.h", "headers"), ("bin/click-buildtool", "build tool")):
        if not (click.prefix / path).exists():
            raise ClickError(
                f"the element package cannot be compiled: {click} has no {what} ({path})",
                "install Click with `make install`, or the package with its development files",
            )


def current(base: Path = BASE, driver: str = "userlevel") -> Path | None:
    """The package that the next start of Click loads."""
    link = base / f"{_PACKAGE}{_SUFFIX[driver]}"
    return link.resolve() if link.exists() else None


def build(click: Click, sources: Path, base: Path = BASE, *, check: bool = False) -> Built:
    """Compile ``sources`` (*.cc, *.hh) for ``click`` and make ``base``'s link lead to the result.

    Does nothing when the same sources were compiled for the same Click before: the last few results are kept,
    and the one that the link led to so far, so that a revert needs no compiler. With ``check`` nothing is compiled.
    ClickError with file:line of what does not compile.
    """
    name = f"{_PACKAGE}{_SUFFIX[click.driver]}"
    target = base / "packages" / _digest(click, sources) / name
    link = base / name
    if target.exists() and link.is_symlink() and link.resolve() == target.resolve():
        return Built(target, changed=False)
    if check:
        return Built(target, changed=True)
    if not target.exists():
        tools_missing(click)
        _compile(click, sources, target)
    before = current(base, click.driver)
    target.parent.touch()
    part = base / f".{name}.{os.getpid()}"
    part.unlink(missing_ok=True)
    part.symlink_to(target.relative_to(base))
    part.replace(link)
    _forget_old(base, {path.parent.resolve() for path in (target, before) if path})
    return Built(target, changed=True)


def _digest(click: Click, sources: Path) -> str:
    """Of the sources, and of the Click that they are compiled for: the program itself, not only its version."""
    sums = hashlib.sha256(f"{click.driver}\0{click.prefix}\0".encode())
    try:
        files = [click.program, *_sources(sources, ".cc", ".hh")]
        for path in files:
            sums.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise ClickError(f"{error.filename}: {error.strerror}") from error
    if len(files) == 1:
        raise ClickError(f"there are no element sources in {sources}", "apply the router again")
    return sums.hexdigest()[:32]


def _sources(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in suffixes)


def _compile(click: Click, sources: Path, target: Path) -> None:
    """In a folder beside the target, which is renamed when all is done: a killed build leaves no half one."""
    packages = target.parent.parent
    packages.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".build-", dir=packages))
    try:
        for path in _sources(sources, ".cc", ".hh"):
            shutil.copy(path, folder)
        names = [path.name for path in _sources(folder, ".cc")]
        tool = [str(click.prefix / "bin/click-buildtool"), "--clickprefix", str(click.prefix)]
        conf = _step(click, [*tool, "findelem", "-r", click.driver], folder, stdin="\n".join(names) + "\n")
        # makepackage alone would leave out what registers the elements.
        main = _step(click, [*tool, "elem2package", _PACKAGE], folder, stdin=conf)
        (folder / f"{_PACKAGE}-main.cc").write_text(main, encoding="utf-8")
        flags = _flags(_step(click, [*tool, "--cflags"], folder)) if click.driver == "userlevel" else []
        make = [*tool, "makepackage", "-t", click.driver, "-C", str(folder), "-w", *flags, _PACKAGE]
        _step(click, [*make, *names, f"{_PACKAGE}-main.cc"], folder, result=target.name)
        for path in folder.iterdir():
            if path.name != target.name:
                path.unlink()
        folder.chmod(0o755)
        folder.rename(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flags(text: str) -> list[str]:
    """Where a Click with DPDK finds its headers, which makepackage does not tell the compiler.

    Click's own folder is left out: that is named by the prefix, which may have moved.
    """
    words = iter(text.split())
    found: list[str] = []
    for word in words:
        if word == "-include":
            found.append(f"-include{next(words, '')}")
        elif word.startswith("-I") and not Path(word[2:], "click/config.h").exists():
            found.append(word)
    return list(dict.fromkeys(found))


def _step(click: Click, command: list[str], folder: Path, stdin: str = "", result: str = "") -> str:
    """One call of click-buildtool, which does not always say by its exit code that ``result`` was not made."""
    environment = {"PATH": f"{click.prefix}/bin:{_PATH}", "LC_ALL": "C", "HOME": str(folder)}
    try:
        done = _run(command, timeout_s=_TIMEOUT_S, stdin=stdin, cwd=folder, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClickError(f"the element package does not compile with {click}: {error}") from error
    if done.returncode == 0 and (folder / result).exists():
        return done.stdout
    output = done.stdout + done.stderr
    errors = [f"{place}: {text}" for place, text in _ERROR.findall(output)]
    more = f" (and {len(errors) - _SHOWN_ERRORS} more)" if len(errors) > _SHOWN_ERRORS else ""
    said = "; ".join(errors[:_SHOWN_ERRORS]) + more if errors else " ".join(output.split()[-60:])
    raise ClickError(f"the element package does not compile with {click}: {said}")


def _forget_old(base: Path, keep: set[Path]) -> None:
    """Of packages but ``keep`` the last few stay, and nothing of builds that were killed."""
    folders = [path for path in (base / "packages").iterdir() if path.resolve() not in keep]
    finished = [path for path in folders if not path.name.startswith(".build-")]
    finished.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    old = (path for path in folders if path.name.startswith(".build-"))
    for path in (*finished[max(0, _KEPT - len(keep)) :], *old):
        with contextlib.suppress(OSError):
            shutil.rmtree(path)


def _run(
    command: list[str], *, timeout_s: float, stdin: str = "", cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout_s,
        cwd=cwd,
        env=env,
    )
