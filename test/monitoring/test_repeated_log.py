# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The same trouble is said once and then counted, and no count is lost."""

import re

from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.monitoring.repeated_log import LAST_SECONDS, RepeatedLog


class Trial:
    """A log with a clock of its own, and its lines with their times."""

    def __init__(self):
        self.now, self.lines = 100.0, []
        self.repeats = RepeatedLog(self, lambda: self.now)

    def warning(self, text):
        self.lines.append((self.now, 'warning', text))

    def error(self, text):
        self.lines.append((self.now, 'error', text))

    def wait(self, seconds):
        for _ in range(round(seconds)):
            self.now += 1
            self.repeats.flush()


def test_two_thousand_tracebacks_are_one_and_a_number():
    trial = Trial()
    for turn in range(2043):
        try:
            raise ValueError(f'frame {turn} is no good')
        except ValueError:
            trial.repeats.failure('a callback failed, going on')
    assert len(trial.lines) == 1
    assert trial.lines[0][2].startswith('a callback failed, going on:\nTraceback')
    trial.wait(5)
    assert trial.lines[1:] == [
        (105.0, 'error', '... and 2042 more of this in the last 5 s: ValueError: frame 2042 is no good')
    ]
    trial.wait(200)
    assert len(trial.lines) == 2, 'what does not come again is said again'
    trial.repeats.warning('other', 'another kind')
    assert trial.lines[2:] == [(305.0, 'warning', 'another kind')]


def test_the_same_exception_from_another_place_is_another_kind():
    trial = Trial()

    def attempt(action):
        try:
            action()
        except ZeroDivisionError:
            trial.repeats.failure('a callback failed')

    for _ in range(3):
        attempt(lambda: 1 / 0)
        attempt(lambda: 1 // 0)
    assert len(trial.lines) == 2


def test_what_goes_on_is_told_of_each_minute():
    trial = Trial()
    for _ in range(600):
        trial.repeats.warning('disk', 'the disk is full')
        trial.wait(1)
    times = [at - 100 for at, _, _ in trial.lines]
    assert times[:5] == [0.0, 5.0, 15.0, 35.0, 75.0]
    assert all(later - earlier == LAST_SECONDS for earlier, later in zip(times[4:], times[5:], strict=False))


@given(st.lists(st.tuples(st.sampled_from('abc'), st.floats(0, 90)), max_size=60))
def test_no_count_is_lost(events):
    trial = Trial()
    for kind, seconds in events:
        trial.repeats.warning(kind, f'kind {kind}')
        trial.wait(seconds)
    trial.repeats.flush(ending=True)
    counted = sum(int(found[1]) if (found := re.match(r'\.\.\. and (\d+)', text)) else 1 for _, _, text in trial.lines)
    assert counted == len(events)


def test_kinds_without_end_take_no_memory_without_end():
    trial = Trial()
    for kind in range(5000):
        trial.repeats.warning(str(kind), 'new')
    assert len(trial.repeats._kinds) <= 256
