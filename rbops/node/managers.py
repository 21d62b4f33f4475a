"""Other managers of a server's network: told to leave the router's ports, rules and routes alone.

systemd-networkd takes away rules and routes that are not its own when it starts or configures a link again, and both it
and NetworkManager configure every link that a file of theirs matches (systemd.network(5), networkd.conf(5),
NetworkManager.conf(5)). netplan only writes such files, and rbops's come first. cloud-init, tuned, ifupdown
(interfaces(5)) and a firewall that forwards nothing (Docker's, for one) do as their own files say: they are named to
the operator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from rbops.node.settings import Action, Put, Run, Setting
from rbops.node.system import NotInstalled, System

__all__ = ["NETWORKD", "NETWORK_MANAGER", "SUBJECT", "settings"]

SUBJECT = "other managers"
NETWORKD = ("/etc/systemd/networkd.conf.d/zz-rbops.conf", "/etc/systemd/network/00-rbops.network")
NETWORK_MANAGER = "/etc/NetworkManager/conf.d/zz-rbops.conf"

_FOREIGN = """\
# Written by rbops: rules and routes of others are not networkd's to take away.
[Network]
ManageForeignRoutingPolicyRules=no
ManageForeignRoutes=no
"""
_UNMANAGED = """\
# Written by rbops: the router's ports are not networkd's.
[Match]
Name={names}

[Link]
Unmanaged=yes
"""
_KEYFILE = """\
# Written by rbops: the router's ports are not NetworkManager's.
[keyfile]
unmanaged-devices+={names}
"""
_CLOUD = "/etc/cloud/cloud.cfg"
_INTERFACES = "/etc/network/interfaces"
_NETPLAN = ("/etc/netplan", "/run/netplan", "/lib/netplan")
_WORD = re.compile(r"[\w.-]+")
_STANZAS = ("auto", "iface", "mapping")


def settings(devices: Iterable[str], system: System) -> list[Setting]:
    """One for each manager on this server; ``devices`` are the router's. None where they manage another namespace's."""
    if "system" not in system.names("/run/systemd") or not _manages_these(system):
        return []
    names = list(devices)
    found = []
    if system.read("/lib/systemd/system/systemd-networkd.service") is not None:
        texts = (_FOREIGN, _UNMANAGED.format(names=" ".join(names)))
        files = dict(zip(NETWORKD, texts, strict=True))
        found.append(
            _files("systemd-networkd", files, ("systemctl", "try-restart", "systemd-networkd.service"), system)
        )
    if system.names("/etc/NetworkManager"):
        text = _KEYFILE.format(names=";".join(f"interface-name:{name}" for name in names))
        reload = ("systemctl", "try-reload-or-restart", "NetworkManager.service")
        found.append(_files("NetworkManager", {NETWORK_MANAGER: text}, reload, system))
    return [*found, *_named(system), *_netplan(names, system), *_ifupdown(names, system), *_firewall(system)]


def _manages_these(system: System) -> bool:
    """Whether init is in this network namespace: the kernel names it by a number."""
    own, init = (system.real(f"/proc/{who}/ns/net").rpartition(":")[2] for who in ("self", "1"))
    return own == init


def _files(name: str, files: dict[str, str], command: tuple[str, ...], system: System) -> Setting:
    present = {path: system.read(path) for path in files}
    same = all(present[path] == text.strip() for path, text in files.items())
    do: tuple[Action, ...] = (*(Put(path, text) for path, text in files.items()), Run(command))
    back = (Put(path, None if text is None else f"{text}\n") for path, text in present.items())
    want = "leaves the router's ports alone"
    return Setting(SUBJECT, name, want if same else "not told", want, do, (*back, Run(command)))


def _named(system: System) -> list[Setting]:
    found = []
    if system.run(("systemctl", "is-active", "tuned.service")).stdout.strip() == "active":
        reason = "its profile sets the governor, sysctls and interrupts too: `rbops verify` shows what it changed"
        found.append(Setting(SUBJECT, "tuned", "running", "no setting of rbops's in its profile", unsupported=reason))
    off = system.read("/etc/cloud/cloud-init.disabled") is not None
    folder = "/etc/cloud/cloud.cfg.d"
    texts = [system.read(f"{folder}/{name}") or "" for name in system.names(folder)]
    if system.read(_CLOUD) is not None and not off and not any("config: disabled" in text for text in texts):
        reason = f"it writes the network's configuration at boot: put `network: {{config: disabled}}` into {folder}"
        found.append(Setting(SUBJECT, "cloud-init", "configures the network", "does not", unsupported=reason))
    return found


def _netplan(devices: Iterable[str], system: System) -> Iterator[Setting]:
    """The files of netplan that name a port of the router, as an interface or as a bridge's (netplan(5))."""
    mine = set(devices)
    for path in (f"{folder}/{name}" for folder in _NETPLAN for name in system.names(folder) if name.endswith(".yaml")):
        lines = (line.partition("#")[0] for line in (system.read(path) or "").splitlines())
        named = sorted(mine & {word for line in lines for word in _WORD.findall(line)})
        if named:
            reason = "it has no effect while rbops has the port: take it out there"
            have = f"configures {', '.join(named)}"
            yield Setting(SUBJECT, f"netplan {path}", have, "leaves them alone", unsupported=reason)


def _ifupdown(devices: Iterable[str], system: System) -> Iterator[Setting]:
    """The router's ports that ifupdown configures too, at boot and when networking.service starts again."""
    folder = f"{_INTERFACES}.d"
    texts = [system.read(_INTERFACES) or "", *(system.read(f"{folder}/{name}") or "" for name in system.names(folder))]
    lines = [line.split() for text in texts for line in text.splitlines()]
    named = {
        name
        for words in lines
        if words and (words[0] in _STANZAS or words[0].startswith("allow-"))
        for name in words[1:]
    }
    mine = sorted(named & set(devices))
    if mine:
        reason = f"it configures {', '.join(mine)} too: take the stanza out of {_INTERFACES}"
        yield Setting(SUBJECT, "ifupdown", "configures ports", "leaves them alone", unsupported=reason)


def _firewall(system: System) -> Iterator[Setting]:
    """Chains that drop what the kernel forwards: an accept ends one chain only, no other can undo it (nft(8))."""
    try:
        done = system.run(("nft", "-j", "list", "chains"))
    except NotInstalled:
        return  # apply installs it
    listed = json.loads(done.stdout)["nftables"] if done.returncode == 0 and done.stdout else []
    chains = [entry["chain"] for entry in listed if "chain" in entry]
    for chain in chains:
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain["family"] in ("ip", "inet"):
            name = f"{chain['family']} {chain['table']} {chain['name']}"
            reason = (
                "what the kernel forwards for the data plane (neighbours without a `mac`, fragments to be made) is "
                "lost where no rule in it accepts the router's ports (beside Docker: in its chain DOCKER-USER)"
            )
            yield Setting(SUBJECT, f"firewall {name}", "drops by default", "accepts", unsupported=reason)
