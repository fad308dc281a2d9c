# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What benchmarks with a fleet in real processes have in common."""

from __future__ import annotations

import os

import cv2
import numpy as np

from edge_dnn_partition.inputs.frame import CameraImage

SEED = 3


def prepare() -> None:
    """Make ROS usable, on a domain of this process's own, and keep each process to one thread of arithmetic."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    os.environ.setdefault('ROS_DOMAIN_ID', str(100 + os.getpid() % 100))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['OMP_NUM_THREADS'] = '1'


def small_images() -> list[CameraImage]:
    """Return four made-up JPEG images of 160 x 120 pixels."""
    pixels = np.random.default_rng(SEED).integers(0, 256, (4, 6, 8, 3)).astype(np.uint8)
    return [CameraImage(cv2.imencode('.jpg', cv2.resize(p, (160, 120)))[1].reshape(-1), 'jpeg') for p in pixels]
