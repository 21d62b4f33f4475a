"""What the XDP data plane cannot do of a plan, and by how much: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.common.limits import MAX_XDP_BUNDLE, MAX_XDP_DEVICES, MAX_XDP_SERVERS
from rbops.dataplane.xdp.controller.onepath import one_path
from rbops.nic.drivers import driver
from rbops.planning.servers import Built
from rbops.spec.document import Spec
from rbops.topology.choice import Choice

__all__ = ["batching", "limits"]

_NAPI_BUDGET = 64
_XDP_BULK = 16


def limits(spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
    """What does not fit, and what it leaves unused."""
    yield from one_path("xdp data plane", spec, choice, built)
    ports = max(len(server.ports) for server in built.servers)
    for what, count, most in (
        ("servers", choice.trial.servers, MAX_XDP_SERVERS),
        ("ports a server", ports, MAX_XDP_DEVICES),
        ("cables between two servers", choice.trial.parallel, MAX_XDP_BUNDLE),
    ):
        if count > most:
            yield f"{count} {what}: the xdp data plane holds {most}, so this plan cannot be loaded"
    used = sorted({card_port.card.driver for kind in built.kinds for card_port in kind.card_ports})
    slow = [name for name in used if not driver(name).native_xdp]
    if slow:
        yield (
            f"{', '.join(slow)}: no native XDP, and rbops attaches its program natively only, so this plan cannot be "
            "loaded; take other NICs, or `dataplane: click` or `kernel`"
        )
    for name in used:
        since = driver(name).xdp_since
        if since is not None:
            yield f"{name}: native XDP from Linux {since}; on older kernels, as Debian 12's 6.1, it cannot be loaded"


def batching(spec: Spec) -> Iterator[str]:
    """What of kp and kn the kernel decides by itself."""
    if (spec.batching.rx_burst, spec.batching.tx_burst) != (_NAPI_BUDGET, _XDP_BULK):
        yield (
            f"xdp polls up to {_NAPI_BUDGET} packets and sends in bulks of {_XDP_BULK}: "
            f"rx_burst {spec.batching.rx_burst} and tx_burst {spec.batching.tx_burst} enter the prediction only"
        )
