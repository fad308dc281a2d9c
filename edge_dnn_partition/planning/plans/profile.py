# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Measured seconds of a model's segments on a device, and the predicted seconds of a stage.

A stage's seconds are not the sum of its layers' (off by up to 49 %): the runtime fuses layers
and lays out memory across them. Timed are segments between at most about 20 candidate
boundaries, pairs of neighbours and a few long stages; the *boundary overhead* at a boundary is how much longer two
neighbours take apart than together. A stage takes its segments less the boundary overheads inside it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.schema import describe

from .encodings import TensorCoding

_VERSION: Final = 2


@dataclass(frozen=True)
class HeldBack:
    """A stage timed only to test the prediction.

    :param start: cut index where it begins.
    :param stop: cut index where it ends.
    :param measured_seconds: as timed.
    :param predicted_seconds: from segments and boundary overheads.
    """

    start: int
    stop: int
    measured_seconds: float
    predicted_seconds: float

    @property
    def relative_error(self) -> float:
        """(predicted - measured) / measured."""
        return (self.predicted_seconds - self.measured_seconds) / self.measured_seconds


@dataclass(frozen=True)
class Profile:
    """The seconds of a model's segments on one device.

    :param model_sha256: of the user's model file.
    :param model: its name.
    :param device: the device's name.
    :param provider: the execution provider.
    :param threads: of one operator.
    :param onnxruntime_version: of the timed runtime.
    :param boundaries: cut indices, rising, from 0 to the number of layers.
    :param segment_seconds: of the layers between one boundary and the next.
    :param seam_seconds: for each inner boundary what a cut there adds; it may be negative, and
        does not exceed either segment beside it.
    :param preprocess_seconds: to decode, resize and normalise one image; None if not timed.
    :param relative_error: the largest among the held-back stages, as a fraction; NaN: a first guess, which is held against none.
    :param throttled: whether the device ran below its speed, or unevenly, while profiling.
    :param probe_seconds: of the speed probe while profiling.
    :param interval_seconds: of idleness before each timed run.
    :param held_back: the stages that tested the prediction.
    :param codings: sizes and seconds by encoding, of the tensors between the segments and of images that arrive as pixels.
    :param image_bytes: mean size of the images that were encoded; 0: none.
    :raises PlanError: if the parts contradict each other.
    """

    model_sha256: str
    device: str
    provider: str
    threads: int
    boundaries: tuple[int, ...]
    segment_seconds: tuple[float, ...]
    seam_seconds: tuple[float, ...]
    preprocess_seconds: float | None = None
    relative_error: float = 0.0
    throttled: bool = False
    probe_seconds: float = 0.0
    model: str = ''
    onnxruntime_version: str = ''
    interval_seconds: float = 0.0
    held_back: tuple[HeldBack, ...] = ()
    codings: tuple[TensorCoding, ...] = ()
    image_bytes: float = 0.0

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        count = len(self.boundaries)
        if count < 2 or self.boundaries[0] != 0 or any(
                b <= a for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise PlanError(f'profile of {self.device!r}: boundaries must rise from 0')
        if len(self.segment_seconds) != count - 1 or len(self.seam_seconds) != count - 2:
            raise PlanError(f'profile of {self.device!r}: {count} boundaries need {count - 1} segments and '
                            f'{count - 2} boundary overheads, not {len(self.segment_seconds)} and '
                            f'{len(self.seam_seconds)}')
        durations = [*self.segment_seconds, self.probe_seconds, self.interval_seconds, self.image_bytes]
        if not self.guessed:
            durations.append(self.relative_error)
        if self.preprocess_seconds is not None:
            durations.append(self.preprocess_seconds)
        if not all(math.isfinite(value) and value >= 0 for value in durations):
            raise PlanError(f'profile of {self.device!r}: seconds and bytes must be finite and not negative')
        # So two neighbours take together no less than the longer one, and no stage too little.
        limits = map(min, self.segment_seconds, self.segment_seconds[1:])
        if not all(math.isfinite(overhead) and overhead <= limit * (1 + 1e-9)
                   for overhead, limit in zip(self.seam_seconds, limits, strict=True)):
            raise PlanError(f'profile of {self.device!r}: a boundary overhead must be finite and not exceed the '
                            'segments beside it')
        if self.threads < 1:
            raise PlanError(f'profile of {self.device!r}: threads must be at least 1')

    @property
    def guessed(self) -> bool:
        """Whether it is a first guess, which a measured profile is to follow."""
        return math.isnan(self.relative_error)

    @property
    def total_seconds(self) -> float:
        """Seconds of the whole model as one stage, without the preprocessing."""
        return self.stage_seconds(0, self.boundaries[-1])

    def stage_seconds(self, start: int, stop: int) -> float:
        """Predict a stage of the layers between two boundaries.

        :param start: cut index, one of ``boundaries``.
        :param stop: cut index, one of ``boundaries``; equal to ``start`` for no layers.
        :returns: seconds; at least those of each of its segments.
        :raises PlanError: if one is not a boundary, or they are in the wrong order.
        """
        first, last = self._position(start), self._position(stop)
        if first > last:
            raise PlanError(f'stage from cut {start} to {stop}: the end comes before the start; swap them')
        if first == last:
            return 0.0
        segments = self.segment_seconds[first:last]
        return math.fsum(segments) - math.fsum(self.seam_seconds[first:last - 1])

    def known_seconds(self, ranges: Iterable[tuple[int, int]]) -> float:
        """Predict a stage of several ``(start, stop)`` ranges of layers; 0 if one does not end at boundaries, or there is none."""
        seconds = 0.0
        for start, stop in ranges:
            if start not in self.boundaries or stop not in self.boundaries:
                return 0.0
            seconds += self.stage_seconds(start, stop)
        return seconds

    def scaled(self, factor: float) -> Profile:
        """Return the profile of a device that is ``factor`` times slower.

        :raises PlanError: if the factor is not finite and above 0.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise PlanError(f'slowdown: {factor} must be finite and above 0')
        return dataclasses.replace(
            self,
            segment_seconds=tuple(value * factor for value in self.segment_seconds),
            seam_seconds=tuple(value * factor for value in self.seam_seconds),
            preprocess_seconds=None if self.preprocess_seconds is None else self.preprocess_seconds * factor,
            probe_seconds=self.probe_seconds * factor,
            held_back=tuple(dataclasses.replace(stage, measured_seconds=stage.measured_seconds * factor,
                                                predicted_seconds=stage.predicted_seconds * factor)
                            for stage in self.held_back),
            codings=tuple(coding.scaled(factor) for coding in self.codings))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON knows them."""
        return {'version': _VERSION} | dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return JSON text that ``from_json`` reads."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """Read what ``to_json`` wrote; keys that are not known are passed over.

        :raises PlanError: if it is not JSON, or a value is missing, of the wrong kind, or contradicts another.
        """
        try:
            values = json.loads(text)
            version = values.get('version', _VERSION)
        except (ValueError, AttributeError) as error:
            raise PlanError(f'profile: not a JSON object ({error}); give what `profile --json` wrote') from error
        if version != _VERSION:
            raise PlanError(f'profile: version {version!r} is not {_VERSION}; profile again')
        try:
            return _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            raise PlanError(f'profile: {describe(error)}') from error

    def _position(self, cut: int) -> int:
        position = bisect_left(self.boundaries, cut)
        if position == len(self.boundaries) or self.boundaries[position] != cut:
            raise PlanError(f'cut {cut} is not a boundary of the profile; choose from '
                            f'{", ".join(map(str, self.boundaries))}')
        return position



@cache
def _adapter() -> TypeAdapter[Profile]:
    return TypeAdapter(Profile)
