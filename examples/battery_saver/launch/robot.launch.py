# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts what the rover or the base runs.

ros2 launch battery_saver robot.launch.py fleet_file:=$PWD/robot.yaml device:=rover scheduler:=true
"""

from launch.actions import IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('edge_dnn_partition'), 'launch', 'device.launch.py']),
            launch_arguments=[
                ('fleet_file', LaunchConfiguration('fleet_file')), ('device', LaunchConfiguration('device')),
                ('scheduler', LaunchConfiguration('scheduler', default='false')),
            ],
        ),
    ])
