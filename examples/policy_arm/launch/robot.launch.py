# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts what one of the two devices runs; the trajectories go to the arm's controller.

ros2 launch policy_arm robot.launch.py fleet_file:=$PWD/robot.yaml device:=arm scheduler:=true
"""

from launch.actions import GroupAction, IncludeLaunchDescription
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetRemap
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        GroupAction([
            SetRemap(
                '/policy/actions', LaunchConfiguration('controller', default='/joint_trajectory_controller/joint_trajectory')
            ),
            IncludeLaunchDescription(
                PathJoinSubstitution([FindPackageShare('edge_dnn_partition'), 'launch', 'device.launch.py']),
                launch_arguments=[
                    ('fleet_file', LaunchConfiguration('fleet_file')), ('device', LaunchConfiguration('device')),
                    ('scheduler', LaunchConfiguration('scheduler', default='false')),
                    ('fleet', LaunchConfiguration(
                        'fleet', default=EnvironmentVariable('EDGE_DNN_PARTITION_FLEET', default_value=''),
                    )),
                    ('params_file', LaunchConfiguration('params_file', default='')),
                    ('autostart', LaunchConfiguration('autostart', default='true')),
                    ('respawn', LaunchConfiguration('respawn', default='false')),
                    ('log_level', LaunchConfiguration('log_level', default='info')),
                ],
            ),
        ]),
    ])
