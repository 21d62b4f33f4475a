"""Finding a Click, and compiling the element package for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import (
    Click,
    ClickError,
    _forget_old,
    build,
    current,
    elements,
    find,
    missing,
)
from tests.conftest import ELEMENTS


def fake(prefix: Path, script: str, name: str = "bin/click") -> Path:
    """A program that says what the test wants."""
    program = prefix / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return prefix


def says(version: str) -> str:
    return f'echo "click (Click) {version}"'


def test_none_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClickError, match=r"there is no Click in .*: .*bin/click is missing"):
        find(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("rbops.dataplane.click.controller.build._PATH", str(tmp_path))
    with pytest.raises(ClickError, match="no Click is installed here") as caught:
        find()
    assert "click.prefix" in caught.value.hint
    assert "click.package" in caught.value.hint


@pytest.mark.parametrize("version", ["1.8.0", "2.0.1", "2.0"])
def test_too_old(version: str, tmp_path: Path) -> None:
    with pytest.raises(ClickError, match=rf"Click {version} \(.*\) is too old: 2.1 or newer is needed"):
        find(str(fake(tmp_path, says(version))))


@pytest.mark.parametrize("version", ["2.1", "2.1.1", "2.10", "3.0"])
def test_new_enough(version: str, tmp_path: Path) -> None:
    assert find(str(fake(tmp_path, says(version)))).version == version


def test_another_program_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(ClickError, match="is not the Click modular router: it says"):
        find(str(fake(tmp_path, "echo click 0.5, a package manager")))


def test_one_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(ClickError, match=r"does not run: click: cannot find librte_ethdev\.so\.21"):
        find(str(fake(tmp_path, "echo 'click: cannot find librte_ethdev.so.21' >&2; exit 127")))


def test_a_version_that_only_the_handler_tells(tmp_path: Path) -> None:
    """FastClick with DPDK ends in `double free detected` when asked by an option."""
    prefix = fake(tmp_path, '[ "$1" = --version ] && kill -ABRT $$; [ "$5" = version ] && echo 2.1')
    assert find(str(prefix)).version == "2.1"


def test_fastclick_is_told_by_its_headers(tmp_path: Path) -> None:
    prefix = fake(tmp_path, says("2.1"))
    assert not find(str(prefix)).fastclick
    (prefix / "include/click").mkdir(parents=True)
    (prefix / "include/click/batchelement.hh").touch()
    assert str(find(str(prefix))) == f"FastClick 2.1 in {prefix}"


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        (["IPsecESPEncap"], "--enable-ipsec"),
        (["RadixIPsecLookup", "FromDPDKDevice"], "--enable-dpdk --enable-user-multithread --enable-ipsec"),
        (["MyOwn"], "use a Click that has them"),
    ],
)
def test_missing_elements_are_named_with_what_click_needs(wanted: list[str], option: str, tmp_path: Path) -> None:
    click = find(str(fake(tmp_path, f'[ "$1" = -q ] && printf "Idle\\nCounter\\n" || {says("2.1")}')))
    assert elements(click) == {"Idle", "Counter"}
    missing(click, ["Idle"])
    with pytest.raises(ClickError, match=f"lacks the elements? {', '.join(sorted(wanted))}") as caught:
        missing(click, ["Idle", *wanted])
    assert option in caught.value.hint


def test_a_click_without_threads_is_refused(tmp_path: Path) -> None:
    """As Click 2.1 says of itself (userlevel/click.cc)."""
    warning = "warning: Click was built without multithread support, running single threaded"
    click = find(str(fake(tmp_path, f'[ "$2" = -j ] && echo "{warning}" >&2; [ "$1" = -q ] || {says("2.1")}')))
    with pytest.raises(ClickError, match="was built without threads") as caught:
        missing(click, [])
    assert caught.value.hint == "configure Click with --enable-user-multithread"


def test_the_kernels_elements_are_those_of_its_map(tmp_path: Path) -> None:
    click = find(str(fake(tmp_path, 'echo "click-install (Click) 2.1"', "sbin/click-install")), "linuxmodule")
    (tmp_path / "share/click").mkdir(parents=True)
    (tmp_path / "share/click/elementmap.xml").write_text(
        '<elementmap xmlns="http://www.lcdf.org/click/xml/" drivers="userlevel linuxmodule">'
        '<entry name="Counter"/><entry name="FromDump" drivers="userlevel"/><entry cxxclass="X"/></elementmap>'
    )
    assert elements(click) == {"Counter"}


def test_no_sources(tmp_path: Path) -> None:
    with pytest.raises(ClickError, match="there are no element sources"):
        build(find(str(fake(tmp_path, says("2.1")))), tmp_path / "none", tmp_path / "base")


def test_the_package_that_was_in_use_stays_whatever_was_tried_since(tmp_path: Path) -> None:
    """A revert goes back to it, without a compiler."""
    packages = [tmp_path / "packages" / name for name in ("used", "tried1", "tried2", "tried3", "new")]
    for number, path in enumerate(packages):
        path.mkdir(parents=True)
        os.utime(path, (number, number))
    _forget_old(tmp_path, {packages[0].resolve(), packages[-1].resolve()})
    assert {path.name for path in (tmp_path / "packages").iterdir()} == {"used", "tried3", "new"}


@pytest.mark.click
def test_the_package_is_compiled_once_and_kept_for_a_revert(installed: Click, package: Path, tmp_path: Path) -> None:
    first = current(package)
    assert first is not None
    assert not build(installed, ELEMENTS, package).changed
    changed = tmp_path / "sources"
    shutil.copytree(ELEMENTS, changed)
    with (changed / "fabric.hh").open("a") as file:
        file.write("// changed\n")
    assert build(installed, changed, package, check=True).changed
    assert current(package) == first
    second = build(installed, changed, package)
    assert second.changed
    assert current(package) == second.path != first
    # Back, without a compiler.
    headers = Click(installed.prefix, installed.program, installed.version)
    assert build(headers, ELEMENTS, package).path == first
    assert current(package) == first
    assert sorted(path.name for path in first.parent.iterdir()) == ["rbops.uo"]


@pytest.mark.click
def test_what_does_not_compile_is_named_with_its_line_and_the_click(
    installed: Click, package: Path, tmp_path: Path
) -> None:
    before = current(package)
    broken = tmp_path / "sources"
    shutil.copytree(ELEMENTS, broken)
    text = (broken / "directvlb.cc").read_text()
    line = text[: text.index("void\nDirectVLB::cleanup")].count("\n") + 4
    (broken / "directvlb.cc").write_text(text.replace("    release();\n", "    relase();\n", 1))
    with pytest.raises(ClickError) as caught:
        build(installed, broken, package)
    assert f"does not compile with {installed}: directvlb.cc:{line}:5: 'relase' was not declared" in str(caught.value)
    assert current(package) == before
    assert not [path for path in (package / "packages").iterdir() if path.name.startswith(".")]
