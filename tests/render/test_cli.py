"""The verb: messages on stderr, nothing on stdout, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPEC = "name: rb4\nrouter: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n"


def rbops(*words: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from rbops.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


def test_render(tmp_path: Path) -> None:
    spec, out = tmp_path / "rb4.yml", tmp_path / "out"
    spec.write_text(SPEC)
    done = rbops("render", spec, "-o", out)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (out / "hosts/n3/etc/rbops/node.json").is_file()
    (out / "mine").write_text("")
    done = rbops("render", spec, "-o", out)
    assert done.returncode == 2
    assert "mine" in done.stderr
    assert rbops("render", spec, "-o", out, "--force").returncode == 0
    assert not (out / "mine").exists()


def test_bad_spec_writes_nothing(tmp_path: Path) -> None:
    spec = tmp_path / "rb4.yml"
    spec.write_text(SPEC.replace("line_rate", "line_rat"))
    assert rbops("render", spec, "-o", tmp_path / "out").returncode == 2
    assert not (tmp_path / "out").exists()
