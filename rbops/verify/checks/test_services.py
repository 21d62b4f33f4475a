"""The systemd units that put everything back after a reboot."""

from __future__ import annotations

import pytest

from rbops.verify.plugin import Case


@pytest.mark.parametrize("unit", ["rbops.service", "rbops-watch.service"])
def test_unit(server_case: Case, unit: str) -> None:
    """The unit starts at boot and is active now."""
    service = server_case.server.host.service(unit)
    assert service.is_enabled, f"{unit} is not enabled: a reboot would leave the server without its configuration"
    assert service.is_running, f"{unit} is not active: look at `journalctl -u {unit}`"


def test_confirmed(server_case: Case) -> None:
    """No revert timer is armed: the configuration is confirmed."""
    armed = server_case.server.json("rbops-node status --json")["timer_armed"]
    assert not armed, "a revert timer is armed: an apply is under way, or one was never confirmed"


def test_no_drift(server_case: Case) -> None:
    """rbops-node, too, finds nothing to change."""
    found = server_case.server.host.run("rbops-node diff --json")
    assert found.rc == 0, f"rbops-node finds differences: {found.stdout.strip() or found.stderr.strip()}"
