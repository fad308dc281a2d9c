# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the terminal shows of a fleet: what was before it looked is named so, and is not counted as time that passed."""

import threading
from types import SimpleNamespace

import pytest
from rich.console import Console  # noqa: TID251

from edge_dnn_partition.cli.top import render
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan


def drawn(plans, frames, now=100.0):
    news = SimpleNamespace(state=None, status=None, plans=plans, frames=frames, decisions=[])
    console = Console(width=120, record=True, file=open('/dev/null', 'w', encoding='utf-8'))  # noqa: SIM115
    console.print(render(SimpleNamespace(lock=threading.Lock(), news=news), 'fleet', now))
    return console.export_text()


def plan(version):
    return Plan(version, 'm', 'pi', 'pi', (StagePlan('pi', True, ((0, 4),)),), (), reason=f'reason {version}')


def test_plans_of_before_and_plans_that_came():
    late = drawn([(10.0, plan(3)), (10.1, plan(4)), (17.5, plan(5))], [])
    assert [late.count(f'{when}  plan {version}') for when, version in (('before', 3), ('before', 4), ('7.5 s', 5))] == [1, 1, 1]
    early = drawn([(10.0, plan(1)), (17.5, plan(2))], [])
    assert '0.0 s  plan 1' in early and '7.5 s  plan 2' in early


@pytest.mark.parametrize(('seconds', 'count', 'fps'), [(2.0, 8, '4.3'), (60.0, 300, '5.0')])
def test_frames_per_second_since_it_looks(seconds, count, fps):
    frames = [SimpleNamespace(at=100.0 - seconds * (i + 0.5) / count, delivered=True, latency_seconds=0.1) for i in range(count)]
    assert f'{fps} frames/s' in drawn([], frames[::-1])
