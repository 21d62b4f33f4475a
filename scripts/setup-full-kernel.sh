#!/bin/sh
# Installs what scripts/full-kernel needs: QEMU, and what makes its initramfs. Quick when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
install_packages qemu-system-x86 busybox-static cpio kmod
