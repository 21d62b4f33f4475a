"""The shipped server profiles, by the name that ``servers.profile`` gives.

``nehalem`` is the paper's server (4.1, Tables 2 and 3), ``nehalem_next`` its expected follow-up (5.3);
``current``, ``more_nics`` and ``faster`` are the configurations of Fig. 3; ``integrated`` is the 1U
server of section 8 with its Ethernet on the motherboard; ``lab`` is one system of the nspawn lab. The
servers of today are in ``rbops.hardware.modern``. ``vagrant`` is one virtual machine of the Vagrant lab.
"""

from __future__ import annotations

from dataclasses import replace

from rbops.hardware import costs
from rbops.hardware.model import Card, Component, Components, Core, Machine, Slot
from rbops.hardware.modern import modern_profiles
from rbops.hardware.scaling import next_generation

__all__ = ["names", "profile"]

GBPS = 1_000_000_000
_FIG3 = "RouteBricks 3.3, Fig. 3 (a server that carries its ports at 3R; prices from 6.2)"


def names() -> tuple[str, ...]:
    """The names of all profiles, sorted."""
    return tuple(sorted(machine.name for machine in _all()))


def profile(name: str) -> Machine:
    """The profile called ``name``; KeyError when there is none."""
    for machine in _all():
        if machine.name == name:
            return machine
    raise KeyError(name)


def _all() -> tuple[Machine, ...]:
    return (_nehalem(), next_generation(_nehalem()), *_fig3(), _integrated(), _lab(), _vagrant(), *modern_profiles())


def _paper_cores() -> tuple[Core, ...]:
    return tuple(Core(id=cpu, socket=cpu // 4, core=cpu % 4, numa_node=cpu // 4) for cpu in range(8))


def _nehalem() -> Machine:
    card = Card("ixgbe", ports=2, port_rate_bps=10 * GBPS, queues=32, achievable_bps=12_300_000_000)
    return Machine(
        name="nehalem",
        source="RouteBricks (SOSP 2009) 4.1, Tables 1-3; power and price are RB4's, 6.2, divided by four",
        cores=_paper_cores(),
        clock_hz=2_800_000_000,
        slots=(Slot((card,)), Slot((card,))),
        components=_paper_components(),
        loads=costs.paper_loads(),
        costs=costs.paper_costs(),
        batching=costs.paper_batching(),
        latency=costs.paper_latency(),
        calibrated=True,
        possible_cpus=8,
        power_w=650.0,
        price_usd=3625.0,
    )


def _paper_components() -> Components:
    """Table 2. The two benchmarks that were forwarding itself ended at the NICs, not at the bus."""
    return Components(
        memory=Component(410 * GBPS, 262 * GBPS, 262 * GBPS, "empirical: stream with random access (Table 2)"),
        io=Component(
            400 * GBPS,
            117 * GBPS,
            320 * GBPS,
            "80 % of nominal, as 5.3 assumes: Table 2's 117 Gbps was forwarding that the NICs limited",
        ),
        inter_socket=Component(200 * GBPS, 144_340_000_000, 144_340_000_000, "empirical: stream (Table 2)"),
        pcie=Component(
            64 * GBPS,
            50_800_000_000,
            64 * GBPS,
            "nominal: Table 2's 50.8 Gbps was forwarding that the NICs limited; what a slot carries is its NIC's",
        ),
    )


def _fig3() -> tuple[Machine, ...]:
    return tuple(
        _configuration(name, slots, ports)
        for name, slots, ports in (("current", 5, 1), ("more_nics", 20, 1), ("faster", 20, 2))
    )


def _configuration(name: str, slots: int, ports: int) -> Machine:
    ten = Card("ixgbe", ports=2, port_rate_bps=10 * GBPS, queues=32)
    one = Card("igb", ports=8, port_rate_bps=GBPS, queues=8)
    return Machine(
        name=name,
        source=_FIG3,
        cores=_paper_cores(),
        clock_hz=2_800_000_000,
        slots=(Slot((one, ten)),) * slots,
        components=Components(),
        loads=costs.paper_loads(),
        costs=costs.paper_costs(),
        batching=costs.paper_batching(),
        latency=costs.paper_latency(),
        calibrated=True,
        processing_bps=3 * ports * 10 * GBPS,
        external_ports=ports,
        possible_cpus=8,
        power_w=650.0,
        price_usd=2000.0,
    )


def _integrated() -> Machine:
    """2 x 10 Gbps and 30 x 1 Gbps on the motherboard for 48 W more (paper 8); the rest is a server of Fig. 3."""
    ten = Card("ixgbe", ports=2, port_rate_bps=10 * GBPS, queues=32)
    ones = (Card("igb", ports=ports, port_rate_bps=GBPS, queues=8) for ports in (8, 8, 8, 6))
    return replace(
        _configuration("integrated", 1, 1),
        source="RouteBricks 8, form factor (a back-of-the-envelope estimate, the paper says)",
        slots=(Slot((ten,)), *(Slot((one,)) for one in ones)),
        power_w=650.0 + 48.0,
        price_usd=None,
    )


def _lab() -> Machine:
    veth = Card("veth", ports=1, port_rate_bps=10 * GBPS, queues=2)
    return Machine(
        name="lab",
        source="one system of the nspawn lab: two CPUs of the host, veth cables; costs estimated",
        cores=(Core(0, 0, 0, 0), Core(1, 0, 1, 0)),
        clock_hz=2_500_000_000,
        slots=(Slot((veth,)),) * 64,
        components=Components(),
        loads=costs.paper_loads(),
        costs=costs.modern_costs(),
        batching=costs.modern_batching(),
        latency=costs.modern_latency(),
        calibrated=False,
        external_ports=1,
        possible_cpus=2,
    )


def _vagrant() -> Machine:
    """Housekeeping CPUs 0 and 1, so that 2 and 3 can be isolated; CPU id modulo rings makes them rings 0 and 1."""
    virtio = Card("virtio_net", ports=1, port_rate_bps=10 * GBPS, queues=2)
    return replace(
        _lab(),
        name="vagrant",
        source="one virtual machine of the Vagrant lab: four CPUs of its own, virtio cards; costs estimated",
        cores=tuple(Core(cpu, 0, cpu, 0) for cpu in range(4)),
        slots=(Slot((virtio,)),) * 20,
        reserve=2,
        possible_cpus=4,
    )
