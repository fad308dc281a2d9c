# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A source that hangs or fails is left out with a reason and tried again later; the others go on."""

import threading

import pytest

from edge_dnn_partition.sensing.sampler import Sampler
from edge_dnn_partition.sensing.source import Source, Unavailable


class Steady(Source):
    """Reads how often it was read."""

    def __init__(self, name='steady', period_seconds=0.0):
        self.name, self.period_seconds = name, period_seconds
        self.probes = self.reads = 0

    def probe(self):
        self.probes += 1
        return f'{self.name} is here'

    def read(self, now_seconds):
        self.reads += 1
        return self.reads


class Failing(Steady):
    """Raises what it is told to, in probe or read."""

    def __init__(self, name='failing', in_probe=None, in_read=None):
        super().__init__(name)
        self.in_probe, self.in_read = in_probe, in_read

    def probe(self):
        if self.in_probe:
            self.probes += 1
            raise self.in_probe
        return super().probe()

    def read(self, now_seconds):
        if self.in_read:
            raise self.in_read
        return super().read(now_seconds)


class Hanging(Steady):
    """Hangs in read until it is let go."""

    def __init__(self, name='hanging'):
        super().__init__(name)
        self.go = threading.Event()
        self.came_back = threading.Event()

    def read(self, now_seconds):
        if not self.go.is_set():
            self.go.wait()
            self.came_back.set()
        return super().read(now_seconds)


def state(sampler, name):
    return next(state for state in sampler.states() if state.name == name)


def test_all_are_read_and_say_what_they_found():
    a, b = Steady('a'), Steady('b')
    sampler = Sampler([a, b])
    assert [s.status for s in sampler.states()] == ['new', 'new']
    assert sampler.sample(0.0) == {'a': 1, 'b': 1}
    assert sampler.sample(0.1) == {'a': 2, 'b': 2}
    assert (a.probes, state(sampler, 'a').found) == (1, 'a is here')


def test_a_period_is_kept_and_the_last_reading_stays():
    slow = Steady(period_seconds=1.0)
    sampler = Sampler([slow])
    readings = [sampler.sample(now)['steady'] for now in (0.0, 0.5, 0.74, 0.98, 1.5, 2.0)]
    assert readings == [1, 1, 1, 2, 2, 3]


def test_one_that_is_not_there_is_looked_for_again_after_a_while():
    source = Failing(in_probe=Unavailable('not on this board', 'buy one'))
    sampler = Sampler([source, Steady()], absent_seconds=60.0)
    for now in (0.0, 1.0, 59.0):
        assert 'failing' not in sampler.sample(now)
    assert source.probes == 1
    found = state(sampler, 'failing')
    assert (found.status, found.found, found.advice) == ('absent', 'not on this board', 'buy one')
    source.in_probe = None
    assert sampler.sample(60.0) == {'failing': 1, 'steady': 4}
    assert state(sampler, 'failing').status == 'ok'


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (OSError(5, 'Input/output error', '/sys/x'), '/sys/x: Input/output error'),
        (Unavailable('taken out'), 'taken out'),
        (ZeroDivisionError('division\nby zero'), 'ZeroDivisionError: division by zero'),
    ],
)
def test_one_that_fails_is_left_out_and_tried_again_later_and_later(error, words):
    source = Failing()
    sampler = Sampler([source, Steady()], retry_seconds=2.0, absent_seconds=10.0)
    sampler.sample(0.0)
    source.in_read = error
    tried = []
    for now in range(1, 40):
        before = source.probes
        readings = sampler.sample(float(now))
        assert 'failing' not in readings
        assert 'steady' in readings
        if source.probes > before:
            tried.append(now)
    assert tried == [3, 7, 15, 25, 35]  # 1 + 2, + 4, + 8, then every 10 s
    found = state(sampler, 'failing')
    assert (found.status, found.found) == ('failed', words)
    source.in_read = None
    assert sampler.sample(45.0)['failing'] == 2
    source.in_read = error
    sampler.sample(46.0)
    source.in_read = None
    assert 'failing' in sampler.sample(48.0)  # a success resets the patience


def test_one_that_hangs_stops_no_other_and_is_not_tried_until_it_comes_back():
    hanging, first, last = Hanging(), Steady('first'), Steady('last')
    sampler = Sampler([first, hanging, last], deadline_seconds=0.05, retry_seconds=1.0)
    assert sampler.sample(0.0) == {'first': 1, 'last': 1}
    found = state(sampler, 'hanging')
    assert (found.status, found.found) == ('hanging', 'gave no answer in 0.05 s')
    threads = threading.active_count()
    for now in range(1, 20):
        assert sampler.sample(float(now)) == {'first': now + 1, 'last': now + 1}
    assert threading.active_count() == threads  # no further thread was given to it
    hanging.go.set()
    assert hanging.came_back.wait(10.0)
    for now in range(20, 2000):  # it came back: as soon as that is noticed
        if 'hanging' in sampler.sample(float(now)):
            break
    assert state(sampler, 'hanging').status == 'ok'


def test_two_that_hang_at_once():
    a, b = Hanging('a'), Hanging('b')
    sampler = Sampler([a, Steady(), b], deadline_seconds=0.05)
    assert sampler.sample(0.0) == {'steady': 1}
    assert [s.status for s in sampler.states()] == ['hanging', 'ok', 'hanging']
    a.go.set()
    b.go.set()
