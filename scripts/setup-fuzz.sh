#!/bin/sh
# Installs the fuzzer, atheris, into .venv; does nothing, quickly, when it is there.
set -eu
cd "$(dirname "$0")/.."

if ! .venv/bin/python -c 'import atheris' 2>/dev/null; then
    echo "setup: installing atheris (for make fuzz)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check 'atheris==3.0.0'
fi
