# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a plan moves: gain, confirmation, dwell; at once when a device is gone; few moves that no step explains."""

import dataclasses

import numpy as np
import pytest

from edge_dnn_partition.control.decision.exact import decide
from edge_dnn_partition.control.decision.hysteresis import Hysteresis, Settings
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal

RATE = 1e6


def problem(cloud=0.2, *, local=1.0, devices=('pi', 'cloud'), rate=RATE, watts=(1.0, 1.0)):
    """Two nodes; the tensor between them takes 0.1 s on the link, the image 0.2 s."""
    seconds = {'pi': [local / 2, local / 2], 'cloud': [cloud / 2, cloud / 2]}
    pairs = [(a, b) for a in devices for b in devices if a != b]
    return Problem(
        source='pi', sink='pi', devices=tuple(Device(name=d, active_watts=w) for d, w in zip(devices, watts)),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=rate, latency_seconds=0.0) for a, b in pairs),
        node_names=('a', 'b'),
        tensors=(Tensor(name='in', producer=INPUT, readers=(0,), bytes=2e5, at_sink=False),
                 Tensor(name='ab', producer=0, readers=(1,), bytes=1e5, at_sink=False)),
        seconds=np.array([seconds[d] for d in devices]).T, weight_bytes=np.zeros(2),
        seam_seconds=np.zeros((1, len(devices))),
    )  # fmt: skip


def step(now, given, hysteresis, **known):
    """Decide, and move at once where that is decided."""
    decision = decide(now, given, hysteresis, **known)
    if decision.assignment is not None:
        hysteresis.moved(now, decision.assignment)
    return decision


LOCAL, SPLIT, REMOTE = ('pi', 'pi'), ('pi', 'cloud'), ('cloud', 'cloud')


def test_the_first_plan_is_the_best_one_at_once():
    hysteresis = Hysteresis()
    decision = step(5.0, problem(), hysteresis)
    assert decision.assignment == REMOTE
    assert decision.reason == 'first plan'
    assert (hysteresis.plan, hysteresis.since) == (REMOTE, 5.0)


def test_a_gain_is_confirmed_and_the_plan_dwells():
    settings = Settings(dwell_seconds=2.0, confirmations=3)
    hysteresis = Hysteresis(settings, LOCAL, 0.0)
    decisions = [step(turn * 0.25, problem(local=0.6), hysteresis) for turn in range(12)]
    moves = [decision.assignment for decision in decisions]
    assert moves[:8] == [None] * 8, 'moved within the dwell time'
    assert moves[8] == REMOTE
    assert moves[9:] == [None] * 3
    assert decisions[1].reason == '33 % better, waiting for confirmation (2 of 3 decisions)'
    assert decisions[4].reason == '33 % better, waiting out dwell_seconds (1.0 s left)'
    hysteresis = Hysteresis(settings, LOCAL)
    assert [step(turn * 0.25, problem(), hysteresis).assignment for turn in range(3)] == [None, None, REMOTE]


def test_what_saves_half_does_not_wait_for_the_plan_to_have_stayed():
    hysteresis = Hysteresis(Settings(dwell_seconds=1000.0, confirmations=2), LOCAL, 0.0)
    assert [step(turn * 0.25, problem(), hysteresis).assignment for turn in range(3)] == [None, REMOTE, None]


@pytest.mark.parametrize(('local', 'stepped_at', 'moves'), [(0.6, 0.5, True), (0.6, -0.5, False), (0.5, 0.5, False)])
def test_what_a_step_since_has_made_a_quarter_better_does_not_wait_either(local, stepped_at, moves):
    hysteresis = Hysteresis(Settings(dwell_seconds=2.0, confirmations=1), LOCAL, 0.0)
    decision = step(1.0, problem(local=local), hysteresis, stepped_at=lambda *_: stepped_at)
    assert (decision.assignment is not None) is moves, decision.reason


def test_confirmations_must_come_on_end():
    hysteresis = Hysteresis(Settings(confirmations=2, dwell_seconds=0.0), LOCAL)
    for cloud in (0.2, 2.0, 0.2, 2.0, 0.2):
        assert step(0.0, problem(cloud), hysteresis).assignment is None
    assert step(0.0, problem(0.2), hysteresis).assignment == REMOTE


def test_a_second_move_within_thirty_dwell_times_needs_a_step():
    """Gains of a third, one after the other, without any step; then the same gain after one."""
    hysteresis = Hysteresis(Settings(dwell_seconds=2.0, confirmations=1), LOCAL, -100.0)
    assert step(0.0, problem(local=0.6), hysteresis).assignment == REMOTE
    back = problem(0.4, local=0.4)
    waiting = step(10.0, back, hysteresis)
    assert waiting.reason == '33 % better, waiting: no estimate has made a step lately (50 s left)'
    assert step(10.0, back, hysteresis, stepped_at=lambda *_: 1.0).assignment is None, 'that was long ago'
    assert step(59.0, back, hysteresis).assignment is None
    assert step(10.0, back, Hysteresis(hysteresis.settings, REMOTE, 0.0)).assignment == LOCAL
    assert step(10.0, back, hysteresis, stepped_at=lambda *_: 9.5).assignment == LOCAL
    again = step(14.0, problem(local=0.6), hysteresis, stepped_at=lambda *_: 9.5)
    assert again.assignment is None, 'a step explains one move'
    assert step(61.0, problem(local=0.6), hysteresis).assignment == REMOTE


def test_small_and_uncertain_gains_do_not_move_it():
    settings = Settings(confirmations=1, dwell_seconds=0.0, least_gain=0.08, most_gain=0.2)

    def moves(gain, deviation=0.0):
        return decide(0.0, problem(0.8 - gain), Hysteresis(settings, LOCAL), deviation=deviation).assignment is not None

    assert not moves(0.07)
    assert moves(0.09)
    assert not moves(0.14, deviation=0.15)
    assert moves(0.16, deviation=0.15)
    assert moves(0.21, deviation=5.0), 'uncertainty may not forbid a gain above most_gain'


def test_a_gone_device_moves_it_at_once():
    hysteresis = Hysteresis(Settings(confirmations=9, dwell_seconds=1000.0), REMOTE, 0.0)
    decision = step(0.1, problem(devices=('pi',)), hysteresis)
    assert decision.assignment == LOCAL
    assert decision.reason == 'the present plan cannot go on'
    assert hysteresis.since == 0.1


def test_under_a_deadline_the_thrifty_plan_goes_when_it_is_late_and_comes_back_with_time_to_spare():
    """The pi takes 1 J for its second; the cloud is quicker and takes 20 W."""
    settings = Settings(Goal('deadline', deadline_seconds=1.1), confirmations=1, dwell_seconds=0.0)

    def choice(state, local):
        return decide(0.0, problem(0.2, local=local, watts=(1.0, 20.0)), Hysteresis(settings, state))

    assert choice(None, 1.0).assignment == LOCAL
    assert choice(LOCAL, 1.09).assignment is None, 'it is in time yet'
    assert choice(LOCAL, 1.11).assignment == SPLIT
    assert choice(SPLIT, 1.09).assignment is None, 'it would be in time, but with nothing to spare'
    assert choice(SPLIT, 0.9).assignment == LOCAL


def test_a_deadline_that_nothing_meets_is_missed_by_as_little_as_can_be():
    settings = Settings(Goal('deadline', deadline_seconds=0.01), confirmations=1, dwell_seconds=0.0)
    assert decide(0.0, problem(0.2), Hysteresis(settings, LOCAL)).assignment == REMOTE
    assert decide(0.0, problem(0.2), Hysteresis(settings, REMOTE)).assignment is None


def test_noise_around_a_deadline_does_not_make_it_flap():
    """The thrifty plan is in time in the mean, with estimates that are off by up to 20 %."""
    random = np.random.default_rng(4)
    settings = Settings(Goal('deadline', deadline_seconds=1.05))
    hysteresis, switches, naive, last = Hysteresis(settings), 0, 0, None
    for turn in range(1000):
        a, b = random.uniform(0.8, 1.2, 2)
        now = problem(0.2 * a, local=1.0 * b, watts=(1.0, 20.0))
        switches += step(turn * 0.25, now, hysteresis, deviation=0.12).assignment is not None
        best = decide(0.0, now, Hysteresis(settings))
        naive += best.assignment != last
        last = best.assignment
    assert naive > 200, 'the noise was to move the best plan'
    assert switches <= naive / 4


def test_plans_are_valued_with_the_encodings_that_they_have():
    """What the planner finds with the best encodings of each transfer is no plan's value: not that of the one in force."""
    settings = Settings(dwell_seconds=0.0, confirmations=1)
    found = problem(local=0.6, rate=5e6)  # all here 0.6 s; split 0.3 + 0.02 + 0.1 s; the image goes in 0.04 s
    pinned = found.constrained(pin={'a': 'pi'})
    cases = (
        # the plan in force, what its tensor takes of the link in truth, and what the other's does: the move
        (SPLIT, {SPLIT: 1e5, LOCAL: 1e5}, None),
        (LOCAL, {SPLIT: 1e5, LOCAL: 1e5}, SPLIT),
        (LOCAL, {SPLIT: 9e5, LOCAL: 1e5}, None),  # encodings that are not permitted together are not counted on
        (LOCAL, {SPLIT: 4e5, LOCAL: 1e5}, SPLIT),
    )

    def under(sizes):
        def of(plan):
            return dataclasses.replace(pinned, tensors=(
                pinned.tensors[0], dataclasses.replace(pinned.tensors[1], bytes=float(sizes[plan]))))  # fmt: skip

        return of

    for present, sizes, move in cases:
        decision = decide(10.0, pinned, Hysteresis(settings, present), problem_for=under(sizes))
        assert decision.assignment == move, (present, sizes)
    close = problem(local=0.44, rate=5e6).constrained(pin={'a': 'pi'})  # all here 0.44 s, split 0.34 s with the best encodings
    dear = dataclasses.replace(close, tensors=(close.tensors[0], dataclasses.replace(close.tensors[1], bytes=1e6)))
    busy = close.constrained(exclude=[])
    busy = dataclasses.replace(busy, seconds=busy.seconds * [[1.0, 2.2]])  # split 0.46 s, so that all here is best, by 4 %
    dear = dataclasses.replace(dear, seconds=busy.seconds)
    for real, move in ((busy, None), (dear, LOCAL)):  # the one in force sends raw: that makes the gain large enough
        decision = decide(10.0, busy, Hysteresis(settings, SPLIT), problem_for=lambda plan, real=real: real if plan == SPLIT else busy)
        assert decision.assignment == move


def test_a_plan_that_would_get_other_encodings_than_the_best_is_not_taken_for_them():
    """A plan that is as good as it looks only with encodings that it does not get is not moved to."""
    settings = Settings(dwell_seconds=0.0, confirmations=1)
    hopeful = problem(local=0.6, rate=5e6).constrained(pin={'a': 'pi'})
    real = dataclasses.replace(hopeful, tensors=(hopeful.tensors[0], dataclasses.replace(hopeful.tensors[1], bytes=2e6)))
    for under, moves in ((None, 1), (lambda _: real, 0)):
        hysteresis = Hysteresis(settings, LOCAL)
        made = [step(turn, hopeful, hysteresis, problem_for=under).assignment for turn in range(20)]
        assert len(made) - made.count(None) == moves


def test_a_move_makes_up_for_the_state_that_it_takes_along():
    settings = Settings(least_gain=0.08, dwell_seconds=2.0, confirmations=1)  # moves that no step explains come once a minute
    given = problem(local=0.6)
    light, heavy = (dataclasses.replace(given, state_bytes=(0.0, size)) for size in (1e6, 1e8))
    assert light.state_seconds(LOCAL, REMOTE) == 1.0 and light.state_seconds(LOCAL, SPLIT) == 1.0
    assert light.state_seconds(REMOTE, SPLIT) == 0.0 and light.state_seconds(REMOTE, LOCAL) == 1.0
    assert step(10.0, light, Hysteresis(settings, LOCAL, 0.0)).assignment == REMOTE
    held = step(10.0, heavy, Hysteresis(settings, LOCAL, 0.0))
    assert held.assignment is None and 'less than the 175 % needed' in held.reason
