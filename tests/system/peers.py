"""BIRD in a tester's namespace: another AS beside the router."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.driver import Cluster, wait_for

__all__ = ["ROUTER_AS", "Peer", "peer"]

ROUTER_AS = 64512

# BFD as slow as the slower end: a busy machine does not run these daemons every 100 ms.
CONFIG = """\
log "{folder}/log" all;
router id {address};
protocol device {{ }}
filter received {{ krt_prefsrc = {source}; if source = RTS_BGP then accept; reject; }}
protocol kernel {{ ipv4 {{ import none; export filter received; }}; }}
protocol bfd {{ interface "*" {{ interval 500 ms; multiplier 5; }}; }}
{networks}
protocol bgp uplink {{
  local {address} as {number};
  neighbor {gateway} as {router};
  {options}
  connect retry time 2;
  connect delay time 1;
  error wait time 1, 2;
  hold time 9;
  graceful restart on;
  ipv4 {{ import all; export filter {{ {prepend} if source = RTS_STATIC then accept; reject; }}; }};
}}
"""


@dataclass(frozen=True)
class Peer:
    """A BIRD that runs beside external port ``port``."""

    cluster: Cluster
    port: int
    folder: Path

    @property
    def tester(self) -> str:
        return f"t{self.port}"

    def ask(self, command: str) -> str:
        """What ``birdc`` says."""
        return self.cluster.on(self.tester, "birdc", "-s", str(self.folder / "ctl"), command, check=False)

    def path_to(self, prefix: str) -> str | None:
        """The AS path of its best route to ``prefix``; None where it has none."""
        said = self.ask(f"show route for {prefix} all primary")
        found = re.search(r"BGP\.as_path: (.*)", said)
        return found[1].strip() if found else None

    def since(self) -> str:
        """Since when its session is up."""
        line = next((line for line in self.ask("show protocols uplink").splitlines() if line.startswith("uplink")), "")
        return line if "Established" in line else ""


@contextmanager
def peer(cluster: Cluster, port: int, number: int, prefixes: tuple[str, ...], **more: str) -> Iterator[Peer]:
    """Speaks for AS ``number`` on ``port`` and has the first address of each prefix; ``more``: options, prepend."""
    folder = cluster.folder / f"peer{port}"
    folder.mkdir(exist_ok=True)
    own = [f"{prefix.rpartition('.')[0]}.1" for prefix in prefixes]
    networks = "\n".join(
        f"protocol static net{at} {{ ipv4; route {prefix} blackhole; }}" for at, prefix in enumerate(prefixes)
    )
    text = CONFIG.format(
        folder=folder,
        address=f"198.18.{port}.2",
        gateway=f"198.18.{port}.1",
        source=own[0],
        number=number,
        router=ROUTER_AS,
        networks=networks,
        **{"options": "bfd on;", "prepend": "", **more},
    )
    (folder / "bird.conf").write_text(text)
    found = Peer(cluster, port, folder)
    for address in own:
        cluster.on(found.tester, "ip", "address", "add", f"{address}/32", "dev", "lo")
    files = ["-c", str(folder / "bird.conf"), "-s", str(folder / "ctl"), "-P", str(folder / "pid")]
    cluster.on(found.tester, "bird", *files)
    try:
        yield found
    finally:
        kill(found, "TERM")
        for address in own:
            cluster.on(found.tester, "ip", "address", "del", f"{address}/32", "dev", "lo")


def kill(which: Peer, signal: str) -> None:
    """End its BIRD; fine where it has ended."""
    path = which.folder / "pid"
    if not path.exists():
        return
    pid = path.read_text().strip()
    which.cluster.on(which.tester, "kill", f"-{signal}", pid, check=False)
    wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())
    path.unlink(missing_ok=True)
