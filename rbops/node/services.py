"""Which services listen on the router's addresses: what else comes in on data ports finds nobody there.

An nftables table of rbops's own, ``ip rbops``, without state: ICMP is answered as RFC 1812 asks (4.3), a new connection
or datagram for a service that the spec does not name is refused as where nothing listens. It also keeps the two
networks apart for what the server forwards: nothing from a data port leaves by another device, nor the other way.
``ip6 rbops`` does the same where the router has IPv6.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from rbops.common.services import Service, services
from rbops.common.unnumbered import LINK_LOCAL
from rbops.node.rules import MARK
from rbops.node.schema import NodeConfig
from rbops.node.settings import Nft, Setting
from rbops.node.state import State, read_json, write_whole
from rbops.node.system import Done, NotInstalled, System
from rbops.node.table import has_ipv6

__all__ = ["SUBJECT", "remember", "ruleset", "settings"]

SUBJECT = "services"
_NAME = "router addresses"
_LIST = ("nft", "-s", "list", "table", "ip", "rbops")
GONE = "table ip rbops\ndelete table ip rbops\n"
"""For nft -f: removes the table, also where there is none."""
_LIST6 = ("nft", "-s", "list", "table", "ip6", "rbops")
GONE6 = "table ip6 rbops\ndelete table ip6 rbops\n"
"""The same of the table of IPv6."""

_DIGEST = re.compile(r'comment "rbops ([0-9a-f]{64})"')
_RULESET = """\
{gone}
table ip rbops {{
  comment "rbops {digest}"
  set ports {{
    type ifname
    elements = {{ {ports} }}
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != @ports accept
    ip protocol icmp icmp type {{ redirect, router-advertisement, timestamp-request, address-mask-request }} drop
    ip protocol icmp accept
    tcp flags & (fin | syn | rst | ack) != syn accept
{accepted}{sessions}    ip daddr 224.0.0.0/3 drop
    meta pkttype != host drop
    tcp flags & (fin | syn | rst | ack) == syn limit rate 100/second reject with tcp reset
    tcp flags & (fin | syn | rst | ack) == syn drop
    meta l4proto udp limit rate 100/second reject with icmp type port-unreachable
    limit rate 100/second reject with icmp type prot-unreachable
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname @ports oifname != @ports drop
    iifname != @ports oifname @ports drop
  }}
}}
"""

_RULESET6 = """\
{gone}
table ip6 rbops {{
  comment "rbops {digest}"
  set ports {{
    type ifname
    elements = {{ {ports} }}
  }}
  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname @ports meta mark set {mark}
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != @ports accept
{adverts}    icmpv6 type {{ nd-router-advert, nd-redirect }} drop
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} drop
    meta l4proto 58 accept
    tcp flags & (fin | syn | rst | ack) != syn accept
{accepted}{sessions}    ip6 daddr ff00::/8 drop
    meta pkttype != host drop
    tcp flags & (fin | syn | rst | ack) == syn limit rate 100/second reject with tcp reset
    tcp flags & (fin | syn | rst | ack) == syn drop
    limit rate 100/second reject with icmpv6 type port-unreachable
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname @ports oifname != @ports drop
    iifname != @ports oifname @ports drop
  }}
}}
"""


_ADVERTS = f"    iifname {{}} ip6 saddr {LINK_LOCAL} icmpv6 type nd-router-advert ip6 hoplimit 255 accept\n"
"""For a daemon that finds a port's neighbour by them (RFC 4861, 6.1.2); the kernel takes none on data ports.

Not on others: zebra gives whoever advertises itself the neighbour 169.254.0.1, which is one of the fabric's next hops.
"""


def ruleset6(
    allowed: Sequence[Service],
    devices: Sequence[str],
    sessions: Sequence[tuple[Service, str]] = (),
    found: Sequence[str] = (),
) -> str:
    """The table of IPv6, whose packets it marks besides (``rules.py``); ``found``: where neighbours are looked for."""
    ports = ", ".join(f'"{name}"' for name in devices)
    parts = {"accepted": "".join(_accepted(allowed, "meta l4proto")), "mark": str(MARK)}
    parts["sessions"] = "".join(_session(*each) for each in sessions)
    parts["adverts"] = "".join(_ADVERTS.format(f'"{name}"') for name in found)
    text = _RULESET6.format(gone=GONE6, ports=ports, digest="{digest}", **parts)
    return text.replace("{digest}", _digest(text))


def ruleset(allowed: Sequence[Service], devices: Sequence[str], sessions: Sequence[tuple[Service, str]] = ()) -> str:
    """What nft reads: the table as a whole, in place of one that is there. ``sessions``: those of a prefix."""
    rules = _accepted(allowed, "ip protocol")
    ports = ", ".join(f'"{name}"' for name in devices)
    parts = {"accepted": "".join(rules), "sessions": "".join(_session(*each) for each in sessions)}
    text = _RULESET.format(gone=GONE, ports=ports, digest="{digest}", **parts)
    return text.replace("{digest}", _digest(text))


def _accepted(allowed: Sequence[Service], by_number: str) -> list[str]:
    """``by_number``: how nft calls an IP protocol's number."""
    rules = []
    for protocol in ("tcp", "udp"):
        numbers = sorted({each.number for each in allowed if each.protocol == protocol})
        if numbers:
            rules.append(f"    {protocol} dport {{ {', '.join(map(str, numbers))} }} accept\n")
    numbers = sorted({each.number for each in allowed if each.protocol == "ip"})
    if numbers:
        rules.append(f"    {by_number} {{ {', '.join(map(str, numbers))} }} accept\n")
    return rules


def settings(
    config: NodeConfig, devices: Sequence[str], state: State, system: System, found: Sequence[str] = ()
) -> list[Setting]:
    """One setting a family: whether the table is there, made of this text, and listed as when it was made.

    ``found``: the devices on which a routing daemon looks for its neighbour.
    """
    if config.services is None:
        return []
    asked = config.routing.sessions if config.routing else ()
    sessions = [(each, session.source) for session in asked for each in services(session.service)]
    four, six = ([each for each in sessions if (":" in each[1]) == ipv6] for ipv6 in (False, True))
    text = ruleset(_wanted(config.services), devices, four)
    want = ", ".join(config.services) or "none but ICMP"
    if sessions:
        want += f", {len(asked)} of the routing daemon's"
    known = read_json(state.services) or {}
    made = [_setting(_NAME, text, _LIST, known, want, GONE, system)]
    if has_ipv6(config):
        text = ruleset6(_wanted(config.services), devices, six, found)
        record = {"made": known.get("made6", ""), "listed": known.get("listed6", "")}
        made.append(_setting(f"{_NAME}, IPv6", text, _LIST6, record, want, GONE6, system))
    return made


def _setting(
    name: str, text: str, listing: tuple[str, ...], known: Mapping[str, str], want: str, gone: str, system: System
) -> Setting:
    try:
        done = system.run(listing)
    except NotInstalled:
        # Apply's role installs it first.
        done = Done(1, "", "")
    have = "not limited" if done.returncode else want
    if not done.returncode and not _same(text, done.stdout, known):
        have = f"another table {listing[-2]} rbops"
    return Setting(SUBJECT, name, have, want, (Nft(text),), (Nft(gone),))


def remember(config: NodeConfig, state: State, system: System) -> None:
    """After it was made: how the kernel lists it, which differs by version of nft."""
    if config.services is None:
        state.services.unlink(missing_ok=True)
        return
    listed = system.run(_LIST).stdout
    made = _DIGEST.search(listed)
    record = {"made": made[1] if made else "", "listed": _digest(listed)}
    if has_ipv6(config):
        listed = system.run(_LIST6).stdout
        made = _DIGEST.search(listed)
        record |= {"made6": made[1] if made else "", "listed6": _digest(listed)}
    if read_json(state.services) != record:
        write_whole(state.services, json.dumps(record).encode())


def _same(text: str, listed: str, record: Mapping[str, str]) -> bool:
    """The table carries the digest of the text that it was made of; its rules may have been changed since."""
    made, want = _DIGEST.search(listed), _DIGEST.search(text)
    if made is None or want is None or made[1] != want[1]:
        return False
    return record.get("made") != made[1] or record.get("listed") == _digest(listed)


def _session(service: Service, source: str) -> str:
    family = "ip6" if ":" in source else "ip"
    if service.protocol == "ip":
        by_number = "meta l4proto" if family == "ip6" else "ip protocol"
        return f"    {family} saddr {source} {by_number} {service.number} accept\n"
    return f"    {family} saddr {source} {service.protocol} dport {service.number} accept\n"


def _wanted(words: Iterable[str]) -> list[Service]:
    return [each for word in words for each in services(word)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
