"""The systemd units that restore everything after a reboot.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.verify.host import ServerUnderTest
from rbops.verify.plugin import Case


def _serves(server: ServerUnderTest, unit: str, otherwise: str) -> None:
    """The unit starts at boot and runs; ``otherwise``: what a reboot would do to one that does not start at boot."""
    service = server.host.service(unit)
    assert service.is_enabled, f"{unit} is not enabled: after a reboot {otherwise}"
    assert service.is_running, f"{unit} does not run: look at `journalctl -u {unit}`"


def test_boot_unit(server_case: Case) -> None:
    """The unit that puts the configuration back starts at boot, and has not failed."""
    service = server_case.server.host.service("rbops.service")
    assert service.is_enabled, "rbops.service is not enabled: a reboot would leave the server without its configuration"
    failed = server_case.server.host.run("systemctl is-failed --quiet rbops.service")
    assert failed.rc != 0, "rbops.service failed: look at `journalctl -u rbops.service`"


def test_watch_unit(server_case: Case) -> None:
    """The unit that reports dead links to the data plane starts at boot and is active."""
    service = server_case.server.host.service("rbops-watch.service")
    assert service.is_enabled, "rbops-watch.service is not enabled"
    assert service.is_running, "rbops-watch.service does not run: look at `journalctl -u rbops-watch.service`"


def test_routing_daemon(daemon_case: Case) -> None:
    """The routing daemon starts at boot, runs, and answers. Its sessions are its neighbours' affair too: see status."""
    server, unit = daemon_case.server, f"rbops-{daemon_case.key}.service"
    _serves(server, unit, "nobody would hear of the server")
    daemon = server.json("rbops-node daemon status --json")
    assert not daemon.get("error"), f"{daemon_case.key}: {daemon['error']}"


def test_exporter(exporter_case: Case) -> None:
    """The exporter starts at boot, runs, and listens on the addresses that rbops-node finds for it alone."""
    server, unit = exporter_case.server, "rbops-exporter.service"
    _serves(server, unit, "there would be no metrics")
    exporter = server.node.exporter
    assert exporter is not None
    planned = set(server.json("rbops-node export --addresses --json")["addresses"])
    listed = server.host.run("ss -Hltn sport = :%s", str(exporter.port)).stdout.splitlines()
    have = {line.split()[3].rpartition(":")[0].strip("[]").partition("%")[0] for line in listed}
    said = f"something listens on {', '.join(sorted(have)) or 'no address'} port {exporter.port}"
    assert have == planned, f"{said}, planned {', '.join(sorted(planned))}"


def test_sflow(sflow_case: Case) -> None:
    """The sender of samples starts at boot and runs, sends from the management address alone, at the planned rate."""
    server, unit = sflow_case.server, "rbops-sflow.service"
    _serves(server, unit, "there would be no samples")
    wanted = server.node.sflow
    assert wanted is not None
    agent = server.json("rbops-node sflow --agent --json")["agent"]
    listed = server.host.run("ss -Huna dst %s and dport = :%s", wanted.collector, str(wanted.port)).stdout.splitlines()
    have = {line.split()[3].rpartition(":")[0].strip("[]").partition("%")[0] for line in listed}
    said = f"samples leave {', '.join(sorted(have)) or 'no address'} for {wanted.collector} port {wanted.port}"
    assert have == {agent}, f"{said}, planned {agent}"
    rate = server.json("rbops-node status --json")["dataplane"].get("sampling")
    assert rate == wanted.sampling, f"one frame in {rate} is sampled, planned {wanted.sampling}"


def test_ike(ike_case: Case) -> None:
    """IKE's daemon starts at boot and runs, and the tunnel's keys are negotiated; if not, why."""
    server = ike_case.server
    _serves(server, "rbops-ike.service", "no keys would be negotiated")
    found = server.json("rbops-node ike status --json")["tunnels"].get(ike_case.key, {"state": "not loaded"})
    why = f": {found['error']}" if found.get("error") else ""
    assert found["state"] == "up", f"the tunnel to {ike_case.want} is {found['state']}{why}"


def test_confirmed(server_case: Case) -> None:
    """No revert timer is armed: the configuration is confirmed."""
    armed = server_case.server.json("rbops-node status --json")["timer_armed"]
    assert not armed, "a revert timer is armed: an apply is running, or one was never confirmed"
