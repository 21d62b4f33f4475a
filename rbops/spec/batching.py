"""The section ``batching:``: kp, kn and how long a packet waits for company (paper 4.2)."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from rbops.spec.scalars import Time, number
from rbops.spec.section import CONFIG, Section, default, key

__all__ = ["Batching"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Batching(Section):
    """How many packets are handled at once."""

    rx_burst: Annotated[int, number(1, 4096)] = 32
    """Packets taken from a receive queue in one poll: kp."""
    tx_burst: Annotated[int, number(1, 256)] = 16
    """Descriptors handed to the NIC in one transaction: kn."""
    timeout_s: Annotated[Time, key("timeout")] = default(100e-6, "100us")
    """The longest a lonely packet waits for company."""
