# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of several topics that belong together: nearest by stamp, once for each of the reference, nothing left out in silence."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.inputs.synchroniser import Synchroniser


def played(messages, *, names=('image', 'depth'), slop=0.05, wait=1.0, latest=(), end=10.0):
    """Return the groups of messages, ``(arrival, name, stamp)``, whose value is their stamp, with when each was complete."""
    one = Synchroniser(names, slop_seconds=slop, wait_seconds=wait, latest=latest)
    groups = []
    for arrival, name, stamp in sorted(messages):
        groups += [(group, arrival) for group in one.add(name, stamp, stamp, arrival)]
    groups += [(group, arrival + end) for group in one.tick(arrival + end)]
    return groups, one


def stream(name, period, count, *, offset=0.0, delay=0.0, jitter=0.0, seed=1):
    source = random.Random(f'{name}{seed}')
    stamps = [offset + k * period + source.uniform(-jitter, jitter) for k in range(count)]
    return [(stamp + delay, name, stamp) for stamp in stamps]


def test_images_of_equal_rate_are_never_paired_one_off():
    """With a slop above the period the image before would do as well; the first of the depth camera comes late."""
    messages = stream('image', 1 / 30, 40, delay=0.01) + stream('depth', 1 / 30, 40, delay=0.03)[1:]
    groups, one = played(messages, slop=0.05)
    assert [group['depth'] for group, _ in groups[1:]] == [group['image'] for group, _ in groups[1:]]
    assert len(groups) == 40 and one.dropped == 0


def test_fast_joints_need_no_long_queue_and_do_not_delay_the_camera():
    """Joints at 500 Hz and a camera whose images are 60 ms old when they come."""
    messages = stream('image', 1 / 30, 60, offset=0.5, delay=0.06) + stream('joints', 1 / 500, 2000)
    groups, one = played(messages, names=('image', 'joints'), slop=0.01)
    assert len(groups) == 60 and one.dropped == 0
    for group, complete in groups:
        assert abs(group['joints'] - group['image']) <= 0.001 + 1e-9
        assert complete == pytest.approx(group['image'] + 0.06)  # at once


def test_a_slow_input_is_used_again_within_the_slop():
    messages = stream('image', 0.1, 20, delay=0.01) + stream('depth', 0.2, 10, delay=0.02)
    groups, _ = played(messages, slop=0.12)
    assert len(groups) == 20
    assert all(abs(group['depth'] - group['image']) < 0.1 + 1e-9 for group, _ in groups)


@given(
    st.integers(0, 10_000), st.floats(0.005, 0.4), st.floats(0.005, 0.4), st.floats(0, 0.2), st.floats(0, 0.2),
    st.floats(0.001, 0.2), st.floats(0, 0.002),
)  # fmt: skip
def test_every_group_is_of_the_nearest_and_every_message_of_the_reference_counts_once(seed, a, b, late_a, late_b, slop, jitter):
    images = stream('image', a, 12, offset=1.0, delay=late_a, jitter=jitter, seed=seed)
    joints = stream('joints', b, 200, delay=late_b, jitter=jitter, seed=seed)
    groups, one = played(images + joints, names=('image', 'joints'), slop=slop, wait=3.0)
    assert len(groups) + one.dropped == len(images)
    stamps = [group['image'] for group, _ in groups]
    assert stamps == sorted(set(stamps))
    for _, _, stamp in images:
        nearest = min((abs(other - stamp) for _, _, other in joints))
        made = [group for group, _ in groups if group['image'] == stamp]
        if made:
            distance = abs(made[0]['joints'] - stamp)
            assert distance <= slop
            assert distance <= nearest + 2 * jitter + 1e-9  # a jitter may make a later one nearer than its period tells
        else:
            assert nearest > slop - 2 * jitter - 1e-9


@pytest.mark.parametrize(('others', 'reason'), [
    ([], 'nothing has come of depth'),
    (stream('depth', 0.1, 30, offset=100.0, delay=-100.0), r'is 9\d\.\d s from that of image, more than slop, 0.05 s'),
    (stream('depth', 0.1, 5), 'from that of image, more than slop|nothing comes of depth any more'),
])  # fmt: skip
def test_what_makes_no_group_is_counted_with_the_reason(others, reason):
    groups, one = played(stream('image', 0.1, 30) + others, wait=0.5)
    assert len(groups) + one.dropped == 30 and one.dropped >= 25
    assert re.search(reason, one.reason)


def test_the_latest_value_is_taken_whatever_its_stamp_is():
    messages = [*stream('image', 0.1, 10, offset=5.0), (5.35, 'task', 0.0), (5.65, 'task', 0.1)]
    groups, one = played(messages, names=('image',), latest=('task',), wait=0.2)
    assert [group['task'] for group, _ in groups] == [0.0] * 5 + [0.1] * 3
    assert one.dropped == 2 and 'nothing has come of task' in one.reason


def test_a_bag_that_starts_anew():
    again = [(arrival + 20, name, stamp) for arrival, name, stamp in stream('image', 0.1, 10) + stream('depth', 0.1, 10, delay=0.01)]
    messages = stream('image', 0.1, 100) + stream('depth', 0.1, 100, delay=0.01)
    groups, one = played(messages + again)
    assert len(groups) == 110 and one.dropped == 0


def test_one_input_alone_passes():
    groups, _ = played(stream('image', 0.1, 5), names=('image',))
    assert [complete for _, complete in groups] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_what_is_kept_is_bounded():
    one = Synchroniser(('image', 'joints'), slop_seconds=0.05, wait_seconds=1.0)
    for k in range(20_000):
        one.add('joints', k / 1000, k, k / 1000)
    assert len(one._queues['joints'].stamps) < 1200
