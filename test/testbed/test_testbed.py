# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A testbed in a process of its own: Fast DDS reads its profile once a process, and other tests have another one."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge_dnn_partition.testbed.namespaces import why_not

CHECKS = Path(__file__).with_name('testbed_checks.py')


@pytest.mark.timeout(200)
def test_a_testbed_in_real_namespaces():
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', str(CHECKS)], capture_output=True, text=True, timeout=180, check=False,
        cwd=CHECKS.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert '6 passed' in done.stdout, done.stdout
