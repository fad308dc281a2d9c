# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An ament_python package: a launch file, a fleet, and one node."""

from glob import glob

from setuptools import setup

setup(
    name='policy_arm',
    version='0.1.0',
    packages=['policy_arm'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/policy_arm']),
        ('share/policy_arm', ['package.xml']),
        ('share/policy_arm/launch', glob('launch/*.py')),
        ('share/policy_arm/config', glob('config/*')),
    ],
    entry_points={'console_scripts': ['play_arm = policy_arm.play_arm:main']},
)
