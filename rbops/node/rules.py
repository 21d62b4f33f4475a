"""Policy rules: what comes in on data ports is routed by the router's own table and by nothing else.

Without them a packet that the data plane hands to the kernel for want of a route would leave by the
management's default route. What this server sends itself follows the router's table only for more
than a default route, except from the router's own addresses: ICMP errors go back as they came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface
from typing import Any

from rbops.errors import CheckFailed
from rbops.node.devices import TABLE
from rbops.node.schema import NodeConfig
from rbops.node.settings import Ip, Setting
from rbops.node.system import System

__all__ = ["SUBJECT", "parse", "read", "settings"]

SUBJECT = "policy rules"
_LOOKUP, _END, _LOCAL = 8201, 8202, 8203


def read(system: System) -> tuple[str, ...]:
    """The rules at rbops's own preferences, as ``ip rule`` takes them."""
    done = system.run(("ip", "-json", "-4", "rule", "show"))
    if done.returncode:
        raise CheckFailed(f"ip rule show: {done.stderr.strip()}", code="node.ip")
    return parse(done.stdout)


def parse(text: str) -> tuple[str, ...]:
    """Facts from the JSON of ``ip rule show``."""
    rules = json.loads(text or "[]")
    return tuple(_text(rule) for rule in rules if _LOOKUP <= int(rule.get("priority", 0)) <= _LOCAL)


def settings(config: NodeConfig, devices: Mapping[str, str], facts: Iterable[str]) -> list[Setting]:
    """One setting a rule; strangers at these preferences go."""
    names = [devices[port.name] for port in config.kernel_ports]
    addresses = [address for port in config.kernel_ports for address in port.addresses]
    if config.host is not None:
        names.append(config.host.device)
        addresses += config.host.addresses
    own = list(dict.fromkeys(str(IPv4Interface(address).ip) for address in addresses))
    want = [f"pref {_LOOKUP} from {address} lookup {TABLE}" for address in own]
    want += [f"pref {_LOOKUP} iif {name} lookup {TABLE}" for name in names]
    want += [f"pref {_END} iif {name} unreachable" for name in names]
    want.append(f"pref {_LOCAL} iif lo lookup {TABLE} suppress_prefixlength 0")
    have = set(facts)
    gone = [
        Setting(SUBJECT, rule, "present", "absent", (Ip(f"rule del {rule}"),), (Ip(f"rule add {rule}"),))
        for rule in sorted(have - set(want))
    ]
    return gone + [
        Setting(
            SUBJECT,
            rule,
            "present" if rule in have else "absent",
            "present",
            (Ip(f"rule add {rule}"),),
            (Ip(f"rule del {rule}"),),
        )
        for rule in want
    ]


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
