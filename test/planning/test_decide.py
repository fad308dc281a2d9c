# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How a plan moves: gain, confirmation, dwell; at once when a device is gone; no flapping under noise."""

import dataclasses

import numpy as np

from edge_dnn_partition.planning.adaptation.decide import DecisionState, Settings, decide
from edge_dnn_partition.planning.cost_model.objective import Goal
from edge_dnn_partition.planning.cost_model.problem import INPUT, Device, Link, Problem, Tensor

RATE = 1e6


def problem(cloud=0.2, *, local=1.0, devices=('pi', 'cloud'), rate=RATE, watts=(1.0, 1.0)):
    """Two nodes; the tensor between them takes 0.1 s on the link, the picture 0.2 s."""
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


LOCAL, SPLIT, REMOTE = ('pi', 'pi'), ('pi', 'cloud'), ('cloud', 'cloud')


def test_the_first_plan_is_the_best_one_at_once():
    decision, state = decide(5.0, problem(), DecisionState(), Settings())
    assert decision.assignment == REMOTE
    assert decision.reason == 'first plan'
    assert (state.assignment, state.since) == (REMOTE, 5.0)


def test_a_gain_is_confirmed_and_the_plan_dwells():
    settings = Settings(dwell_seconds=2.0, confirmations=3)
    state = DecisionState(LOCAL, 0.0)
    moves = []
    for step in range(12):
        decision, state = decide(step * 0.25, problem(local=0.6), state, settings)
        moves.append(decision.assignment)
    assert moves[:8] == [None] * 8, 'moved within the dwell time'
    assert moves[8] == REMOTE
    assert moves[9:] == [None] * 3
    state = DecisionState(LOCAL, -100.0)
    moves = []
    for step in range(3):
        decision, state = decide(step * 0.25, problem(), state, settings)
        moves.append(decision.assignment)
    assert moves == [None, None, REMOTE]


def test_what_saves_half_does_not_wait_for_the_plan_to_have_stayed():
    settings, state, moves = Settings(dwell_seconds=1000.0, confirmations=2), DecisionState(LOCAL, 0.0), []
    for step in range(3):
        decision, state = decide(step * 0.25, problem(), state, settings)
        moves.append(decision.assignment)
    assert moves == [None, REMOTE, None]


def test_confirmations_must_come_on_end():
    settings = Settings(confirmations=2, dwell_seconds=0.0)
    state = DecisionState(LOCAL, -100.0)
    for cloud in (0.2, 2.0, 0.2, 2.0, 0.2):
        decision, state = decide(0.0, problem(cloud), state, settings)
        assert decision.assignment is None
    assert decide(0.0, problem(0.2), state, settings)[0].assignment == REMOTE


def test_small_and_uncertain_gains_do_not_move_it():
    settings = Settings(confirmations=1, dwell_seconds=0.0, least_gain=0.08, most_gain=0.2)
    state = DecisionState(LOCAL, -100.0)

    def moves(gain, deviation=0.0):
        return decide(0.0, problem(0.8 - gain), state, settings, deviation=deviation)[0].assignment is not None

    assert not moves(0.07)
    assert moves(0.09)
    assert not moves(0.14, deviation=0.15)
    assert moves(0.16, deviation=0.15)
    assert moves(0.21, deviation=5.0), 'uncertainty may not forbid a gain above most_gain'


def test_a_gone_device_moves_it_at_once():
    settings = Settings(confirmations=9, dwell_seconds=1000.0)
    decision, state = decide(0.1, problem(devices=('pi',)), DecisionState(REMOTE, 0.0), settings)
    assert decision.assignment == LOCAL
    assert decision.reason == 'the present plan cannot go on'
    assert state.since == 0.1


def test_noise_does_not_make_it_flap():
    """The two plans cost the same in the mean; every estimate has an error of up to 20 %."""
    random = np.random.default_rng(3)
    state, settings, switches, naive, last = DecisionState(), Settings(), 0, 0, None
    for step in range(10_000):
        a, b, c = random.uniform(0.8, 1.2, 3)
        now = problem(0.8 * a, local=1.0 * b, rate=RATE * c)
        decision, state = decide(step * 0.25, now, state, settings, deviation=0.12)
        switches += decision.assignment is not None
        if step < 2000:
            best, _ = decide(0.0, now, DecisionState(), settings)
            naive += best.assignment != last
            last = best.assignment
    assert naive > 500, 'the noise was to move the best plan'
    assert switches <= naive * 5 / 8
    assert switches <= 10_000 * 0.25 / settings.dwell_seconds / 2


def test_under_a_deadline_the_thrifty_plan_goes_when_it_is_late_and_comes_back_with_time_to_spare():
    """The pi takes 1 J for its second; the cloud is quicker and takes 20 W."""
    settings = Settings(Goal('deadline', deadline_seconds=1.1), confirmations=1, dwell_seconds=0.0)

    def choice(state, local):
        return decide(0.0, problem(0.2, local=local, watts=(1.0, 20.0)), DecisionState(state, -100.0), settings)[0]

    assert choice(None, 1.0).assignment == LOCAL
    assert choice(LOCAL, 1.09).assignment is None, 'it is in time yet'
    assert choice(LOCAL, 1.11).assignment == SPLIT
    assert choice(SPLIT, 1.09).assignment is None, 'it would be in time, but with nothing to spare'
    assert choice(SPLIT, 0.9).assignment == LOCAL


def test_a_deadline_that_nothing_meets_is_missed_by_as_little_as_can_be():
    settings = Settings(Goal('deadline', deadline_seconds=0.01), confirmations=1, dwell_seconds=0.0)
    move, _ = decide(0.0, problem(0.2), DecisionState(LOCAL, -100.0), settings)
    assert move.assignment == REMOTE
    assert decide(0.0, problem(0.2), DecisionState(REMOTE, -100.0), settings)[0].assignment is None


def test_noise_around_a_deadline_does_not_make_it_flap():
    """The thrifty plan is in time in the mean, with estimates that are off by up to 20 %."""
    random = np.random.default_rng(4)
    settings = Settings(Goal('deadline', deadline_seconds=1.05))
    state, switches, naive, last = DecisionState(), 0, 0, None
    for step in range(2000):
        a, b = random.uniform(0.8, 1.2, 2)
        now = problem(0.2 * a, local=1.0 * b, watts=(1.0, 20.0))
        decision, state = decide(step * 0.25, now, state, settings, deviation=0.12)
        switches += decision.assignment is not None
        best, _ = decide(0.0, now, DecisionState(), settings)
        naive += best.assignment != last
        last = best.assignment
    assert naive > 400, 'the noise was to move the best plan'
    assert switches <= naive / 4


def test_plans_are_valued_with_the_encodings_that_they_have():
    """What the planner finds with the best encodings of each transfer is no plan's value: not that of the one in force."""
    settings = Settings(dwell_seconds=0.0, confirmations=1)
    found = problem(local=0.6, rate=5e6)  # all here 0.6 s; split 0.3 + 0.02 + 0.1 s; the picture goes in 0.04 s
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
        decision, _ = decide(10.0, pinned, DecisionState(present, 0.0), settings, under=under(sizes))
        assert decision.assignment == move, (present, sizes)
    close = problem(local=0.44, rate=5e6).constrained(pin={'a': 'pi'})  # all here 0.44 s, split 0.34 s with the best encodings
    dear = dataclasses.replace(close, tensors=(close.tensors[0], dataclasses.replace(close.tensors[1], bytes=1e6)))
    busy = close.constrained(exclude=[])
    busy = dataclasses.replace(busy, seconds=busy.seconds * [[1.0, 2.2]])  # split 0.46 s, so that all here is best, by 4 %
    dear = dataclasses.replace(dear, seconds=busy.seconds)
    for real, move in ((busy, None), (dear, LOCAL)):  # the one in force sends raw: that makes the gain large enough
        decision, _ = decide(10.0, busy, DecisionState(SPLIT, 0.0), settings, under=lambda plan, real=real: real if plan == SPLIT else busy)
        assert decision.assignment == move


def test_a_plan_that_would_get_other_encodings_than_the_best_is_not_taken_for_them():
    """A plan that is as good as it looks only with encodings that it does not get is not moved to."""
    settings = Settings(dwell_seconds=0.0, confirmations=1)
    hopeful = problem(local=0.6, rate=5e6).constrained(pin={'a': 'pi'})
    real = dataclasses.replace(hopeful, tensors=(hopeful.tensors[0], dataclasses.replace(hopeful.tensors[1], bytes=2e6)))
    for under, moves in ((None, 1), (lambda _: real, 0)):
        state = DecisionState(LOCAL, -10.0)
        made = 0
        for step in range(20):
            decision, state = decide(step, hopeful, state, settings, under=under)
            made += decision.assignment is not None
        assert made == moves
