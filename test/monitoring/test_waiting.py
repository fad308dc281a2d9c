# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A start that takes long says what it waits for: at once where that changes, rarely where it does not, and not if it is quick."""

from edge_dnn_partition.monitoring.waiting import FIRST_SECONDS, WaitingLog


def lines(what, seconds, over_at=()):
    """Return what is logged, with the second, where ``what`` says for each second what is waited for."""
    said, now = [], 0
    log = WaitingLog(lambda line: said.append((now, line)))
    for now in range(seconds):
        if now in over_at:
            log.over()
        else:
            log.waiting(what(now), float(now))
    return said


def test_a_quick_start_says_nothing():
    assert lines(lambda _: 'the worker of pi', int(FIRST_SECONDS)) == []


def test_one_that_takes_long_says_so_ever_more_rarely():
    said = lines(lambda _: 'the worker of pi', 3600)
    assert said[0] == (3, 'the worker of pi (3 s)')
    assert [at for at, _ in said[:4]] == [3, 6, 12, 24]
    assert len(said) <= 11, 'an hour must not fill the log'


def test_another_cause_is_said_soon():
    said = lines(lambda now: 'the worker of pi' if now < 100 else 'the profile of pi', 104)
    assert said[-1] == (103, 'the profile of pi (103 s)')


def test_causes_that_alternate_do_not_fill_the_log_faster_than_every_few_seconds():
    assert 10 <= len(lines(lambda now: f'cause {now % 2}', 60)) <= 60 / FIRST_SECONDS


def test_what_is_over_is_not_said_and_the_next_wait_begins_anew():
    said = lines(lambda _: 'a plan', 20, over_at=range(2, 10))
    assert said[0] == (13, 'a plan (3 s)')
