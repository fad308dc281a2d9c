# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated fleet: repeatable, true to the cost model where nothing is hidden, and an oracle nobody beats."""

import numpy as np
import pytest
from edge_dnn_partition.benchmarks.policy_fleet import DEVICES, EFFECTS, Scenario, SimulatedFleet, Thermal
from edge_dnn_partition.benchmarks.policy_oracle import fixed_seconds, oracle_seconds, plan_pool
from edge_dnn_partition.benchmarks.policy_run import Estimates, Rules, run

from edge_dnn_partition.control.decision.exact import ExactPolicy
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policy import FixedPolicy
from edge_dnn_partition.control.decision.qlearning import QLearningPolicy
from edge_dnn_partition.planning.cost_model.evaluate import evaluate

FRAMES = 160


def fleet(*hidden, seed=1, frames=FRAMES, **more):
    return SimulatedFleet(Scenario('test', hidden, frames=frames, **more), seed)


def plans_of(simulated):
    rng = np.random.default_rng(0)
    count = simulated.problem.nodes
    return [tuple(sorted(rng.choice(DEVICES, count), key=lambda d: -DEVICES.index(d))) for _ in range(4)] + [('cloud',) * count]


def test_times_follow_the_cost_model():
    simulated = fleet('loss', 'neighbour', 'profile', seed=3)
    for plan in plans_of(simulated):
        times = simulated.times(plan)
        for frame in (0, 70, FRAMES - 1):
            truth = evaluate(simulated.true_problem(frame), plan).latency_seconds
            assert times.jetson[frame] + times.rest[frame] == pytest.approx(truth, rel=0.12)


def test_without_effects_telemetry_tells_the_truth_but_for_noise():
    simulated = fleet(estimate_noise=0.0, lag_frames=0)
    for plan in plans_of(simulated):
        times = simulated.times(plan)
        for frame in (0, 70, FRAMES - 1):
            seen = evaluate(simulated.conditions(frame, 45.0).problem, plan).latency_seconds
            assert times.jetson[frame] + times.rest[frame] == pytest.approx(seen, rel=1e-9)


def test_effects_change_what_frames_take_and_not_what_is_seen():
    plain = fleet(frames=400)
    for effect in ('loss', 'neighbour', 'profile', 'plans'):
        hidden = fleet(effect, frames=400)
        assert any(
            not np.allclose(plain.times(p).rest, hidden.times(p).rest) or not np.allclose(plain.times(p).jetson, hidden.times(p).jetson)
            for p in plans_of(plain)
        ), effect
        for frame in (0, FRAMES - 1):
            np.testing.assert_array_equal(
                plain.conditions(frame, 45.0).problem.seconds, hidden.conditions(frame, 45.0).problem.seconds
            )
    with pytest.raises(ValueError, match='known are'):
        fleet('heat')


def test_a_device_heats_throttles_and_recovers_late():
    thermal = Thermal()
    temperature, hot, seen = thermal.ambient, False, []
    for step in range(2000):
        temperature, hot = thermal.step(temperature, hot, 0.4 if step < 1000 else 0.0, 0.2)
        seen.append(hot)
    first = seen.index(True)
    assert 0 < first < 1000
    assert seen[1005], 'it stays throttled while it cools down'
    assert not seen[-1]


def test_equal_seeds_give_equal_runs():
    def trace():
        found = run(fleet(*EFFECTS), QLearningPolicy())
        return found.seconds.tolist(), found.plans, found.shadows

    assert trace() == trace()


@pytest.mark.parametrize('hidden', [(), ('throttling',), EFFECTS])
def test_nobody_beats_the_oracle(hidden):
    simulated = fleet(*hidden, seed=4)
    policies = [ExactPolicy(), QLearningPolicy()]
    traces = [run(simulated, policy) for policy in policies]
    pool = plan_pool(simulated, {plan for trace in traces for plan in trace.plans})
    best = oracle_seconds(simulated, pool).mean()
    slack = 1.01 if 'throttling' in hidden else 1 + 1e-9  # temperatures are interpolated
    for mean in (*(trace.seconds.mean() for trace in traces), fixed_seconds(simulated, pool).mean(axis=1).min()):
        assert best <= mean * slack


def test_a_fixed_plan_takes_what_the_table_says():
    simulated = fleet('throttling', seed=2)
    plan = ('jetson',) * simulated.problem.nodes
    trace = run(simulated, FixedPolicy(plan))
    np.testing.assert_allclose(trace.seconds, fixed_seconds(simulated, [plan])[0])
    assert trace.switches == 0
    assert trace.hot.any()


def test_switching_and_shadow_frames_cost_and_keep_to_the_budget():
    # Who does not learn from frames takes the same course whatever switching costs.
    eager = Settings(least_gain=0.0, dwell_seconds=0.0, confirmations=1)
    cheap, dear = (run(fleet(*EFFECTS), ExactPolicy(eager), Rules(switch_seconds=s)) for s in (0.0, 0.2))
    assert cheap.switches == dear.switches > 0
    assert dear.seconds.sum() - cheap.seconds.sum() == pytest.approx(0.2 * dear.switches)
    learned = run(fleet(*EFFECTS), QLearningPolicy())
    assert 0 < learned.shadows <= 0.02 * FRAMES


def test_what_frames_took_is_believed_of_what_they_used_and_probes_of_the_rest():
    """A neighbour doubles or more what the cloud takes, and no probe sees it."""
    simulated = fleet('neighbour', 'loss', seed=3, frames=400)
    estimates, plan = Estimates(simulated), ('cloud',) * simulated.problem.nodes
    here, there = DEVICES.index('pi'), DEVICES.index('cloud')
    believed, true, shown = [], [], []
    for frame in range(400):
        problem = estimates.conditions(frame, 45.0).problem
        believed.append(problem.seconds[0] / simulated.problem.seconds[0])
        true.append(simulated.true_problem(frame).seconds[0] / simulated.problem.seconds[0])
        shown.append(simulated.seen_factors[frame])
        estimates.frame(frame, 0, plan, simulated.timed(0, frame, simulated.times(plan).parts(frame, 1.0)))
    believed, true, shown = (np.array(values) for values in (believed, true, shown))
    off = np.abs(np.log(believed[10:] / true[10:]))
    assert np.abs(np.log(true[:, there] / shown[:, there])).max() > np.log(1.2), 'nothing is hidden'
    assert np.median(off[:, there]) < 0.05
    np.testing.assert_allclose(np.median(believed[:, here] / shown[:, here]), 1.0, rtol=0.05)
