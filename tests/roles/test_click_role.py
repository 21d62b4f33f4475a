"""The role click: what it refuses on a lab server and, with a Click on this machine, what it installs and compiles."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import Click
from tests.roles.server import Server

pytestmark = pytest.mark.root


@pytest.fixture
def unchanged(server: Server) -> Iterator[None]:
    """What is refused leaves the server as it was."""

    def seen() -> str:
        return server.run(
            "sh", "-c", "find /var/lib/rbops /etc/rbops /opt/rbops-click* 2>/dev/null | sort", check=False
        )

    before = seen()
    yield
    assert seen() == before


@pytest.mark.lab
@pytest.mark.usefixtures("unchanged")
def test_no_click(server: Server) -> None:
    for check in (True, False):
        failed = server.play(check=check)["failed"]
        assert failed.startswith("no Click is installed here: there is no `click` on PATH. install Click, or name it")
    failed = server.play(prefix="/opt/nothing")["failed"]
    assert failed == "there is no Click in /opt/nothing: /opt/nothing/bin/click is missing. look at click.prefix"


@pytest.mark.lab
@pytest.mark.usefixtures("unchanged")
def test_too_old_a_click(server: Server) -> None:
    prefix = server.click_that_says("2.0.1")
    failed = server.play(prefix=prefix)["failed"]
    assert failed.startswith(f"Click 2.0.1 ({prefix}/bin/click) is too old: 2.1 or newer is needed")


@pytest.mark.lab
@pytest.mark.usefixtures("unchanged")
def test_an_element_that_click_lacks(server: Server) -> None:
    prefix = server.click_that_says("2.1", "Idle\nCounter")
    failed = server.play(prefix=prefix, elements=["Counter", "IPsecAES", "IPsecESPEncap"])["failed"]
    assert failed == (
        f"Click 2.1 in {prefix} lacks the elements IPsecAES, IPsecESPEncap. configure Click with --enable-ipsec"
    )


@pytest.mark.lab
@pytest.mark.usefixtures("unchanged")
def test_dialects_that_the_server_cannot_run(server: Server) -> None:
    prefix = server.click_that_says("2.1")
    failed = server.play(prefix=prefix, dialect="kernel")["failed"]
    assert failed.startswith("kernel-mode Click is known to work on Linux 2.6.24 to 3.18; this server runs ")
    failed = server.play(prefix=prefix, dialect="fastclick")["failed"]
    assert "DPDK needs " in failed or "is not FastClick" in failed


@pytest.mark.lab
def test_what_compiles_the_elements_is_missing(server: Server) -> None:
    failed = server.play(prefix=server.click_that_says("2.1"))["failed"]
    assert failed == "the element package cannot be compiled: g++ and make not found. apt-get install g++ make"


@pytest.mark.lab
def test_an_archive_without_a_click(server: Server, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("nothing")
    with tarfile.open(tmp_path / "click.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "README", "README")
    failed = server.play(package=str(tmp_path / "click.tar.gz"))["failed"]
    assert failed == "click.package has no bin/click, expected an installed Click"
    assert "archives/" not in server.run("find", "/var/lib/rbops/click", "-name", "README")


def deb(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A Debian package of programs."""
    root = folder / name
    for path, text in {"DEBIAN/control": "", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    return packed(root, name)


def packed(root: Path, name: str) -> Path:
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: rbops <rbops@localhost>\nDescription: test\n"
    )
    (root / "DEBIAN").mkdir(mode=0o755, exist_ok=True)
    (root / "DEBIAN/control").write_text(control)
    command = ["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z1", str(root), str(root.with_suffix(".deb"))]
    subprocess.run(command, check=True, capture_output=True)
    return root.with_suffix(".deb")


@pytest.mark.lab
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("usr/bin/other", "no Click is installed here: there is no `click` on PATH. install Click, or name it"),
        ("usr/bin/click", "Click 1.8.0 (/usr/bin/click) is too old: 2.1 or newer is needed"),
    ],
)
def test_a_package_without_the_click_that_is_needed(server: Server, tmp_path: Path, program: str, said: str) -> None:
    """Checked without installing it; then it is installed, which apt can undo, and nothing of the router's is there."""
    path = deb(tmp_path, "rbops-test-click", {program: "#!/bin/sh\necho 'click (Click) 1.8.0'\n"})
    folders = ("/etc/rbops/click", "/var/lib/rbops/click/packages")
    before = server.run("find", *folders, check=False)
    try:
        assert server.play(check=True, package=str(path))["failed"].startswith("no Click is installed here")
        assert server.play(package=str(path))["failed"].startswith(said)
        assert "rbops-click.service" not in server.run("ls", "/etc/systemd/system")
        assert server.run("find", *folders, check=False) == before
    finally:
        server.run("dpkg", "--purge", "rbops-test-click", check=False)
        server.run("rm", "-rf", "/var/lib/rbops/click")


@pytest.fixture(scope="module")
def archive(installed: Click, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This machine's Click, without the link to its sources."""
    prefix = installed.prefix
    path = tmp_path_factory.mktemp("archive") / "click-2.1.tar.xz"
    names = ("bin", "include", "share/click", "lib")
    with tarfile.open(path, "w:xz", preset=0) as file:
        for name in names:
            file.add(prefix / name, f"click-2.1/{name}", filter=lambda entry: None if entry.issym() else entry)
    return path


@pytest.fixture(scope="module")
def unpacked(installed: Click) -> str:
    """What the role calls the Click of the archive."""
    return str(installed).replace(str(installed.prefix), "/opt/rbops-click")


@pytest.mark.click
def test_an_archive_is_unpacked_and_the_elements_are_compiled_for_it(
    builder: Server, archive: Path, unpacked: str
) -> None:
    install, compiled = (
        "The server has a Click for this configuration",
        "The element package is compiled for this Click",
    )
    checked = builder.play(check=True, package=str(archive))
    assert checked["failed"] is None
    assert builder.run("sh", "-c", "ls /opt/rbops-click 2>&1 || true").startswith("ls: cannot access")

    done = builder.play(package=str(archive), elements=["DirectIPLookup", "FromDevice"])
    assert done["failed"] is None
    assert {install, compiled} <= set(done["changed"])
    assert done["changed"][compiled]["click"] == unpacked
    package = done["changed"][compiled]["package"]
    assert builder.run("readlink", "-f", "/var/lib/rbops/click/rbops.uo").strip() == package
    config = 'require(package "rbops"); Idle -> e :: MACDispatch(SELF 1, OWNERS 0 1, PORTS 1); e[0] -> d :: Discard; e[1] -> d; e[2] -> d; e[3] -> d;'  # noqa: E501
    run = (
        "env",
        "CLICKPATH=/var/lib/rbops/click:",
        "/opt/rbops-click/bin/click",
        "-q",
        "-e",
        config,
        "-h",
        "e.counters",
    )
    assert "transit 0" in builder.run(*run)

    again = builder.play(package=str(archive), elements=["DirectIPLookup", "FromDevice"])
    assert (again["failed"], again["changed"]) == (None, {})


@pytest.mark.click
def test_a_package_file_is_installed_once(builder: Server, installed: Click, tmp_path: Path) -> None:
    root = tmp_path / "rbops-test-click"
    for name in ("bin", "include", "share/click", "lib"):
        shutil.copytree(installed.prefix / name, root / "opt/rbops-test-click" / name, symlinks=True)
    package = {"package": str(packed(root, "rbops-test-click")), "prefix": "/opt/rbops-test-click"}
    done = builder.play(**package)
    assert done["failed"] is None
    assert done["changed"]["Install the file with Click"]
    assert done["changed"]["The element package is compiled for this Click"]["click"] == str(installed).replace(
        str(installed.prefix), "/opt/rbops-test-click"
    )
    assert "rbops-test-click" in builder.run("dpkg-query", "--show", "rbops-test-click")
    again = builder.play(**package)
    assert (again["failed"], again["changed"]) == (None, {})


@pytest.mark.click
def test_changed_elements_are_compiled_anew_and_the_old_ones_kept(
    builder: Server, archive: Path, unpacked: str
) -> None:
    builder.play(package=str(archive))
    before = builder.run("readlink", "-f", "/var/lib/rbops/click/rbops.uo")
    source = builder.folder / "common/fabric.hh"
    text = source.read_text()
    try:
        source.write_text(text + "// changed\n")
        checked = builder.play(check=True, package=str(archive))
        assert list(checked["changed"]) == ["The elements' sources and the routes"]
        builder.play(package=str(archive))
        after = builder.run("readlink", "-f", "/var/lib/rbops/click/rbops.uo")
        assert after != before
        assert builder.run("ls", before.strip())
        source.write_text(text.replace("return mac[0]", "return nac[0]"))
        failed = builder.play(package=str(archive))["failed"]
        assert f"does not compile with {unpacked}: fabric.hh:" in failed
        assert builder.run("readlink", "-f", "/var/lib/rbops/click/rbops.uo") == after
    finally:
        source.write_text(text)
