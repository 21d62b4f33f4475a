"""Boot parameters on recorded servers: what GRUB's files become, and what waits for a reboot."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.node import boot, pending
from rbops.node.execute import execute
from rbops.node.installed import Installed
from rbops.node.settings import Run, Setting
from rbops.node.state import State
from rbops.node.system import Kernel
from tests.node.recorded import Recorded
from tests.support.errors import raises

GOLDEN = Path(__file__).parent / "golden"
WANTED = (
    ("isolcpus", "managed_irq,domain,1-3"),
    ("nohz_full", "1-3"),
    ("rcu_nocbs", "1-3"),
    ("irqaffinity", "0"),
    ("hugepagesz", "1G"),
    ("hugepages", "8"),
    ("intel_iommu", "on"),
    ("nosmt", ""),
)
MENU = """\
set default="0"
menuentry 'Debian GNU/Linux' --class debian {{
	insmod ext2
	linux	/boot/vmlinuz-6.1.0-28-amd64 root=UUID=8a1c ro  quiet{more}
	initrd	/boot/initrd.img-6.1.0-28-amd64
}}
submenu 'Advanced options for Debian GNU/Linux' {{
	menuentry 'Debian GNU/Linux (recovery mode)' {{
		linux	/boot/vmlinuz-6.1.0-28-amd64 root=UUID=8a1c ro single
	}}
}}
"""
TEXT = (
    " isolcpus=managed_irq,domain,1-3 nohz_full=1-3 rcu_nocbs=1-3 irqaffinity=0 hugepagesz=1G hugepages=8"
    " intel_iommu=on nosmt"
)
CMDLINE = "BOOT_IMAGE=/boot/vmlinuz-6.1.0-28-amd64 root=UUID=8a1c ro quiet"


class Grub(Recorded):
    """Makes its menu as grub-mkconfig does, from the fragment."""

    def run(self, argv: tuple[str, ...], stdin: str = ""):  # type: ignore[no-untyped-def]
        if argv[0] == "grub-mkconfig":
            self.answers[" ".join(argv)] = ""
            self.files[argv[2]] = MENU.format(more=TEXT if boot.FRAGMENT in self.files else "")
        return super().run(argv, stdin)


def server(**files: str) -> Grub:
    return Grub(
        files={
            "/usr/sbin/grub-mkconfig": "#!/bin/sh",
            pending.MENU: MENU.format(more=""),
            "/proc/cmdline": CMDLINE,
            **files,
        }
    )


def carry_out(system: Recorded, settings: list[Setting]) -> None:
    execute(system, [action for setting in settings if setting.differs for action in setting.actions])


def waiting(settings: list[Setting]) -> dict[str, str]:
    return {setting.name: setting.have for setting in settings if setting.unsupported == boot.REBOOT}


def test_fragment(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "grub.cfg", boot.fragment(WANTED))


def test_the_fragment_takes_its_names_out_of_what_others_say(tmp_path: Path) -> None:
    """In the shell that grub-mkconfig is: other words stay, with their quotes and stars."""
    path = tmp_path / "zz-rbops.cfg"
    path.write_text(boot.fragment(WANTED))
    default = 'quiet isolcpus=7 nosmt nohz-full=7 dyndbg="file * +p" isolcpusx=1 hugepages=2 hugepagesz=2M'
    script = f'GRUB_CMDLINE_LINUX="console=ttyS0 intel_iommu=off"; GRUB_CMDLINE_LINUX_DEFAULT=$1; . {path}; '
    script += 'printf "%s\\n" "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"'
    done = subprocess.run(
        ["sh", "-eu", "-c", script, "sh", default], capture_output=True, text=True, check=True, cwd="/"
    )
    one, two = done.stdout.splitlines()
    assert one == "console=ttyS0"
    assert two == f'quiet dyndbg="file * +p" isolcpusx=1{TEXT}'


def test_from_nothing_to_confirmed_and_rebooted(tmp_path: Path) -> None:
    system, state = server(), State(tmp_path)
    first = boot.settings(WANTED, frozenset(), system)
    assert [setting.name for setting in first if setting.differs] == ["next boot"]
    carry_out(system, first)
    assert system.files[pending.MENU] == MENU.format(more=""), "an unconfirmed change does not touch the next boot"
    again = boot.settings(WANTED, frozenset(), system)
    assert not [setting for setting in again if setting.differs], "read back before the confirmation"
    assert waiting(again)["isolcpus"] == "absent"
    assert waiting(again)["hugepages 1G"] == "absent"
    pending.commit(system)
    boot.remember(WANTED, state, system)
    assert TEXT in system.files[pending.MENU]
    assert pending.prepared(pending.MENU) not in system.files
    system.files["/proc/cmdline"] = CMDLINE + TEXT
    rebooted = boot.settings(WANTED, boot.owned(state), system)
    assert not [setting for setting in rebooted if setting.have != setting.want]


def test_no_longer_planned(tmp_path: Path) -> None:
    """The menu goes back by the undo that was recorded; what is still in force says so until a reboot."""
    system, state = server(), State(tmp_path)
    (planned, *_) = boot.settings(WANTED, frozenset(), system)
    carry_out(system, [planned])
    pending.commit(system)
    system.files["/proc/cmdline"] = CMDLINE + TEXT
    boot.remember(WANTED, state, system)
    execute(system, planned.undo)
    pending.commit(system)
    boot.remember((), state, system)
    assert boot.FRAGMENT not in system.files
    assert system.files[pending.MENU] == MENU.format(more="")
    left = boot.settings((), boot.owned(state), system)
    assert waiting(left)["isolcpus"] == "managed_irq,domain,1-3"
    assert {setting.want for setting in left} == {"absent"}
    system.files["/proc/cmdline"] = CMDLINE
    assert waiting(boot.settings((), boot.owned(state), system)) == {}
    boot.remember((), state, system)
    assert not state.boot.exists()


def test_values_changed_by_hand_are_differences() -> None:
    system = server(
        **{boot.FRAGMENT: boot.fragment(WANTED), pending.MENU: MENU.format(more=TEXT.replace("1-3", "1-2"))}
    )
    (setting,) = [found for found in boot.settings(WANTED, frozenset(), system) if found.differs]
    assert "isolcpus managed_irq,domain,1-2" in setting.have
    assert "isolcpus managed_irq,domain,1-3" in setting.want
    system.files[pending.MENU] = MENU.format(more=TEXT)
    system.files[boot.FRAGMENT] += "# by hand\n"
    (setting,) = [found for found in boot.settings(WANTED, frozenset(), system) if found.differs]
    assert setting.have == f"{boot.FRAGMENT} differs"


def test_equal_values_written_otherwise_are_none() -> None:
    system = server(**{boot.FRAGMENT: boot.fragment(WANTED), pending.MENU: MENU.format(more=TEXT)})
    system.files["/proc/cmdline"] = CMDLINE + TEXT.replace("nohz_full=1-3", "nohz_full=1,2,3")
    assert [s.name for s in boot.settings(WANTED, frozenset(), system) if s.have != s.want] == []


def test_a_server_without_grub_is_refused() -> None:
    system = server()
    del system.files[pending.MENU]
    with raises(Mismatch, "node.no-grub", server="n0") as caught:
        boot.check(WANTED, system, "n0")
    assert "isolcpus=managed_irq,domain,1-3" in str(caught.value.hint)
    boot.check((), system, "n0")


def variable(text: str) -> str:
    """An EFI variable's file as text: four octets of attributes, then UTF-16."""
    return (bytes([6, 0, 0, 0]) + f"{text}\0".encode("utf-16-le")).decode("utf-8", "replace")


LOADER = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


@pytest.mark.parametrize(
    ("files", "loader"),
    [
        ({}, None),
        ({LOADER: variable("GRUB 2.12")}, None),
        ({LOADER: variable("systemd-boot 252.30-1~deb12u2")}, "systemd-boot 252.30-1~deb12u2"),
        ({LOADER: variable("refind 0.14.0")}, "refind 0.14.0"),
        ({"/proc/cmdline": "root=UUID=8a1c ro quiet initrd=\\EFI\\debian\\initrd.img"}, "another loader"),
        ({"/proc/cmdline": "BOOT_IMAGE=vmlinuz root=/dev/sda1 ro initrd=initrd.img"}, "another loader"),  # syslinux
        ({"/proc/cmdline": "root=/dev/vda1 ro console=ttyS0"}, "another loader (no BOOT_IMAGE)"),  # a unified image
        ({"/proc/cmdline": ""}, None),
    ],
)
def test_a_menu_that_grub_left_beside_another_loader_is_no_way_to_boot(
    files: dict[str, str], loader: str | None
) -> None:
    system = server(**files)
    found = boot.other_loader(system)
    assert found == loader or (loader is not None and found is not None and found.startswith(loader))
    if loader is None:
        boot.check(WANTED, system, "n0")
        return
    with raises(Mismatch, "node.no-grub", server="n0") as caught:
        boot.check(WANTED, system, "n0")
    assert f"it was booted by {found}" in str(caught.value)
    boot.check((), system, "n0")


def test_a_container_has_its_hosts_parameters() -> None:
    system = Recorded(files={"/run/systemd/container": "systemd-nspawn"})
    boot.check(WANTED, system, "n0")
    (setting,) = boot.settings(WANTED, frozenset(), system)
    assert setting.unsupported == "a container boots with its host's parameters"
    assert not setting.differs


def test_a_menu_that_cannot_be_made_fails() -> None:
    system = Recorded(files={"/usr/sbin/grub-mkconfig": "#!", pending.MENU: MENU.format(more="")})
    with raises(CheckFailed, "node.not-supported"):
        execute(system, boot.settings(WANTED, frozenset(), system)[0].actions)
    assert system.files[pending.MENU] == MENU.format(more="")


def test_commit_and_discard_of_modules_files() -> None:
    system = Recorded(
        files={pending.MODPROBE: "old", pending.prepared(pending.MODPROBE): "", pending.MODULES_LOAD: "x"}
    )
    assert pending.coming(system, pending.MODPROBE) is None
    assert pending.coming(system, pending.MODULES_LOAD) == "x"
    pending.commit(system)
    assert system.files == {pending.MODULES_LOAD: "x"}
    system.files[pending.prepared(pending.MODULES_LOAD)] = "y"
    pending.discard(system)
    assert system.files == {pending.MODULES_LOAD: "x"}


@pytest.mark.parametrize(("module", "renewed"), [("ixgbe", True), ("vfio-pci", False)])
def test_changed_options_of_modules_in_the_initramfs_go_into_it(module: str, renewed: bool) -> None:  # noqa: FBT001
    look, update = "lsinitramfs /boot/initrd.img-6.1.0-28-amd64", "update-initramfs -u -k 6.1.0-28-amd64"
    inside = "usr/lib/modules/6.1.0-28-amd64/kernel/drivers/net/ethernet/intel/ixgbe/ixgbe.ko\nusr/bin/kmod\n"
    files = {"/usr/bin/lsinitramfs": "#!", "/boot/initrd.img-6.1.0-28-amd64": "", "/boot/vmlinuz-6.1.0-28-amd64": ""}
    system = Recorded(files=files, answers={look: inside, update: ""})
    system.put(pending.prepared(pending.MODPROBE), f"# x\noptions {module} a=1\n")
    pending.commit(system)
    pending.commit(system)
    assert [line for line, _ in system.ran] == ([look, update] if renewed else [look]), "once a change"


def test_the_kernel_program_puts_and_moves_files(tmp_path: Path) -> None:
    kernel, path = Kernel(), tmp_path / "new" / "file"
    kernel.put(str(path), "text\n")
    assert (path.read_text(), path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (
        "text\n",
        0o644,
        0o755,
    )
    kernel.move(str(path), str(path.with_name("other")))
    assert [entry.name for entry in path.parent.iterdir()] == ["other"]
    kernel.put(str(path.with_name("other")), None)
    kernel.put(str(tmp_path / "none" / "file"), None)
    assert list(path.parent.iterdir()) == []
    assert isinstance(boot.settings(WANTED, frozenset(), server())[0].actions[1], Run)


def test_what_is_not_there_is_removed_from_a_read_only_file_system_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux has it: EROFS comes before ENOENT."""

    def refused(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refused)
    Kernel().put(str(tmp_path / "absent"), None)
    Installed(Recorded(), tmp_path).put_back(tmp_path / "nothing")
    there = tmp_path / "usr/sbin/rbops-node"
    there.parent.mkdir(parents=True)
    there.touch()
    with pytest.raises(OSError, match="Read-only"):
        Installed(Recorded(), tmp_path).put_back(tmp_path / "nothing")
