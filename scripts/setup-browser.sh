#!/bin/sh
# Installs the browser that the tests of report pages use. Quick when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
install_packages chromium fonts-dejavu-core
