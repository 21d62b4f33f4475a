"""Numbers as reports write them."""

from __future__ import annotations

__all__ = ["counted", "duration", "gbps", "microseconds"]

_GIGA = 1_000_000_000


def counted(number: int, noun: str) -> str:
    """``1 server``, ``2,000 servers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def gbps(rate: float) -> str:
    """``12.5 Gbps``, Mbps below one, Tbps from 10,000."""
    if rate >= 10_000 * _GIGA:
        return f"{rate / 1e12:.4g} Tbps"
    return f"{rate / _GIGA:.4g} Gbps" if rate >= _GIGA or rate == 0 else f"{rate / 1e6:.4g} Mbps"


def microseconds(seconds: float) -> str:
    """``47.7 us``."""
    return f"{seconds * 1e6:.1f} us"


def duration(seconds: float | None) -> str:
    """``3d 4h``, ``4h 5m``, ``5m``; ``-`` when it is not known."""
    if seconds is None:
        return "-"
    minutes, _ = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m" if hours else f"{minutes}m"
