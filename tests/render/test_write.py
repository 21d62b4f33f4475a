"""A tree is written whole or not at all, and only where rbops may."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rbops.errors import UsageError
from rbops.plan import ClusterPlan
from rbops.render import File, render, write
from rbops.render.write import MARKER
from tests.support.errors import raises


def listing(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_new_folder(rb4: ClusterPlan, tmp_path: Path) -> None:
    rendered = render(rb4)
    old = os.umask(0o077)
    try:
        write(rendered, tmp_path / "deep" / "out")
    finally:
        os.umask(old)
    found = listing(tmp_path / "deep" / "out")
    assert set(found) == {file.path for file in rendered.tree()} | {MARKER}
    assert (tmp_path / "deep/out/common/rbops-node").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "deep/out/hosts/n0/etc/rbops/node.json").stat().st_mode & 0o777 == 0o644
    assert {"site.yml", "ansible.cfg", "plan.json", "roles/node/tasks/main.yml"} <= set(found)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_again(rb4: ClusterPlan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(render(rb4), out)
    first = listing(out)
    write(render(rb4), out)
    assert listing(out) == first
    write(render(replace(rb4, name="other")), out)
    assert listing(out) != first


@pytest.mark.parametrize("how", ["changed", "added", "foreign"])
def test_others_files_stay(rb4: ClusterPlan, tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    if how != "foreign":
        write(render(rb4), out)
    out.mkdir(exist_ok=True)
    path = out / ("inventory/hosts.yml" if how == "changed" else "notes.txt")
    path.write_text("mine")
    with raises(UsageError, "render.foreign-files"):
        write(render(rb4), out)
    assert path.read_text() == "mine"
    write(render(rb4), out, force=True)
    assert not path.exists() or path.read_text() != "mine"


def test_links_are_not_followed(rb4: ClusterPlan, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").symlink_to(elsewhere)
    for force in (False, True):
        with raises(UsageError, "render.symlink"):
            write(render(rb4), tmp_path / "out", force=force)
    assert list(elsewhere.iterdir()) == []
    (tmp_path / "out").unlink()
    write(render(rb4), tmp_path / "out")
    (tmp_path / "out/common/fib.bin").unlink()
    (tmp_path / "out/common/fib.bin").symlink_to(elsewhere / "target")
    write(render(rb4), tmp_path / "out", force=True)
    assert list(elsewhere.iterdir()) == []


def test_a_file_in_the_way(rb4: ClusterPlan, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with raises(UsageError, "render.no-folder"):
        write(render(rb4), tmp_path / "out", force=True)


def test_failure_leaves_nothing(rb4: ClusterPlan, tmp_path: Path) -> None:
    rendered = render(rb4)
    out = tmp_path / "out"
    write(rendered, out)
    before = listing(out)
    broken = replace(rendered, top=(*rendered.top, File("a" * 300, b"")))
    with raises(UsageError, "render.unwritable"):
        write(broken, out)
    assert listing(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
