# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A worker's books of energy on synthetic traces: sums that are the meter's, estimates that become right, modelled devices."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.execution.stages.stage_energy import StageEnergy, StageRun
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.reading import PowerReading
from edge_dnn_partition.sensing.power.segment_joules import SegmentJoules
from edge_dnn_partition.sensing.sources.cpu import CpuReading
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.transport.timing import StageTime, frame_energy

STEP = 0.01


def parts(books):
    return books.idle.joules + books.radio.joules + books.other.joules + books.stages.joules


class Board:
    """Four cores, 2 W idle, 1.5 W a busy core; a counter of joules with a step; another process now and then."""

    def __init__(self, energy: StageEnergy, metered: bool = True, scope: str = 'board') -> None:
        self.energy, self.metered, self.scope = energy, metered, scope
        self.now = self.joules = self.lost_seconds = self.lost_joules = 0.0
        self.frame = 0
        self.counted: dict[float, float] = {}
        self.given: dict[StageRun, object] = {}
        self.settled: dict[StageRun, object] = {}
        self.true: dict[StageRun, float] = {}

    def tick(self, busy: float = 0.0, other: float = 0.0, cores: float = 1.0, silent: bool = False,
             layers: tuple[tuple[int, int], ...] | None = None, watts: float = 1.5) -> None:  # fmt: skip
        """A quarter of a second, of which a stage keeps ``cores`` busy for ``busy`` seconds at its end."""
        self.now += 0.25
        core_seconds = busy * cores + other * 0.25
        drawn = 0.25 * 2.0 + watts * busy * cores + 1.5 * other * 0.25
        self.joules += drawn
        if silent:  # a meter that comes back does not know what was drawn meanwhile
            self.lost_seconds += 0.25
            self.lost_joules += drawn
        if busy:
            self.frame += 1
            ranges = layers if layers is not None else ((self.frame % 2, self.frame % 2 + 1),)
            run = StageRun(1, self.frame % 2, self.frame, 0, (False, ranges))
            self.true[run] = watts * busy * cores
            self.given[run] = self.energy.ran(run, self.now - busy, self.now, cores)
        power = ()
        if self.metered and not silent:
            told = math.floor((self.joules - self.lost_joules) / STEP) * STEP
            self.counted[self.now] = told
            power = (PowerReading('meter', self.scope, 4 * drawn, told, self.now - self.lost_seconds, 0.01, STEP),)
        cpu = CpuReading(0.0, tuple([100 * core_seconds / 0.25 / 4] * 4))
        self.settled |= dict(self.energy.take(self.now, HostSample(cpu=cpu, power=power)))


def test_frames_get_what_they_took_and_the_sum_is_the_meters():
    board = Board(StageEnergy(None))
    for _ in range(20):
        board.tick()
    for i in range(200):
        board.tick(busy=0.2 if i % 2 else 0.0, other=0.5 if i % 5 == 0 else 0.0, cores=2.0)
    for _ in range(20):
        board.tick()
    books = board.energy.snapshot()
    assert (books.kind, books.source) == ('measured', 'meter')
    assert parts(books) == pytest.approx(books.total.joules)
    assert books.total.joules == pytest.approx(board.counted[0.25 + books.covered_seconds] - board.counted[0.25], abs=STEP)
    assert len(board.settled) == 100
    for run, energy in board.settled.items():
        assert abs(energy.joules - board.true[run]) < 4 * energy.error_joules + 0.02 * board.true[run]
    assert sum(part.count for part in books.by_stage.values()) == 100
    assert math.fsum(part.joules for part in books.by_stage.values()) == pytest.approx(books.stages.joules)


def test_an_estimate_is_given_at_once_and_becomes_that_of_the_meter():
    board = Board(StageEnergy(None))
    for _ in range(20):
        board.tick()
    for i in range(120):
        board.tick(busy=0.1 if i % 2 else 0.0)
    first, *_, last = board.given.values()
    assert math.isnan(first.joules)
    assert last.kind == 'measured'
    assert last.joules == pytest.approx(0.15, rel=0.1)
    assert 0 < last.error_joules < 0.05
    watts, deviation = board.energy.active_watts(1)
    assert watts == pytest.approx(1.5, rel=0.1)
    assert deviation < 0.2


def test_the_joules_of_layers_are_learned_from_the_meter():
    board = Board(StageEnergy(None))
    board.energy.learn_segments(SegmentJoules((0, 2, 4, 6), (0.0, 0.08, 0.1, 0.06), (0.01, 0.0)), 1)
    assert board.energy.segments(0.0) is None
    for _ in range(20):
        board.tick()
    for i in range(400):  # layers 2 to 4 draw twice the watts of the others; a plan moved the cut halfway
        first, second = (((0, 2), 0.08), ((2, 6), 0.16)) if i < 200 else (((0, 4), 0.17), ((4, 6), 0.06))
        joules = {(0, 2): 0.12, (2, 6): 0.39, (0, 4): 0.3975, (4, 6): 0.09}  # less what the boundary overhead saves
        (layers, busy) = first if i % 2 else second
        board.tick(busy=busy, layers=(layers,), watts=joules[layers] / busy)
    for _ in range(20):
        board.tick()
    boundaries, found = board.energy.segments(board.now)
    assert boundaries == (0, 2, 4, 6)
    assert found.joules[1:] == pytest.approx([0.12, 0.3, 0.09], rel=0.08)
    assert list(found.measured) == [False, True, True, True]
    assert found.joules[0] == 0.0  # a device that does not preprocess


def test_without_a_meter_no_joules_of_layers_are_claimed():
    board = Board(StageEnergy(PowerModel(2.0, 1.5, relative_error=0.2)), metered=False)
    board.energy.learn_segments(SegmentJoules((0, 1, 2), (0.0, 0.1, 0.1), (0.0,)), 1)
    for _ in range(60):
        board.tick(busy=0.1)
    assert board.energy.segments(board.now) is None


def test_while_the_meter_is_silent_nothing_is_booked_and_nothing_is_zero():
    board = Board(StageEnergy(None))
    for _ in range(40):
        board.tick()
    before = board.energy.snapshot()
    for _ in range(40):
        board.tick(busy=0.1, silent=True)
    for _ in range(40):
        board.tick()
    books = board.energy.snapshot()
    lost = [energy for energy in board.settled.values() if math.isnan(energy.joules)]
    assert len(lost) >= 30
    assert books.uncovered_seconds >= 9.0
    assert books.total.joules - before.total.joules <= 0.25 * 2.0 * 60
    assert parts(books) == pytest.approx(books.total.joules)


def test_without_a_meter_the_model_says_it_and_is_named():
    board = Board(StageEnergy(PowerModel(2.0, 1.5, relative_error=0.2, source='a board')), metered=False)
    for i in range(80):
        board.tick(busy=0.1 if i % 2 else 0.0, other=0.5)
    books = board.energy.snapshot()
    assert (books.kind, books.source) == ('modelled', 'a board')
    assert parts(books) == pytest.approx(books.total.joules)
    assert books.total.joules == pytest.approx(board.joules * books.covered_seconds / board.now, rel=0.05)
    assert {energy.kind for energy in board.given.values()} == {'modelled'}
    assert [energy.joules for energy in board.given.values()] == pytest.approx([0.15] * 40)
    assert books.total.error_joules == pytest.approx(0.2 * books.total.joules)


@pytest.mark.parametrize(('scope', 'processor', 'kind'), [('gpu', 'cpu', 'modelled'), ('gpu', 'gpu', 'measured'),
                                                         ('cpu', 'cpu', 'measured'), ('cpu', 'gpu', 'modelled')])  # fmt: skip
def test_only_a_meter_of_what_the_stages_run_on_measures_them(scope, processor, kind):
    energy = StageEnergy(PowerModel(2.0, 1.0, gpu_watts=4.0, relative_error=0.5, source='boards'), processor=processor)
    board = Board(energy, scope=scope)
    for _ in range(40):
        board.tick(busy=0.1)
    assert (energy.snapshot().kind, energy.snapshot().source) == (kind, 'meter' if kind == 'measured' else 'boards')
    assert {found.kind for found in board.settled.values()} == {kind}


class Gpu:
    """A GPU of 100 W at work and 20 W idle beside eight cores of 5 W, of which each run keeps one waiting."""

    def __init__(self, scope: str, other_cores: float = 0.0, response: float = 0.0, late: float = 0.0) -> None:
        model = PowerModel(60.0 if scope == 'board' else 999.0, 5.0, gpu_watts=100.0, relative_error=0.5, source='guess')
        self.energy, self.scope, self.other = StageEnergy(model, processor='gpu'), scope, other_cores
        self.now = self.joules = 0.0
        self.told = deque([0.0] * round(10 * late))
        self.response = response
        self.settled: dict[StageRun, object] = {}

    def tick(self, busy: float) -> None:
        """A tenth of a second, in which a run takes the GPU for ``busy`` seconds."""
        self.now += 0.1
        self.joules += 20.0 * 0.1 + 100.0 * busy
        if self.scope == 'board':
            self.joules += 40.0 * 0.1 + 5.0 * (busy + self.other * 0.1)
        if busy:
            self.energy.ran(StageRun(1, 0, round(10 * self.now), 0), self.now - busy, self.now, 1.0)
        gpu = GpuReading('gpu', 100.0 if busy else 0.0, math.nan, math.nan, math.nan, math.nan)
        cpu = CpuReading(0.0, tuple([100 * (busy / 0.1 + self.other) / 8] * 8))
        self.told.append(self.joules)
        power = PowerReading('meter', self.scope, 20.0, self.told.popleft(), self.now, 0.001, 0.001,
                             response_seconds=self.response)  # fmt: skip
        self.settled |= dict(self.energy.take(self.now, HostSample(cpu=cpu, gpus=(gpu,), power=(power,))))


@pytest.mark.parametrize(('scope', 'other_cores', 'joules'), [('gpu', 0.0, 5.0), ('gpu', 4.0, 5.0), ('board', 0.0, 5.25),
                                                             ('board', 4.0, 5.25)])  # fmt: skip
def test_a_gpus_runs_get_what_they_took_whatever_the_cores_do(scope, other_cores, joules):
    """Half of a second at 100 W is 5 J a tenth; on the board's meter 0.25 J more for the core that waits."""
    gpu = Gpu(scope, other_cores)
    for tick in range(400):
        gpu.tick(0.05 if tick > 100 and tick % 2 else 0.0)
    settled = [energy for run, energy in gpu.settled.items() if run.frame > 200]
    assert len(settled) > 50
    for energy in settled:
        assert energy.kind == 'measured'
        assert energy.joules == pytest.approx(joules, rel=0.02)


@pytest.mark.parametrize('late', [0.0, 0.3])
def test_a_counter_that_comes_late_is_shared_over_windows_that_know_it(late):
    """Runs every fifth of a second are given what they took though the counter's tenths do not fall on them."""
    gpu = Gpu('gpu', response=1.0, late=late)
    for tick in range(600):
        gpu.tick(0.03 if tick >= 100 and tick % 2 else 0.0)
    settled = [energy.joules for run, energy in gpu.settled.items() if run.frame > 200]
    assert math.fsum(settled) / len(settled) == pytest.approx(3.0, rel=0.05)


def test_a_gpu_at_work_is_not_idle_because_the_cores_are():
    gpu = Gpu('gpu')
    for tick in range(600):
        gpu.tick(0.1 if tick >= 100 else 0.0)
    last = list(gpu.settled.values())[-1]
    assert last.joules == pytest.approx(10.0, rel=0.02)


@pytest.mark.parametrize('metered', [True, False])
def test_what_hops_took_on_the_radio_is_booked_apart(metered):
    board = Board(StageEnergy(PowerModel(2.0, 1.5, relative_error=0.2, source='a board')), metered=metered)
    for _ in range(20):
        board.tick()
    for _ in range(40):
        board.tick(busy=0.1, other=0.5)
        board.energy.moved(board.now - 0.1, board.now, 0.02)
    for _ in range(20):
        board.tick()
    books = board.energy.snapshot()
    assert books.radio.joules == pytest.approx(0.8)
    assert parts(books) == pytest.approx(books.total.joules)
    if metered:  # what the meter says is shared, none is added
        assert books.total.joules == pytest.approx(board.counted[0.25 + books.covered_seconds] - board.counted[0.25], abs=STEP)


def test_a_played_device_has_the_fleet_files_figures():
    energy = StageEnergy(PowerModel(3.0, 5.0, source='the fleet file'), whole_device=True)
    energy.take(0.0)
    given = energy.ran(StageRun(1, 0, 1, 0), 0.1, 0.3, cores=0.01)  # it sleeps most of the time, and counts as busy
    assert given.joules == pytest.approx(1.0)
    assert math.isnan(given.error_joules)
    for tick in range(1, 41):
        done = energy.take(tick * 0.25)
        assert all(found.joules == pytest.approx(1.0) for _, found in done)
    books = energy.snapshot()
    assert books.stages.joules == pytest.approx(1.0)
    assert books.total.joules == pytest.approx(1.0 + 3.0 * books.covered_seconds)
    assert energy.active_watts(4)[0] == 5.0
    assert books.watts == pytest.approx(3.0), 'of the last two seconds, in which nothing ran'
    for tick in range(41, 81):
        energy.ran(StageRun(1, 0, tick, 0), tick * 0.25 - 0.125, tick * 0.25, cores=0.01)
        energy.take(tick * 0.25)
    assert energy.snapshot().watts == pytest.approx(5.5)


def test_with_neither_meter_nor_model_all_is_unknown():
    energy = StageEnergy(None)
    energy.take(0.0, HostSample())
    assert math.isnan(energy.ran(StageRun(1, 0, 1, 0), 0.1, 0.3, 1.0).joules)
    assert energy.take(5.0, HostSample()) == []
    books = energy.snapshot()
    assert (books.kind, books.covered_seconds, books.uncovered_seconds) == ('', 0.0, 5.0)
    assert math.isnan(energy.active_watts(1)[0])


@given(st.lists(st.tuples(st.floats(0.0, 0.25), st.floats(0.0, 2.0), st.booleans()), min_size=5, max_size=60))
def test_whatever_happens_the_parts_are_the_total(ticks):
    board = Board(StageEnergy(PowerModel(2.0, 1.5, relative_error=0.2)))
    for busy, other, silent in ticks:
        board.energy.moved(board.now, board.now + busy, 0.3 * other)
        board.tick(busy, other, silent=silent)
    for _ in range(30):
        board.tick()
    books = board.energy.snapshot()
    assert parts(books) == pytest.approx(books.total.joules, abs=1e-6)
    assert books.covered_seconds + books.uncovered_seconds <= board.now + 1e-6


def test_a_frames_energy_is_unknown_if_a_stages_is():
    known = StageTime('a', 0, 0, 0, 0, 0, 1.0, 0.1, True)
    modelled = StageTime('b', 1, 0, 0, 0, 0, 2.0, 0.3, False)
    assert frame_energy((known, modelled)) == (3.0, pytest.approx(0.4), False)
    assert frame_energy((known, known))[2]
    assert math.isnan(frame_energy((known, StageTime('c', 2, 0, 0, 0, 0)))[0])
    assert math.isnan(frame_energy(())[0])
