"""One server as the checks see it: testinfra over rbops's own SSH, each fact read once."""

from __future__ import annotations

import json
import re
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from rbops.deploy.inventory import Target
from rbops.deploy.node import ServedNode
from rbops.deploy.ssh import Completed, Session, open_session
from rbops.errors import StateUnknown
from rbops.node.cpus import parse_list
from rbops.node.irq import Interrupt, parse_names
from rbops.node.schema import NodeConfig, NodePort
from rbops.verify.reach import Reach
from rbops.verify.rows import Row, parse, unread, with_every_port

__all__ = ["ServerUnderTest"]

_TIMEOUT_S = 120.0
_OWN = re.compile(r"rbops-node ([a-z -]+) --json")
"""What one process of rbops-node answers, however often it is asked."""


class _SshBackend(BaseBackend):  # type: ignore[misc] # testinfra publishes no types
    """testinfra on rbops's own SSH session: one connection a server, its host key checked, time bounded.

    testinfra's paramiko backend only warns about an unknown host key; rbops never goes on with one.
    """

    NAME = "rbops"

    def __init__(self, session: Session) -> None:
        super().__init__(session.target.name)
        self._session = session
        self._node = ServedNode(session)

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a shell command; ``args`` replace ``%s`` in it, quoted. Raises Unreachable."""
        text = self.get_command(command, *args)
        verb = _OWN.fullmatch(text)
        try:
            if verb:
                done = self._node.run(*verb[1].split(), timeout=_TIMEOUT_S)
            else:
                done = self._session.run(["sh", "-c", text], _TIMEOUT_S)
        except StateUnknown as error:
            done = Completed(error.exit_code, "", error.message)
        return self.result(done.returncode, self.encode(text), done.stdout.encode(), done.stderr.encode())


class ServerUnderTest:
    """A server of the plan, what was rendered for it (``node``), and the facts read so far.

    ``node`` is the server's ``/etc/rbops/node.json``; ``files`` maps each rendered
    path on the server to its SHA-256. ``reach`` is shared by the servers of
    one verification. Connects at once; raises Unreachable.
    """

    def __init__(self, target: Target, node: NodeConfig, files: dict[str, str]) -> None:
        self.name = target.name
        self.node = node
        self.files = files
        self._session = open_session(target)
        self.host = Host(_SshBackend(self._session))
        self._output: dict[tuple[str, ...], str] = {}
        self._rows: tuple[Row, ...] | None = None
        self.reach = Reach([self])

    def output(self, command: str, *args: str) -> str:
        """Stdout of a command that only reads, run once however many checks ask for it.

        ``args`` replace ``%s`` in ``command``, quoted for the shell. Raises AssertionError with
        stderr when the command fails: the check that asked fails with it.
        """
        key = (command, *args)
        if key not in self._output:
            self._output[key] = self.host.check_output(command, *args)
        return self._output[key]

    def interrupts(self, port: NodePort) -> tuple[Interrupt, ...]:
        """The vectors of a planned port's device, with the CPUs they may go to and do go to."""
        base = f"/sys/class/net/{self.device(port)}/device"
        # virtio's belong to the PCI device above; one without MSI has a line.
        listed = self.output(
            "ls %s/msi_irqs 2>/dev/null || ls %s/../msi_irqs 2>/dev/null || cat %s/irq 2>/dev/null || true",
            base,
            base,
            base,
        )
        names = parse_names(self.output("cat /proc/interrupts"))
        found = []
        for number in sorted({int(word) for word in listed.split() if word.isdigit()} & names.keys()):
            place = f"/proc/irq/{number}"
            text = self.output("cat %s %s", f"{place}/smp_affinity_list", f"{place}/effective_affinity_list")
            affinity, effective = (parse_list(line) for line in f"{text.strip()}\n\n".splitlines()[:2])
            found.append(Interrupt(number, names[number], affinity, effective))
        return tuple(found)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each thing that the plan says of this server, as rbops-node reads it; once for all checks."""
        if self._rows is None:
            done = self.host.run("rbops-node show --json")
            try:
                found = parse(done.stdout if done.rc == 0 else "")
            except ValueError as error:
                self._rows = (unread(f"{done.stderr.strip() or error} (exit {done.rc})"),)
            else:
                self._rows = with_every_port(found, (port.name for port in self.node.ports))
        return self._rows

    def reason(self, subject: str, setting: str) -> str | None:
        """Why a setting is not supported as planned: the driver lacks, refuses or rounds it."""
        found = (row.reason for row in self.rows if (row.subject, row.setting) == (subject, setting))
        return next(found, None)

    def json(self, command: str, *args: str) -> Any:
        """The parsed JSON of :meth:`output`."""
        return json.loads(self.output(command, *args) or "null")

    def fresh(self, command: str, *args: str) -> str:
        """As :meth:`output`, but read now: for what moves."""
        return str(self.host.check_output(command, *args))

    @property
    def external_address(self) -> str:
        """The first of the router's own addresses on this server, without its prefix length."""
        return str(self.external_addresses[0].split("/")[0])

    @property
    def external_addresses(self) -> list[str]:
        """The router's own addresses on this server, on its ports or on the host interface of its data plane."""
        host = self.node.host.addresses if self.node.host is not None else ()
        return [*(address for port in self.node.ports if port.kind == "external" for address in port.addresses), *host]

    @property
    def in_container(self) -> bool:
        """Whether its kernel is its host's (container interface: systemd writes the file)."""
        return bool(self.output("cat /run/systemd/container 2>/dev/null || true").strip())

    def device(self, port: NodePort) -> str:
        """The network device that is the planned port, found by its selector as the plan says.

        Raises AssertionError when no device, or more than one, answers to it.
        """
        kind, value = port.select
        if kind == "pci":
            names = self.output("ls /sys/bus/pci/devices/%s/net", value).split()
        else:
            field = {"name": "ifname", "mac": "address"}[kind]
            names = [link["ifname"] for link in self.links() if link.get(field, "").lower() == value.lower()]
        assert len(names) == 1, f"{len(names)} devices for port {port.name} ({kind} {value}): {names}"
        return str(names[0])

    def links(self) -> list[dict[str, Any]]:
        """``ip -j -d link``: every device with its XDP program."""
        return list(self.json("ip -j -d link show"))

    def link(self, port: NodePort) -> dict[str, Any]:
        """The ``ip -j -d link`` entry of a planned port."""
        device = self.device(port)
        return next(link for link in self.links() if link["ifname"] == device)

    def close(self) -> None:
        """End the SSH connection."""
        self._session.close()
