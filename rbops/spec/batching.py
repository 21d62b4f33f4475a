"""The section ``batching:``: kp, kn and how long a packet waits for company (paper 4.2)."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from rbops.spec.scalars import Time, number
from rbops.spec.section import CONFIG, Section, default, key

__all__ = ["Batching"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Batching(Section):
    """How many packets are handled at once."""

    poll: Annotated[int, number(1, 4096)] = 32
    """kp, packets per poll."""
    nic: Annotated[int, number(1, 256)] = 16
    """kn, descriptors per NIC transaction."""
    timeout_s: Annotated[Time, key("timeout")] = default(100e-6, "100us")
    """The longest a lonely packet waits for company."""
