# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's side of shadow frames: an image that has its result runs once more, under a plan not in force.

What it costs there tells a policy that learns what its predictions miss. Its outputs are thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.timing import HopTime, StageTime, merged

FIRST_NUMBER: Final = 1 << 63
"""Shadow frames are numbered from here on, far above those that are delivered."""
ASKED_SECONDS: Final = 5.0
"""A request for which there was no room for so long is let go: it was for conditions of then."""
LEAST_SECONDS: Final = 0.5
FACTOR: Final = 4.0
"""A shadow frame may take so many times what was predicted, and `LEAST_SECONDS` at least."""


@dataclass(frozen=True)
class Shadow:
    """A shadow frame under way, or done.

    :param taken_seconds: from its start to its last output; 0 while it is under way.
    """

    number: int
    plan: Plan
    began: float
    deadline: float
    outputs: frozenset[str] = frozenset()
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    taken_seconds: float = 0.0


@dataclass
class ShadowRun:
    """At most one shadow frame at a time; who else waits for it, and how long, is for its user to say. Time is passed in.

    :param outputs: how many the model has.
    """

    outputs: int
    run: int = 0
    """Shadow frames that have come to their end."""
    unanswered: int = 0
    current: Shadow | None = None
    """The one that is under way."""
    _asked: Plan | None = None
    _asked_at: float = 0.0
    _next: int = field(default=FIRST_NUMBER)

    def ask(self, plan: Plan, now: float) -> None:
        """Take a request; a newer one replaces it."""
        self._asked, self._asked_at = plan, now

    @property
    def idle(self) -> bool:
        """Whether none was asked for, and none runs."""
        return self._asked is None and self.current is None

    def forget(self) -> None:
        """Let a request and a frame under way go."""
        self._asked = self.current = None

    def begin(self, now: float) -> Shadow | None:
        """Return the shadow frame that is to be sent now, where no other frame is under way; None if none was asked for."""
        if self._asked is None or self.current is not None:
            return None
        plan, self._asked = self._asked, None
        if now - self._asked_at > ASKED_SECONDS:
            return None
        seconds = max(LEAST_SECONDS, FACTOR * plan.latency_seconds)
        self.current = Shadow(self._next, plan, now, now + seconds)
        self._next += 1
        return self.current

    def failed(self, number: int) -> None:
        """Let a shadow frame go that cannot be processed."""
        if self.current is not None and self.current.number == number:
            self.current = None
            self.unanswered += 1

    def let_go(self, now: float, turn_seconds: float = math.inf) -> bool:
        """Let the shadow frame go if it takes too long; return whether it does.

        :param turn_seconds: after which it is in the way of others.
        """
        current = self.current
        if current is None or now < min(current.deadline, current.began + turn_seconds):
            return False
        self.failed(current.number)
        return True

    def result(
        self, number: int, outputs: Collection[str], stages: tuple[StageTime, ...], hops: tuple[HopTime, ...], now: float
    ) -> Shadow | None:
        """Take outputs in; return the shadow frame if it is whole now. One that was let go, or is repeated, is ignored."""
        current = self.current
        if current is None or current.number != number:
            return None
        current = replace(
            current, outputs=current.outputs | set(outputs),
            stages=merged(current.stages, stages), hops=merged(current.hops, hops),
        )  # fmt: skip
        if len(current.outputs) < self.outputs:
            self.current = current
            return None
        self.current = None
        self.run += 1
        return replace(current, taken_seconds=now - current.began)
