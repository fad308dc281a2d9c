# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts what one of the two devices runs; on the Pi the node that steers, too.

ros2 launch detector_pi_jetson robot.launch.py fleet_file:=$PWD/robot.yaml device:=pi scheduler:=true
"""

from launch.actions import IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, EqualsSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('edge_dnn_partition'), 'launch', 'device.launch.py']),
            launch_arguments=[
                ('fleet_file', LaunchConfiguration('fleet_file')), ('device', LaunchConfiguration('device')),
                ('scheduler', LaunchConfiguration('scheduler', default='false')),
                ('fleet', LaunchConfiguration('fleet', default=EnvironmentVariable('EDGE_DNN_PARTITION_FLEET', default_value=''))),
                ('params_file', LaunchConfiguration('params_file', default='')),
                ('autostart', LaunchConfiguration('autostart', default='true')),
                ('respawn', LaunchConfiguration('respawn', default='false')),
                ('log_level', LaunchConfiguration('log_level', default='info')),
            ],
        ),
        Node(
            package='detector_pi_jetson', executable='steer', output='screen',
            condition=IfCondition(EqualsSubstitution(LaunchConfiguration('device'), 'pi')),
        ),
    ])
