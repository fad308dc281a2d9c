# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts every process of a fleet file on this machine.

ros2 launch edge_dnn_partition fleet.launch.py fleet_file:=/path/to/fleet.yaml dashboard:=true
"""

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration

from edge_dnn_partition.deployment.processes import fleet_processes
from edge_dnn_partition.nodes.launching import file_argument, fleet_arguments, named_fleet, node_actions, tool_arguments, tools
from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list:
    path = LaunchConfiguration('fleet_file').perform(context)
    return node_actions(context, fleet_processes(named_fleet(context, path), path, tools(context)))


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([file_argument(), *fleet_arguments(), *tool_arguments(), OpaqueFunction(function=nodes)])
