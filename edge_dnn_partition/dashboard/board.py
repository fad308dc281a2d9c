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
from dataclasses import dataclass
from typing import Any, Final, Literal

from edge_dnn_partition.planning.objectives import OBJECTIVES
from edge_dnn_partition.planning.plans.plan import Plan

from .totals import Totals

Document = dict[str, Any]
Listener = Callable[[str, Any], None]

FRAMES: Final = 3000
"""How many frames a page that comes late still gets: five minutes at 10 Hz."""

STATES: Final = 600
PLANS: Final = 200
LINES: Final = 200
MISSED: Final = 300
STALE_SECONDS: Final = 10.0
"""A fleet whose scheduler says nothing for so long counts as gone."""

_IMAGE_SECONDS: Final = 5.0
"""For so long after a page has asked for an image the next ones are wanted, too."""

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


@dataclass(frozen=True)
class Latest:
    """The last documents of a board, and its totals; None, or empty: there was none."""

    state: Document | None
    plan: Document | None
    counters: Mapping[str, Any]
    health: Document | None
    totals: Totals


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
        self._missed: deque[Document] = deque(maxlen=MISSED)
        self._health: deque[Document] = deque(maxlen=1)
        self._said = self._logged = ''
        self._known: dict[str, bool] = {}
        """Of the devices in the last state: whether they answer."""
        self._image: tuple[int, bytes] = (0, b'')
        self._image_wanted_at = -math.inf
        self.title, self.layers = title, tuple(layers)
        self.totals = Totals()
        """What `metrics` gives out and no page shows; used under this board's lock through `read`."""

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
            self.totals.plans += 1
        self._emit('plan', document, self._plans)
        self.say(now, plan.reason, plan.version)

    def frame(self, now: float, version: int, parts: FrameParts, joules: float, *, measured: bool) -> None:
        """Take in a frame that was delivered.

        :param joules: of all its stages; NaN: unknown.
        :param measured: the joules rest on meters alone, else on a model in part.
        """
        row = [now, parts.latency, parts.compute, parts.hops, parts.waiting, version, joules, measured]
        with self._lock:
            self.totals.frame(
                parts.latency, {'compute': parts.compute, 'hops': parts.hops, 'waiting': parts.waiting}, joules,
                measured=measured,
            )  # fmt: skip
        self._emit('frame', row, self._frames)

    def miss(self, now: float, status: str, reason: str) -> None:
        """Take in a frame that ended without its result: ``lost``, ``expired`` or ``failed``, and why."""
        self._emit('missed', {'at': now, 'status': status, 'reason': reason}, self._missed)

    def hop(self, sender: str, receiver: str, size: int) -> None:
        """Count the bytes of tensors that went from one device to another."""
        with self._lock:
            self.totals.hop(sender, receiver, size)

    def energy(self, device: str, kind: str, incarnation: int, joules: float) -> None:
        """Record a device's running total; ``kind`` is ``measured`` or ``modelled``, ``incarnation`` its worker's."""
        with self._lock:
            self.totals.energy(device, kind, incarnation, joules)

    def health(self, now: float, statuses: Iterable[Mapping[str, Any]]) -> None:
        """Take in diagnostics: each with ``subject`` (a device, or ``pipeline``), ``level`` (REP 107), ``message``, ``refused``."""
        self._emit('health', {'at': now, 'statuses': [dict(one) for one in statuses]}, self._health)

    def image(self, jpeg: bytes) -> None:
        """Take in the last annotated image."""
        with self._lock:
            self._image = (self._image[0] + 1, jpeg)

    def state(self, now: float, devices: Iterable[Mapping[str, Any]], links: Iterable[Mapping[str, Any]]) -> None:
        """Take in the scheduler's view: fields as in the messages DeviceState and LinkState."""
        document: Document = {'at': now, 'devices': [dict(d) for d in devices], 'links': [dict(link) for link in links]}
        answering = {device['name']: bool(device.get('alive', True)) for device in document['devices']}
        with self._lock:
            before, self._known = self._known, answering
            first = not self._states
        self._emit('state', document, self._states)
        for text in () if first else _comings_and_goings(before, answering):
            self._emit('log', {'at': now, 'version': None, 'text': text, 'kind': 'fleet'}, self._log)

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
        kind = 'kept' if version is None else 'plan'
        self._emit('log', {'at': now, 'version': version, 'text': text, 'kind': kind}, self._log)

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
            'decision': self._decision[-1] if self._decision else None, 'missed': list(self._missed),
            'health': self._health[-1] if self._health else None,
        }  # fmt: skip
        return plain(document)  # type: ignore[no-any-return]

    def summary(self, now: float) -> Document:
        """Return the little that a list of several fleets shows of this one."""
        with self._lock:
            state = self._states[-1] if self._states else None
            recent = sorted(row[1] for row in self._frames if row[0] > now - 5.0)
            level = max((one['level'] for one in self._health[-1]['statuses']), default=0) if self._health else 0
        devices = state['devices'] if state else []
        found = {
            'name': self.title, 'live': state is not None and now - state['at'] <= STALE_SECONDS,
            'devices': len(devices), 'answering': sum(bool(device.get('alive')) for device in devices),
            'median_seconds': recent[len(recent) // 2] if recent else None, 'frames_per_second': len(recent) / 5.0, 'level': level,
        }  # fmt: skip
        return plain(found)  # type: ignore[no-any-return]

    def read(self, take: Callable[[Latest], Any]) -> Any:
        """Return what ``take`` makes of the latest that is known, while nothing changes."""
        with self._lock:
            return take(Latest(
                state=self._states[-1] if self._states else None, plan=self._plans[-1] if self._plans else None,
                counters=self._counters[-1] if self._counters else {}, health=self._health[-1] if self._health else None,
                totals=self.totals,
            ))  # fmt: skip

    # The image ------------------------------------------------------------------------------------------------

    def want_image(self, now: float) -> tuple[int, bytes]:
        """Return the number of the last image and its JPEG (0 and nothing: there is none); the next ones are wanted for a while."""
        with self._lock:
            self._image_wanted_at = now
            return self._image

    def wants_image(self, now: float) -> bool:
        """Return whether a page looks at the image; when none does any more, the last one is forgotten."""
        with self._lock:
            wanted = now - self._image_wanted_at <= _IMAGE_SECONDS
            if not wanted:
                self._image = (self._image[0], b'')
            return wanted

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


def _comings_and_goings(before: Mapping[str, bool], after: Mapping[str, bool]) -> Iterable[str]:
    for name in before.keys() | after.keys():
        if name not in before:
            yield f'{name} has joined the fleet'
        elif name not in after:
            yield f'{name} has left the fleet'
        elif before[name] != after[name]:
            yield f'{name} answers again' if after[name] else f'{name} does not answer'


def plain(value: Any) -> Any:
    """Return a document with None for every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
