# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of frames without a result: lost and late ones are sent again, those that cannot be processed end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge_dnn_partition.planning.plans.plan import Plan

from .failure import Failure, FailureKind
from .ledger import Frame, FrameLedger
from .source_plans import Overdue, Patience, SourcePlans


class Sender(Protocol):
    """Who has sent frames, and may still be at it."""

    def forget_frame(self, frame_id: int, *, late: bool = False) -> None:
        """Send nothing more of a frame."""

    def forget_device(self, device: str) -> None:
        """Send nothing more to a device."""

    def seconds_left(self, frame_id: int) -> float:
        """Return how long what is left here of a frame will be on its way; 0 if nothing is, or that is not known."""


class Repetition:
    """Time is passed in; not thread safe.

    :param send: sends a frame out under a plan.
    :param say: takes a line for each frame that cannot be processed.
    """

    def __init__(
        self, plans: SourcePlans, ledger: FrameLedger, sender: Sender, send: Callable[[Frame, Plan], None],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._plans, self._ledger, self._sender, self._send, self._say = plans, ledger, sender, send, say

    def failed(self, failure: Failure, now: float) -> None:
        """Take in that a worker cannot process a frame; the failure of an earlier sending, or of a hedge, says nothing."""
        frame = self._ledger.under_way(failure.frame_id)
        if frame is None or (frame.attempt, frame.plan_version) != (failure.attempt, failure.plan_version):
            return
        match failure.kind:
            case FailureKind.NOT_READY:
                if self._plans.refused(failure, now):
                    self._sender.forget_device(failure.device)
            case FailureKind.DEVICE:
                self._end(frame, self._plans.failed(failure, now), now)
            case FailureKind.DATA:
                self._end(frame, str(failure), now)

    def again(self, frame: Frame, now: float, patience: Patience, *, heard: bool = True) -> bool:
        """End a frame that has failed, or send it again, if that is due; return whether it is.

        :param heard: somebody would hear the result of a frame of an earlier run.
        """
        if self._end(frame, self._plans.verdict(frame, now, patience), now):
            return True
        if (plan := self._plans.elsewhere(frame)) is not None:
            return self._repeat(frame, plan, now)
        plan = self._plans.active
        overtaken = self._plans.overtaken(frame, now, patience.overtake, self._sender.seconds_left)
        overdue = self._plans.overdue(frame, now, patience)
        if plan is None or not self._plans.prepared(plan) or not (overtaken or overdue) or not self._has_turn(frame):
            return False
        if not heard and self._plans.plan_of(frame) is None:
            return False
        return self._repeat(frame, plan, now, overtaken=overtaken, timeout=not overtaken and overdue is Overdue.TIMEOUT)

    def _has_turn(self, frame: Frame) -> bool:
        """True unless an earlier frame may be what kills the workers: then it alone is sent, to know it."""
        if not self._plans.suspect(frame.frame_id):
            return True
        return frame is next(other for other in self._ledger.unfinished if self._plans.suspect(other.frame_id))

    def _repeat(self, frame: Frame, plan: Plan, now: float, *, overtaken: bool = False, timeout: bool = False) -> bool:
        self._sender.forget_frame(frame.frame_id, late=overtaken)
        again = self._ledger.repeat(frame.frame_id, now, plan.version, timeout=timeout)
        if again is not None:
            if overtaken:
                self._ledger.hedged(frame.frame_id)  # two results are to be expected
            self._send(again, plan)
        return True

    def _end(self, frame: Frame, why: str, now: float) -> bool:
        """End a frame if there is a reason to."""
        if why:
            self._say(f'frame {frame.frame_id} cannot be processed: {why}')
            self._sender.forget_frame(frame.frame_id)
            self._ledger.fail(frame.frame_id, now, why)
        return bool(why)
