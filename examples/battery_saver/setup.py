# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An ament_python package: a fleet, and one node."""

from glob import glob

from setuptools import setup

setup(
    name='battery_saver',
    version='0.1.0',
    packages=['battery_saver'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/battery_saver']),
        ('share/battery_saver', ['package.xml']),
        ('share/battery_saver/config', glob('config/*')),
    ],
    entry_points={'console_scripts': ['play_battery = battery_saver.play_battery:main']},
)
