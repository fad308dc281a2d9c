#!/bin/bash
# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
# Runs a command in the workspace of the image.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /opt/venv/bin/activate
source /fleet_ws/install/setup.bash
exec "$@"
