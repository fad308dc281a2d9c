#!/bin/bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
#
# Installs the units for the user who asks, and writes /etc/default/edge-dnn unless it is there.
#   sudo systemd/install.sh FLEET.yaml [USER]
# USER runs the nodes (default: who called sudo). DESTDIR installs below another root and leaves systemd alone.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "error: $1" >&2; exit 2; }

[ $# -ge 1 ] && [ $# -le 2 ] || fail 'give the fleet file, and perhaps a user: sudo systemd/install.sh FLEET.yaml [USER]'
fleet=$(readlink -f -- "$1") && [ -f "$fleet" ] || fail "there is no file $1"
user=${2:-${SUDO_USER:-}}
[ -n "$user" ] || fail 'whose nodes are these? call it with sudo, or give the user as well'
id -u -- "$user" >/dev/null 2>&1 || fail "there is no user $user"
[ -n "${DESTDIR:-}" ] || [ "$(id -u)" = 0 ] || fail 'it writes to /etc: call it with sudo'

units=${DESTDIR:-}/etc/systemd/system default=${DESTDIR:-}/etc/default/edge-dnn
install -d "$units" "$(dirname "$default")"
for unit in "$here"/*.service; do
    sed "s/^User=.*/User=$user/" "$unit" >"$units/$(basename "$unit")"
done
if [ -e "$default" ]; then
    echo "kept $default as it is"
else
    setup=$here/../../../install/setup.bash      # this package lies in the workspace's src
    [ -e "$setup" ] && setup=$(readlink -f -- "$setup") || setup=$(sed -n 's/^EDGE_DNN_SETUP=//p' "$here/edge-dnn.default")
    while read -r line; do
        case $line in
            EDGE_DNN_SETUP=*) printf 'EDGE_DNN_SETUP="%s"\n' "$setup" ;;
            EDGE_DNN_FLEET=*) printf 'EDGE_DNN_FLEET="%s"\n' "$fleet" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done <"$here/edge-dnn.default" >"$default"
    echo "wrote $default; look at EDGE_DNN_SETUP and ROS_DOMAIN_ID in it"
fi
echo "the units run as $user"
[ -n "${DESTDIR:-}" ] || systemctl daemon-reload
