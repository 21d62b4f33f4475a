"""A server's state as the kernel and the disk have it, read without rbops and without the network."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from rbops.lab import layout
from rbops.lab.cgroup import lab_cgroup
from rbops.lab.model import Lab
from rbops.lab.status import init_of

_LONGEST_S = 180
"""On a machine that has much else to do."""
_SCRIPT = r"""
import glob, hashlib, json, os, re, subprocess

def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout

def text(path):
    try:
        return open(path).read().strip()
    except OSError:
        return None

def tree(*roots):
    found = {}
    for root in roots:
        paths = [root] if os.path.lexists(root) and not os.path.isdir(root) else []
        for folder, _, names in os.walk(root):
            paths += [os.path.join(folder, name) for name in names]
        for path in paths:
            info = os.lstat(path)
            body = os.readlink(path) if os.path.islink(path) else hashlib.sha256(open(path, "rb").read()).hexdigest()
            found[path] = [oct(info.st_mode), info.st_uid, info.st_gid, body]
    return found

MANAGEMENT = [link["ifname"] for link in json.loads(run("ip", "-j", "-4", "addr"))
              for address in link["addr_info"] if address["local"].startswith("10.82.")]

def links():
    found = {}
    for link in json.loads(run("ip", "-j", "-d", "link")):
        if link["ifname"] in ("lo", *MANAGEMENT):
            continue
        xdp = link.get("xdp", {})
        found[link["ifname"]] = {
            "mtu": link["mtu"], "up": "UP" in link["flags"], "arp": "NOARP" not in link["flags"],
            "promiscuity": link.get("promiscuity"), "xdp": bool(xdp), "xdp_mode": xdp.get("mode"),
            "xps": {path: text(path) for path in glob.glob("/sys/class/net/%s/queues/tx-*/xps_cpus" % link["ifname"])},
            "threaded": text("/sys/class/net/%s/threaded" % link["ifname"]),
            "channels": re.sub(r"\s+", " ", run("ethtool", "-l", link["ifname"])),
            "offloads": re.findall(r"^(\S+): (on|off)$", run("ethtool", "-k", link["ifname"]), re.MULTILINE),
        }
    return found

def programs():
    return {link["ifname"]: link["xdp"]["prog"]["id"] for link in json.loads(run("ip", "-j", "link")) if "xdp" in link}

def sysctl():
    found = {}
    for folder, _, names in os.walk("/proc/sys/net/ipv4"):
        for name in names:
            path = os.path.join(folder, name)
            if name in ("ip_forward", "rp_filter", "arp_ignore", "arp_announce", "accept_redirects", "send_redirects",
                        "arp_filter", "accept_local", "forwarding", "log_martians"):
                found[path] = text(path)
    return found

def neighbours():
    return sorted("%s %s %s" % (n["dst"], n["dev"], n.get("lladdr")) for n in json.loads(run("ip", "-j", "neigh"))
                  if "PERMANENT" in n["state"] and n["dev"] not in MANAGEMENT)

def clicks():
    found = (text(path) or "" for path in glob.glob("/proc/[0-9]*/cmdline"))
    return sorted(line.replace("\0", " ").strip() for line in found if line.split("\0")[0].endswith("/bin/click"))

# An installed node program keeps its compiled modules in memory; without one they are left behind.
COMPILED = {"/run/rbops-node"} if os.path.exists("/usr/sbin/rbops-node") else set()
# What services that are installed have there comes and goes with them.
OWN = {"/run/rbops-%s" % name for name in ("watch", "fib", "bird", "frr", "click")
       if os.path.exists("/etc/systemd/system/rbops-%s.service" % name)}
stable = {
    "click": clicks(), "pins": os.path.isdir("/sys/fs/bpf/rbops"),
    "hooks": sorted(" ".join(line.split()[:5:2]) for line in run("tc", "qdisc").splitlines() if "clsact" in line),
    "filters": {dev: re.sub(r" id \d+", "", run("tc", "filter", "show", "dev", dev, "ingress")) for dev in links()},
    "files": tree("/etc/rbops", "/etc/modprobe.d", "/etc/modules-load.d", "/etc/default", "/usr/sbin/rbops-node",
                  "/etc/systemd/system/irqbalance.service.d", "/etc/systemd/networkd.conf.d",
                  "/etc/systemd/network", *glob.glob("/etc/systemd/system/*rbops*"),
                  *glob.glob("/etc/systemd/system/*.wants/rbops*")),
    "links": links(),
    "addresses": sorted("%s %s/%s" % (link["ifname"], address["local"], address["prefixlen"])
                        for link in json.loads(run("ip", "-j", "-4", "addr")) for address in link["addr_info"]),
    "routes": sorted(line.replace("linkdown", "").strip()
                     for line in run("ip", "-4", "route", "show", "table", "all").splitlines()),
    "rules": sorted(run("ip", "rule").splitlines()), "nft": run("nft", "-s", "list", "ruleset"),
    "neighbours": neighbours(), "sysctl": sysctl(),
    "units": {unit: run("systemctl", "is-active", unit).strip() + " " + run("systemctl", "is-enabled", unit).strip()
              for unit in ("rbops-watch.service", "rbops-revert.timer", "rbops-revert.service")},
    "lock": text("/var/lib/rbops/lock.json"), "snapshot": os.path.exists("/var/lib/rbops/snapshot"),
    "management": MANAGEMENT, "run": sorted(set(glob.glob("/run/rbops*")) - COMPILED - OWN),
    "installed": run("dpkg-query", "-W").count("\n"),
}
print(json.dumps({"stable": stable, "programs": programs()}))
"""


def _init(lab: Lab, server: str) -> int:
    payload = layout.server_cgroup(lab_cgroup(lab.name), lab.manifest.server(server)).child("payload")
    init = init_of(payload)
    assert init, f"{server} is off"
    return init


def inside(lab: Lab, server: str, *command: str, stdin: str = "") -> str:
    """The output of a command in a server's namespaces, which needs no management network."""
    init = _init(lab, server)
    argv = ["nsenter", f"--target={init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", *command]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True, timeout=_LONGEST_S).stdout


def change_open(lab: Lab, server: str) -> bool:
    """Whether the server has an unconfirmed change."""
    return inside(lab, server, "sh", "-c", "ls -d /var/lib/rbops/snapshot 2>/dev/null || true").strip() != ""


def state(lab: Lab, server: str) -> dict[str, Any]:
    """What must be the same before and after anything that shall change nothing; no ids, no counters."""
    found: dict[str, Any] = json.loads(inside(lab, server, "python3", "-", stdin=_SCRIPT))["stable"]
    return found


def states(lab: Lab) -> dict[str, dict[str, Any]]:
    """:func:`state` of every server."""
    return {server.name: state(lab, server.name) for server in lab.servers}


def programs(lab: Lab, server: str) -> dict[str, int]:
    """Device -> id of its XDP program: a new id is a program loaded anew."""
    found: dict[str, int] = json.loads(inside(lab, server, "python3", "-", stdin=_SCRIPT))["programs"]
    return found
