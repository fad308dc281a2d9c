# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of policies: its measures, its rivals, and that tuning is even."""

import numpy as np
import pytest

from edge_dnn_partition.cli import bench

bench.load('policies', bench.find()['policies'])
calibration = bench.load('calibration', bench.find()['calibration'])

from edge_dnn_partition.benchmarks import intervals, policy_measures, policy_tuning  # noqa: E402
from edge_dnn_partition.benchmarks.policy_fleet import Scenario, SimulatedFleet  # noqa: E402
from edge_dnn_partition.benchmarks.policy_rivals import BanditSettings, ElasticBandit, LinearBandit  # noqa: E402
from edge_dnn_partition.benchmarks.policy_run import run  # noqa: E402


def test_recovery_counts_frames_until_near_the_oracle():
    oracle = np.ones(60)
    seconds = np.ones(60)
    seconds[20:27] = 2.0
    assert policy_measures.recovery(seconds, oracle, [0, 20]) == pytest.approx((0 + 7) / 2)
    seconds[20:] = 2.0
    assert policy_measures.recovery(seconds, oracle, [0, 20]) == pytest.approx((0 + 40) / 2)


def test_the_interval_holds_the_mean_and_shrinks():
    few = intervals.mean_and_interval([1.0, 2.0, 3.0])
    many = intervals.mean_and_interval([1.0, 2.0, 3.0] * 20)
    assert few[1] <= few[0] == 2.0 <= few[2]
    assert many[2] - many[1] < few[2] - few[1]
    assert intervals.mean_and_interval([4.0] * 5) == (4.0, 4.0, 4.0)


@pytest.mark.parametrize('kind', policy_tuning.KINDS, ids=lambda kind: kind.name)
def test_every_policy_is_tuned_on_the_same_worlds(kind):
    fleets = [SimulatedFleet(Scenario('short', ('loss',), frames=40), 1000)]
    values, scores = policy_tuning.tune(kind, fleets, 2)
    assert len(scores) == 2
    assert set(values) == set(kind.ranges)
    assert policy_tuning.tune(kind, fleets, 2) == (values, scores)


@pytest.mark.parametrize('make', [
    lambda: LinearBandit(BanditSettings(forget=0.98, ridge=0.1)), lambda: LinearBandit(BanditSettings(window=40, ridge=0.1)),
    lambda: ElasticBandit(BanditSettings(ridge=0.1, prior=False)),
])  # fmt: skip
def test_rivals_learn_what_telemetry_does_not_show(make):
    """A cloud that is eight times slower than it says is used less than the first plan does."""
    fleet = SimulatedFleet(Scenario('slow cloud', (), frames=400, visible_changes=False), 5)
    fleet._hidden_device[:, 2] = 8.0
    trace = run(fleet, make())
    first = fleet.times(trace.plans[0])
    assert trace.seconds[200:].mean() < 0.75 * (first.jetson + first.rest)[200:].mean()


def test_the_benchmark_of_switches_counts_what_was_assessed():
    row, counted = calibration._scenario(Scenario('short', ('loss',), frames=500), 6)
    assert 0 < len(counted) == row['intervals'] == row['assessed'] - 8
    assert row['coverage'] == pytest.approx(np.mean([a.inside for a in counted]))
    assert row['switches'] >= row['assessed'] - 6, 'the first plan of a course is assessed as well, and is no switch'
    assert 0.9 < row['over_constant'] < 1.1
    assert 0.02 <= row['hysteresis'] <= 0.3
