# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of nodes share: a ROS domain of their own, and the helpers in support.py."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # support.py


@pytest.fixture(scope='session')
def ros_domain():
    """A ROS domain that no other test run on this machine uses; set in this process's environment."""
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from domain_coordinator import domain_id

    from edge_dnn_partition import ros_env

    prefix = ros_env.install_prefix()
    if prefix is not None and str(prefix) not in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        parts = [part for part in (os.environ.get('AMENT_PREFIX_PATH'), str(prefix)) if part]
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(parts)
    with domain_id() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        yield domain


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
