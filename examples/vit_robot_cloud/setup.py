# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An ament_python package: a fleet."""

from glob import glob

from setuptools import setup

setup(
    name='vit_robot_cloud',
    version='0.1.0',
    packages=[],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vit_robot_cloud']),
        ('share/vit_robot_cloud', ['package.xml']),
        ('share/vit_robot_cloud/config', glob('config/*')),
    ],
)
