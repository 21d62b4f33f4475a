"""The keys and passwords that a push installs on the servers: compared with what they have, without showing any."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.common.daemons import DAEMONS, IKE
from rbops.dataplane.click.controller.files import ETC, KEYS
from rbops.plan import ClusterPlan
from rbops.render.ipsec import FILE as ESP_PATH
from rbops.render.ipsec import ike_tunnels, kernel_tunnels, static_tunnels
from rbops.render.speaking import node_part
from rbops.spec.keyfile import click_keys, daemon_keys, esp_keys, ike_keys

__all__ = [
    "ESP_PATH",
    "PATH",
    "Keys",
    "kernel_keys_of",
    "keys_of",
    "keys_of_plan",
    "keys_of_project",
    "passwords_of",
    "secrets_of",
    "tunnel_words",
]

PATH = f"{ETC}/{KEYS}"
"""The tunnels' keys on every server, root's with mode 0600; those of sessions: ``rbops.common.daemons``."""

_MODE = "0o600"


@dataclass(frozen=True, slots=True)
class Keys:
    """The content of ``path`` on a server; ``files`` are the files here that it is made of, none if it is not there."""

    files: tuple[str, ...]
    _content: bytes = field(repr=False)
    path: str = PATH
    none: str = "keys of no tunnel"

    def difference(self, found: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
        """What a server has and what is expected, as text; ``found`` maps its files to (mode, SHA-256)."""
        mode, digest = found.get(self.path, ("", ""))
        if not self.files:
            return (self.none, "absent") if digest else None
        want = f"the keys in {', '.join(self.files)}"
        if not digest:
            return "absent", want
        if not hmac.compare_digest(digest, hashlib.sha256(self._content).hexdigest()):
            return "other keys", want
        return None if mode == _MODE else (f"mode {mode}", f"mode {_MODE}")


def keys_of(files: Iterable[str]) -> Keys:
    """The keys of tunnels in the order of their key files. Mismatch (3) for a file that cannot be used."""
    names = tuple(files)
    return Keys(names, click_keys(names))


def kernel_keys_of(files: Iterable[tuple[str, str]]) -> Keys:
    """The keys of the kernel's tunnels, as (cipher, file). Mismatch (3) for a file that cannot be used."""
    pairs = tuple(files)
    return Keys(tuple(path for _, path in pairs), esp_keys(pairs), ESP_PATH)


def tunnel_words(plan: ClusterPlan) -> tuple[tuple[bytes, ...], ...]:
    """The static keys of each of the kernel's tunnels, both ways, to stand in for a peer; Mismatch (3) as above."""
    text = esp_keys((tunnel.cipher, str(tunnel.keys)) for tunnel in static_tunnels(plan))
    return tuple(tuple(bytes.fromhex(word.decode()) for word in line.split()) for line in text.splitlines())


def secrets_of(files: Iterable[tuple[int, str]]) -> Keys:
    """What IKE needs at a server, as (tunnel's number, file). Mismatch (3) for a file that cannot be used."""
    pairs = tuple(files)
    return Keys(tuple(path for _, path in pairs), ike_keys(pairs), IKE.keys, "secrets of no tunnel")


def passwords_of(daemon: str, files: Iterable[tuple[str, str]]) -> Keys:
    """The passwords of a daemon's sessions, as (name, file). Mismatch (3) for a file that cannot be used."""
    pairs = tuple(files)
    path = DAEMONS[daemon].keys
    return Keys(tuple(path for _, path in pairs), daemon_keys(pairs), path, "passwords of no session")


def _all_passwords(daemon: str | None, files: Iterable[tuple[str, str]]) -> tuple[Keys, ...]:
    """What is to be where each of the daemons has them; ``daemon`` is the planned one."""
    pairs = tuple(files)
    return tuple(passwords_of(kind, pairs if kind == daemon else ()) for kind in DAEMONS)


def keys_of_plan(plan: ClusterPlan) -> dict[str, tuple[Keys, ...]]:
    """Server -> the files with keys that it is to have. Mismatch (3) as above."""
    inside = kernel_tunnels(plan)
    tunnels = keys_of(str(tunnel.keys) for tunnel in plan.forwarding.tunnels if tunnel not in inside)
    kernels = kernel_keys_of((tunnel.cipher, str(tunnel.keys)) for tunnel in static_tunnels(plan))
    secrets = {
        server.name: secrets_of(
            (each.spi, each.ike.psk) for each in ike_tunnels(plan) if each.ike and each.local in server.own_addresses
        )
        for server in plan.servers
    }
    parts = {server.name: node_part(plan, server) for server in plan.servers}
    return {
        name: (tunnels, kernels, secrets[name], *_all_passwords(part.kind if part else None, part.keys if part else ()))
        for name, part in parts.items()
    }


def keys_of_project(project: Path) -> dict[str, tuple[Keys, ...]]:
    """The same of rendered files."""
    found: dict[str, tuple[Keys, ...]] = {}
    for path in sorted(project.glob("hosts/*/etc/rbops/node.json")):
        node: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        routing = node.get("routing") or {}
        pairs = [(name, file) for name, file in routing.get("keys", ())]
        tunnels = (node.get("ipsec") or {}).get("tunnels", ())
        kernels = [(each["cipher"], each["keys"]) for each in tunnels if "ike" not in each]
        secrets = [(each["number"], each["ike"]["secret"]) for each in tunnels if "ike" in each and each["own"]]
        found[path.parents[2].name] = (
            keys_of(node["dataplane"].get("ipsec_keys", ())),
            kernel_keys_of(kernels),
            secrets_of(secrets),
            *_all_passwords(routing.get("daemon"), pairs),
        )
    return found
