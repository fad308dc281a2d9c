# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the scheduler of a fleet; one for a fleet, on any machine of its network.

ros2 launch edge_dnn_partition scheduler.launch.py fleet_file:=/path/to/fleet.yaml dashboard:=true
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from edge_dnn_partition.planning.fleet import load_fleet
from edge_dnn_partition.runtime.processes import TOOLS, scheduler_process, tool_process
from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list[Node]:
    path = LaunchConfiguration('fleet_file').perform(context)
    tools = [tool for tool in TOOLS if LaunchConfiguration(tool).perform(context).lower() == 'true']
    fleet = load_fleet(path)
    return [
        Node(
            package='edge_dnn_partition',
            executable=process.node,
            namespace=process.namespace,
            parameters=[dict(process.parameters)],
            additional_env=process.environment(),
            output='screen',
        )
        for process in (scheduler_process(fleet, path), *(tool_process(fleet, path, tool) for tool in tools))
    ]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument('fleet_file', description='the fleet file: devices, links, model'),
        DeclareLaunchArgument(
            'dashboard', default_value='false', choices=['true', 'false'], description='the web dashboard as well'
        ),
        DeclareLaunchArgument(
            'visualisation', default_value='false', choices=['true', 'false'], description='markers for rviz as well'
        ),
        OpaqueFunction(function=nodes),
    ])
