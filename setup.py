# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Names the packages; setup.cfg, which says the rest, cannot map benchmarks/ to edge_dnn_partition.benchmarks."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=['edge_dnn_partition', 'edge_dnn_partition.*']), 'edge_dnn_partition.benchmarks'],
    package_dir={'edge_dnn_partition.benchmarks': 'benchmarks'},
)
