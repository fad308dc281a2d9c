# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: nothing is written to the user's folders, and no test is heard by another machine."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent

os.environ.setdefault('EDGE_DNN_PARTITION_CACHE', str(CHECKOUT / 'build' / 'cache'))
os.environ.setdefault('ROS_LOG_DIR', str(CHECKOUT / 'build' / 'ros-log'))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

settings.register_profile('seeded', derandomize=True, deadline=None)
settings.load_profile('seeded')


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
