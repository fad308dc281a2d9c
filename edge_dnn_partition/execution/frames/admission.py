# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How many frames may be under way, and when the frame source may accept the next one. Time is passed in."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from edge_dnn_partition.planning.cost_model.evaluate import Costs
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.timing import HopTime, StageTime

_HURRY: Final = 0.9
"""Frames come a little faster than the slowest part of the plan takes them, so that it never waits for one."""
_FRAMES: Final = 5
"""So many results are looked back at."""


def frames_at_a_time(stages: int, costs: Costs, *, pipelined: bool) -> int:
    """Return how many frames a plan can use at a time by what it is predicted to cost.

    Without a queue, but for the objective throughput: then one more, and one more than the plan has stages at least, so
    that each has a frame to work on however wrong the prediction is.
    """
    room = costs.latency_seconds / costs.bottleneck_seconds if costs.bottleneck_seconds > 0 else 1.0
    if pipelined:
        return 1 + max(math.ceil(room), stages)
    return max(1, math.floor(room + 1e-9))


def slowest_part(stages: Iterable[StageTime], hops: Iterable[HopTime]) -> float:
    """Return the seconds of the part of the fleet that a frame kept busy the longest: a device's stages, or a link."""
    parts: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for stage in stages:
        parts[stage.device,] += stage.decode_seconds + stage.run_seconds
    for hop in hops:
        parts[hop.sender,] += hop.encode_seconds
        parts[hop.sender, hop.receiver] += hop.spread_seconds
    return max(parts.values(), default=math.inf)


def device_seconds(report: Any, plan: Plan) -> dict[str, float]:
    """Return for how many seconds each device of a plan was at work on a frame, by the stages' own clocks.

    Preprocessing counts, decoding of tensors does not: that is a part of their transfer.

    :param report: a FrameReport of a frame that ran under the plan.
    :return: empty if a stage of the plan was not timed.
    """
    found: dict[str, float] = {}
    timed = {timing.stage: timing for timing in report.stages}
    for index, stage in enumerate(plan.stages):
        timing = timed.get(index)
        if timing is None or timing.device != stage.device:
            return {}
        seconds = timing.run_seconds + (timing.decode_seconds if stage.preprocess else 0.0)
        found[stage.device] = found.get(stage.device, 0.0) + seconds
    return found


def apart(plan: Plan, other: Plan) -> bool:
    """Return whether frames of two plans of one source share neither a device nor a way: one runs wholly on the source."""
    return any({a.source} == set(a.devices) and a.source not in b.devices for a, b in ((plan, other), (other, plan)))


@dataclass
class Admission:
    """Spaces frames by what the plan is predicted to take for each, or by what it is seen to take where that is less.

    A prediction that is too long, say of a link that nothing has crossed yet, would else hold back the very frames that
    show that it is. What is under way is bounded elsewhere (`Plan.max_in_flight`).
    """

    _accepted_at: float = -math.inf
    _least_seconds: float = 0.0
    """What the plan of the frame accepted last is predicted to take for each; 0: the next one may come at once."""
    _version: int = -1
    _seen: deque[float] = field(default_factory=lambda: deque(maxlen=_FRAMES))

    def may_accept(self, now: float) -> bool:
        """Return whether it is time for another frame."""
        return now >= self._accepted_at + _HURRY * min([self._least_seconds, *([median(self._seen)] if self._seen else [])])

    def renew(self) -> None:
        """Let the next frame come at once: there is another plan, of which nothing has been seen."""
        self._accepted_at = -math.inf
        self._seen.clear()

    def accepted(self, plan: Plan, room: int, now: float) -> None:
        """Take in that a frame was accepted.

        :param room: how many frames may be under way; one alone needs no spacing.
        """
        if plan.version != self._version:
            self.renew()
            self._version = plan.version
        self._accepted_at = now
        self._least_seconds = max(plan.bottleneck_seconds, 0.0) if room > 1 else 0.0

    def delivered(self, version: int, stages: Iterable[StageTime], hops: Iterable[HopTime]) -> None:
        """Take in how a frame of a plan went."""
        if version == self._version:
            self._seen.append(slowest_part(stages, hops))
