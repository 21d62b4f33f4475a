"""Policy rules: what comes in on data ports is routed by the router's own table and by nothing else.

The kernel looks into its table of local addresses before all others, so that a management address would answer on a
data port (ARP, ping, SSH). Its rule therefore comes after those of the data ports; the router's own table has the
router's own addresses (``table.py``). What comes from one of these addresses follows that table or is unreachable
too: answers and ICMP errors go back as the packet came, never by the management network's routes. What this server
sends otherwise follows the router's table for more than a default route.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface
from typing import Any

from rbops.errors import CheckFailed
from rbops.node.devices import TABLE, VRF
from rbops.node.schema import NodeConfig
from rbops.node.settings import Ip, Run, Setting
from rbops.node.system import System

__all__ = ["LOCAL", "MARK", "SUBJECT", "SUBJECT6", "parse", "read", "settings", "settings6"]

SUBJECT, SUBJECT6 = "policy rules", "IPv6 policy rules"
MARK = 82
"""What packets from data ports are marked with (``services.py``): the kernel marks its IPv6 answers alike."""
_NEAR, _LOOKUP, _END, _LOCAL, _OWN = 81, 82, 83, 84, 85
LOCAL = f"pref {_LOCAL} lookup local"
"""The kernel's own first rule, at its new place."""
_LOCAL_FIRST = "pref 0 lookup local"
# The kernel's own: managers of networks leave rules of this protocol alone.
_PROTOCOL = {LOCAL: " protocol kernel", _LOCAL_FIRST: " protocol kernel"}


def read(system: System, family: str = "-4") -> tuple[str, ...]:
    """The rules at rbops's own preferences and the kernel's first, as ``ip rule`` takes them."""
    done = system.run(("ip", "-json", family, "rule", "show"))
    if done.returncode:
        raise CheckFailed(f"ip rule show: {done.stderr.strip()}", code="node.ip")
    return parse(done.stdout)


def parse(text: str) -> tuple[str, ...]:
    """Facts from the JSON of ``ip rule show``."""
    rules = [(int(rule.get("priority", 0)), _text(rule)) for rule in json.loads(text or "[]")]
    return tuple(rule for pref, rule in rules if _NEAR <= pref <= _OWN or rule == _LOCAL_FIRST)


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


def settings6(
    config: NodeConfig, devices: Mapping[str, str], facts: Iterable[str], *, vrf: bool = False
) -> list[Setting]:
    """The same of IPv6. Link-local addresses and groups, which each device has for itself, stay where they are.

    The source of an ICMPv6 error is not known when its route is looked for: its mark leads it.
    """
    names, own = _ours(config, devices, vrf=vrf, ipv6=True)
    ours = [*(f"from {address}" for address in own), *(f"iif {name}" for name in names), f"fwmark {MARK:#x}"]
    near = [f"to fe80::/10 lookup {table}" for table in ("local", "main")] + ["to ff00::/8 lookup local"]
    want = [*(f"pref {_NEAR} {each}" for each in near), *_in_order(ours)]
    have = set(facts)
    found = [_setting6(rule, now="present", want="absent") for rule in sorted(have - set(want) - {_LOCAL_FIRST})]
    found += [_setting6(rule, now="present" if rule in have else "absent", want="present") for rule in want]
    return found + ([_setting6(_LOCAL_FIRST, now="present", want="absent")] if _LOCAL_FIRST in have else [])


def _setting6(rule: str, *, now: str, want: str) -> Setting:
    """The kernel's own first rule comes back when its new place goes, which may be long before all goes."""
    add = Run(("ip", "-6", "rule", "add", *f"{rule}{_PROTOCOL.get(rule, '')}".split()))
    gone = Run(("ip", "-6", "rule", "del", *rule.split()))
    if want == "absent":
        return Setting(SUBJECT6, rule, now, want, (gone,), () if rule == _LOCAL_FIRST else (add,))
    first = Run(("ip", "-6", "rule", "add", *f"{_LOCAL_FIRST}{_PROTOCOL[_LOCAL_FIRST]}".split()))
    return Setting(SUBJECT6, rule, now, want, (add,), (first, gone) if rule == LOCAL else (gone,))


def _wanted(config: NodeConfig, devices: Mapping[str, str], *, vrf: bool) -> list[str]:
    names, own = _ours(config, devices, vrf=vrf, ipv6=False)
    return _in_order([*(f"from {address}" for address in own), *(f"iif {name}" for name in names)])


def _in_order(ours: Sequence[str]) -> list[str]:
    # An unreachable route in the table would do as well as rules, but for the last rule: it would end there, too.
    return [
        *(f"pref {_LOOKUP} {each} lookup {TABLE}" for each in ours),
        *(f"pref {_END} {each} unreachable" for each in ours),
        LOCAL,
        f"pref {_OWN} iif lo lookup {TABLE} suppress_prefixlength 0",
    ]


def _ours(config: NodeConfig, devices: Mapping[str, str], *, vrf: bool, ipv6: bool) -> tuple[list[str], Iterable[str]]:
    """The data ports' devices, and the router's own addresses of a family."""
    names = [devices[port.name] for port in config.kernel_ports]
    addresses = [address for port in config.kernel_ports for address in port.addresses]
    if config.host is not None:
        names.append(config.host.device)
        addresses += config.host.addresses
    names += [tunnel.device for tunnel in config.tunnels]
    # The kernel looks for a way to the peer from the tunnel's address, on whichever server.
    addresses += [f"{tunnel.local}/32" for tunnel in config.tunnels]
    if vrf:
        names.append(VRF)
    own = (str(ip_interface(address).ip) for address in addresses if (":" in address) == ipv6)
    return names, dict.fromkeys(own)


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
    if rule.get("dst", "all") != "all":
        length = f"/{rule['dstlen']}" if "dstlen" in rule else ""
        words.append(f"to {rule['dst']}{length}")
    if "fwmark" in rule:
        words.append(f"fwmark {rule['fwmark']}")
    if "iif" in rule:
        words.append(f"iif {rule['iif']}")
    words.append(str(rule["action"]) if "action" in rule else f"lookup {rule.get('table')}")
    if "suppress_prefixlen" in rule:
        words.append(f"suppress_prefixlength {rule['suppress_prefixlen']}")
    return " ".join(words)
