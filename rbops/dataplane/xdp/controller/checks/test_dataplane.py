"""The XDP data plane: attached to every planned port in the driver, the same program everywhere.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.dataplane.xdp.config import XdpConfig
from rbops.verify.host import ServerUnderTest
from rbops.verify.plugin import Case

_NATIVE = 1
"""XDP_ATTACHED_DRV of linux/if_link.h, as ``ip -j`` prints it; 2 is generic, 3 offloaded."""


def _config(server: ServerUnderTest) -> XdpConfig:
    config = server.node.dataplane
    assert isinstance(config, XdpConfig)
    return config


def test_native(port_case: Case) -> None:
    """An XDP program is attached, and in the driver: generic mode would be several times slower."""
    xdp = port_case.server.link(port_case.port).get("xdp")
    assert xdp, "no XDP program is attached"
    assert xdp["mode"] == _NATIVE, f"XDP is attached in mode {xdp['mode']} (2 is generic), not native (1)"


def test_program(port_case: Case) -> None:
    """The attached program is the one rbops loaded from the rendered object."""
    server = port_case.server
    xdp = server.link(port_case.port).get("xdp")
    assert xdp, "no XDP program is attached"
    status = server.json("rbops-node status --json")["dataplane"]
    loaded = status["object_sha256"]
    want = _config(server).program.sha256
    assert loaded == want, f"loaded from object {loaded}, planned {want}"
    program = server.json("bpftool -j prog show id %s", str(xdp["prog"]["id"]))
    tag = status["devices"][port_case.port.name]["tag"]
    assert program["tag"] == tag, f"the program on the port has tag {program['tag']}, rbops loaded {tag}"


def test_no_click(server_case: Case) -> None:
    """No Click of rbops's runs beside the program: both would forward."""
    service = server_case.server.host.service("rbops-click.service")
    assert not service.is_running, "rbops-click.service runs: the other data plane's"


def test_routes(server_case: Case) -> None:
    """The forwarding table in use is the rendered one."""
    server = server_case.server
    live = server.json("rbops-node status --json")["dataplane"]["fib_sha256"]
    want = _config(server).fib.sha256
    assert live == want, f"the data plane forwards by table {live}, planned {want}"
