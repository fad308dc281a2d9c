# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts what one device of a fleet runs: its monitor, its worker, and on the source the frame source.

ros2 launch edge_dnn_partition device.launch.py fleet_file:=/path/to/fleet.yaml device:=pi scheduler:=true
ros2 launch edge_dnn_partition device.launch.py fleet:=robot device:=pi5    # joins a running fleet, without its file
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from edge_dnn_partition.deployment.processes import device_processes, scheduler_process
from edge_dnn_partition.nodes.launching import device_fleet, fleet_arguments, is_true, node_actions
from launch import LaunchContext, LaunchDescription


def nodes(context: LaunchContext) -> list:
    device = LaunchConfiguration('device').perform(context)
    fleet, path = device_fleet(context, device)
    processes = device_processes(fleet, path, device)
    if is_true(context, 'scheduler'):
        processes = (*processes, scheduler_process(fleet, path, device))
    return node_actions(context, processes)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument(
            'fleet_file', default_value='', description='the fleet file; without it the device joins the running fleet `fleet`'
        ),
        *fleet_arguments(),
        DeclareLaunchArgument('device', description='the name of this device'),
        DeclareLaunchArgument('key_file', default_value='', description="the fleet's key, if it joins without a fleet file"),
        DeclareLaunchArgument(
            'certificates', default_value='', description='the folder of its certificate, if it joins a fleet with several sites'
        ),
        DeclareLaunchArgument('router', default_value='', description='the router between its sites, if it joins from elsewhere'),
        DeclareLaunchArgument('site', default_value='', description="its network's name, if it joins from elsewhere"),
        DeclareLaunchArgument(
            'scheduler', default_value='false', choices=['true', 'false'], description='the scheduler as well: on one device only'
        ),
        OpaqueFunction(function=nodes),
    ])
