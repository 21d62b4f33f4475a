#!/bin/sh
# Runs this checkout in a Debian 13 system, as it is on a controller with Python 3.13:
#
#   scripts/test-trixie.sh                         `make setup`, the tests that need no lab, and those that load BPF
#   scripts/test-trixie.sh .venv/bin/rbops demo    any command; the checkout's copy is its folder
#
# The system is made by mmdebstrap the first time and kept in /var/cache/rbops; it has a root folder and mounts of its
# own, and this machine's network, devices, cgroups, environment (`PIP_...` and proxies) and trusted certificates.
# Needs root, a Debian mirror and PyPI.
set -eu
cd "$(dirname "$0")/.."
system=/var/cache/rbops/controller-trixie

if [ "$(id -u)" -ne 0 ]; then
    echo "test-trixie: needs root: it makes a Debian system and enters it" >&2
    exit 2
fi
if [ ! -d "$system" ]; then
    echo "test-trixie: making a Debian 13 system"
    rm -rf "$system.partial"
    mkdir -p "${system%/*}"
    mmdebstrap --mode=root --variant=minbase --include=ca-certificates,git,make,python3,python3-venv \
        --dpkgopt=force-unsafe-io --quiet trixie "$system.partial"
    mv "$system.partial" "$system"
fi

# The checkout with what is not committed yet; its .venv stays from one run to the next.
copy=$system/srv/rbops
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- --ignore-failed-read |
    tar --extract --directory="$copy"
cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
cp /etc/resolv.conf "$system/etc/resolv.conf"

# Its clang is a newer one, which compiles other programs: whether the kernel takes them needs root.
[ $# -gt 0 ] || set -- sh -euc '.venv/bin/python -m pytest -n 2 -m "not lab and not root and not vagrant"
.venv/bin/python -m pytest -n 2 -m "root and not lab" tests/dataplane'
# shellcheck disable=SC2016 # expanded inside
exec unshare --mount --pid --fork --kill-child --propagation private sh -euc '
system=$1
shift
mount --bind "$system" "$system"
mount -t proc proc "$system/proc"
for tree in dev sys; do mount --rbind /$tree "$system/$tree"; done
for folder in run tmp; do mount -t tmpfs tmpfs "$system/$folder"; done
mkdir -p "$system/run/lock" "$system/run/netns" "$system/var/cache/rbops"
mount --bind /var/cache/rbops "$system/var/cache/rbops"
exec chroot "$system" sh -euc "cd /srv/rbops; make setup; exec \"\$@\"" sh "$@"' sh "$system" "$@"
