"""What Click's elements cannot express of a spec: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.dataplane.click import kernel_mode
from rbops.dataplane.xdp.controller.onepath import one_path
from rbops.hardware.costs import DESCRIPTORS_PER_TRANSACTION
from rbops.planning.servers import Built
from rbops.spec.document import Spec
from rbops.spec.punts import Punts
from rbops.topology.choice import Choice

__all__ = ["batching", "limits"]

_DPDK_TIMEOUT_S = 0.0005
_SHOWN = 8


def limits(spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
    """Cables of a fly with more to carry, what is not refused at the ports, not limited on the way to the kernel."""
    yield from one_path("Click data plane", spec, choice, built)
    checked = [
        port for port in range(spec.router.external_ports) if (spec.port(port).urpf or spec.router.urpf) != "off"
    ]
    if checked:
        some = ", ".join(map(str, checked[:_SHOWN])) + (", ..." if len(checked) > _SHOWN else "")
        yield f"urpf: Click does not check sources against routes; port {some} takes packets from anywhere"
    if spec.punts != Punts():
        yield "punts: Click gives its kernel all packets that are for it, at any rate"


def batching(spec: Spec) -> Iterator[str]:
    """By dialect."""
    if spec.batching.tx_burst > DESCRIPTORS_PER_TRANSACTION:
        most = DESCRIPTORS_PER_TRANSACTION
        yield f"tx_burst {spec.batching.tx_burst}: a PCIe transaction of 256 bytes holds {most} descriptors of 16 bytes"
    rx, tx, timeout = spec.batching.rx_burst, spec.batching.tx_burst, f"{spec.batching.timeout_s * 1e6:g}us"
    if spec.click.dialect == "socket":
        yield (
            f"Click's sockets read and send up to rx_burst {rx} packets a turn (BURST) and nothing waits: "
            f"tx_burst {tx} and timeout {timeout} enter the prediction only"
        )
    elif spec.click.dialect == kernel_mode.DIALECT:
        yield f"MQPushToDevice has no timeout: what waits for tx_burst {tx} packets goes at the next turn"
        yield kernel_mode.WARNING
    elif spec.click.dialect == "fastclick" and spec.batching.timeout_s > 0:
        yield f"FastClick's ToDPDKDevice refuses a timeout: what waits for tx_burst {tx} packets goes at the next turn"
    elif 0 < spec.batching.timeout_s < _DPDK_TIMEOUT_S:
        yield f"timeout {timeout} is less than the millisecond that ToDPDKDevice counts in: it sends without waiting"
