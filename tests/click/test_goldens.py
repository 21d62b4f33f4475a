"""The golden configurations under Click's own ``click-check``, and the table that stands in for what a Click lacks.

``click-check`` knows the classes of an element map: the installed Click's, with rbops's own two as Click's tools read
them from the sources. Devices that this Click was not built with, and all of the kernel module, come from rbops's
table; where ``CLICK_CONF`` is the ``conf`` of Click's sources, the table is compared with them. It checks language,
classes, ports, push and pull, not the elements' arguments: those are tried where Click runs (test_traffic.py).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from rbops.click import CheckOptions, ClickText, bundled, check
from rbops.click.elements import Driver, ElementClass, Table, with_elementmap
from rbops.dataplane.click.controller.build import Click, elements
from rbops.dataplane.click.controller.files import keyless
from rbops.render import render
from tests.conftest import ELEMENTS
from tests.render.test_click import DIALECTS, GOLDENS, files, libraries, plan_of

pytestmark = pytest.mark.click

DPDK = ("FromDPDKDevice", "ToDPDKDevice")
OURS = {"DirectVLB", "HostTap", "MACDispatch"}


def tool(
    click: Click, name: str, *arguments: str | Path, stdin: str = "", folder: Path | None = None, path: str = ""
) -> str:
    """One of Click's tools: what it says where it says that all is well; else the test fails with its words."""
    command = [str(click.prefix / "bin" / name), *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, cwd=folder, env={**os.environ, "CLICKPATH": path},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_map(click: Click, folder: Path, names: list[str], *provided: str) -> str:
    """The element map that Click's tools make of sources."""
    given = [word for name in provided for word in ("-r", name)]
    conf = tool(click, "click-buildtool", "findelem", *given, "-p", folder, stdin="\n".join(names), folder=folder)
    return tool(click, "click-mkelemmap", "-t", provided[0], "-p", folder, "-f", "-", stdin=conf, folder=folder)


def entries(classes: list[ElementClass]) -> str:
    return "".join(
        f"<entry name={quoteattr(c.name)} portcount={quoteattr(c.ports)} processing={quoteattr(c.processing)} "
        f"flowcode={quoteattr(c.flow)} />\n"
        for c in classes
    )


@pytest.fixture(scope="module")
def ours(installed: Click) -> str:
    """The map of rbops's elements."""
    return read_map(installed, ELEMENTS, sorted(path.name for path in ELEMENTS.glob("*.cc")), "userlevel")


@pytest.mark.parametrize(("dialect", "application"), GOLDENS)
def test_click_check(dialect: str, application: str, installed: Click, ours: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, dialect, application)
    for path, text in [*files(plan).items(), *((file.path, file.content.decode()) for file in keyless(plan))]:
        if path.endswith(".click"):
            (tmp_path / Path(path).name).write_text(text)
    known = bundled().classes
    lacking = [known["userlevel"][name] for name in DPDK if name not in elements(installed)]
    if dialect == "kernel":
        lacking = [made for made in known["linuxmodule"].values() if made.name not in OURS]
        head = '<elementmap provides="linuxmodule" drivers="linuxmodule">\n'
        (tmp_path / "elementmap.xml").write_text(f"{head}{entries(lacking)}</elementmap>\n")
        lacking = []
    (tmp_path / "elementmap-rbops.xml").write_text(ours.replace("</elementmap>", f"{entries(lacking)}</elementmap>"))
    driver = "linuxmodule" if dialect == "kernel" else "userlevel"
    # Not the installed map in front of the kernel's: the first one on the path is taken.
    said = tool(installed, "click-check", f"--{driver}", tmp_path / "router.click", path=f"{tmp_path}:")
    assert f"configuration OK in {driver} driver" in said
    assert "unknown" not in said


@pytest.mark.parametrize("dialect", DIALECTS)
def test_table_is_that_of_the_sources(dialect: str, installed: Click, tmp_path: Path) -> None:
    """Of each class that a golden uses: ports, push and pull, and flow, as the sources of this Click have them."""
    sources = Path(os.environ.get("CLICK_CONF", "/nothing")).parent
    if not (sources / "elements").is_dir():
        pytest.skip("needs Click's sources: CLICK_CONF is not the conf of any")
    driver: Driver = "linuxmodule" if dialect == "kernel" else "userlevel"
    names = [
        str(path.relative_to(sources)) for path in sorted(sources.glob("elements/*/*.cc")) if path.parts[-2] != "minios"
    ]
    if driver == "userlevel":
        names = [name for name in names if "/linuxmodule/" not in name]
    provided = (driver, "linux", "int64", "ipsec", "umultithread", "dpdk", "batch")
    empty = Table("", {"userlevel": {}, "linuxmodule": {}})
    real = with_elementmap(empty, read_map(installed, sources, names, *provided), "its sources").classes[driver]
    table = bundled()
    plan = plan_of(tmp_path, dialect, "route" if dialect == "kernel" else "ipsec")
    rendered = render(plan)
    text = ClickText("router.click", files(plan)["/etc/rbops/click/router.click"])
    library = libraries((*rendered.files_of("n0"), *keyless(plan)))
    router = check(text, table, CheckOptions(driver=driver, fastclick=installed.fastclick, library=library)).router
    assert router is not None
    used = {element.kind for element in router.elements} - OURS
    # The multi-queue devices are those of RouteBricks's kernel module, not of Click's sources.
    used = {name for name in used if not name.startswith("MQ")}
    mine = {name: table.classes[driver][name] for name in used}
    assert {name: (c.ports, c.processing, c.flow) for name, c in mine.items()} == {
        name: (real[name].ports, real[name].processing, real[name].flow or mine[name].flow) for name in used
    }
