"""The Click data plane: the planned configuration runs, its threads on their cores, with the planned routes.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from typing import Any

from rbops.dataplane.click.config import ClickConfig
from rbops.deploy.keys import PATH, keys_of
from rbops.verify.plugin import Case


def _config(case: Case) -> ClickConfig:
    config = case.server.node.dataplane
    assert isinstance(config, ClickConfig)
    return config


def _status(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = case.server.json("rbops-node status --json")["dataplane"]
    assert found["loaded"], "no Click runs: look at `journalctl -u rbops-click.service`"
    return found


def test_configuration(server_case: Case) -> None:
    """What runs is the rendered configuration, by the digest that it carries."""
    found, want = _status(server_case)["marker"], _config(server_case).marker
    assert found == want, f"Click runs configuration {found[:12]}, planned {want[:12]}"


def test_unit(server_case: Case) -> None:
    """Click runs under systemd, which starts it again when it ends."""
    assert server_case.server.host.service("rbops-click.service").is_running, "rbops-click.service does not run"


def test_no_xdp(port_case: Case) -> None:
    """No XDP program is attached: it would take frames before Click sees them."""
    xdp = port_case.server.link(port_case.port).get("xdp")
    assert not xdp, f"an XDP program is attached: {xdp}"


def test_thread(click_thread_case: Case) -> None:
    """Each of Click's threads may run on its planned CPU and on no other (rule 2 of the paper's 4.2)."""
    threads = _status(click_thread_case)["threads"]
    number = int(click_thread_case.key)
    assert number < len(threads), f"Click has {len(threads)} threads, not one for CPU {click_thread_case.want}"
    found = threads[number]
    assert found == click_thread_case.want, (
        f"thread {number} may run on CPUs {found}, planned CPU {click_thread_case.want}"
    )


def test_look_up(server_case: Case) -> None:
    """Every core's table holds the routes of the rendered file."""
    status = _status(server_case)
    want = status["library_routes_sha256"]
    for number, found in enumerate(status["routes_sha256"]):
        assert found == want, f"the routes of core {number} are not those of routes.click"


def test_keys(click_keys_case: Case) -> None:
    """The tunnels' keys are those of the key files on this machine, root alone may read them, and Click has them."""
    server = click_keys_case.server
    keys = keys_of(_config(click_keys_case).ipsec_keys)
    found = server.output("stat -c '%%a %%U' %s && sha256sum -- %s || true", PATH, PATH).split()
    owner = dict(zip(("mode", "user", "digest"), found, strict=False))
    stale = keys.difference({PATH: (f"0o{owner['mode']}", owner["digest"])} if found else {})
    assert stale is None, f"{PATH}: {stale[0]}, wanted {stale[1]}"
    assert owner["user"] == "root", f"{PATH} is {owner['user']}'s"
    assert not _status(click_keys_case)["stale_keys"], f"Click encrypts with other keys than those in {PATH}"


def test_links(server_case: Case) -> None:
    """No link is left out of the path choice."""
    dead = _status(server_case)["dead"]
    assert not dead, f"the links towards servers {dead} are left out: is a cable out, or a server down?"


def test_kernel_input(server_case: Case) -> None:
    """The kernel does not handle a second time what Click receives."""
    server = server_case.server
    for port in server.node.ports:
        if port.closed:
            found = server.output("tc filter show dev %s ingress", server.device(port))
            assert "direct-action" in found, f"the kernel, too, takes what {port.name} receives: no filter"
