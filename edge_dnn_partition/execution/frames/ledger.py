# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's ledger: each accepted frame ends in exactly one result, in order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.typing import NDArray

from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.transport.timing import HopTime, StageTime, merged

DELIVERED: Final = 'delivered'
LOST: Final = 'lost'
EXPIRED: Final = 'expired'
FAILED: Final = 'failed'
_LARGEST_ATTEMPT: Final = 65535
"""The largest that a message can carry."""
_SENDINGS: Final = 1000
"""A frame is sent so often in one run at most, for whatever reason: the next run's attempts count on from there."""


@dataclass
class Frame:
    """A frame under way; times in seconds of the source's steady clock."""

    frame_number: int
    inputs: FrameInputs
    accepted_at: float
    plan_version: int
    attempt: int = 0
    first_attempt: int = 0
    """That of this run: attempts of earlier ones have smaller numbers."""
    sent_at: float = 0.0
    timeouts: int = 0
    """How many of its attempts got neither a result nor a failure in time."""
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    finished_at: float = float('nan')
    status: str = ''
    reason: str = ''
    """Why it failed or was given up."""
    call: Any = None
    """Who asked for it (`FrameLedger.ask`); None: it came from the camera."""

    @property
    def latency_seconds(self) -> float:
        """From acceptance to the whole result."""
        return self.finished_at - self.accepted_at


@dataclass
class Counts:
    """What happened to the inputs that were offered; accepted = delivered + expired + lost + failed + in flight."""

    offered: int = 0
    dropped: int = 0
    accepted: int = 0
    delivered: int = 0
    expired: int = 0
    lost: int = 0
    failed: int = 0
    duplicated: int = 0
    repeated: int = 0
    late: int = 0
    """Results of frames that had ended without one, or of a hedged frame's second try."""


@dataclass
class FrameLedger:
    """Numbers frames, bounds how many are under way, drops the oldest inputs that wait, orders results.

    Inputs that somebody asks for wait apart from the camera's, and none of them drops another.

    Time is passed in; not thread safe.

    :param waiting: how many of the camera's inputs may wait to be accepted; newer ones push the oldest out.
    :param attempts: after so many attempts without a result or a failure a frame is given up and counted as lost.
    :param hold_bytes: of results that wait for the frame before them; while there is more no frame is accepted.
    """

    waiting: int = 1
    attempts: int = 5
    hold_bytes: int = 64 << 20
    first_id: int = 1
    remember: int = 1000
    counts: Counts = field(default_factory=Counts)
    _offered: deque[FrameInputs] = field(default_factory=deque)
    _asked: deque[tuple[FrameInputs, Any]] = field(default_factory=deque)
    _asked_next: bool = True
    """Whether inputs that were asked for are next when both wait."""
    _frames: OrderedDict[int, Frame] = field(default_factory=OrderedDict)
    _next_id: int = 0
    _without_result: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """The last frames that ended without a result, so that a late one is not taken for a repetition."""
    _held_bytes: int = 0
    last_failure: str = ''
    """Why the last frame failed."""
    _hedged: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """The last frames of which two results are expected."""

    def __post_init__(self) -> None:
        """Begin to count."""
        self._next_id = self.first_id

    @property
    def next_id(self) -> int:
        """The number that the next frame gets."""
        return self._next_id

    def number_above(self, frame_number: int) -> None:
        """Give the frames to come numbers above one that was given out before."""
        self._next_id = max(self._next_id, frame_number + 1)

    def offer(self, inputs: FrameInputs) -> None:
        """Take inputs from the camera; the oldest that wait make room and are counted as dropped."""
        self.counts.offered += 1
        self._offered.append(inputs)
        while len(self._offered) > self.waiting:
            self._offered.popleft()
            self.counts.dropped += 1

    def ask(self, inputs: FrameInputs, call: Any) -> None:
        """Take inputs whose result somebody waits for; its frame will carry ``call``."""
        self.counts.offered += 1
        self._asked.append((inputs, call))

    def withdraw(self, call: Any) -> bool:
        """Let inputs that were asked for wait no longer; they are counted as dropped. False if they were accepted."""
        for place, (_, waits) in enumerate(self._asked):
            if waits is call:
                del self._asked[place]
                self.counts.dropped += 1
                return True
        return False

    @property
    def idle(self) -> bool:
        """Whether no inputs wait, and every frame has ended and its result has been taken."""
        return not (self._offered or self._asked or self._frames)

    @property
    def in_flight(self) -> int:
        """Frames accepted and not finished."""
        return sum(1 for frame in self._frames.values() if not frame.status)

    @property
    def waits(self) -> bool:
        """Whether inputs wait to be accepted."""
        return bool(self._offered or self._asked)

    @property
    def unfinished(self) -> tuple[Frame, ...]:
        """The frames that have no result yet, oldest first."""
        return tuple(frame for frame in self._frames.values() if not frame.status)

    def accept(self, now: float, plan_version: int, max_in_flight: int) -> Frame | None:
        """Accept the oldest waiting inputs under a plan, if any wait and there is room.

        The camera's inputs and those that were asked for take turns.
        """
        if not self.waits or self.in_flight >= max_in_flight or self._held_bytes > self.hold_bytes:
            return None
        inputs, call = self._next_inputs()
        frame = Frame(self._next_id, inputs, now, plan_version, sent_at=now, call=call)
        self._next_id += 1
        self._frames[frame.frame_number] = frame
        self.counts.accepted += 1
        return frame

    def _next_inputs(self) -> tuple[FrameInputs, Any]:
        asked = bool(self._asked) and (self._asked_next or not self._offered)
        self._asked_next = not asked
        return self._asked.popleft() if asked else (self._offered.popleft(), None)

    def under_way(self, frame_number: int) -> Frame | None:
        """Return a frame that has not ended."""
        frame = self._frames.get(frame_number)
        return None if frame is None or frame.status else frame

    def repeat(self, frame_number: int, now: float, plan_version: int, *, timeout: bool = True) -> Frame | None:
        """Prepare a frame to be sent again under a plan; None if it is finished, or given up now.

        :param timeout: its last attempt timed out; else its fate is known, and does not count against the frame.
        """
        frame = self.under_way(frame_number)
        if frame is None:
            return None
        frame.timeouts += timeout
        if frame.timeouts >= self.attempts or frame.attempt + 1 - frame.first_attempt >= _SENDINGS:
            self.lose(frame_number, now, f'sent {frame.attempt + 1 - frame.first_attempt} times without a result or a reason')
            return None
        frame.attempt += 1
        frame.plan_version = plan_version
        frame.sent_at = now
        frame.outputs.clear()
        frame.stages = frame.hops = ()
        self.counts.repeated += 1
        return frame

    def result(
        self,
        frame_number: int,
        attempt: int,
        plan_version: int,
        outputs: Mapping[str, NDArray[Any]],
        stages: tuple[StageTime, ...],
        hops: tuple[HopTime, ...],
        wanted: int,
        now: float,
    ) -> Frame | None:
        """Take outputs in (all of them or some); return the frame if it is whole now.

        :param wanted: how many outputs the model has.
        """
        frame = self._frames.get(frame_number)
        if frame is None or frame.status:
            late = frame_number in self._without_result or self._hedged.pop(frame_number, 0) is None
            self.counts.late += late
            self.counts.duplicated += not late
            return None
        if (attempt, plan_version) != (frame.attempt, frame.plan_version) and len(outputs) < wanted:
            return None  # a part of another sending; parts of two sendings are not mixed
        if len(outputs) >= wanted:  # whole by itself, maybe of an older sending
            frame.outputs, frame.stages, frame.hops = {}, (), ()
            frame.attempt, frame.plan_version = attempt, plan_version
        for name, array in outputs.items():
            frame.outputs.setdefault(name, array)
        frame.stages, frame.hops = merged(frame.stages, stages), merged(frame.hops, hops)
        if len(frame.outputs) < wanted:
            return None
        self._end(frame, DELIVERED, now)
        self.counts.delivered += 1
        self._held_bytes += _bytes_of(frame)
        return frame

    def release(self) -> list[Frame]:
        """Return the finished frames that are next in order, and forget them."""
        frames = []
        while self._frames:
            frame = next(iter(self._frames.values()))
            if not frame.status:
                break
            frames.append(self._frames.pop(frame.frame_number))
            if frame.status == DELIVERED:
                self._held_bytes -= _bytes_of(frame)
        return frames

    def expire(self, now: float, max_age: float) -> list[Frame]:
        """End frames under way that are ``max_age`` seconds old: their results would come too late. Return them."""
        old = [frame for frame in self.unfinished if now - frame.accepted_at >= max_age]
        for frame in old:
            self._end(frame, EXPIRED, now)
            self.counts.expired += 1
        return old

    def fail(self, frame_number: int, now: float, reason: str) -> bool:
        """End a frame that cannot be processed; False if it has ended before."""
        frame = self.under_way(frame_number)
        if frame is None:
            return False
        self._end(frame, FAILED, now, reason)
        self.counts.failed += 1
        self.last_failure = reason
        return True

    def _end(self, frame: Frame, status: str, now: float, reason: str = '') -> None:
        frame.status, frame.finished_at, frame.reason = status, now, reason
        if status != DELIVERED:
            self._remember(self._without_result, frame.frame_number)

    def hedged(self, frame_number: int) -> None:
        """Note that a frame was sent on a second way at the same time: one of two results is not a repetition."""
        self._remember(self._hedged, frame_number)

    def _remember(self, frames: OrderedDict[int, None], frame_number: int) -> None:
        frames[frame_number] = None
        while len(frames) > self.remember:
            frames.popitem(last=False)

    def restore(self, frame_number: int, inputs: FrameInputs, now: float, runs: int = 1) -> None:
        """Take a frame of an earlier run up again, to be sent as if it had not been; before the first is accepted.

        Its sendings count on from any that earlier runs can have made, so that nobody takes them for one of those.

        :param runs: in how many earlier runs it was under way.
        :raises ValueError: if its number is not below those to come, or not above those restored before.
        """
        last = next(reversed(self._frames), 0)
        if not last < frame_number < self._next_id:
            raise ValueError(f'frame {frame_number} cannot be restored')
        first = min(runs * _SENDINGS, _LARGEST_ATTEMPT - _SENDINGS)
        self._frames[frame_number] = Frame(frame_number, inputs, now, 0, first, first)
        self.counts.offered += 1
        self.counts.accepted += 1

    def lose(self, frame_number: int, now: float, reason: str = '') -> bool:
        """Count a frame as lost; False if it has ended (the result of a frame of an earlier run may have come meanwhile)."""
        frame = self.under_way(frame_number)
        if frame is None:
            return False
        self._end(frame, LOST, now, reason)
        self.counts.lost += 1
        return True

    def give_up(self, now: float) -> None:
        """Count every frame that is under way as lost."""
        for frame in self.unfinished:
            self.lose(frame.frame_number, now, 'the frame source was stopped')


def _bytes_of(frame: Frame) -> int:
    """Return what a finished frame holds until it is its turn."""
    return frame.inputs.nbytes + sum(array.nbytes for array in frame.outputs.values())
