# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Compares each switch's prediction with the outcome, and adapts intervals and hysteresis to that. Time is passed in.

Two things are predicted at a switch: what frames will take under the new plan, with an interval, and the gain over the old
plan, in time or, for the objective energy, in joules. The median of the frames after the switch shows the first.
What the old plan would have cost is not measured: it is its prediction under the conditions after the switch, times the ratio
of its own frames to their predictions before. So a move that a step made necessary is not compared with frames before the step.
The record of the last switches gives

- the width of the intervals: the least that would have held the truth at their nominal level (normalised conformal prediction:
  Papadopoulos, Gammerman and Vovk, "Normalized nonconformity measures for regression conformal prediction", 2008);
- the hysteresis: the predicted gain above which as large a share of the switches as is asked for has really paid. It is an
  upper quantile of by how much gains turned out smaller than predicted.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Final

from edge_dnn_partition.cache import keep
from edge_dnn_partition.errors import PlanError

FORMAT: Final = 2
_NORMAL: Final = 1.645
"""Standard deviations on either side that hold 90 % of a normal distribution."""


@dataclass(frozen=True)
class CalibrationSettings:
    """What the record is made of.

    :param prior: the hysteresis until there are ``least_switches`` gains in the record.
    :param floor_share: the hysteresis never falls below this share of the prior,
    :param most: nor rises above this (or the prior, if that is more), so that a bad record can be outgrown.
    :param pays: share of the switches that are to pay.
    :param level: nominal coverage of the intervals.
    :param window: switches that count.
    :param frames: frames on either side of a switch whose median counts,
    :param least_frames: and how many there must be.
    :param skipped: frames after a switch that do not count: they pay for it.
    :param least_deviation: relative; telemetry is never surer of a prediction than that.
    """

    prior: float = 0.08
    floor_share: float = 0.25
    most: float = 0.3
    pays: float = 2 / 3
    level: float = 0.9
    least_switches: int = 8
    window: int = 64
    frames: int = 7
    least_frames: int = 3
    skipped: int = 1
    least_deviation: float = 0.03


@dataclass(frozen=True)
class Assessment:
    """One switch: prediction and outcome.

    Gains are shares of what the old plan was to cost, seconds or joules, at the switch and after it; NaN if not known.

    :param deviation: relative standard deviation of the prediction.
    :param low_seconds: the interval that was given for the frames' median.
    """

    predicted_seconds: float
    deviation: float
    low_seconds: float
    high_seconds: float
    measured_seconds: float
    predicted_gain: float = math.nan
    measured_gain: float = math.nan

    @property
    def inside(self) -> bool:
        """Whether the interval held the outcome."""
        return self.low_seconds <= self.measured_seconds <= self.high_seconds

    @property
    def log_error(self) -> float:
        """Logarithm of what frames took over what was predicted."""
        return math.log(self.measured_seconds / self.predicted_seconds)

    @property
    def shortfall(self) -> float:
        """By how much the gain fell short, as a difference of logarithms of costs; NaN if not known."""
        return math.log1p(-self.measured_gain) - math.log1p(-self.predicted_gain)


@dataclass
class _Open:
    """A switch that is not assessed yet."""

    predicted_seconds: float
    deviation: float
    interval: tuple[float, float]
    predicted_gain: float
    over: float
    """The old plan's frames over their predictions."""
    skip: int
    seconds: list[float]
    costs: list[float]
    olds: list[float]
    """What the old plan was predicted to cost meanwhile."""


class Calibration:
    """The record of the last switches of one scheduler. Deterministic.

    ``assessments`` is replaced and never changed, so that another thread may read it.
    """

    def __init__(self, settings: CalibrationSettings | None = None) -> None:
        self.settings = settings or CalibrationSettings()
        self.assessments: tuple[Assessment, ...] = ()
        self.fresh: deque[Assessment] = deque()
        """Assessments that were not published yet; the reader removes them from the left."""
        self._over: deque[float] = deque(maxlen=self.settings.frames)
        """What the last frames of the plan in force cost over their predictions."""
        self._open: _Open | None = None

    # What happens ---------------------------------------------------------------------------------------------

    def switched(
        self, predicted_seconds: float, deviation: float, *, old_predicted_seconds: float = math.nan,
        joules: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        """Record that another plan has come into force.

        :param predicted_seconds: what frames will take under it.
        :param deviation: relative standard deviation of that.
        :param old_predicted_seconds: the same prediction for the plan before; NaN if it could not go on, or the gain is not
            one of time: then no gain is assessed.
        :param joules: where the gain is one of energy: what a frame takes under the plan before and under the new one.
        """
        self._assess()
        self._open = None
        over = median(self._over) if len(self._over) >= self.settings.least_frames else math.nan
        self._over.clear()
        if not 0 < predicted_seconds < math.inf:
            return
        gain = math.nan
        old, new = joules if joules is not None else (old_predicted_seconds, predicted_seconds)
        if math.isfinite(over) and 0 < old < math.inf and 0 < new < math.inf:
            gain = 1 - new / old
        self._open = _Open(
            predicted_seconds, deviation, self.interval(predicted_seconds, deviation), gain, over, self.settings.skipped, [], [], []
        )

    def frame(
        self, seconds: float, joules: float | None = None, *, predicted: float = math.nan, old_predicted: float = math.nan
    ) -> None:
        """Record what a frame of the plan in force cost.

        :param joules: where gains are those of energy; NaN if it is not known.
        :param predicted: what it is predicted to cost, under the conditions that it ran in: seconds, or joules with ``joules``.
        :param old_predicted: what the plan before would cost under them.
        """
        if not 0 < seconds < math.inf:
            return
        cost = seconds if joules is None else joules
        if self._open is not None and self._open.skip:
            self._open.skip -= 1
            return
        known = 0 < cost < math.inf
        if known and 0 < predicted < math.inf:
            self._over.append(cost / predicted)
        if self._open is not None:
            self._open.seconds.append(seconds)
            if known:
                self._open.costs.append(cost)
            if 0 < old_predicted < math.inf:
                self._open.olds.append(old_predicted)
            if len(self._open.seconds) >= self.settings.frames:
                self._assess()

    @property
    def assessing(self) -> bool:
        """Whether a switch is being assessed."""
        return self._open is not None

    def stepped(self, *, old_only: bool = False) -> None:
        """Record a step since the switch: the prediction was for other conditions.

        :param old_only: it concerns the plan before alone: then only the gain is not assessed.
        """
        if not old_only:
            self._open = None
        elif self._open is not None:
            self._open.predicted_gain = math.nan

    def _assess(self) -> None:
        found, self._open = self._open, None
        if found is None or len(found.seconds) < self.settings.least_frames:
            return
        known = math.isfinite(found.predicted_gain) and min(len(found.costs), len(found.olds)) >= self.settings.least_frames
        gains = (math.nan, math.nan)
        if known:
            gains = found.predicted_gain, 1 - median(found.costs) / (median(found.olds) * found.over)
        assessment = Assessment(
            found.predicted_seconds, found.deviation, *found.interval, median(found.seconds), *gains
        )
        self.assessments = (*self.assessments, assessment)[-self.settings.window :]
        self.fresh.append(assessment)

    # What follows ---------------------------------------------------------------------------------------------

    @property
    def hysteresis(self) -> float:
        """The share by which a plan must be predicted to be better to be moved to."""
        settings = self.settings
        short = [a.shortfall for a in self.assessments if math.isfinite(a.predicted_gain)]
        if len(short) < settings.least_switches:
            return settings.prior
        needed = 1 - math.exp(-max(_upper(short, settings.pays), 0.0))
        return min(max(needed, settings.floor_share * settings.prior), max(settings.most, settings.prior))

    @property
    def width(self) -> float:
        """How many standard deviations the intervals reach on either side, in logarithms."""
        if len(self.assessments) < self.settings.least_switches:
            return _NORMAL
        scores = [abs(a.log_error) / max(a.deviation, self.settings.least_deviation) for a in self.assessments]
        return _upper(scores, self.settings.level)

    def interval(self, predicted_seconds: float, deviation: float) -> tuple[float, float]:
        """Return the interval of what frames will take, for the nominal level."""
        reach = self.width * max(deviation, self.settings.least_deviation)
        return predicted_seconds * math.exp(-reach), predicted_seconds * math.exp(reach)

    @property
    def coverage(self) -> float:
        """The share of intervals that held the outcome; NaN without a record."""
        return sum(a.inside for a in self.assessments) / len(self.assessments) if self.assessments else math.nan

    @property
    def bias(self) -> float:
        """The median share by which frames took longer than predicted; NaN without a record."""
        return math.expm1(median(a.log_error for a in self.assessments)) if self.assessments else math.nan

    @property
    def paid(self) -> float:
        """The share of switches that paid, by the conditions after them; NaN without a record."""
        gains = [a.measured_gain for a in self.assessments if math.isfinite(a.measured_gain)]
        return sum(gain > 0 for gain in gains) / len(gains) if gains else math.nan


def _upper(values: Sequence[float], level: float) -> float:
    """Return an upper quantile such that the next value is below it with at least that probability, if they are alike."""
    rank = min(math.ceil((len(values) + 1) * level), len(values))
    return sorted(values)[rank - 1]


def save(path: Path, key: str, record: Calibration) -> None:
    """Write a record, if it can be written; a reader sees the old file or the new, never a part.

    :param key: what it belongs to.
    """
    rows = [[None if math.isnan(v) else v for v in asdict(a).values()] for a in record.assessments]
    keep(path, json.dumps({'format': FORMAT, 'key': key, 'switches': rows}, allow_nan=False).encode())


def load(path: Path, key: str, record: Calibration) -> bool:
    """Restore what was saved; return False if there is nothing, or it is of something else.

    :raises PlanError: if the file is malformed.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        if (document['format'], document['key']) != (FORMAT, key):
            return False
        rows = [Assessment(*(math.nan if v is None else float(v) for v in row)) for row in document['switches']]
        good = all(len(row) == len(fields(Assessment)) for row in document['switches']) and all(
            0 < a.predicted_seconds < math.inf and 0 < a.measured_seconds < math.inf and a.deviation >= 0
            and not a.predicted_gain >= 1 and not a.measured_gain >= 1
            for a in rows
        )  # fmt: skip
        if not good:
            raise ValueError(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError, KeyError):
        raise PlanError(f'{path}: the record of plan changes cannot be read; delete the file') from None
    record.assessments = tuple(rows[-record.settings.window :])
    return True
