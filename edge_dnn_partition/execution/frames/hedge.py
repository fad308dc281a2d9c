# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""When a frame is also run on the source itself, because its result from elsewhere is not going to come in time."""

from __future__ import annotations

import math
import statistics
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

HEDGE_VERSION: Final = 2**32 - 1
"""Stands for the plan of hedges, the whole model on the source, where a plan's version is asked for."""
TAIL_VERSION: Final = HEDGE_VERSION - 1
"""The same for the plan of a hedge that begins with tensors which the source has made for the frame's plan already."""
_WINDOW: Final = 50
_TRIALS: Final = 3
_SPREAD: Final = 3.0
_LEAST_SPREAD: Final = 0.05
_EARLY_SECONDS: Final = 0.05
"""A decision comes every 20 ms or somewhat later, so the last moment is taken to be so long."""
_TURN: Final = 4
_BURST_SECONDS: Final = 5.0
_FORGET_SECONDS: Final = 1.0
_REMEMBER: Final = 1000


def is_hedge(version: int) -> bool:
    """Return whether a plan's version is one of hedges."""
    return version in (HEDGE_VERSION, TAIL_VERSION)


def upper_bound(seconds: Sequence[float]) -> float:
    """Return what times like these hardly ever exceed: the median and three deviations (from the median deviation).

    :param seconds: at least one.
    """
    middle = statistics.median(seconds)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in seconds)
    return middle + _SPREAD * max(deviation, _LEAST_SPREAD * middle)


@dataclass
class Hedger:
    """Decides for each frame under way whether to start its hedge now. Time is passed in; not thread safe.

    A hedge is started at the last moment at which it still makes the age, if the plan's result is later than it hardly
    ever is; or at once, while the plan is expected to miss the age: the last result missed it, or its usual time is too
    long. Then every fourth frame waits for the last moment, so that a plan that has recovered is noticed. The first three
    frames are hedged to measure how long a hedge takes. One hedge is under way at a time. Once three hedges have begun with
    tensors of the plan in force, a hedge is expected to take what those took, else what those of the whole model took.

    :param share: of the source's time that hedges may take, over ten seconds (five may be taken at once).
    """

    share: float = 0.5
    started: int = 0
    won: int = 0
    _remote: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _local: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _tails: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _predicted: float = math.nan
    _missed: bool = False
    _version: int = 0
    _hedged: OrderedDict[int, tuple[float, bool]] = field(default_factory=OrderedDict)
    _under_way: dict[int, float] = field(default_factory=dict)
    _credit: float = _BURST_SECONDS
    _credited_at: float = math.nan

    def follow(self, version: int, predicted_seconds: float) -> None:
        """Begin anew with another plan, of which nothing is known but what is predicted (NaN: not even that)."""
        if version == self._version:
            return
        self._version, self._predicted, self._missed = version, predicted_seconds, False
        self._remote.clear()
        self._tails.clear()

    @property
    def _hedges(self) -> deque[float]:
        """How long hedges like the next one took."""
        return self._tails if len(self._tails) >= _TRIALS or len(self._local) < _TRIALS else self._local

    def due(self, frame_id: int, age: float, now: float, max_age: float) -> bool:
        """Return whether to start a frame's hedge now; `start` says that it was started.

        :param age: of the frame, in seconds.
        """
        self._forget(now)
        if frame_id in self._hedged or self._under_way:
            return False
        if len(self._hedges) < _TRIALS:
            return self.started < _TRIALS or self._may_take(max_age, now)
        local = upper_bound(self._hedges)
        if age + local > max_age or not self._may_take(statistics.median(self._hedges), now):
            return False
        remote = upper_bound(self._remote) if self._remote else 2 * self._predicted
        if (self._missed or remote > max_age) and frame_id % _TURN:
            return True
        return age + local + _EARLY_SECONDS >= max_age and (self._missed or age > remote or remote > max_age)

    def start(self, frame_id: int, age: float, now: float, max_age: float) -> None:
        """A frame's hedge has been started."""
        local = upper_bound(self._hedges) if len(self._hedges) >= _TRIALS else math.nan
        self._hedged[frame_id] = (now, age + local + _EARLY_SECONDS >= max_age)
        self._under_way[frame_id] = now
        while len(self._hedged) > _REMEMBER:
            self._hedged.popitem(last=False)
        if self._hedges:
            self._credit -= statistics.median(self._hedges)
        self.started += 1

    def came(self, frame_id: int, now: float, *, tail: bool = False) -> None:
        """A hedge's result is here, first or not.

        :param tail: it began with tensors of the plan.
        """
        begun = self._under_way.pop(frame_id, None)
        if begun is not None:
            (self._tails if tail else self._local).append(now - begun)

    def finished(self, frame_id: int, latency: float, max_age: float, *, hedge: bool) -> None:
        """A frame has its result, from its hedge or from its plan."""
        if hedge:
            self.won += 1
            if self._hedged.get(frame_id, (0.0, False))[1]:  # the plan had its time
                self._missed = True
                self._remote.append(max_age)
            return
        self._remote.append(latency)
        self._missed = latency > max_age

    def expired(self, max_age: float) -> None:
        """A frame has no result in time."""
        self._missed = True
        self._remote.append(max_age)

    def _may_take(self, seconds: float, now: float) -> bool:
        if not math.isnan(self._credited_at):
            self._credit = min(_BURST_SECONDS, self._credit + self.share * (now - self._credited_at))
        self._credited_at = now
        return self._credit >= seconds

    def _forget(self, now: float) -> None:
        """Do not wait for ever for a hedge whose worker has died."""
        patience = max(_FORGET_SECONDS, *(4 * seconds for seconds in (*self._local, *self._tails)), 0.0)
        for frame_id in [key for key, begun in self._under_way.items() if now - begun > patience]:
            del self._under_way[frame_id]
