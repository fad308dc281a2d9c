# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's side of a model's state: where it is, the last snapshot of it, and the way back to it (docs/state.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.states import SMALL_BYTES, carried
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.planning.plans.plan import Plan

from .actions import Send
from .failure import Failure, FailureKind
from .kept_states import without_values
from .ledger import Frame
from .shadow_run import FIRST_NUMBER

Array = NDArray[Any]
Homes = Mapping[str, tuple[str, int]]
"""The device that holds each state, and the incarnation of its worker."""

TRUSTED: Final = 2
"""So many sendings of a frame rely on the state that workers keep; the next one brings it."""


def homes_of(plan: Plan, states: Collection[str], incarnation: Callable[[str], int]) -> Homes:
    """Return which worker holds each state under a plan: the one that reads it.

    :param incarnation: of a device's worker, 0: unknown.
    """
    readers = {name: stage.device for stage in plan.stages for name in stage.inputs if name in states}
    return {name: (device, incarnation(device)) for name, device in readers.items()}


@dataclass(frozen=True)
class _Flight:
    """A sending of the frame under way."""

    run: int
    homes: Homes


@dataclass
class _Replay:
    """The frames since the snapshot, one after the other, on their way to a state that is gone or elsewhere.

    :param index: of the one under way.
    """

    plan: Plan
    homes: Homes
    progress_at: float
    run: int = 0
    index: int = 0
    seen: set[str] = field(default_factory=set)

    @property
    def number(self) -> int:
        """Of the frame under way: above those of frames that have a result."""
        return FIRST_NUMBER + self.run


@dataclass
class StateTracker:
    """Says with which state each frame runs. Time is passed in; not thread safe.

    One frame is under way at a time. It changes the state if its result was delivered, and else it does not.

    :param model: with its states.
    :param initial: the state before the first frame, by input.
    :param interval: returns how often a snapshot is taken, in frames.
    """

    model: Model
    initial: Mapping[str, Array]
    interval: Callable[[], int]
    replayed: int = 0
    """Frames that ran again."""
    _base: dict[str, Array] = field(init=False)
    """The last snapshot ..."""
    _since: list[FrameInputs] = field(default_factory=list)
    """... and the inputs of the frames since."""
    _after: tuple[int, Homes] | None = None
    """The run whose state is that of the last frame, and who has it; None: nobody."""
    _next: int = 1
    _frame: Frame | None = None
    _plan: Plan | None = None
    _homes: Homes = field(default_factory=dict)
    _moving: bool = False
    _sendings: int = 0
    _waits: bool = False
    """Whether it waits for a replay."""
    _flights: dict[tuple[int, int], _Flight] = field(default_factory=dict)
    """Of the frame under way, by attempt and plan."""
    _replay: _Replay | None = None

    def __post_init__(self) -> None:
        """Begin with the initial state."""
        self._base = dict(self.initial)
        self._small = sum(array.nbytes for array in self._base.values()) <= SMALL_BYTES

    def number_above(self, run: int) -> None:
        """Give the runs to come numbers above one that an earlier source may have given."""
        self._next = max(self._next, run + 1)

    def begin(self, frame: Frame, plan: Plan, homes: Homes, now: float, patience: float, *, moving: bool) -> Send | None:
        """Return what is to be sent so that a frame runs under a plan; None: it waits until a replay under way is through.

        :param homes: who holds the states under that plan.
        :param patience: a replay that has made no progress for so many seconds is begun anew.
        :param moving: another plan is about to come into force, which may need a snapshot.
        """
        if frame is not self._frame:
            self._frame, self._sendings = frame, 0
            self._flights.clear()
        self._sendings += 1
        self._plan, self._homes, self._moving, self._waits = plan, homes, moving, True
        if self._sendings > TRUSTED:
            self._after = None
        replay = self._replay
        if replay is not None and not frame.inputs.reset_state:
            stuck = now - replay.progress_at > patience
            if self._sendings == 1 and (replay.plan.version, replay.homes) == (plan.version, homes) and not stuck:
                return None
            self._replay = None
        if frame.inputs.reset_state:
            return self._send(frame, self.initial)
        if self._after is not None and self._after[1] == homes:
            return self._send(frame, None)
        if not self._since:
            return self._send(frame, self._base)
        self._replay = _Replay(plan, homes, now)
        return self._again(self._replay, 0)

    def on_replayed(self, number: int, outputs: Collection[str], now: float) -> Send | None:
        """Take in outputs of a frame that ran again; return what follows: the next such frame, or the one that waits.

        :param number: under which it ran.
        """
        replay, frame = self._replay, self._waiting()
        if replay is None or replay.number != number:
            return None
        replay.seen.update(outputs)
        if len(replay.seen) < len(self.model.outputs):
            return None
        self.replayed += 1
        replay.progress_at = now
        if frame is not None:
            frame.sent_at = now  # its time does not run out meanwhile
        run, replay.run = replay.run, 0
        replay.index += 1
        replay.seen.clear()
        if replay.index < len(self._since):
            return self._again(replay, run)
        self._after, self._replay = (run, replay.homes), None
        return None if frame is None else self._send(frame, None)

    def on_result(self, frame: Frame) -> None:
        """Take in the outputs of a frame that was delivered, and leave it those that are results."""
        flight = self._flights.get((frame.attempt, frame.plan_version))
        if flight is None:  # an earlier frame source sent it, with the state that it had
            frame.outputs = self._results_of(frame)
            return
        made = {name: frame.outputs[output] for name, output in self.model.states.items()}
        shapes = {name: self.model.tensors[name].shape for name in made}
        whole = {name: np.array(carried(array, shapes[name])) for name, array in made.items() if array.ndim == 0 or array.size}
        frame.outputs = self._results_of(frame)
        inputs = frame.inputs
        if len(whole) == len(made):
            self._base, self._since = whole, []
        elif inputs.reset_state:
            self._base, self._since = dict(self.initial), [replace(inputs, reset_state=False)]
        else:
            self._since.append(inputs)
        self._after = flight.run, flight.homes
        self._replay = None
        self._flights.clear()

    def _results_of(self, frame: Frame) -> dict[str, Array]:
        return {name: array for name, array in frame.outputs.items() if name not in self.model.states.values()}

    def distrust(self) -> None:
        """A worker does not have what it should: the next frame brings its state."""
        self._after = self._replay = None

    def replay_failed(self, number: int) -> Frame | None:
        """Let a replay go that failed under a number; return the frame that waits for it."""
        if self._replay is None or self._replay.number != number:
            return None
        self._replay = None
        return self._waiting()

    def on_failure(self, failure: Failure) -> Failure | None:
        """Return a frame's failure; that of one that ran again is the waiting frame's. None: it concerns no frame under way."""
        found: Failure | None = failure
        if failure.frame_number >= FIRST_NUMBER:
            frame = self.replay_failed(failure.frame_number)
            kind = FailureKind.DEVICE if failure.kind is FailureKind.DATA else failure.kind  # it has run elsewhere
            found = None if frame is None else replace(
                failure, kind=kind, frame_number=frame.frame_number, plan_version=frame.plan_version, attempt=frame.attempt
            )  # fmt: skip
        if failure.kind is FailureKind.NOT_READY:
            self.distrust()
        return found

    def _waiting(self) -> Frame | None:
        return self._frame if self._waits and self._frame is not None and not self._frame.status else None

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _again(self, replay: _Replay, after: int) -> Send:
        """Return the next frame of a replay; the first one brings the snapshot."""
        replay.run = self._number()
        states = self._signals(replay.plan) if after else self._base
        return Send(_with(self._since[replay.index], states), replay.plan, replay.number, 0, replay.run, after)

    def _send(self, frame: Frame, states: Mapping[str, Array] | None) -> Send:
        """Return the sending of the frame itself.

        :param states: that are sent along; None: the workers have them.
        """
        assert self._plan is not None
        self._waits = False
        run, after = self._number(), 0 if states is not None or self._after is None else self._after[0]
        inputs = _with(frame.inputs, self._signals(self._plan) if states is None else states)
        self._flights[frame.attempt, self._plan.version] = _Flight(run, self._homes)
        due = self._small or self._moving or len(self._since) + 1 >= self.interval()
        return Send(inputs, self._plan, frame.frame_number, frame.attempt, run, after, due)

    def _signals(self, plan: Plan) -> dict[str, Array]:
        """Return what lets stages begin that read nothing but state, which their devices have: that state without its values."""
        alone = [stage.inputs for stage in plan.stages if self.model.states.keys() >= set(stage.inputs)]
        return {name: without_values(self._base[name]) for names in alone for name in names}


def _with(inputs: FrameInputs, states: Mapping[str, Array]) -> FrameInputs:
    return replace(inputs, values={**inputs.values, **states})
