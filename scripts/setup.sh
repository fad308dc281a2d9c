#!/bin/sh
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# Finds a Python that can hold the package and hands over to setup_venv.py.
# $PYTHON names one to use instead.
set -u
here=$(cd "$(dirname "$0")" && pwd)

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || {
        echo "error: PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13: name one that is, or leave PYTHON unset" >&2
        exit 2
    }
    exec "$PYTHON" "$here/setup_venv.py" "$@"
fi
for candidate in "$here/../.venv/bin/python" python3 python3.12 python3.13 python3.11; do
    if fits "$candidate"; then
        exec "$candidate" "$here/setup_venv.py" "$@"
    fi
done
echo "error: Python 3.11, 3.12 or 3.13 is missing: install one (Debian, Ubuntu: sudo apt install python3 python3-venv python3-dev) or name one with PYTHON=/path/to/python3.12 make setup" >&2
exit 2
