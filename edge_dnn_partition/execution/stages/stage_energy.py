# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A worker's energy: the joules of each run of a stage, at once as an estimate and later as settled by the meter.

A meter's window can be shared out only after the runs in it have ended, some seconds later, and a result does not wait
for that. So a run's joules are first what the device's meter has taught of such runs (or what its model says), and the
settled ones follow in the running totals. Time is passed in; nothing here reads a sensor.
"""

from __future__ import annotations

import copy
import math
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.active_watts import StageWatts
from edge_dnn_partition.sensing.power.attribution import Attribution, Energy, Run
from edge_dnn_partition.sensing.power.ledger import EnergyLedger, IdlePower, ModelledLedger
from edge_dnn_partition.sensing.power.model import Activity, PowerModel, activity
from edge_dnn_partition.sensing.power.reading import PowerReading, Processor, measured_for
from edge_dnn_partition.sensing.power.segment_joules import SegmentEstimate, SegmentJoules

UNKNOWN: Final = Energy(math.nan, math.nan, 'modelled')
_MOST_RUNS: Final = 4096
_MOST_STAGES: Final = 64
_LATELY: Final = 8


@dataclass(frozen=True)
class StageRun:
    """One run of a stage: ``frame`` and ``attempt`` of plan ``version``.

    :param layers: whether it has the preprocessing, and its ``(start, stop)`` ranges of layers.
    """

    version: int
    stage: int
    frame: int
    attempt: int
    layers: tuple[bool, tuple[tuple[int, int], ...]] = field(compare=False, default=(False, ()))


@dataclass
class Sum:
    """Energies added up; errors of windows by a meter are independent, those of a model or of idleness are not."""

    joules: float = 0.0
    count: int = 0
    _squares: float = 0.0
    _together: float = 0.0

    def add(self, energy: Energy, *, independent: bool) -> None:
        """Add one."""
        self.joules += energy.joules
        self.count += 1
        if independent:
            self._squares += energy.error_joules**2
        else:
            self._together += energy.error_joules

    @property
    def error_joules(self) -> float:
        """Standard error of the sum."""
        return math.hypot(math.sqrt(self._squares), self._together)


@dataclass
class EnergyTotals:
    """Running totals since the start; ``idle``, ``radio``, ``other`` and ``stages`` add up to ``total``.

    :param radio: of the hops' bytes; modelled, whatever ``kind`` is, and its error is not known.

    :param uncovered_seconds: time that the meter did not cover, of which nothing is in the totals.
    :param by_stage: by plan version and stage; ``count`` is of runs that were settled.
    """

    kind: str = ''
    source: str = ''
    scope: str = ''
    watts: float = math.nan
    covered_seconds: float = 0.0
    uncovered_seconds: float = 0.0
    total: Sum = field(default_factory=Sum)
    idle: Sum = field(default_factory=Sum)
    radio: Sum = field(default_factory=Sum)
    other: Sum = field(default_factory=Sum)
    stages: Sum = field(default_factory=Sum)
    by_stage: OrderedDict[tuple[int, int], Sum] = field(default_factory=OrderedDict)


class StageEnergy:
    """The joules of one device. May be used from several threads.

    :param model: what the device draws where no meter says it; None: unknown.
    :param whole_device: the model's ``core_watts`` are of the whole device while it runs a stage, as a fleet file's
        figures are; then what else it does is not known, and modelled totals leave it out.
    :param lag_seconds: longer than almost every run.
    :param processor: that stages run on: only a meter that tells what it draws counts.
    """

    def __init__(self, model: PowerModel | None, *, whole_device: bool = False, lag_seconds: float = 2.0,
                 processor: Processor = 'cpu') -> None:  # fmt: skip
        self.totals = EnergyTotals()
        self._whole, self._lag, self._processor = whole_device, lag_seconds, processor
        self._core_share = 1.0
        if processor == 'gpu' and model is not None and not whole_device:
            self._core_share = model.core_watts / model.gpu_watts if model.gpu_watts > 0 else 0.0
            model = replace(model, core_watts=model.gpu_watts) if model.gpu_watts > 0 else None
        self._model = model
        prior = math.nan if model is None or whole_device else model.core_watts
        self._segments: SegmentJoules | None = None
        self.threads = 1
        """That a stage keeps busy, for what segments are believed to take before the meter has shown it."""
        self.learned = StageWatts(prior, prior * model.relative_error if model is not None else math.nan)
        self._metered: EnergyLedger[StageRun] | None = None
        self._modelled = ModelledLedger[StageRun](model, lag_seconds) if model is not None else None
        self._open: OrderedDict[StageRun, tuple[float, float, list[Energy]]] = OrderedDict()
        self._lately: deque[tuple[float, float]] = deque(maxlen=_LATELY)
        """Joules and seconds of the last settled windows."""
        self._last = math.nan
        self._lock = threading.Lock()

    def ran(self, run: StageRun, start: float, end: float, cores: float) -> Energy:
        """Take in a run that has ended, and return what it took as far as that is known now.

        :param start: seconds, on the clock of the readings.
        :param end: likewise.
        :param cores: that it kept busy, on average, beside the GPU if it ran there.
        """
        with self._lock:
            if self._whole and self._metered is None:
                cores = 1.0
            seen = cores
            if self._processor == 'gpu' and not self._whole:
                seen = cores * self._core_share
                cores = 1.0 + seen
            core_seconds = (end - start) * cores
            span = Run(run, start, end, cores, seen)
            self._open[run] = (end, core_seconds, [])
            if len(self._open) > _MOST_RUNS:
                self._open.popitem(last=False)
            if self._metered is not None:
                self._metered.run(span)
                return self.learned.energy(run.layers, core_seconds)
            if self._modelled is None or self._model is None:
                return UNKNOWN
            self._modelled.run(span)
            return Energy(*self._model.stage_joules(core_seconds), 'modelled')

    def moved(self, start: float, end: float, joules: float) -> None:
        """Take in what a hop took on this device's radio, by a model.

        :param start: seconds, on the clock of the readings; likewise ``end``.
        """
        with self._lock:
            ledger = self._metered if self._metered is not None else self._modelled
            if ledger is not None:
                ledger.radio(start, end, joules)

    def learn_segments(self, segments: SegmentJoules, threads: int) -> None:
        """Begin to learn what each segment of the model takes by the meter.

        :param threads: that a stage keeps busy.
        """
        with self._lock:
            self._segments, self.threads = segments, threads

    def segments(self, now: float) -> tuple[tuple[int, ...], SegmentEstimate] | None:
        """Return the boundaries and what each node of the model takes; None where no meter has said enough."""
        with self._lock:
            if self._segments is None or self._metered is None or not self.learned.measured:
                return None
            device = self.learned.device
            found = self._segments.estimate(now, device.watts * self.threads, device.deviation * self.threads)
            return None if found is None else (self._segments.boundaries, found)

    def snapshot(self) -> EnergyTotals:
        """Return a copy of the totals."""
        with self._lock:
            return copy.deepcopy(self.totals)

    def active_watts(self, threads: int) -> tuple[float, float]:
        """Return what the device draws above idleness while a stage runs, and the standard deviation of that.

        :param threads: that a stage keeps busy.
        """
        with self._lock:
            if self._metered is not None:
                known = self.learned.device.watts if self.learned.measured else math.nan
                return known * threads, self.learned.device.deviation * threads
            if self._model is None:
                return math.nan, math.nan
            watts = self._model.core_watts * (1 if self._whole else threads)
            return watts, watts * self._model.relative_error

    def take(self, now: float, sample: HostSample | None = None) -> list[tuple[StageRun, Energy]]:
        """Take in what the host's meters say, and return the runs whose energy is settled now.

        :param now: seconds, on the runs' clock.
        :param sample: with power, cores and clock; None: the device has no meters, and does nothing but its stages.
        """
        measured = None
        if sample is not None:
            measured = measured_for(sample.power, self._processor)
        with self._lock:
            seconds, self._last = now - self._last, now
            if measured is not None:
                settled = self._by_meter(now, measured, sample)
            elif self._metered is not None:  # it had a meter, which is silent: this time is not covered
                settled = self._by_meter(now, PowerReading(self.totals.source, 'board'), sample)
            elif self._modelled is not None and self._model is not None:
                settled = self._by_model(now, sample)
            else:
                self.totals.uncovered_seconds += seconds if seconds > 0 else 0.0
                return []
            for part in settled:
                self._book(part)
                self._learn(part, now)
            return self._finished(now)

    def _by_meter(self, now: float, reading: PowerReading, sample: HostSample | None) -> list[Attribution[StageRun]]:
        if self._metered is None:
            guess = self._model.idle_watts if self._model is not None and reading.scope != 'gpu' else math.nan
            error = guess * self._model.relative_error if self._model is not None else math.nan
            self._metered, self._modelled = EnergyLedger(IdlePower(guess, error), self._lag), None
            self.totals = EnergyTotals('measured', reading.source, reading.scope)  # what was modelled before is no part of it
        self.totals.watts = reading.watts
        if reading.scope == 'gpu':
            self._core_share = 0.0
        return self._metered.reading(now, reading, *self._busy(sample))

    def _busy(self, sample: HostSample | None) -> tuple[float, int, float]:
        """Return how many cores are at work, of how many, and the share of the GPU's time in which it is.

        For stages on a GPU a core counts by what it adds to the watts, as a share of what the GPU adds. What other programs
        do on the GPU is not told apart: its use, as drivers tell it, counts an interval as used if anything ran in it
        (an H200 said 28 % and 78 % where it was at work for 14 % and 42 %).
        """
        if sample is None:
            return math.nan, 1, 0.0
        present = activity(sample.cpu, sample.clock, sample.gpus)
        if self._processor == 'gpu':
            return (present.busy_cores * self._core_share if self._core_share else 0.0), 1, present.gpu_share
        return present.busy_cores, max(1, len(sample.cpu.percent_per_core)), 0.0

    def _by_model(self, now: float, sample: HostSample | None) -> list[Attribution[StageRun]]:
        assert self._modelled is not None and self._model is not None
        self.totals.kind, self.totals.source, self.totals.scope = 'modelled', self._model.source, 'board'
        if sample is None or self._whole:
            return self._modelled.reading(now)
        present = activity(sample.cpu, sample.clock)
        busy, _, gpu_share = self._busy(sample)
        clock_ratio = present.clock_ratio if self._processor == 'cpu' else 1.0
        self.totals.watts = self._model.watts(Activity(busy + gpu_share, clock_ratio))
        return self._modelled.reading(now, busy, clock_ratio)

    def _book(self, part: Attribution[StageRun]) -> None:
        totals, independent = self.totals, self.totals.kind == 'measured'
        for run, energy in part.stages.items():
            if run in self._open:
                self._open[run][2].append(energy)
        if not math.isfinite(part.total.joules) or not math.isfinite(part.idle.joules):
            totals.uncovered_seconds += part.seconds
            return
        totals.covered_seconds += part.seconds
        if self._whole and not independent:  # nobody says what else such a device does: its watts are what its stages took
            self._lately.append((part.total.joules, part.seconds))
            joules, seconds = (math.fsum(column) for column in zip(*self._lately, strict=True))
            totals.watts = joules / seconds
        totals.total.add(part.total, independent=independent)
        totals.idle.add(part.idle, independent=False)
        totals.radio.add(part.radio, independent=False)
        totals.other.add(part.other, independent=independent)
        for energy in part.stages.values():
            totals.stages.add(energy, independent=independent)

    def _learn(self, part: Attribution[StageRun], now: float) -> None:
        """Let the regression over segments see a window of the meter, if all stages in it are cut where it can tell."""
        if self._segments is None or self._metered is None or not part.stages:
            return
        runs = []
        for run, core_seconds in part.busy.items():
            row = self._segments.row(*run.layers)
            whole = self._open[run][1] if run in self._open else 0.0
            if row is None or not whole > 0:
                return
            runs.append((row, core_seconds / whole))
        joules = math.fsum(energy.joules for energy in part.stages.values())
        error = math.fsum(energy.error_joules for energy in part.stages.values())
        device = self.learned.device
        self._segments.observe(now, runs, joules, error, device.watts * self.threads, device.deviation * self.threads)

    def _finished(self, now: float) -> list[tuple[StageRun, Energy]]:
        """Return the runs all of whose windows are settled, and learn from them."""
        done = []
        for run in [run for run, (end, _, _) in self._open.items() if end <= now - 2 * self._lag]:
            _, core_seconds, parts = self._open.pop(run)
            if not parts:
                continue
            metered = self._metered is not None
            energy = Energy(math.fsum(part.joules for part in parts), math.hypot(*(part.error_joules for part in parts)),
                            'measured' if metered else 'modelled')  # fmt: skip
            if metered:
                self.learned.observe(run.layers, core_seconds, energy.joules, energy.error_joules)
            if math.isfinite(energy.joules):
                totals = self.totals.by_stage.setdefault((run.version, run.stage), Sum())
                totals.add(energy, independent=metered)
                while len(self.totals.by_stage) > _MOST_STAGES:
                    self.totals.by_stage.popitem(last=False)
            done.append((run, energy))
        return done
