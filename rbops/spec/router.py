"""The section ``router:``: N external ports of rate R (paper 2), and with which packets."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from rbops.common.limits import MAX_EXTERNAL_PORTS
from rbops.spec.scalars import FilePath, Packets, Rate, ServiceName, number, one_of
from rbops.spec.section import CONFIG, Section, default, key

__all__ = ["RULES", "Application", "Guarantee", "Router", "Rule", "Separation", "Traffic", "Urpf"]

Application = Literal["forward", "route", "ipsec"]
Traffic = Literal["uniform", "worst-case"]
Guarantee = Literal["best-effort", "line-rate"]
Separation = Literal["auto", "vrf", "rules"]
Rule = Literal["shared-queues", "cross-core"]
Urpf = Literal["off", "loose", "strict"]

RULES: Mapping[str, Literal["rule1", "rule2"]] = {"shared-queues": "rule1", "cross-core": "rule2"}
"""What may be allowed -> the paper's rule (section 4.2) that it breaks, as plans name it."""


def _each_once(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(sorted(set(rules)))


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


@dataclass(frozen=True, slots=True, config=CONFIG)
class Router(Section):
    """What the router must do."""

    external_ports: Annotated[int, number(1, MAX_EXTERNAL_PORTS), Field(examples=[4, 32])]
    """How many external ports the router has: N, at most 4096."""
    line_rate_bps: Annotated[Rate, key("line_rate")]
    """The rate R of each external port."""
    application: Annotated[Application, one_of(Application)] = "route"
    """forward: from port to port; route: longest-prefix match; ipsec: encrypt every packet (Click only)."""
    traffic: Annotated[Traffic, one_of(Traffic)] = "worst-case"
    """uniform: servers process 2R per port; worst-case: 3R, for any traffic matrix."""
    packets: Packets = default(64, "64B")
    """The size of packets to plan for, 64B to 1518B, or the mix abilene or imix."""
    guarantee: Annotated[Guarantee, one_of(Guarantee)] = "best-effort"
    """line-rate makes it an error when the servers cannot sustain R on every port; best-effort warns."""
    allow: Annotated[tuple[Annotated[Rule, one_of(Rule)], ...], AfterValidator(_each_once)] = ()
    """shared-queues: cores may share queues; cross-core: packets may change cores; each is reported with its cost."""
    urpf: Annotated[Urpf, one_of(Urpf)] = "off"
    """Sources at external ports: loose, a route must lead to them; strict, one by the port that they come in at."""
    separation: Annotated[Separation, one_of(Separation)] = "auto"
    """How servers keep their management network apart: vrf, rules, or auto for a VRF where the kernel has them."""
    services: Annotated[tuple[ServiceName, ...], AfterValidator(_in_order)] = ()
    """Services on the router's addresses but ICMP: ssh, bgp, bfd, ospf, snmp, ntp, tcp/PORT, udp/PORT ip/NUMBER."""
    click_element: Annotated[FilePath | None, Field(examples=["firewall.click"])] = None
    """A Click file whose compound element is put in the packets' way at the input server (Click only)."""

    @property
    def allowed_rules(self) -> tuple[str, ...]:
        """The paper's rules that may be broken."""
        return tuple(RULES[name] for name in self.allow)
