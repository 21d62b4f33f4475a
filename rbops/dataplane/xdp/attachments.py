"""Which program runs on which device: the router's on its ports, and on no others. Standard library only."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from rbops.dataplane.xdp.layout import Device
from rbops.dataplane.xdp.libbpf import BpfError, Program, xdp_attach, xdp_attached, xdp_detach
from rbops.dataplane.xdp.pins import PROGRAMS, Loaded
from rbops.errors import Mismatch, Where

__all__ = ["attach", "attachment", "detach_others", "left_attached", "tag_of"]


def attachment(loaded: Loaded | None, device: Device, kind: str) -> str:
    """``native``: the load's program of that kind runs on a device. Otherwise what is there instead."""
    number, mode = xdp_attached(device.ifindex)
    if mode == "native" and loaded and number == loaded.programs[kind].id:
        return "native"
    if mode == "none":
        return "none"
    name = Program.from_id(number).name
    return "older program" if mode == "native" and name in PROGRAMS else f"{name} ({mode})"


def attach(loaded: Loaded, before: Loaded | None, ports: Sequence[tuple[Device, str]]) -> list[str]:
    """Attach the programs of a load to devices, by their ports' kinds; what was done. Where one fails, none is changed.

    Raises Mismatch (3) where another program runs there, BpfError where the driver has no native XDP.
    """
    todo = [(*port, state) for port in ports if (state := attachment(loaded, *port)) != "native"]
    for device, _, state in todo:
        if state not in ("none", "older program"):
            hint = f"`ip link set dev {device.name} xdp off` if nobody needs it"
            raise Mismatch(
                f"{device.name} runs another XDP program: {state}",
                hint=hint,
                code="xdp.other-program",
                where=Where(device=device.name),
            )
    done: list[str] = []
    for number, (device, kind, state) in enumerate(todo):
        try:
            xdp_attach(device.ifindex, loaded.programs[kind])
        except BpfError:
            _undo(todo[:number], before)
            raise
        done.append(f"attached to {device.name}" if state == "none" else f"replaced on {device.name}")
    return done


def _undo(new: list[tuple[Device, str, str]], before: Loaded | None) -> None:
    """Put back what ran on the devices that were changed."""
    for device, kind, state in new:
        if state == "none" or before is None:
            xdp_detach(device.ifindex)
        else:
            xdp_attach(device.ifindex, before.programs[kind])


def left_attached(loaded: Loaded | None, devices: list[Device]) -> dict[int, str]:
    """Devices that are not planned, any more, and have a program of the load: interface index -> name."""
    if loaded is None:
        return {}
    ours = {program.id for program in loaded.programs.values()}
    planned = {device.ifindex for device in devices}
    return {number: name for number, name in socket.if_nameindex() if number not in planned and _runs(number) in ours}


def _runs(ifindex: int) -> int:
    """The number of the program on a device in native mode; 0 for none, or where the device has just gone."""
    try:
        number, mode = xdp_attached(ifindex)
    except BpfError:
        return 0
    return number if mode == "native" else 0


def detach_others(loaded: Loaded | None, devices: list[Device]) -> list[str]:
    """Take the router off devices that are not planned any more; what was done."""
    left = left_attached(loaded, devices)
    for number in left:
        xdp_detach(number)
    return [f"detached from {name}" for name in left.values()]


def tag_of(number: int, loaded: Loaded | None) -> str | None:
    """A program's tag; only for one that is not our own does the kernel want CAP_SYS_ADMIN (None without)."""
    own = {program.id: program for program in (loaded.programs if loaded else {}).values()}
    try:
        return (own.get(number) or Program.from_id(number)).tag
    except BpfError as error:
        if error.errno == errno.EPERM:
            return None
        raise
