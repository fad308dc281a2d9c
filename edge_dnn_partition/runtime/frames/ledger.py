# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's books: each accepted frame ends in exactly one result, in order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.runtime.transport.timing import HopTime, StageTime, merged

DELIVERED: Final = 'delivered'
LOST: Final = 'lost'
EXPIRED: Final = 'expired'
_LARGEST_ATTEMPT: Final = 65535
"""What a message can say."""


@dataclass(frozen=True)
class Picture:
    """One camera picture and what its header said.

    ``data`` holds uint8: the bytes of a compressed picture, or pixels ``[height, width, channels]``.
    """

    data: NDArray[np.uint8]
    encoding: str
    header: Any = None


@dataclass
class Frame:
    """An accepted picture on its way; times in seconds of the source's steady clock."""

    frame_id: int
    picture: Picture
    accepted_at: float
    plan_version: int
    attempt: int = 0
    first_attempt: int = 0
    """That of this run: attempts of earlier ones have smaller numbers."""
    sent_at: float = 0.0
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    finished_at: float = float('nan')
    status: str = ''
    call: Any = None
    """Who asked for it (`FrameLedger.ask`); None: it came from the camera."""

    @property
    def latency_seconds(self) -> float:
        """From acceptance to the whole result."""
        return self.finished_at - self.accepted_at


@dataclass
class Counts:
    """What happened to the pictures; accepted = delivered + expired + lost + in flight."""

    offered: int = 0
    dropped: int = 0
    accepted: int = 0
    delivered: int = 0
    expired: int = 0
    lost: int = 0
    duplicated: int = 0
    repeated: int = 0
    late: int = 0
    """Results of frames that had expired before, or of a hedged frame's second try."""


@dataclass
class FrameLedger:
    """Numbers frames, bounds how many are under way, drops the oldest picture that waits, orders results.

    Pictures that somebody asks for wait apart from the camera's, and none of them drops another.

    Time is passed in; not thread safe.

    :param waiting: how many pictures may wait to be accepted; a newer one pushes the oldest out.
    :param attempts: after so many sendings a frame is given up and counted as lost.
    """

    waiting: int = 1
    attempts: int = 20
    first_id: int = 1
    remember: int = 1000
    counts: Counts = field(default_factory=Counts)
    _offered: deque[Picture] = field(default_factory=deque)
    _asked: deque[tuple[Picture, Any]] = field(default_factory=deque)
    _asked_next: bool = True
    """Whose turn it is when both wait."""
    _frames: OrderedDict[int, Frame] = field(default_factory=OrderedDict)
    _next_id: int = 0
    _expired: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """The last frames that expired, so that their results are not taken for repetitions."""
    _hedged: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """The last frames of which two results are to be expected."""

    def __post_init__(self) -> None:
        """Begin to count."""
        self._next_id = self.first_id

    def number_above(self, frame_id: int) -> None:
        """Give the frames to come numbers above one that was given out before."""
        self._next_id = max(self._next_id, frame_id + 1)

    def offer(self, picture: Picture) -> None:
        """Take a picture from the camera; the oldest that waits makes room and is counted as dropped."""
        self.counts.offered += 1
        self._offered.append(picture)
        while len(self._offered) > self.waiting:
            self._offered.popleft()
            self.counts.dropped += 1

    def ask(self, picture: Picture, call: Any) -> None:
        """Take a picture whose result somebody waits for; its frame will carry ``call``."""
        self.counts.offered += 1
        self._asked.append((picture, call))

    def withdraw(self, call: Any) -> bool:
        """Let a picture that was asked for wait no longer; it is counted as dropped. False if it was accepted."""
        for place, (_, waits) in enumerate(self._asked):
            if waits is call:
                del self._asked[place]
                self.counts.dropped += 1
                return True
        return False

    @property
    def in_flight(self) -> int:
        """Frames accepted and not finished."""
        return sum(1 for frame in self._frames.values() if not frame.status)

    @property
    def unfinished(self) -> tuple[Frame, ...]:
        """The frames that have no result yet, oldest first."""
        return tuple(frame for frame in self._frames.values() if not frame.status)

    def accept(self, now: float, plan_version: int, max_in_flight: int) -> Frame | None:
        """Accept the oldest waiting picture under a plan, if one waits and there is room.

        The camera's pictures and those that were asked for take turns.
        """
        if not (self._offered or self._asked) or self.in_flight >= max_in_flight:
            return None
        picture, call = self._next_picture()
        frame = Frame(self._next_id, picture, now, plan_version, sent_at=now, call=call)
        self._next_id += 1
        self._frames[frame.frame_id] = frame
        self.counts.accepted += 1
        return frame

    def _next_picture(self) -> tuple[Picture, Any]:
        asked = bool(self._asked) and (self._asked_next or not self._offered)
        self._asked_next = not asked
        return self._asked.popleft() if asked else (self._offered.popleft(), None)

    def repeat(self, frame_id: int, now: float, plan_version: int) -> Frame | None:
        """Prepare a frame to be sent again under a plan; None if it is finished, or given up now."""
        frame = self._frames.get(frame_id)
        if frame is None or frame.status:
            return None
        if frame.attempt + 1 - frame.first_attempt >= self.attempts:
            self.lose(frame_id, now)
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
        frame_id: int,
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
        frame = self._frames.get(frame_id)
        if frame is None or frame.status:
            late = frame_id in self._expired or self._hedged.pop(frame_id, 0) is None
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
        frame.status = DELIVERED
        frame.finished_at = now
        self.counts.delivered += 1
        return frame

    def release(self) -> list[Frame]:
        """Return the finished frames that are next in order, and forget them."""
        frames = []
        while self._frames:
            frame = next(iter(self._frames.values()))
            if not frame.status:
                break
            frames.append(self._frames.pop(frame.frame_id))
        return frames

    def expire(self, now: float, max_age: float) -> list[Frame]:
        """End frames under way that are ``max_age`` seconds old: their results would come too late. Return them."""
        old = [frame for frame in self.unfinished if now - frame.accepted_at >= max_age]
        for frame in old:
            frame.status = EXPIRED
            frame.finished_at = now
            self.counts.expired += 1
            self._remember(self._expired, frame.frame_id)
        return old

    def hedged(self, frame_id: int) -> None:
        """Note that a frame was sent on a second way at the same time: one of two results is not a repetition."""
        self._remember(self._hedged, frame_id)

    def _remember(self, frames: OrderedDict[int, None], frame_id: int) -> None:
        frames[frame_id] = None
        while len(frames) > self.remember:
            frames.popitem(last=False)

    def restore(self, frame_id: int, picture: Picture, now: float, runs: int = 1) -> None:
        """Take a frame of an earlier run up again, to be sent as if it had not been; before the first is accepted.

        Its sendings count on from any that earlier runs can have made, so that nobody takes them for one of those.

        :param runs: in how many earlier runs it was under way.
        :raises ValueError: if its number is not below those to come, or not above those restored before.
        """
        last = next(reversed(self._frames), 0)
        if not last < frame_id < self._next_id:
            raise ValueError(f'frame {frame_id} cannot be restored')
        first = min(runs * self.attempts, _LARGEST_ATTEMPT - self.attempts)
        self._frames[frame_id] = Frame(frame_id, picture, now, 0, first, first)
        self.counts.offered += 1
        self.counts.accepted += 1

    def lose(self, frame_id: int, now: float) -> bool:
        """Count a frame as lost; False if it has a result (that of a frame of an earlier run may have come meanwhile)."""
        frame = self._frames.get(frame_id)
        if frame is None or frame.status:
            return False
        frame.status = LOST
        frame.finished_at = now
        self.counts.lost += 1
        return True

    def give_up(self, now: float) -> None:
        """Count every frame that is under way as lost."""
        for frame in self.unfinished:
            self.lose(frame.frame_id, now)
