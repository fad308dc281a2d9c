# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts what one device of a fleet runs: its monitor, its worker, and on the source the frame source.

ros2 launch edge_dnn_partition device.launch.py fleet_file:=/path/to/fleet.yaml device:=pi scheduler:=true
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from edge_dnn_partition.deployment.processes import device_processes, scheduler_process
from edge_dnn_partition.nodes.launching import fleet_arguments, is_true, named_fleet, node_actions
from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list:
    path = LaunchConfiguration('fleet_file').perform(context)
    fleet = named_fleet(context, path)
    device = LaunchConfiguration('device').perform(context)
    processes = device_processes(fleet, path, device)
    if is_true(context, 'scheduler'):
        processes = (*processes, scheduler_process(fleet, path, device))
    return node_actions(context, processes)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *fleet_arguments(),
        DeclareLaunchArgument('device', description='the name of this device in the fleet file'),
        DeclareLaunchArgument(
            'scheduler', default_value='false', choices=['true', 'false'], description='the scheduler as well: on one device only'
        ),
        OpaqueFunction(function=nodes),
    ])
