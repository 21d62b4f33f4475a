"""The XDP data plane: attached to every planned port in the driver, the same program everywhere.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import json

from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.libbpf import TAP
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
    assert program.get("name") != TAP, "a capture or impairment of the lab is on this port (`rbops lab impair`)"
    tag = status["devices"][port_case.port.name]["tag"]
    assert program["tag"] == tag, f"the program on the port has tag {program['tag']}, rbops loaded {tag}"


def test_no_click(server_case: Case) -> None:
    """No Click of rbops's runs beside the program: both would forward."""
    service = server_case.server.host.service("rbops-click.service")
    assert not service.is_running, "rbops-click.service runs: the other data plane's"


def test_routes(server_case: Case) -> None:
    """The forwarding table in use is the rendered one, or has every route as the kernel's table has it."""
    server = server_case.server
    if _config(server).follow is not None:
        _followed(server)
        return
    live = server.json("rbops-node status --json")["dataplane"]["fib_sha256"]
    want = _config(server).fib.sha256
    assert live == want, f"the data plane forwards by table {live}, planned {want}"


def _followed(server: ServerUnderTest) -> None:
    service = server.host.service("rbops-fib.service")
    assert service.is_running, "rbops-fib.service does not run: look at `journalctl -u rbops-fib.service`"
    assert service.is_enabled, "rbops-fib.service is not enabled: after a reboot no route would be followed"
    done = server.host.run("rbops-node fib --audit --json")
    assert done.rc in (0, 1), f"rbops-node fib --audit: {done.stderr.strip()}"
    found = json.loads(done.stdout)
    first = "; ".join(
        "{addresses}: kernel {kernel}, data plane {data_plane}".format(**one) for one in found["differing"][:3]
    )
    assert not found["differences"], f"{found['differences']} differences between kernel and data plane: {first}"
