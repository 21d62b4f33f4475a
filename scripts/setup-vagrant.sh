#!/bin/sh
# Installs what labs of virtual machines need besides scripts/setup.sh: Vagrant, libvirt, QEMU, by Debian packages.
# Says what it installs; does nothing, quickly, when nothing is missing.
set -eu

# libvirtd makes the machines' networks with dnsmasq and iptables; e2fsprogs, fdisk and qemu-utils make the box's disk.
packages="vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients dnsmasq-base iptables qemu-system-x86
qemu-utils e2fsprogs fdisk"

missing=
for package in $packages; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: these Debian packages are missing; run as root: apt-get install --no-install-recommends$missing" >&2
    exit 2
fi
echo "setup: installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
