# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a dashboard shows of one fleet: its present state and a bounded history, as documents for a page.

Times are passed in, in seconds of one clock (`board_time` for a running fleet, the run's own for a report).
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from edge_dnn_partition.planning.objectives import OBJECTIVES
from edge_dnn_partition.planning.plans.plan import Plan

Document = dict[str, Any]
Listener = Callable[[str, Any], None]

FRAMES: Final = 3000
"""How many frames a page that comes late still gets: five minutes at 10 Hz."""

STATES: Final = 600
PLANS: Final = 200
LINES: Final = 200

_WALL_CLOCK_AHEAD: Final = time.time() - time.monotonic()


def board_time() -> float:
    """Return seconds since 1970 by the wall clock as it was when this process began: they go on evenly where it is stepped."""
    return time.monotonic() + _WALL_CLOCK_AHEAD


@dataclass(frozen=True)
class FrameParts:
    """Where a frame's time went, in seconds.

    ``compute``: its stages, decoding included; ``waiting``: its stages' queues; ``hops``: the rest, which is what
    sending, the way and putting together took. Stages that ran side by side leave no rest below 0.
    """

    latency: float
    compute: float
    waiting: float

    @property
    def hops(self) -> float:
        """What is neither computing nor waiting."""
        return max(0.0, self.latency - self.compute - self.waiting)


class Board:
    """One fleet's image. Safe to use from several threads.

    :param title: the fleet's name, or what a report is of.
    :param mode: ``live``, ``replay`` (a run that has ended) or ``benchmark`` (figures without a course).
    :param layers: the model's layers by name; empty if they are not known.
    :param emulated: the fleet is played on one machine.
    :param controls: the page may change the objective and pin a plan.
    """

    def __init__(
        self,
        title: str,
        *,
        mode: Literal['live', 'replay', 'benchmark'] = 'live',
        layers: Sequence[str] = (),
        emulated: bool = False,
        controls: bool = False,
    ) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._fixed: Document = {
            'title': title, 'mode': mode, 'layers': list(layers), 'emulated': emulated, 'controls': controls,
            'objectives': list(OBJECTIVES),
        }  # fmt: skip
        self._plans: deque[Document] = deque(maxlen=PLANS)
        self._frames: deque[list[Any]] = deque(maxlen=FRAMES)
        self._states: deque[Document] = deque(maxlen=STATES)
        self._log: deque[Document] = deque(maxlen=LINES)
        self._counters: deque[Document] = deque(maxlen=1)
        self._decision: deque[Document] = deque(maxlen=1)
        self._said = self._logged = ''

    # Taking in ------------------------------------------------------------------------------------------------

    def plan(self, now: float, plan: Plan) -> None:
        """Take in a plan that has come into force; one that is in force already is passed over."""
        document = {
            'at': now, 'version': plan.version, 'label': plan.label(), 'objective': plan.objective,
            'source': plan.source, 'sink': plan.sink,
            'stages': [
                {'device': stage.device, 'preprocess': stage.preprocess, 'layers': [list(pair) for pair in stage.layers]}
                for stage in plan.stages
            ],
            'transfers': [
                {'tensor': t.tensor, 'from': t.from_device, 'to': t.to_device, 'encoding': t.encoding}
                for t in plan.transfers
            ],
            'predicted_seconds': plan.latency_seconds, 'deviation_seconds': plan.latency_deviation,
            'predicted_joules': plan.energy_joules, 'reason': plan.reason,
        }  # fmt: skip
        with self._lock:
            if self._plans and self._plans[-1]['version'] == plan.version:
                return
        self._emit('plan', document, self._plans)
        self.say(now, plan.reason, plan.version)

    def frame(self, now: float, version: int, parts: FrameParts, joules: float, *, measured: bool) -> None:
        """Take in a frame that was delivered.

        :param joules: of all its stages; NaN: unknown.
        :param measured: the joules rest on meters alone, else on a model in part.
        """
        row = [now, parts.latency, parts.compute, parts.hops, parts.waiting, version, joules, measured]
        self._emit('frame', row, self._frames)

    def state(self, now: float, devices: Iterable[Mapping[str, Any]], links: Iterable[Mapping[str, Any]]) -> None:
        """Take in the scheduler's view: fields as in the messages DeviceState and LinkState."""
        document = {'at': now, 'devices': [dict(d) for d in devices], 'links': [dict(link) for link in links]}
        self._emit('state', document, self._states)

    def counters(self, counts: Mapping[str, int]) -> None:
        """Record the frame source's counters."""
        self._emit('counters', dict(counts), self._counters)

    def say(self, now: float, text: str, version: int | None = None) -> None:
        """Write a line into the log of decisions.

        The scheduler says twice a second why it keeps its plan (no version): that is a line once it has said so twice on end,
        and if it is another than the last one. Numbers alone do not make it another.
        """
        if not text:
            return
        if version is None:
            wording = re.sub(r'[\d.,]+', '', text)
            with self._lock:
                before, self._said = self._said, wording
                if wording != before or wording == self._logged:
                    return
                self._logged = wording
        self._emit('log', {'at': now, 'version': version, 'text': text}, self._log)

    def explain(self, now: float, decision: Mapping[str, Any]) -> None:
        """Take in why the plan in force is what it is: fields as in the message Decision."""
        self._emit('decision', {'at': now, **decision}, self._decision)

    def add(self, **fixed: Any) -> None:
        """Add what does not change, such as a report's ``phases`` or ``targets``."""
        with self._lock:
            self._fixed.update(fixed)

    # Giving out -----------------------------------------------------------------------------------------------

    def snapshot(self, now: float) -> Document:
        """Return all that is known, for a page that comes."""
        with self._lock:
            return self._snapshot(now)

    def _snapshot(self, now: float) -> Document:
        document = {
            **self._fixed, 'now': now, 'plans': list(self._plans), 'frames': list(self._frames),
            'states': list(self._states), 'log': list(self._log), 'counters': self._counters[-1] if self._counters else {},
            'decision': self._decision[-1] if self._decision else None,
        }  # fmt: skip
        return plain(document)  # type: ignore[no-any-return]

    def listen(self, listener: Listener, now: float) -> Document:
        """Call ``listener(kind, document)`` for all that is new from now on; return what was known before it.

        The listener is called in whatever thread brought the news, and must return at once.
        """
        with self._lock:
            self._listeners.append(listener)
            return self._snapshot(now)

    def forget(self, listener: Listener) -> None:
        """Call a listener no more."""
        with self._lock:
            self._listeners.remove(listener)

    def _emit(self, kind: str, document: Any, history: deque[Any]) -> None:
        """Keep a document and tell those who listened before it: a snapshot holds what its listener is not told."""
        with self._lock:
            history.append(document)
            listeners = list(self._listeners)
        news = plain(document)
        for listener in listeners:
            listener(kind, news)


def plain(value: Any) -> Any:
    """Return a document with None for every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


WINDOW_SECONDS: Final = 3.0
"""Totals come in steps, as stages are settled."""


@dataclass
class MeanPower:
    """One device's totals over the last seconds that were covered; new ones of another incarnation begin anew."""

    kind: str = ''
    _incarnation: int = 0
    _totals: deque[tuple[float, float]] = field(default_factory=deque)

    def record(self, incarnation: int, kind: str, covered_seconds: float, joules: float) -> None:
        """Record a total.

        :param kind: ``measured``, ``modelled``, or empty for neither.
        :param covered_seconds: the time in which ``joules`` were drawn, since the start.
        """
        if incarnation != self._incarnation or kind != self.kind:
            self._incarnation, self.kind = incarnation, kind
            self._totals.clear()
        if not math.isfinite(joules) or (self._totals and covered_seconds <= self._totals[-1][0]):
            return
        self._totals.append((covered_seconds, joules))
        while len(self._totals) > 2 and self._totals[1][0] <= covered_seconds - WINDOW_SECONDS:
            self._totals.popleft()

    @property
    def watts(self) -> float:
        """The mean over the window; NaN until two totals are there."""
        if len(self._totals) < 2:
            return math.nan
        (begin, first), (end, last) = self._totals[0], self._totals[-1]
        return max(0.0, (last - first) / (end - begin))
