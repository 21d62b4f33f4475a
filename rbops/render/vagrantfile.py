"""A cluster of virtual machines as a Vagrantfile, for libvirt and for VirtualBox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbops.render.templates import template

__all__ = ["FIRST_SLOT", "MANAGEMENT_SLOT", "MOST_PORTS", "VagrantPort", "VagrantServer", "vagrantfile"]

MANAGEMENT_SLOT = 0x05
"""PCI slot of the management NIC on bus 0; the box knows it by that."""

FIRST_SLOT = 0x08
"""PCI slot of a server's first port; the others follow."""

MOST_PORTS = 20
"""libvirt's own devices have the other slots."""


@dataclass(frozen=True, slots=True)
class VagrantPort:
    """A NIC on ``network``, which has one other member: ``peer``. ``slot`` is its PCI slot on bus 0."""

    name: str
    peer: str
    network: str
    mac: str
    queues: int
    mtu: int
    slot: int


@dataclass(frozen=True, slots=True)
class VagrantServer:
    """A machine: ``release`` is Debian's, ``box`` libvirt's, ``mac`` its management NIC's.

    ``console`` and ``provision`` are relative to the Vagrantfile.
    """

    name: str
    release: str
    box: str
    cpus: int
    memory_mb: int
    mac: str
    console: str
    provision: str
    ports: tuple[VagrantPort, ...]


def vagrantfile(
    cluster: str,
    digest: str,
    servers: Sequence[VagrantServer],
    *,
    management: str,
    emulated: bool,
    boot_timeout_s: int,
) -> bytes:
    """The Vagrantfile of ``servers`` on the ``management`` network (``10.82.7.0/24``).

    ``emulated``: QEMU interprets the machines instead of running them on KVM.
    """
    return template(
        "vagrant/Vagrantfile",
        cluster=cluster,
        digest=digest,
        servers=servers,
        management=management,
        management_slot=MANAGEMENT_SLOT,
        driver="qemu" if emulated else "kvm",
        cpu_mode="maximum" if emulated else "host-passthrough",
        boot_timeout_s=boot_timeout_s,
        nics=1 + max((len(server.ports) for server in servers), default=0),
    )
