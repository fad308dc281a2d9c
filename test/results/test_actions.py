# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Chunks of actions: read from a policy's output, and blended into one trajectory that never jumps."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.results.actions import Actions, ChunkBlender
from edge_dnn_partition.results.postprocess import postprocessor_of

JOINTS = ('shoulder', 'elbow')
TICK = 1 / 30


def chunk(values, period=0.1, blend=0.3, joints=('joint',)):
    return Actions(joints, np.asarray(values, float).reshape(-1, len(joints)), period, blend)


def at(blender, *times):
    return blender.positions(np.array(times))[:, 0].tolist()


def read(outputs, **keys):
    settings = {'kind': 'action_chunk', 'joints': list(JOINTS), 'actions_per_second': 20, **keys}
    return postprocessor_of(settings, Path('/nowhere'))(outputs, (0, 0), None)


def test_a_chunk_is_read_from_the_models_output():
    normalised = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    actions = read({'state': np.zeros(2), 'actions': normalised}, output='actions', mean=[1, -1], std=[2, 0.5], blend='200 ms').actions
    assert actions.joints == JOINTS and (actions.period_seconds, actions.blend_seconds) == (0.05, 0.2)
    assert actions.positions.tolist() == [[1, -0.5], [5, 0.5], [9, 1.5]]
    assert read({'actions': normalised[0]}).actions.positions.tolist() == normalised[0].tolist()


@pytest.mark.parametrize(('values', 'keys', 'words'), [
    (np.zeros((1, 5, 3)), {}, 'name all of them'),
    (np.zeros((2, 5, 2)), {}, 'name another output'),
    (np.zeros((0, 2)), {}, 'name another output'),
    (np.full((1, 5, 2), np.nan), {}, 'NaN'),
    (np.zeros((1, 5, 2)), {'mean': [1.0]}, '1 numbers for 2 joints'),
    (np.zeros((1, 5, 2)), {'joints': ['a', 'a']}, 'twice'),
    (np.zeros((1, 5, 2)), {'joints': []}, 'joints'),
    (np.zeros((1, 5, 2)), {'actions_per_second': 0}, 'greater than 0'),
    (np.zeros((1, 5, 2)), {'blend': 300}, 'ms'),
    (np.zeros((1, 5, 2)), {'joint': ['a']}, "did you mean 'joints'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(values, keys, words):
    with pytest.raises(UserError, match=words):
        read({'actions': values}, **keys)


def test_actions_are_due_by_the_clock_and_past_ones_are_dropped():
    blender = ChunkBlender()
    trajectory = blender.take(chunk(range(10)), observed_at=100.0, now=100.35)
    assert trajectory.observed_at == 100.0
    assert trajectory.times == pytest.approx(100 + 0.1 * np.arange(4, 10)) and trajectory.positions[:, 0].tolist() == [4, 5, 6, 7, 8, 9]


def test_a_chunk_that_is_older_or_wholly_past_is_dropped():
    """A server that answers after 18 s sends 50 actions of which all are past: they must not be executed then."""
    blender = ChunkBlender()
    blender.take(chunk(range(10)), 100.0, 100.1)
    assert blender.take(chunk([7] * 10), 100.0, 100.2) is None and blender.take(chunk([7] * 10), 99.9, 100.2) is None
    assert blender.take(chunk([7] * 10), 100.1, 118.0) is None
    assert at(blender, 100.5) == pytest.approx([5])


def test_the_last_chunk_is_held_to_its_end_and_the_next_one_is_faded_in():
    blender = ChunkBlender()
    blender.take(chunk(range(10)), 0.0, 0.0)
    assert at(blender, 0.85, 0.9, 5.0) == pytest.approx([8.5, 9, 9])
    resumed = blender.take(chunk([0] * 10), 5.0, 5.1)  # the policy starts from somewhere else
    assert at(blender, 5.1) == [9] and resumed.positions[:, 0] == pytest.approx([6, 3, 0, 0, 0, 0, 0, 0])


def test_a_clock_that_is_set_back_starts_anew():
    blender = ChunkBlender()
    blender.take(chunk([1] * 10), 1000.0, 1000.1)
    assert blender.take(chunk([2] * 10), 5.0, 5.1).positions[:, 0].tolist() == [2] * 8


def test_an_arm_that_lags_behind_its_command_is_not_pulled_back():
    """Each chunk starts where the arm was observed, behind what is commanded by now: replacing it saws at the arm."""
    steps = {}
    for name, blend in (('blended', 0.3), ('replaced', 0.0)):
        blender, commanded = ChunkBlender(), []
        for tick in range(120):
            now = tick * TICK
            if tick % 5 == 0:
                lagging = commanded[max(0, tick - 8)] if tick else 0.0  # where the arm was when it was observed
                blender.take(chunk(lagging + 0.02 * np.arange(50), period=TICK, blend=blend), now - 0.1, now)
            commanded += at(blender, now)
        steps[name] = np.diff(commanded)
    assert steps['replaced'].min() < -0.04 and steps['blended'].min() >= 0


@given(st.lists(st.tuples(st.floats(0.01, 0.4), st.floats(0, 0.6), st.floats(-1, 1)), min_size=1, max_size=20), st.floats(0.1, 0.5))
def test_what_is_commanded_moves_no_faster_than_chunks_and_blending_let_it(arrivals, blend):
    """Whatever arrives when: between two moments it moves by the chunks' own speed and their distance over the blend time."""
    blender, now, speed = ChunkBlender(), 0.0, 0.5
    before, widest = None, 0.0
    for gap, age, start in arrivals:
        ticks = np.linspace(now, now + gap, 7)
        now += gap
        if before is not None:
            values = np.array(at(blender, *ticks))
            assert np.abs(np.diff(values)).max() <= (speed + widest / blend) * gap / 6 + 1e-9
            before = values[-1]
        taken = blender.take(chunk(start + speed * 0.1 * np.arange(20), blend=blend), now - age, now)
        assert taken is None or (taken.times > now).all()
        widest = 4.0  # chunks lie within [-1, 2], and so do blends of them
        after = at(blender, now)[0]
        assert before is None or after == pytest.approx(before)
        before = after
