"""``hardware:`` of a spec, or of a file that it names, as a ``Machine``."""

from __future__ import annotations

from rbops.hardware import costs
from rbops.hardware.model import Card, Component, Components, Core, Machine, Slot
from rbops.hardware.modern import logical_cores
from rbops.hardware.pcie import PCIE_SHARE, slot_bps
from rbops.spec.hardware import Bound, Hardware, Nic
from rbops.spec.hardware import Slot as PcieSlot

__all__ = ["machine"]


def machine(hardware: Hardware) -> Machine:
    """The machine that ``hardware`` describes.

    The cost of a packet is not part of it: it is estimated, and the machine says that it is not
    calibrated. Bounds with a benchmark use it, those without use what the data sheet says; PCIe follows
    from the slots where nothing else is said.
    """
    known = tuple(Core(cpu.id, cpu.socket, cpu.core, cpu.numa_node) for cpu in hardware.cpus)
    cores = known or logical_cores(
        hardware.sockets, hardware.cores_per_socket, hardware.threads_per_core, hardware.numa_nodes
    )
    slots = {slot.name: slot for slot in hardware.slots}
    bounds = hardware.bounds
    used = tuple(nic for nic in hardware.nics if _usable(nic))
    return Machine(
        name=hardware.name,
        source="the spec's hardware section; costs estimated",
        cores=tuple(core for core in cores if core.id not in hardware.offline),
        clock_hz=hardware.clock_hz,
        slots=tuple(_slot(nic, slots.get(nic.slot or "")) for nic in used),
        components=Components(
            memory=_component(bounds.memory),
            io=_component(bounds.io),
            inter_socket=_component(bounds.inter_socket),
            pcie=_component(bounds.pcie) or _buses([slots.get(nic.slot or "") for nic in used]),
        ),
        loads=costs.paper_loads(),
        costs=costs.modern_costs(),
        batching=costs.modern_batching(),
        latency=costs.modern_latency(),
        calibrated=False,
        housekeeping=hardware.housekeeping,
        reserve=1 if len(cores) > 1 else 0,
        possible_cpus=1 + max((*(core.id for core in cores), *hardware.offline)),
        power_w=hardware.power_w,
        price_usd=hardware.price_usd,
        rack_units=hardware.rack_units,
    )


def _usable(nic: Nic) -> bool:
    return nic.ports > sum(device.management for device in nic.devices)


def _slot(nic: Nic, place: PcieSlot | None) -> Slot:
    """A card in its slot: what the slot carries limits it, unless the spec says what the card achieves (paper 4.1)."""
    ports = nic.ports - sum(device.management for device in nic.devices)
    achievable = nic.achievable_bps
    if achievable is None and place is not None:
        achievable = round(PCIE_SHARE * slot_bps(place.generation, place.lanes))
    card = Card(nic.driver, ports, nic.port_rate_bps, nic.queues, achievable)
    node = nic.numa_node if nic.numa_node is not None or place is None else place.numa_node
    return Slot((card,), node)


def _buses(places: list[PcieSlot | None]) -> Component | None:
    """PCIe as a whole, both directions; None where some card's slot is not described."""
    known = {place.name: place for place in places if place is not None}
    if None in places or not known:
        return None
    nominal = sum(2 * slot_bps(place.generation, place.lanes) for place in known.values())
    return Component(nominal, None, round(nominal * PCIE_SHARE), "80 % of the slots' nominal rates: protocol headers")


def _component(bound: Bound | None) -> Component | None:
    if bound is None:
        return None
    usable = bound.empirical_bps if bound.empirical_bps is not None else bound.nominal_bps
    return Component(bound.nominal_bps, bound.empirical_bps, usable, "as the spec says")
