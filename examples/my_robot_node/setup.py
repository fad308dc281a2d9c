# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An ament_python package with one node."""

from setuptools import setup

setup(
    name='my_robot_node',
    version='0.1.0',
    packages=['my_robot_node'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/my_robot_node']),
        ('share/my_robot_node', ['package.xml']),
    ],
    entry_points={'console_scripts': ['look = my_robot_node.look:main']},
)
