#!/bin/sh
# Installs what rbops needs on this machine: Debian packages by name, and .venv with rbops in it.
# Says what it installs; does nothing, quickly, when nothing is missing.
set -eu
cd "$(dirname "$0")/.."

# clang, llvm, libbpf-dev compile the data plane; libbpf1 loads it; g++ compiles what the Click elements
# decide, for its tests; systemd-container and mmdebstrap boot the lab; openssh-client is Ansible's
# transport; people ping from testers; graphviz reads the graphs that are written, groff and mandoc the man pages;
# tshark reads captures; iperf3 is the self-test's TCP; bird2 and frr are what other ASs run in tests, and bird2 looks
# at what servers are to run; prometheus reads the servers' metrics in tests, nfdump-sflow their samples; iptables is a
# filter of the machine's that a lab is to be reached through; strongSwan is a tunnel's peer, and the servers' own.
packages="python3 python3-venv clang llvm libbpf-dev libbpf1 g++ systemd-container mmdebstrap
openssh-client iproute2 ethtool bpftool iputils-ping procps graphviz groff-base mandoc nftables iptables tshark
bird2 frr iperf3 prometheus nfdump nfdump-sflow charon-systemd libstrongswan-standard-plugins"

# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck disable=SC2086 # a list of package names
install_packages $packages

# What the virtual environment was made from: any change makes it anew in place.
want=$(cat pyproject.toml constraints.txt hatch_build.py scripts/setup.sh | sha256sum)
if [ ! -x .venv/bin/rbops ] || [ "$(cat .venv/made-from 2>/dev/null)" != "$want" ]; then
    echo "setup: making .venv with rbops and its Python dependencies (constraints.txt)"
    [ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,plot,simulate]'
    echo "$want" > .venv/made-from
fi
.venv/bin/python -m rbops.dataplane.xdp.controller.compile > /dev/null
echo "setup: ready (.venv/bin/rbops)"
