#!/bin/sh
# Installs what labs of virtual machines need besides scripts/setup.sh: Vagrant, libvirt, QEMU, by Debian packages.
# Says what it installs; does nothing, quickly, when nothing is missing.
set -eu
cd "$(dirname "$0")/.."

# libvirtd makes the machines' networks with dnsmasq and iptables; e2fsprogs, fdisk and qemu-utils make the box's disk.
packages="vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients dnsmasq-base iptables qemu-system-x86
qemu-utils e2fsprogs fdisk"

# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck disable=SC2086 # a list of package names
install_packages $packages
