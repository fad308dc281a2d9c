# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: nothing is written to the user's folders, and no test is heard by another machine."""

import os
from pathlib import Path

from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent

os.environ.setdefault('EDGE_DNN_PARTITION_CACHE', str(CHECKOUT / 'build' / 'cache'))
os.environ.setdefault('ROS_LOG_DIR', str(CHECKOUT / 'build' / 'ros-log'))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

settings.register_profile('seeded', derandomize=True, deadline=None)
settings.load_profile('seeded')
