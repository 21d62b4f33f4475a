#!/bin/sh
# Installs DPDK's testpmd and its driver for packet sockets, Debian's, which `make bench-planes` compares with.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
install_packages dpdk-dev "$(apt-cache search --names-only '^librte-net-af-packet[0-9]*$' | cut -d' ' -f1 | tail -1)"
