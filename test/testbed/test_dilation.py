# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Dilation: sleeping in proportion, reached from other threads while it sleeps."""

from __future__ import annotations

import threading

import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed.dilation import Dilation


class Watch:
    """A clock that moves only while someone waits on the condition beside it."""

    def __init__(self, late_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.late = late_seconds
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds + self.late
        return False


def dilation(factor: float, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Dilation:
    result = Dilation(factor, clock=watch)
    monkeypatch.setattr(result._condition, 'wait', watch.wait)
    return result


@pytest.mark.parametrize(('factor', 'busy', 'slept'), [(1, 0.02, 0), (4, 0.02, 0.06), (10, 0.0026, 0.0234)])
def test_it_sleeps_what_the_slower_device_would_still_compute(
        factor: float, busy: float, slept: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dilation(factor, Watch(), monkeypatch).pause(busy) == pytest.approx(slept)


def test_no_sleep_at_all_at_factor_one(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    dilation(1, watch, monkeypatch).pause(0.5)
    assert watch.waits == []


def test_a_late_wake_up_shortens_the_next_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(late_seconds=0.0001)
    slow = dilation(3, watch, monkeypatch)
    slept = [slow.pause(0.01) for _ in range(50)]
    assert sum(slept) == pytest.approx(50 * 0.02 + 0.0001, abs=5e-5)


def test_a_delay_from_elsewhere_is_not_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(late_seconds=3.0)
    slow = dilation(3, watch, monkeypatch)
    slow.pause(0.01)
    watch.late = 0.0
    assert slow.pause(0.01) == pytest.approx(0.02 - 0.005)


def test_a_new_factor_reaches_a_sleep_under_way() -> None:
    slow = Dilation(1e6)
    thread = threading.Thread(target=slow.pause, args=(1.0,), daemon=True)
    thread.start()
    slow.factor = 1.0
    thread.join(10)
    assert not thread.is_alive()
    assert slow.factor == 1.0


def test_interrupt_ends_a_sleep_and_every_later_one() -> None:
    slow = Dilation(1e6)
    thread = threading.Thread(target=slow.pause, args=(1.0,), daemon=True)
    thread.start()
    slow.interrupt()
    thread.join(10)
    assert not thread.is_alive()
    slow.pause(1.0)  # would take eleven days


@pytest.mark.parametrize('factor', [0.5, 0.0, -3.0, float('nan'), float('inf')])
def test_a_factor_below_one_is_refused(factor: float) -> None:
    with pytest.raises(UserError, match='slowdown'):
        Dilation(factor)
    slow = Dilation(2.0)
    with pytest.raises(UserError, match='slowdown'):
        slow.factor = factor
    assert slow.factor == 2.0


@pytest.mark.parametrize(('given', 'slept'), [
    ({'taken_seconds': 0.03, 'work_seconds': 0.1}, 0.07),  # the board's own figure, whatever this machine takes ...
    ({'taken_seconds': 0.005, 'work_seconds': 0.1}, 0.095),
    ({'taken_seconds': 0.2, 'work_seconds': 0.1}, 0.0),  # ... but for one that is too slow to play it
    ({'taken_seconds': 0.002}, 0.008),  # what has no figure: in proportion
])  # fmt: skip
def test_a_board_with_figures_of_its_own(given: dict[str, float], slept: float, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    played = Dilation(1.0, other_factor=5.0, clock=watch)
    monkeypatch.setattr(played._condition, 'wait', watch.wait)
    assert played.pause(0.002, **given) == pytest.approx(slept)


def test_a_busy_board_takes_longer_than_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dilation(3.0, Watch(), monkeypatch).pause(0.01, 0.01, 0.1) == pytest.approx(0.29)
