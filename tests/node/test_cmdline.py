"""Boot parameters compared by what they mean."""

from __future__ import annotations

import pytest

from rbops.node import cmdline

# As seen on: a Debian 12 server, one with huge pages of two sizes, a lab machine, quotes and words for init.
DEBIAN = (
    "BOOT_IMAGE=/boot/vmlinuz-6.1.0-28-amd64 root=UUID=8a1c ro quiet isolcpus=managed_irq,domain,1-3,5 nohz_full=1-3,5"
)
PAGES = "hugepagesz=1G hugepages=8 hugepagesz=2M hugepages=1024 default_hugepagesz=1G hugepagesz=1g hugepages=4"
QUOTED = 'dyndbg="file drivers/usb/* +p" log-buf-len=1M nosmt console=tty0 console=ttyS0,115200 -- single nosmt=x'


def test_values() -> None:
    found = cmdline.parse(DEBIAN)
    assert found["isolcpus"] == "managed_irq,domain,1-3,5"
    assert found["quiet"] == ""
    assert found["root"] == "UUID=8a1c"


def test_huge_pages_belong_to_the_size_before_them() -> None:
    found = cmdline.parse(PAGES)
    assert (found["hugepages 1G"], found["hugepages 2M"]) == ("4", "1024")
    assert "hugepagesz" not in found


def test_quotes_dashes_and_the_words_for_init() -> None:
    found = cmdline.parse(QUOTED)
    assert found["dyndbg"] == "file drivers/usb/* +p"
    assert found["log_buf_len"] == "1M"
    assert found["nosmt"] == "", "what follows -- is not the kernel's"
    assert found["console"] == "ttyS0,115200"


@pytest.mark.parametrize(
    ("name", "have", "want", "same"),
    [
        ("isolcpus", "managed_irq,domain,1-3", "domain,managed_irq,1,2,3", True),
        ("isolcpus", "domain,1-3", "managed_irq,domain,1-3", False),
        ("nohz_full", "1-3", "1,2,3", True),
        ("nohz_full", "1-4", "1-3", False),
        ("nohz_full", "all", "1-3", False),
        ("irqaffinity", "0", None, False),
        ("rcu_nocbs", None, "1", False),
        ("intel_iommu", "1-3", "1,2,3", False),
        ("nosmt", "", "", True),
        ("nosmt", "force", "", False),
    ],
)
def test_equal(name: str, have: str | None, want: str | None, same: bool) -> None:  # noqa: FBT001 - a table's column
    assert cmdline.equal(name, have, want) is same
