#!/usr/bin/python
"""Ansible module: the Click on a server checked, and the element package compiled for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rbops_click
short_description: Check a server's Click and compile rbops's elements for it
description:
  - Unpacks an archive with a Click, if one is given, beside the earlier ones, and makes I(prefix) lead to it.
  - Refuses a server without Click, with one that is too old, without an element that is used, or without what
    I(dialect) needs of it.
  - Compiles the element package when I(sources) or the Click changed. Nothing that runs is touched.
options:
  prefix:
    description: Where Click is installed. Empty, the one on PATH is used.
    type: str
    default: ""
  archive:
    description: An archive on the server with an installed Click, to be unpacked; I(prefix) becomes a link to it.
    type: str
    default: ""
  dialect:
    description: How Click runs.
    type: str
    choices: [socket, dpdk, fastclick, kernel]
    required: true
  elements:
    description: The element classes that the configuration uses, without those of rbops's own package.
    type: list
    elements: str
    default: []
  sources:
    description: The folder with the elements' sources on the server. Empty, nothing is compiled.
    type: str
    default: ""
  base:
    description: Where compiled packages and unpacked archives are kept.
    type: path
    default: /var/lib/rbops/click
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: The server has a Click for this configuration
  rbops_click:
    dialect: socket
    elements: [FromDevice, DirectIPLookup]

- name: The element package is compiled for it
  rbops_click:
    dialect: socket
    sources: /etc/rbops/click/elements
"""

RETURN = r"""
click:
  description: Which Click it is.
  returned: when there is one
  type: str
  sample: Click 2.1 in /usr/local
package:
  description: The compiled element package, with I(sources).
  returned: when compiled
  type: str
"""

import glob
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils import rbops_click_build as build
from ansible.module_utils.basic import AnsibleModule

NEWEST_KERNEL = (3, 18)
UNPACK_S = 300


def unpack(module, diff):
    """The archive beside those unpacked before, and the link to it; done already when it is the same archive."""
    archive, prefix, base = module.params["archive"], module.params["prefix"], module.params["base"]
    if not os.path.exists(archive):
        # A check of a fresh server: the archive was not copied there.
        diff.append((prefix, "", "a Click from an archive\n"))
        return False
    digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()[:32]
    target = os.path.join(base, "archives", digest)
    if os.path.realpath(prefix) == os.path.realpath(target) and os.path.isdir(target):
        return True
    diff.append((prefix, _leads_to(prefix), f"{target}\n"))
    if os.path.exists(prefix) and not os.path.islink(prefix):
        module.fail_json(msg=f"{prefix} is not a link made by rbops: move it away")
    if module.check_mode:
        return False
    if not os.path.isdir(target):
        _extract(module, archive, target)
    part = f"{prefix}.rbops"
    if os.path.lexists(part):
        os.unlink(part)
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    os.symlink(target, part)
    os.replace(part, prefix)
    return True


def _leads_to(prefix):
    return f"{os.readlink(prefix)}\n" if os.path.islink(prefix) else ""


def _extract(module, archive, target):
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=".unpack-", dir=os.path.dirname(target))
    try:
        command = ["tar", "--no-same-owner", "-xf", archive, "-C", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=UNPACK_S)
        if done.returncode:
            module.fail_json(msg=f"click.package cannot be unpacked: {done.stderr.strip()[-300:]}")
        # The prefix may be the archive's top, or some folders below it.
        found = [path for depth in range(4) for path in glob.glob(f"{folder}/{'*/' * depth}bin/click")]
        if not found:
            module.fail_json(msg="click.package has no bin/click, expected an installed Click")
        root = os.path.dirname(os.path.dirname(found[0]))
        os.chmod(root, 0o755)  # noqa: S103 (mkdtemp made it 0700; programs are for all to run)
        os.replace(root, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_kernel():
    """Kernel-mode Click is known to work on 2.6.24 to 3.18."""
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if numbers > NEWEST_KERNEL:
        raise build.ClickError(
            f"kernel-mode Click is known to work on Linux 2.6.24 to 3.18; this server runs {release}",
            "write click: {dialect: socket} or {dialect: dpdk}",
        )


def check_dpdk():
    """What rbops-node cannot bring: huge pages in this kernel, and the driver that DPDK takes devices over by."""
    if not glob.glob("/sys/kernel/mm/hugepages/hugepages-*"):
        raise build.ClickError("DPDK needs huge pages, which this kernel does not have", "use a kernel with hugetlbfs")
    there = os.path.isdir("/sys/bus/pci/drivers/vfio-pci") or glob.glob(
        f"/lib/modules/{os.uname().release}/kernel/drivers/vfio/pci/vfio-pci.ko*"
    )
    if not there:
        raise build.ClickError("DPDK needs the driver vfio-pci, which this kernel does not have", "install its modules")


def examine(module, diff):
    """The server's Click, fit for the dialect and with all elements; None in a check before it was unpacked."""
    params = module.params
    if params["archive"] and not unpack(module, diff):
        return None
    if params["dialect"] == "kernel":
        check_kernel()
    if params["dialect"] in ("dpdk", "fastclick"):
        check_dpdk()
    driver = "linuxmodule" if params["dialect"] == "kernel" else "userlevel"
    click = build.find(params["prefix"] or None, driver)
    if params["dialect"] == "fastclick" and not click.fastclick:
        raise build.ClickError(f"{click} is not FastClick", "write click: {dialect: dpdk}, or install FastClick")
    if params["dialect"] == "dpdk" and click.fastclick:
        # Its devices pass on packets with marks of earlier ones unless this is switched off.
        raise build.ClickError(f"{click} is not Click's own", "write click: {dialect: fastclick}")
    build.missing(click, params["elements"])
    return click


def compile_package(module, click, diff):
    """The element package for this Click; its path."""
    base, sources = Path(module.params["base"]), Path(module.params["sources"])
    if module.check_mode and not sources.is_dir():
        # Without the sources it is not known whether one that was compiled before is for them.
        if not any(base.glob("packages/*/rbops.*")):
            build.tools_missing(click)
        diff.append((str(base), "", f"element package compiled for {click}\n"))
        return None
    before = build.current(base, click.driver)
    built = build.build(click, sources, base, check=module.check_mode)
    if built.changed:
        note = "; restart: element package changed" if before and before != built.path else ""
        diff.append((str(base), f"{before}\n" if before else "", f"{built.path}: element package for {click}{note}\n"))
    return str(built.path)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "str", "default": ""},
            "archive": {"type": "str", "default": ""},
            "dialect": {"type": "str", "choices": ["socket", "dpdk", "fastclick", "kernel"], "required": True},
            "elements": {"type": "list", "elements": "str", "default": []},
            "sources": {"type": "str", "default": ""},
            "base": {"type": "path", "default": "/var/lib/rbops/click"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    diff = []
    result = {}
    try:
        click = examine(module, diff)
        if click is not None:
            result["click"] = str(click)
            if module.params["sources"]:
                result["package"] = compile_package(module, click, diff)
    except build.ClickError as error:
        module.fail_json(msg=f"{error}. {error.hint}" if error.hint else str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    shown = [{"before_header": name, "after_header": name, "before": old, "after": new} for name, old, new in diff]
    module.exit_json(changed=bool(diff), diff=shown, **result)


if __name__ == "__main__":
    main()
