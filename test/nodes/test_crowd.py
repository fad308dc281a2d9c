# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler among devices that join, leave and only speak, of which the fleet file names none."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


def test_the_plan_moves_on_as_devices_come_and_go_and_devices_hear_little(tmp_path):
    from edge_dnn_partition.benchmarks import scale_crowd

    row = scale_crowd.one_crowd(tmp_path, 20, 5.0, settle_seconds=0.5)
    assert row['leaves'] >= 3
    assert row['reaction_longest_seconds'] is not None, 'no device of the plan in force has left'
    assert row['reaction_longest_seconds'] < 1.0, 'a device that says that it leaves is not waited for'
    assert row['churn_heard_by_a_device_per_second'] < 10
    assert row['churn_core_share'] < 0.9
