"""What a program needs that has the devices to itself: the driver that hands them over, and huge pages.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.verify.plugin import Case


def test_driver(handed_case: Case) -> None:
    """The device is bound to the planned driver."""
    port = handed_case.port
    link = f"/sys/bus/pci/devices/{port['select']['pci']}/driver"
    found = handed_case.server.output("readlink %s || true", link).strip().rsplit("/", 1)[-1]
    assert found == port["bind"], f"the device is bound to {found or 'no driver'}, planned {port['bind']}"


def test_hugepages(hugepage_case: Case) -> None:
    """At least the planned pages on each NUMA node that has data-plane cores."""
    server, size = hugepage_case.server, hugepage_case.key
    cores = server.node["cores"]["dataplane"]
    listed = server.output("ls -d " + " ".join(["%s/node[0-9]*"] * len(cores)) + " 2>/dev/null || true",
                           *(f"/sys/devices/system/cpu/cpu{core}" for core in cores))  # fmt: skip
    nodes = sorted({line.rsplit("/", 1)[-1] for line in listed.split()})
    places = [f"/sys/devices/system/node/{node}/hugepages" for node in nodes] or ["/sys/kernel/mm/hugepages"]
    for place in places:
        found = server.output("cat %s || true", f"{place}/hugepages-{size}kB/nr_hugepages").strip()
        enough = found.isdigit() and int(found) >= int(hugepage_case.want)
        assert enough, f"{place} has {found or 'no'} pages of {size} kB, planned {hugepage_case.want}"
