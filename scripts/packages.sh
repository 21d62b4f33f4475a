# Sourced by the set-up scripts: installs the Debian packages named as arguments that are missing, and says which.
# No service of theirs is started: tests start what they need.
# shellcheck shell=sh
install_packages() {
    missing=
    for package in "$@"; do
        status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
        [ "$status" = "install ok installed" ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: these Debian packages are missing; run as root: apt-get install --no-install-recommends$missing" >&2
        return 2
    fi
    echo "setup: installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    policy=/usr/sbin/policy-rc.d
    own=
    if [ ! -e "$policy" ]; then
        own=yes
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086 # a list of package names
    apt-get install -y -qq --no-install-recommends $missing >/dev/null || failed=yes
    [ -z "$own" ] || rm -f "$policy"
    [ -z "${failed:-}" ]
}
