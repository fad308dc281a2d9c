# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An ament_python package: launch files and a fleet, and one node."""

from glob import glob

from setuptools import setup

setup(
    name='detector_pi_jetson',
    version='0.1.0',
    packages=['detector_pi_jetson'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/detector_pi_jetson']),
        ('share/detector_pi_jetson', ['package.xml']),
        ('share/detector_pi_jetson/launch', glob('launch/*.py')),
        ('share/detector_pi_jetson/config', glob('config/*')),
    ],
    entry_points={'console_scripts': ['steer = detector_pi_jetson.steer:main']},
)
