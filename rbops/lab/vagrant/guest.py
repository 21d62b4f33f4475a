"""The shell script that Vagrant runs as root at a machine's first boot."""

from __future__ import annotations

import shlex

from rbops.lab.manifest import LabServer

__all__ = ["provision_script"]

_SCRIPT = """\
#!/bin/sh
# Written by rbops: the name, the keys and the devices' names of {name}.
set -eu
echo {name} >/etc/hostname
hostname {name}
umask 077
mkdir -p /root/.ssh
printf '%s\\n' {client} >/root/.ssh/authorized_keys
printf '%s' {host_key} >/etc/ssh/ssh_host_ed25519_key
printf '%s' {host_key_public} >/etc/ssh/ssh_host_ed25519_key.pub
chmod 644 /etc/ssh/ssh_host_ed25519_key.pub
umask 022
mkdir -p /etc/systemd/network
{links}
udevadm control --reload
udevadm trigger --action=add --subsystem-match=net
udevadm settle
systemctl restart ssh
"""

_LINK = "printf '%s' {text} >/etc/systemd/network/20-{device}.link"


def provision_script(server: LabServer, client: str, host_key: str, host_key_public: str) -> str:
    """The script for ``server``: ``client`` is the public key that may log in as root.

    udev names its ports by their MACs, now and at every boot.
    """
    links = [
        _LINK.format(
            text=shlex.quote(f"[Match]\nMACAddress={port.mac}\nType=ether\n\n[Link]\nName={port.device}\n"),
            device=port.device,
        )
        for port in server.ports
    ]
    return _SCRIPT.format(
        name=server.name,
        client=shlex.quote(client.strip()),
        host_key=shlex.quote(host_key),
        host_key_public=shlex.quote(host_key_public),
        links="\n".join(links),
    )
