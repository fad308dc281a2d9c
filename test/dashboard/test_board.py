# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the dashboard's board keeps, tells and forgets."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.dashboard.board import FRAMES, Board, FrameParts, plain
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan


def plan(version, reason='why'):
    stages = (StagePlan('pi', True, ((0, 3),)), StagePlan('cloud', False, ((3, 9),)))
    return Plan(version, 'sha', 'pi', 'pi', stages, (), reason=reason)


def test_a_snapshot_and_what_follows_it_are_the_whole_story():
    board, news = Board('demo'), []
    board.plan(1.0, plan(1))
    before = board.listen(lambda kind, document: news.append((kind, document)), 2.0)
    board.plan(2.0, plan(1))
    board.plan(3.0, plan(2, 'better'))
    board.frame(4.0, 2, FrameParts(0.2, 0.1, 0.03), math.nan, measured=False)
    board.state(5.0, [{'name': 'pi', 'watts': math.nan}], [])
    board.counters({'delivered': 1})
    after = board.snapshot(6.0)
    assert [p['version'] for p in before['plans']] == [1]
    assert [kind for kind, _ in news] == ['plan', 'log', 'frame', 'state', 'counters']
    assert [p['version'] for p in after['plans']] == [1, 2]
    assert after['plans'][-1]['label'] == 'pi:pre-3 cloud:3-9'
    assert after['frames'] == [news[2][1]] and news[2][1][:1] == [4.0] and news[2][1][6] is None
    assert after['states'][0]['devices'] == [{'name': 'pi', 'watts': None}]
    assert after['counters'] == {'delivered': 1} and after['now'] == 6.0
    json.dumps(after, allow_nan=False)


def test_who_is_forgotten_hears_no_more():
    board, news = Board('demo'), []

    def hear(*one):
        news.append(one)

    board.listen(hear, 0.0)
    board.forget(hear)
    board.say(1.0, 'a word', 1)
    assert not news


def test_the_log_repeats_no_decision_that_differs_in_figures_only():
    board = Board('demo')
    for text in ('keeps: 3.1 %', 'keeps: 2.9 %', '', 'passes: 1', 'keeps: 1 %', 'keeps: 2 %', 'waits', 'waits', 'keeps: 4 %', 'keeps: 5 %'):
        board.say(0.0, text)
    board.say(0.0, 'cloud is gone', 7)
    board.say(0.0, 'keeps: 6 %')
    assert [line['text'] for line in board.snapshot(0.0)['log']] == ['keeps: 2.9 %', 'waits', 'keeps: 5 %', 'cloud is gone']


def test_history_is_bounded():
    board = Board('demo')
    for number in range(FRAMES + 10):
        board.frame(float(number), 1, FrameParts(1.0, 0.5, 0.0), 1.0, measured=True)
    frames = board.snapshot(0.0)['frames']
    assert len(frames) == FRAMES and frames[0][0] == 10.0


SECONDS = st.floats(0, 100)


@given(SECONDS, SECONDS, SECONDS)
def test_parts_never_fall_below_nothing_and_add_up_where_they_follow_each_other(compute, waiting, more):
    parts = FrameParts(compute + waiting + more, compute, waiting)
    assert parts.hops >= 0 and math.isclose(parts.hops, more, abs_tol=1e-9)
    assert FrameParts(compute / 2, compute, waiting).hops == 0


def test_numbers_that_json_does_not_know_become_none():
    assert plain({'a': [math.nan, (math.inf, 1.5)], 'b': True}) == {'a': [None, [None, 1.5]], 'b': True}


def test_who_comes_and_goes_is_in_the_log():
    board = Board('demo')
    for devices in ({'pi': True}, {'pi': True, 'jetson': True}, {'pi': True, 'jetson': False}, {'pi': True, 'jetson': True}, {'pi': True}):
        board.state(1.0, [{'name': name, 'alive': alive} for name, alive in devices.items()], [])
    lines = [(line['kind'], line['text']) for line in board.snapshot(1.0)['log']]
    words = ('has joined the fleet', 'does not answer', 'answers again', 'has left the fleet')
    assert lines == [('fleet', f'jetson {one}') for one in words]


def test_frames_without_a_result_are_remembered():
    board = Board('demo')
    board.miss(3.0, 'failed', 'the image has no pixels')
    assert board.snapshot(3.0)['missed'] == [{'at': 3.0, 'status': 'failed', 'reason': 'the image has no pixels'}]


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 50)), max_size=20))
def test_a_devices_energy_never_falls_and_loses_no_start(steps):
    """Totals by incarnation, each growing; whoever restarts begins at nothing again."""
    board, totals, seen = Board('demo'), {}, []
    for incarnation, more in sorted(steps, key=lambda one: one[0]):
        totals[incarnation] = totals.get(incarnation, 0.0) + more
        board.energy('pi', 'measured', incarnation, totals[incarnation])
        seen.append(board.totals.device_joules['pi', 'measured'])
    assert seen == sorted(seen)
    assert not seen or math.isclose(seen[-1], sum(totals.values()), abs_tol=1e-9)
