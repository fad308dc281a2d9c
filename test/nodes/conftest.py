# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of nodes share: the helpers in support.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # support.py


@pytest.fixture
def nodes(ros_domain, tmp_path):
    """Starts node processes (`support.Processes`), and ends those that are left at the end."""
    from support import Processes

    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def context(ros_domain):
    """An rclpy context in this process."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()
