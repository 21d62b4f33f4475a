"""What node.json says of the Click data plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rbops.node.fabric import next_hop
from rbops.node.schema.dataplane import Fabric, NextHop, PlannedFile
from rbops.node.schema.fields import Fields

__all__ = ["ClickConfig", "Thread"]


@dataclass(frozen=True, slots=True)
class Thread:
    """Click's thread ``thread`` belongs on CPU ``cpu``."""

    cpu: int
    thread: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickConfig:
    """How Click runs on the server, and what stands where in its configuration.

    ``library`` holds the routes. ``prefix`` is where Click is installed (None: where systemd looks for programs),
    ``package`` what it is installed from, ``elements`` the classes that Click itself must have. ``ipsec_keys`` are
    files on the controller. ``marker`` is the digest by which the configuration is known while it runs, ``command``
    the words that ``unit`` starts, ``control`` Click's socket. ``parameters``: the planned port that each of the
    configuration's parameters means, ``defaults``: its value in there. ``queues``: port -> the CPU that receives
    from each queue.
    """

    fabric: Fabric
    library: PlannedFile
    dialect: str
    prefix: str | None
    package: str | None
    elements: tuple[str, ...]
    ipsec_keys: tuple[str, ...]
    config: PlannedFile
    marker: str
    unit: str
    command: tuple[str, ...]
    control: str
    threads: tuple[Thread, ...]
    parameters: Mapping[str, str]
    defaults: Mapping[str, str]
    queues: Mapping[str, tuple[int, ...]]

    @property
    def kind(self) -> str:
        """Its name in the spec."""
        return "click"

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """The rendered files that it works from."""
        return self.config, self.library

    def next_hop(self, port: int, adjacency: int) -> NextHop:
        """Frames enter the fabric with the MAC of their output port."""
        return next_hop(port, adjacency)

    @classmethod
    def parse(cls, fields: Fields) -> ClickConfig:
        """FieldError for what is wrong."""
        prefix, package = fields.find("prefix"), fields.find("package")
        threads = (thread.fields() for thread in fields["threads"].items())
        return cls(
            fabric=Fabric.parse(fields),
            library=PlannedFile.parse(fields, "library"),
            dialect=fields["dialect"].text(),
            prefix=None if prefix is None else prefix.text(),
            package=None if package is None else package.text(),
            elements=tuple(name.text() for name in fields["elements"].items()),
            ipsec_keys=tuple(path.text() for path in fields["ipsec_keys"].items()),
            config=PlannedFile.parse(fields, "config"),
            marker=fields["marker"].text(),
            unit=fields["unit"].text(),
            command=tuple(word.text() for word in fields["command"].items()),
            control=fields["control"].text(),
            threads=tuple(Thread(thread["cpu"].number(), thread["thread"].number()) for thread in threads),
            parameters={name: port.text() for name, port in fields["parameters"].fields()},
            defaults={name: value.text() for name, value in fields["defaults"].fields()},
            queues={port: cpus.numbers() for port, cpus in fields["queues"].fields()},
        )

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {
            "kind": self.kind,
            "library": self.library.path,
            "library_sha256": self.library.sha256,
            **self.fabric.to_json(),
            "dialect": self.dialect,
            "prefix": self.prefix,
            "package": self.package,
            "elements": list(self.elements),
            "ipsec_keys": list(self.ipsec_keys),
            "config": self.config.path,
            "config_sha256": self.config.sha256,
            "marker": self.marker,
            "unit": self.unit,
            "command": list(self.command),
            "control": self.control,
            "threads": [{"cpu": thread.cpu, "thread": thread.thread} for thread in self.threads],
            "parameters": dict(self.parameters),
            "defaults": dict(self.defaults),
            "queues": {port: list(cpus) for port, cpus in self.queues.items()},
        }
