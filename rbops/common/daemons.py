"""The daemons of others that rbops runs, for routes and for IKE: their names, packages and units."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DAEMONS", "IKE", "PORT_FILES", "PROGRAMS", "UNITS", "Program"]


@dataclass(frozen=True, slots=True)
class Program:
    """``packages``: Debian's; ``groups``: those that may ask it at its sockets."""

    name: str
    packages: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Its service on the servers."""
        return f"rbops-{self.name}.service"

    @property
    def config(self) -> str:
        """Its configuration as it is pushed."""
        return f"/etc/rbops/{self.name}/{self.name}.conf"

    @property
    def keys(self) -> str:
        """Passwords: in no rendered file, root's with mode 0600."""
        return f"/etc/rbops/{self.name}/keys.conf"

    @property
    def places(self) -> tuple[str, str]:
        """Where its files are on servers: planned, or they go."""
        return f"/etc/rbops/{self.name}", f"/etc/systemd/system/{self.unit}"


DAEMONS = {
    "bird": Program("bird", ("bird2",), ("bird",)),
    "frr": Program("frr", ("frr",), ("frr", "frrvty")),
}
"""The routing daemons, by the word in a spec."""

IKE = Program("ike", ("charon-systemd", "libstrongswan-standard-plugins"), ())
"""strongSwan, for tunnels that have their keys by IKE. The plugins are AES-GCM and the elliptic curves."""

PROGRAMS = {**DAEMONS, IKE.name: IKE}
"""All of them."""

PORT_FILES = {
    "port": 'interface "{}";',
    # Who hears them knows the router, and takes it for no default router (RFC 4861, 6.2.1).
    "radv": 'interface "{}" {{ default lifetime 0; min delay 3; min ra interval 3; max ra interval 10; }};',
    "name": '"{}"',
}
"""What BIRD's configuration includes for an external port, as ``port0.conf``: the server alone knows its device."""

UNITS = tuple(program.unit for program in PROGRAMS.values())
"""The services of all of them; a server runs one that routes at most."""
