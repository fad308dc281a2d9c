# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the scheduler of a fleet; one for a fleet, on any machine of its network.

ros2 launch edge_dnn_partition scheduler.launch.py fleet_file:=/path/to/fleet.yaml dashboard:=true
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from edge_dnn_partition.deployment.processes import scheduler_process, tool_process
from edge_dnn_partition.nodes.launching import file_argument, fleet_arguments, named_fleet, node_actions, tool_arguments, tools
from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list:
    path = LaunchConfiguration('fleet_file').perform(context)
    fleet = named_fleet(context, path)
    device = LaunchConfiguration('device').perform(context)
    shown = (tool_process(fleet, path, tool, device) for tool in tools(context))
    return node_actions(context, (scheduler_process(fleet, path, device), *shown))


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        file_argument(),
        *fleet_arguments(),
        *tool_arguments(),
        DeclareLaunchArgument('device', default_value='', description='the device it runs beside, of a fleet of several sites'),
        OpaqueFunction(function=nodes),
    ])
