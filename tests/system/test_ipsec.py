"""Application ipsec through whole applies: packets are encrypted, keys change, go back and leave, and none is told.

The tests share one lab of two servers, in the order of the file. Every command's words are kept: at the end no
canary may be in them, nor in any file but those that are for keys.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import find
from rbops.spec.keyfile import click_keys
from tests.click.esp import decrypted
from tests.deploy.serverstate import change_open, inside, states
from tests.support import netns
from tests.system.conftest import make_cluster
from tests.system.driver import Cluster, Done, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.click]

SERVERS = ("n0", "n1")
KEY_FILE = "/etc/rbops/click/ipsec.click"
SPEC = """\
name: es2
router: {{external_ports: 2, line_rate: 10Mbps, application: {application}}}
servers: {{profile: lab}}
dataplane: click
click: {{dialect: socket, prefix: "{prefix}"}}
routes:
  - {{prefix: 203.0.113.0/24, via: 198.18.1.2}}
"""
TUNNEL = "ipsec:\n  - {peer: 198.18.1.2, prefixes: [203.0.113.0/24], spi: 7, keys: peer.keys}\n"
# Only n1 has the port, and its kernel takes no such value.
REFUSED = "kernel: {sysctl: {net.ipv4.conf.ext1.log_martians: x}}\n"
DESTINATION = "203.0.113.9"
PACKETS = 8

# Runs on a server, with what to look for on stdin: the files that have it, and whether the journal does.
SCAN = r"""
import os, subprocess, sys
needles = [bytes.fromhex(line) for line in sys.stdin.read().split()]
for top in ("/etc", "/var", "/run", "/tmp", "/root", "/home", "/srv", "/dev/shm", "/usr/local", "/boot"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
                if any(needle in data for needle in needles):
                    print(path)
said = subprocess.run(["journalctl", "--all", "--output=export"], capture_output=True, check=True).stdout
assert said
if any(needle in said for needle in needles):
    print("journal")
"""


@dataclass
class Lab:
    """The cluster, the keys that were in its key file so far, and all that was said."""

    cluster: Cluster
    prefix: Path
    keys: list[tuple[str, str]] = field(default_factory=list)
    needles: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def write(self, application: str = "ipsec", more: str = "", prefix: str | None = None) -> None:
        text = SPEC.format(application=application, prefix=prefix or self.prefix)
        self.cluster.spec.write_text(text + (TUNNEL if application == "ipsec" else "") + more)

    def new_keys(self) -> None:
        """Other words in the key file, and the forms in which they could be told."""
        pair = secrets.token_hex(16), secrets.token_hex(16)
        path = self.cluster.folder / "peer.keys"
        path.touch(0o600)
        path.write_text("\n".join(pair) + "\n")
        self.keys.append(pair)
        sent = base64.b64encode(click_keys([str(path)]))
        for word in pair:
            self.needles += [word.encode(), word.upper().encode(), bytes.fromhex(word)]
        self.needles += [sent[28:60], sent[-48:-16]]

    def run(self, *arguments: str) -> Done:
        return self._keep(self.cluster.verb(*arguments))

    def roll_back(self) -> Done:
        return self._keep(self.cluster.run("rollback", "-i", str(self.cluster.inventory)))

    def _keep(self, done: Done) -> Done:
        self.said += [done.out, done.err]
        return done

    def play(self) -> Done:
        """What a user of Ansible does without rbops, as loud as it can be."""
        out = self.cluster.folder / f"out{len(self.said)}"
        assert self._keep(self.cluster.run("render", str(self.cluster.spec), "-o", str(out))).code == 0
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ansible.cli.playbook",
                "-i",
                str(self.cluster.inventory),
                "-vvv",
                "--diff",
                "site.yml",
            ],
            cwd=out,
            env={**self.cluster.environment, "HOME": str(self.cluster.folder), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return self._keep(Done(done.returncode, done.stdout, done.stderr))

    def file(self, server: str) -> str:
        """The key file of a server; empty when it has none."""
        return inside(self.cluster.lab, server, "sh", "-c", f"cat {KEY_FILE} 2>/dev/null || true")

    def has(self, number: int | None) -> bool:
        """Whether every server has the keys of this number, or no key file, and Click and files are one."""
        for server in SERVERS:
            text = self.file(server)
            if number is None:
                assert text == "", server
            else:
                assert [word in text for word in self.keys[number]] == [True, True], server
                assert inside(self.cluster.lab, server, "stat", "-c", "%a %u %g", KEY_FILE) == "600 0 0\n"
            done = json.loads(inside(self.cluster.lab, server, "rbops-node", "diff", "--json"))
            assert done == [], server
        return True

    def process(self, server: str) -> str:
        return inside(
            self.cluster.lab, server, "systemctl", "show", "-p", "MainPID", "--value", "rbops-click.service"
        ).strip()

    def received(self) -> list[bytes]:
        """What comes out at the second port of packets for the tunnel's prefix that enter at the first."""
        near, far = self.cluster.lab.testers
        with netns.inside(far.netns):
            there = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            there.bind((far.device, 0))
        with netns.inside(near.netns):
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found: list[bytes] = []
        with there, here:
            there.settimeout(20)
            for number in range(PACKETS):
                here.sendto(_payload(number), (DESTINATION, 9))
            while len(found) < PACKETS:
                packet = there.recv(2048)[14:]
                if packet[9] == socket.IPPROTO_ESP or packet[16:20] == IPv4Address(DESTINATION).packed:
                    found.append(packet)
        return found

    def encrypts_with(self, number: int) -> None:
        """Every packet comes out as ESP that these keys open, and opened it is what was sent, one hop on."""
        for at, packet in enumerate(self.received()):
            assert packet[9] == socket.IPPROTO_ESP
            assert packet[12:20] == IPv4Address("198.18.0.1").packed + IPv4Address("198.18.1.2").packed
            assert _payload(at) not in packet
            assert struct.unpack_from("!I", packet, 20) == (7 << 16,)
            inner, following = decrypted(packet[20 : struct.unpack_from("!H", packet, 2)[0]], *self.keys[number])
            assert following == socket.IPPROTO_IPIP
            assert inner[16:20] == IPv4Address(DESTINATION).packed
            assert (inner[8], inner[28:]) == (63, _payload(at))

    def scan(self) -> dict[str, list[str]]:
        """Where on the servers a canary is."""
        asked = "\n".join(needle.hex() for needle in self.needles)
        return {
            server: inside(self.cluster.lab, server, "python3", "-c", SCAN, stdin=asked).split() for server in SERVERS
        }


def _payload(number: int) -> bytes:
    return f"payload {number} in the clear".encode()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = make_cluster(tmp_path_factory.mktemp("es2"), "rbt-es2")
    own = Lab(made, find(os.environ.get("CLICK_PREFIX")).prefix)
    own.write("route")
    made.run("lab", "down", "none", "--name", made.name)
    try:
        done = made.run("lab", "up", str(made.spec), "--name", made.name)
        assert done.code == 0, done.err
        done = own.run("apply")
        assert done.code == 0, done.err
        yield own
    finally:
        made.run("lab", "down", "none", "--name", made.name)


@contextmanager
def watched(needles: list[bytes]) -> Iterator[list[str]]:
    """Looks at the arguments and the environment of all processes, those of the lab's servers too, all the while."""
    found: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for path in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        data = (path / name).read_bytes()
                    except OSError:
                        continue
                    found.extend(f"{path}/{name}" for needle in needles if needle in data)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def without_lock(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {
        name: {key: value for key, value in state.items() if key not in ("lock", "run")}
        for name, state in found.items()
    }


def test_keys_that_nobody_confirmed_leave_with_the_timer(lab: Lab) -> None:
    before = states(lab.cluster.lab)
    lab.new_keys()
    lab.write()
    arguments = (str(lab.cluster.spec), "-i", str(lab.cluster.inventory), "--revert-timeout", "10")
    with lab.cluster.start("apply", *arguments) as running:
        wait_for("the keys are there", lambda: all(lab.file(server) for server in SERVERS))
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        lab.said.append(running.seen)
    wait_for("the timers fire", lambda: not any(change_open(lab.cluster.lab, server) for server in SERVERS), 60)
    lab.has(None)
    assert without_lock(states(lab.cluster.lab)) == without_lock(before)
    assert lab.scan() == {server: [] for server in SERVERS}


def test_packets_leave_encrypted(lab: Lab) -> None:
    before = {server: lab.process(server) for server in SERVERS}
    with watched(lab.needles) as seen:
        done = lab.run("apply", "--diff", "--format", "json", "--break-lock")
    assert done.code == 0, done.err
    assert seen == []
    assert f"{KEY_FILE}: keys (not shown), of {lab.cluster.folder}/peer.keys" in done.err
    assert {server: lab.process(server) for server in SERVERS} == before, "a hot swap, no restart"
    lab.has(0)
    lab.encrypts_with(0)
    verified = lab.run("verify", "--format", "json")
    assert verified.code == 0, verified.out
    assert lab.run("diff", "--format", "json").json["equal"]
    tested = lab.run("selftest", "--quick", "--duration", "1")
    assert tested.code == 0, tested.err
    assert "what goes through tunnels leaves as ESP" in tested.out
    assert lab.scan() == {server: [KEY_FILE] for server in SERVERS}


def test_new_keys_in_the_file_take_effect(lab: Lab) -> None:
    """By Ansible alone: what it says at -vvv with --diff does not have them either."""
    before = {server: lab.process(server) for server in SERVERS}
    lab.new_keys()
    found = lab.run("diff", "--format", "json")
    assert found.code == 1
    change = {
        "subject": "file", "setting": KEY_FILE, "have": "other keys",
        "want": f"the keys in {lab.cluster.folder}/peer.keys",
    }  # fmt: skip
    assert found.json["servers"] == {server: [change] for server in SERVERS}
    assert lab.run("verify", "-k", "keys").code == 1
    assert "2 tasks would change something" in lab.run("apply", "--check").out
    lab.has(0)
    done = lab.play()
    assert done.code == 0, done.out
    assert f"{KEY_FILE}: other keys (not shown)" in done.out
    assert "data plane: keys of the tunnels: " in done.out
    lab.has(1)
    assert {server: lab.process(server) for server in SERVERS} == before, "a hot swap, no restart"
    lab.encrypts_with(1)
    for address in ("198.18.0.1", "198.18.1.1"):
        said = lab.cluster.on("t0", "ping", "-c", "1", "-W", "5", address, check=False)
        assert "1 received" in said, "the kernel's device went over to the new configuration"
    assert "nothing to change" in lab.run("apply").out


def test_a_failed_apply_brings_the_former_keys_back(lab: Lab) -> None:
    before, processes = states(lab.cluster.lab), {server: lab.process(server) for server in SERVERS}
    lab.new_keys()
    lab.write(more=REFUSED)
    done = lab.run("apply", "--diff")
    assert done.code == 5, done.err
    assert "rolled back and checked: n0, n1" in done.err
    assert f"{KEY_FILE}: other keys (not shown)" in done.err
    assert states(lab.cluster.lab) == before
    assert {server: lab.process(server) for server in SERVERS} == processes
    lab.has(1)
    lab.encrypts_with(1)


def test_keys_that_click_does_not_have_are_told(lab: Lab) -> None:
    """A file changed by hand on a server: what encrypts is another thing than what the file says."""
    text = lab.file("n1")
    inside(lab.cluster.lab, "n1", "sh", "-c", f"cat > {KEY_FILE}", stdin=text.replace(*lab.keys[1]))
    shown = inside(lab.cluster.lab, "n1", "sh", "-c", "rbops-node diff; test $? = 1")
    assert shown == f"data plane: keys of the tunnels: others -> those in {KEY_FILE} (hot swap)\n"
    inside(lab.cluster.lab, "n1", "rm", KEY_FILE)
    shown = inside(lab.cluster.lab, "n1", "sh", "-c", "rbops-node diff; test $? = 1")
    assert shown.startswith(f"data plane: keys of the tunnels: {KEY_FILE}: No such file or directory -> ")
    lab.write()
    assert lab.run("apply").code == 0
    lab.has(2)
    lab.encrypts_with(2)


def test_a_click_without_ipsec_changes_nothing(lab: Lab) -> None:
    script = f'#!/bin/sh\n{lab.prefix}/bin/click "$@" | grep -v IPsec\n'
    for server in SERVERS:
        place = "mkdir -p /opt/plain/bin && cat > /opt/plain/bin/click && chmod 755 /opt/plain/bin/click"
        inside(lab.cluster.lab, server, "sh", "-c", place, stdin=script)
    before = states(lab.cluster.lab)
    lab.write(prefix="/opt/plain")
    done = lab.run("apply")
    assert done.code == 5
    lacking = "IPsecAES, IPsecAuthHMACSHA1, IPsecESPEncap, IPsecEncap, RadixIPsecLookup"
    assert f"in /opt/plain lacks the elements {lacking}. configure Click with --enable-ipsec" in done.err
    assert states(lab.cluster.lab) == before
    lab.has(2)
    lab.encrypts_with(2)


def test_without_tunnels_the_keys_are_gone(lab: Lab) -> None:
    """By a rollback to the configuration without them; one to other keys than it had is refused."""
    done = lab.roll_back()
    assert done.code == 0, done.err
    lab.has(None)
    assert all(packet[9] == socket.IPPROTO_UDP for packet in lab.received())
    lab.new_keys()
    done = lab.roll_back()
    assert done.code == 3
    assert "the keys are not those that generation" in done.err
    assert lab.scan() == {server: [] for server in SERVERS}


def test_nothing_on_this_machine_told_a_key(lab: Lab) -> None:
    said = "\n".join(lab.said).encode()
    assert len(lab.keys) == 4
    assert len(said) > 100_000
    assert [needle for needle in lab.needles if needle in said] == []
    files = [path for path in lab.cluster.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "events.jsonl" for path in files)
    found = {path.name for path in files if any(needle in path.read_bytes() for needle in lab.needles)}
    assert found == {"peer.keys"}
