"""Policy rules: what comes in on data ports is routed by the router's own table and by nothing else.

The kernel looks into its table of local addresses before all others, so that a management address would answer on a
data port (ARP, ping, SSH). Its rule therefore comes after those of the data ports; the router's own table has the
router's own addresses (``table.py``). What comes from one of these addresses follows that table or is unreachable
too: answers and ICMP errors go back as the packet came, never by the management network's routes. What this server
sends otherwise follows the router's table for more than a default route.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface
from typing import Any

from rbops.errors import CheckFailed
from rbops.node.devices import TABLE, VRF
from rbops.node.schema import NodeConfig
from rbops.node.settings import Ip, Setting
from rbops.node.system import System

__all__ = ["LOCAL", "SUBJECT", "parse", "read", "settings"]

SUBJECT = "policy rules"
_LOOKUP, _END, _LOCAL, _OWN = 82, 83, 84, 85
LOCAL = f"pref {_LOCAL} lookup local"
"""The kernel's own first rule, at its new place."""
_LOCAL_FIRST = "pref 0 lookup local"
# The kernel's own: managers of networks leave rules of this protocol alone.
_PROTOCOL = {LOCAL: " protocol kernel", _LOCAL_FIRST: " protocol kernel"}


def read(system: System) -> tuple[str, ...]:
    """The rules at rbops's own preferences and the kernel's first, as ``ip rule`` takes them."""
    done = system.run(("ip", "-json", "-4", "rule", "show"))
    if done.returncode:
        raise CheckFailed(f"ip rule show: {done.stderr.strip()}", code="node.ip")
    return parse(done.stdout)


def parse(text: str) -> tuple[str, ...]:
    """Facts from the JSON of ``ip rule show``."""
    rules = [(int(rule.get("priority", 0)), _text(rule)) for rule in json.loads(text or "[]")]
    return tuple(rule for pref, rule in rules if _LOOKUP <= pref <= _OWN or rule == _LOCAL_FIRST)


def settings(
    config: NodeConfig, devices: Mapping[str, str], facts: Iterable[str], *, vrf: bool = False
) -> list[Setting]:
    """One setting a rule; strangers at these preferences go, and the kernel's first when it has its new place.

    ``vrf``: the ports are in the VRF, whose device counts as one of them.
    """
    want, have = _wanted(config, devices, vrf=vrf), set(facts)
    gone = sorted(have - set(want) - {_LOCAL_FIRST})
    found = [_absent(rule) for rule in gone]
    found += [_present(rule, there=rule in have) for rule in want]
    return found + ([_absent(_LOCAL_FIRST)] if _LOCAL_FIRST in have else [])


def _wanted(config: NodeConfig, devices: Mapping[str, str], *, vrf: bool) -> list[str]:
    names = [devices[port.name] for port in config.kernel_ports]
    addresses = [address for port in config.kernel_ports for address in port.addresses]
    if config.host is not None:
        names.append(config.host.device)
        addresses += config.host.addresses
    if vrf:
        names.append(VRF)
    own = dict.fromkeys(str(IPv4Interface(address).ip) for address in addresses)
    ours = [*(f"from {address}" for address in own), *(f"iif {name}" for name in names)]
    # An unreachable route in the table would do as well as rules, but for the last rule: it would end there, too.
    return [
        *(f"pref {_LOOKUP} {each} lookup {TABLE}" for each in ours),
        *(f"pref {_END} {each} unreachable" for each in ours),
        LOCAL,
        f"pref {_OWN} iif lo lookup {TABLE} suppress_prefixlength 0",
    ]


def _present(rule: str, *, there: bool) -> Setting:
    return Setting(SUBJECT, rule, "present" if there else "absent", "present", (_add(rule),), (Ip(f"rule del {rule}"),))


def _absent(rule: str) -> Setting:
    return Setting(SUBJECT, rule, "present", "absent", (Ip(f"rule del {rule}"),), (_add(rule),))


def _add(rule: str) -> Ip:
    return Ip(f"rule add {rule}{_PROTOCOL.get(rule, '')}")


def _text(rule: Mapping[str, Any]) -> str:
    words = [f"pref {rule['priority']}"]
    if rule.get("src", "all") != "all":
        length = f"/{rule['srclen']}" if "srclen" in rule else ""
        words.append(f"from {rule['src']}{length}")
    if "iif" in rule:
        words.append(f"iif {rule['iif']}")
    words.append(str(rule["action"]) if "action" in rule else f"lookup {rule.get('table')}")
    if "suppress_prefixlen" in rule:
        words.append(f"suppress_prefixlength {rule['suppress_prefixlen']}")
    return " ".join(words)
