"""Compiles the ``*.bpf.c`` files of the package with clang. Build time only; standard library only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["compile_all", "compile_one"]

_FLAGS = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-fno-stack-protector")


def compile_one(source: Path, target: Path) -> None:
    """Compile one BPF C file to an object with BTF and no DWARF.

    Raises SystemExit with clang's message: a build cannot go on without it.
    """
    clang = shutil.which("clang")
    if clang is None:
        raise SystemExit("clang is needed to compile the data plane: apt-get install clang llvm libbpf-dev")
    target.parent.mkdir(parents=True, exist_ok=True)
    # From the source's own folder and by relative names: equal sources give equal bytes, wherever they lie.
    command = [
        clang,
        *_FLAGS,
        *_multiarch(),
        "-fdebug-compilation-dir=.",
        "-c",
        source.name,
        "-o",
        str(target.resolve()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=source.parent)
    if done.returncode:
        raise SystemExit(f"{source}: clang failed\n{done.stderr}")
    strip = shutil.which("llvm-strip")
    if strip:
        subprocess.run([strip, "-g", str(target)], check=True)


def compile_all(package: Path) -> list[Path]:
    """Compile every BPF source below ``package`` into the ``obj/`` beside it; returns the objects."""
    objects = []
    for source in sorted(package.rglob("*.bpf.c")):
        target = source.parent / "obj" / source.name.replace(".bpf.c", ".bpf.o")
        newest = max(path.stat().st_mtime for path in (source, *source.parent.glob("*.h"), Path(__file__)))
        if not target.exists() or target.stat().st_mtime < newest:
            compile_one(source, target)
        objects.append(target)
    return objects


def _multiarch() -> list[str]:
    # Debian keeps <asm/types.h> under the host's multiarch folder, which the bpf target does not search.
    return [f"-I{path}" for path in sorted(Path("/usr/include").glob("*-linux-gnu")) if (path / "asm").is_dir()][:1]


if __name__ == "__main__":
    for path in compile_all(Path(__file__).resolve().parents[3]):
        sys.stdout.write(f"{path}\n")
