"""Open vSwitch's kernel datapath without its daemon: ``python -m tests.node.ovs PORT`` makes one and gives it a port.

By generic netlink (linux/openvswitch.h, Documentation/networking/openvswitch.rst).
"""

from __future__ import annotations

import socket
import struct
import sys

_GENERIC, _CONTROL = 16, 16  # NETLINK_GENERIC, GENL_ID_CTRL
_REQUEST_ACK = 5
_GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 3, 1, 2
_NEW = 1  # OVS_DP_CMD_NEW and OVS_VPORT_CMD_NEW
_DATAPATH_NAME, _DATAPATH_UPCALL = 1, 2
_PORT_TYPE, _PORT_NAME, _PORT_UPCALL = 2, 3, 5
_NETDEV = 1  # OVS_VPORT_TYPE_NETDEV


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _ask(kernel: socket.socket, family: int, command: int, version: int, body: bytes) -> bytes:
    """The answer's body; OSError with the kernel's number when it refuses."""
    payload = struct.pack("=BBH", command, version, 0) + body
    kernel.send(struct.pack("=IHHII", 16 + len(payload), family, _REQUEST_ACK, 1, 0) + payload)
    answer = kernel.recv(65536)
    if struct.unpack_from("=H", answer, 4)[0] == 2 and (error := struct.unpack_from("=i", answer, 16)[0]):
        raise OSError(-error, f"command {command} of family {family}")
    return answer[20:]


def _family(kernel: socket.socket, name: str) -> int:
    answer = _ask(kernel, _CONTROL, _GETFAMILY, 1, _attribute(_FAMILY_NAME, name.encode() + b"\0"))
    kernel.recv(65536)  # the acknowledgement
    at = 0
    while at < len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _FAMILY_ID:
            return int(struct.unpack_from("=H", answer, at + 4)[0])
        at += -(-length // 4) * 4
    raise LookupError(name)


def main(device: str) -> None:
    """Make the datapath dp0 in this namespace with ``device`` as its port; its packets go to no daemon."""
    nobody = struct.pack("=I", 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC) as kernel:
        kernel.bind((0, 0))
        datapath, port = (_family(kernel, name) for name in ("ovs_datapath", "ovs_vport"))
        body = _attribute(_DATAPATH_NAME, b"dp0\0") + _attribute(_DATAPATH_UPCALL, nobody)
        _ask(kernel, datapath, _NEW, 2, struct.pack("=i", 0) + body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC) as kernel:
        body = _attribute(_PORT_TYPE, struct.pack("=I", _NETDEV)) + _attribute(_PORT_NAME, device.encode() + b"\0")
        body += _attribute(_PORT_UPCALL, nobody)
        _ask(kernel, port, _NEW, 1, struct.pack("=i", socket.if_nametoindex("dp0")) + body)


if __name__ == "__main__":
    main(sys.argv[1])
