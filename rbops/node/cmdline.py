"""The kernel's command line, compared by value (Documentation/admin-guide/kernel-parameters.rst)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rbops.common.cpulist import list_text, parse_list

__all__ = ["described", "equal", "parse", "planned", "shown", "written"]

_LISTS = frozenset({"isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity"})
_FLAGS = frozenset({"managed_irq", "domain", "nohz"})


def parse(text: str) -> dict[str, str]:
    """Parameter -> value, the last one of a name; ``hugepages 1G`` means the pair of size and count."""
    return planned(word.partition("=")[::2] for word in _words(text))


def planned(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The same of (name, value) in order: ``hugepages`` belongs to the ``hugepagesz`` before it."""
    found: dict[str, str] = {}
    size = ""
    for name, value in pairs:
        # The kernel takes - and _ for one (parameqn in kernel/params.c).
        key = name.replace("-", "_")
        if key == "hugepagesz":
            size = value.upper()
        elif key == "hugepages":
            found[f"hugepages {size}".rstrip()] = value
        else:
            found[key] = value
    return found


def equal(name: str, have: str | None, want: str | None) -> bool:
    """Whether two values mean the same: lists of CPUs as sets, everything else as text."""
    if have is None or want is None or name not in _LISTS:
        return have == want
    return _cpus(have) == _cpus(want)


def shown(value: str | None) -> str:
    """A value as people read it: ``absent``, ``set`` for a parameter without value."""
    return "absent" if value is None else value or "set"


def written(pairs: Iterable[tuple[str, str]]) -> str:
    """(name, value) as the boot loader passes them on."""
    return " ".join(f"{name}={value}" if value else name for name, value in pairs)


def described(names: Iterable[str], values: Mapping[str, str]) -> str:
    """The named parameters as one line for people."""
    return ", ".join(f"{name} {shown(values.get(name))}" for name in names)


def _words(text: str) -> list[str]:
    """The words, those between double quotes being one; what comes after ``--`` is for init."""
    words: list[str] = []
    word, quoted = "", False
    for char in f"{text} ":
        if char == '"':
            quoted = not quoted
        elif char.isspace() and not quoted:
            if word == "--":
                break
            words += [word] if word else []
            word = ""
        else:
            word += char
    return words


def _cpus(value: str) -> tuple[frozenset[str], str]:
    """Flags and CPUs of ``managed_irq,domain,1-3``; other text stays as it is."""
    parts = value.split(",")
    flags = frozenset(part for part in parts if part in _FLAGS)
    rest = ",".join(part for part in parts if part not in _FLAGS)
    try:
        return flags, list_text(parse_list(rest))
    except ValueError:
        return flags, rest
