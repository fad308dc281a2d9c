# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Installs the part that needs no ROS; colcon build adds messages, nodes and launch files."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=['edge_dnn_partition', 'edge_dnn_partition.*']), 'edge_dnn_partition.benchmarks'],
    package_dir={'edge_dnn_partition.benchmarks': 'benchmarks'},
    package_data={'edge_dnn_partition': ['**/*.yaml', '**/*.json', '**/*.onnx', '**/*.npz', '**/static/*', '**/*.c', 'py.typed']},
)
