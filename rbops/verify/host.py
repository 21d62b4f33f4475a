"""One server as the checks see it: testinfra over rbops's own SSH, each fact read once."""

from __future__ import annotations

import json
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from rbops.deploy.inventory import Target
from rbops.deploy.ssh import Session, open_session
from rbops.node.cpus import parse_list
from rbops.node.irq import Interrupt, parse_names

__all__ = ["ServerUnderTest"]

_TIMEOUT_S = 120.0


class _SshBackend(BaseBackend):  # type: ignore[misc] # testinfra publishes no types
    """testinfra on rbops's own SSH session: one connection a server, its host key checked, time bounded.

    testinfra's paramiko backend only warns about an unknown host key; rbops never goes on with one.
    """

    NAME = "rbops"

    def __init__(self, session: Session) -> None:
        super().__init__(session.target.name)
        self._session = session

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a shell command; ``args`` replace ``%s`` in it, quoted. Raises Unreachable."""
        text = self.get_command(command, *args)
        done = self._session.run(["sh", "-c", text], _TIMEOUT_S)
        return self.result(done.returncode, self.encode(text), done.stdout.encode(), done.stderr.encode())


class ServerUnderTest:
    """A server of the plan, what was rendered for it (``node``), and the facts read so far.

    ``node`` is the content of the server's ``/etc/rbops/node.json``; ``files`` maps each rendered
    path on the server to its SHA-256. Connects at once; raises Unreachable.
    """

    def __init__(self, target: Target, node: dict[str, Any], files: dict[str, str]) -> None:
        self.name = target.name
        self.node = node
        self.files = files
        self._session = open_session(target)
        self.host = Host(_SshBackend(self._session))
        self._output: dict[tuple[str, ...], str] = {}
        self._answers: dict[tuple[str, ...], str | None] = {}

    def output(self, command: str, *args: str) -> str:
        """Stdout of a command that only reads, run once however many checks ask for it.

        ``args`` replace ``%s`` in ``command``, quoted for the shell. Raises AssertionError with
        stderr when the command fails: the check that asked fails with it.
        """
        key = (command, *args)
        if key not in self._output:
            self._output[key] = self.host.check_output(command, *args)
        return self._output[key]

    def ethtool(self, flag: str, port: dict[str, Any]) -> str | None:
        """What ``ethtool FLAG`` says of a planned port, asked once; None where the driver has no such thing."""
        key = ("ethtool", flag, port["name"])
        if key not in self._answers:
            done = self.host.run("ethtool %s %s", flag, self.device(port))
            said = (done.stdout + done.stderr).lower()
            assert done.rc == 0 or "not supported" in said, f"ethtool {flag}: {done.stderr.strip()}"
            self._answers[key] = done.stdout if done.rc == 0 else None
        return self._answers[key]

    def interrupts(self, port: dict[str, Any]) -> tuple[Interrupt, ...]:
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

    def excuse(self, subject: str, setting: str) -> str | None:
        """Why rbops-node could not make a setting as planned: the driver lacks, refuses or rounds it."""
        for known in self.json("rbops-node show --json"):
            if (known["subject"], known["setting"]) == (subject, setting) and "unsupported" in known:
                return str(known["unsupported"])
        return None

    def json(self, command: str, *args: str) -> Any:
        """The parsed JSON of :meth:`output`."""
        return json.loads(self.output(command, *args) or "null")

    def fresh_json(self, command: str, *args: str) -> Any:
        """As :meth:`json`, but read now: for counters, which move. :meth:`json` gives the same until read again."""
        self._output.pop((command, *args), None)
        return self.json(command, *args)

    @property
    def external_address(self) -> str:
        """The first of the router's own addresses on this server, without its prefix length."""
        return str(self.external_addresses[0].split("/")[0])

    @property
    def external_addresses(self) -> list[str]:
        """The router's own addresses on this server, on its ports or on the host interface of its data plane."""
        host = self.node.get("host") or {"addresses": []}
        return [address for part in (*self.node["ports"], host) for address in part["addresses"]]

    @property
    def in_container(self) -> bool:
        """Whether its kernel is its host's (container interface: systemd writes the file)."""
        return bool(self.output("cat /run/systemd/container 2>/dev/null || true").strip())

    def device(self, port: dict[str, Any]) -> str:
        """The network device that is the planned port, found by its selector as the plan says.

        Raises AssertionError when no device, or more than one, answers to it.
        """
        kind, value = next(iter(port["select"].items()))
        if kind == "pci":
            names = self.output("ls /sys/bus/pci/devices/%s/net", value).split()
        else:
            field = {"name": "ifname", "mac": "address"}[kind]
            names = [link["ifname"] for link in self.links() if link.get(field, "").lower() == value.lower()]
        assert len(names) == 1, f"{len(names)} devices for port {port['name']} ({kind} {value}): {names}"
        return str(names[0])

    def links(self) -> list[dict[str, Any]]:
        """``ip -j -d link``: every device with its XDP program."""
        return list(self.json("ip -j -d link show"))

    def link(self, port: dict[str, Any]) -> dict[str, Any]:
        """The ``ip -j -d link`` entry of a planned port."""
        device = self.device(port)
        return next(link for link in self.links() if link["ifname"] == device)

    def sysfs(self, port: dict[str, Any]) -> dict[str, str]:
        """The queue attributes of a planned port, ``queues/tx-0/xps_cpus`` -> text, read at once.

        A device with one queue has no ``xps_cpus`` that can be read: ``tx_timeout`` shows the queue.
        """
        base = f"/sys/class/net/{self.device(port)}"
        # grep -r prints `path:value`; a missing attribute is no error of the others.
        names = "--include=xps_cpus --include=rps_cpus --include=tx_timeout"
        text = self.output(f"grep -rs '' %s {names} || true", f"{base}/queues/")
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {path.removeprefix(f"{base}/").replace("//", "/"): value for path, value in pairs}

    def sysctls(self) -> dict[str, str]:
        """The planned sysctls' live values, read at once; one that the kernel lacks is left out."""
        devices = {port["name"]: self.device(port) for port in self.node["ports"]}
        # A part that is a planned port stands for its device, whose name may hold a dot.
        paths = {"/".join(devices.get(part, part) for part in key.split(".")): key for key in self.node["sysctl"]}
        paths = {f"/proc/sys/{path}": key for path, key in paths.items()}
        text = self.output("grep -Hs '' " + " ".join(["%s"] * len(paths)) + " || true", *paths)
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {paths[path]: value for path, value in pairs if path in paths}

    def close(self) -> None:
        """End the SSH connection."""
        self._session.close()
