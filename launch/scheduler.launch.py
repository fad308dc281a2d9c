# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the scheduler of a fleet; one for a fleet, on any machine of its network.

ros2 launch edge_dnn_partition scheduler.launch.py fleet_file:=/path/to/fleet.yaml dashboard:=true
"""

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration

from edge_dnn_partition.deployment.processes import scheduler_process, tool_process
from edge_dnn_partition.nodes.launching import fleet_arguments, named_fleet, node_actions, tool_arguments, tools
from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list:
    path = LaunchConfiguration('fleet_file').perform(context)
    fleet = named_fleet(context, path)
    shown = (tool_process(fleet, path, tool) for tool in tools(context))
    return node_actions(context, (scheduler_process(fleet, path), *shown))


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*fleet_arguments(), *tool_arguments(), OpaqueFunction(function=nodes)])
