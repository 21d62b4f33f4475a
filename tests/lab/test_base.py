"""The base image's cache: built once, whole or not at all. A script stands in for mmdebstrap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbops.errors import CheckFailed
from rbops.lab import base
from tests.support.errors import raises

pytestmark = pytest.mark.root

# What the image is prepared from, as mmdebstrap leaves it; the root folder is the last argument.
_TREE = """\
for root do :; done
mkdir -p $root/etc/ssh $root/etc/sysctl.d $root/etc/systemd/system $root/usr/lib/sysctl.d
mkdir -p $root/usr/lib/systemd/system/multi-user.target.wants
touch $root/etc/ssh/ssh_host_rsa_key $root/etc/ssh/ssh_config $root/usr/lib/sysctl.d/50-pid-max.conf
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put a mmdebstrap first on PATH that counts its runs; returns the file it counts in."""
    folder, runs = tmp_path / "bin", tmp_path / "runs"
    folder.mkdir(exist_ok=True)
    (folder / "mmdebstrap").write_text(f"#!/bin/sh\necho run >>{runs}\n{script}", encoding="ascii")
    (folder / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return runs


def _ensure(cache: Path) -> tuple[Path, list[str]]:
    steps: list[str] = []
    return base.ensure(lambda step, /: steps.append(step), "bookworm", cache=cache), steps


def test_built_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = _stand_in(tmp_path, monkeypatch, _TREE)
    image, steps = _ensure(cache)
    assert steps == ["build the base image: Debian bookworm by mmdebstrap"]
    assert image.name == f"base-bookworm-{base.recipe_digest('bookworm')}"
    again, steps = _ensure(cache)
    assert (again, steps) == (image, [])
    assert runs.read_text() == "run\n"
    assert [path.name for path in cache.iterdir()] == [image.name]


def test_the_image_has_no_keys_no_host_sysctl_and_the_labs_units(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, monkeypatch, _TREE)
    image, _steps = _ensure(cache)
    assert [path.name for path in (image / "etc/ssh").iterdir() if path.is_file()] == ["ssh_config"]
    assert not list((image / "usr/lib/sysctl.d").iterdir())
    assert (image / "etc/systemd/system/systemd-udevd.service").readlink() == Path("/dev/null")
    assert (image / "etc/systemd/system/sysinit.target.wants/rbops-lab-sysfs.service").exists()
    assert os.access(image / "usr/lib/rbops-lab/sysfs", os.X_OK)


def test_a_build_that_fails_says_why_and_leaves_only_its_log(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, monkeypatch, f"{_TREE}echo 'E: no mirror answers'\nexit 25\n")
    with raises(CheckFailed, "lab.build") as caught:
        _ensure(cache)
    assert str(caught.value).endswith("E: no mirror answers")
    log = cache / f"base-bookworm-{base.recipe_digest('bookworm')}.log"
    assert str(log) in (caught.value.hint or "")
    assert list(cache.iterdir()) == [log]


@pytest.mark.parametrize(("number", "partial_stays"), [(signal.SIGKILL, True), (signal.SIGINT, False)])
def test_a_build_that_is_ended_leaves_no_process_and_no_mount(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, *, partial_stays: bool
) -> None:
    stop = f"{_TREE}mount -t tmpfs rbt-tmpfs $root/etc && touch $root/etc/mounted\nexec sleep 4242\n"
    _stand_in(tmp_path, monkeypatch, stop)
    code = "import sys; from pathlib import Path; from rbops.lab import base\n"
    code += "base.ensure(lambda step, /: print(step, flush=True), 'bookworm', cache=Path(sys.argv[1]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline().startswith("build the base image")
        _until_running("sleep 4242", wanted=True)
        builder.send_signal(number)
    _until_running("sleep 4242", wanted=False)
    assert "rbt-tmpfs" not in Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert (cache / f"base-bookworm-{base.recipe_digest('bookworm')}.partial").exists() is partial_stays

    _stand_in(tmp_path, monkeypatch, _TREE)
    image, _steps = _ensure(cache)
    assert not (image / "etc/mounted").exists()


def _until_running(command: str, *, wanted: bool) -> None:
    deadline = time.monotonic() + 10
    while _running(command) is not wanted:
        assert time.monotonic() < deadline, f"{command}: {'never began' if wanted else 'goes on'}"
        time.sleep(0.02)


def _running(command: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() == command:
                return True
        except OSError:  # it has ended
            continue
    return False


def test_two_that_want_it_at_once_build_it_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = _stand_in(tmp_path, monkeypatch, f"sleep 0.5\n{_TREE}")
    code = "import sys; from pathlib import Path; from rbops.lab import base\n"
    code += "print(base.ensure(lambda step, /: None, 'bookworm', cache=Path(sys.argv[1])))"
    args = [sys.executable, "-c", code, str(cache)]
    builders = [subprocess.Popen(args, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = {builder.communicate(timeout=30)[0].strip() for builder in builders}
    assert found == {str(cache / f"base-bookworm-{base.recipe_digest('bookworm')}")}
    assert runs.read_text() == "run\n"
