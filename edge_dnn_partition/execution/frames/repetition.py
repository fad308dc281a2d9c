# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of the source must be sent again, under which plan, and which have failed for good."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Final, Protocol

from edge_dnn_partition.planning.objectives import OBJECTIVES
from edge_dnn_partition.planning.plans.plan import Plan

from .failure import Failure, FailureKind
from .ledger import Frame, FrameLedger
from .plan_registry import PlanRegistry, PlanStatus

_FRAMES: Final = 5
MOST_OVERTAKEN: Final = 3
"""A frame is sent again so often because a quicker plan has come into force."""
MOST_DEATHS: Final = 3
"""A frame that was under way when so many workers died is taken for the cause."""
PROPOSAL_SECONDS: Final = 2.0
"""A frame that failed on a device waits so long for the scheduler to propose a plan without it ..."""
PREPARATION_SECONDS: Final = 20.0
"""... and so long, after it failed, for that plan to be in force."""
HOPELESS_SECONDS: Final = 30.0
"""Where that was in vain, later failures of the same device end at once for so long."""


@dataclass(frozen=True)
class Patience:
    """When a frame or a worker is given up, in seconds.

    :param factor: a frame is sent again after so many times its plan's latency, as predicted, or half as many times what the
        last frames took, if that is longer: frames wait for one another where the prediction is too short ...
    :param least_seconds: ... but not before.
    :param heartbeat_seconds: after so long without a heartbeat a worker counts as gone.
    :param overtake: a frame of an earlier plan is late after so many times its usual latency; 0: never.
    """

    factor: float = 6.0
    least_seconds: float = 3.0
    heartbeat_seconds: float = 1.0
    overtake: float = 1.5

    def seconds(self, plan: Plan) -> float:
        """Return how long a frame may take under a plan, as far as its prediction tells."""
        return max(self.least_seconds, self.factor * plan.latency_seconds if plan.latency_seconds > 0 else 0.0)


class Overdue(Enum):
    """Why a frame is to be sent again."""

    LOST = 'lost'
    """The worker that had it died or refused it, or the frame is of an earlier run."""
    TIMEOUT = 'timeout'
    """It is unknown what became of it."""


@dataclass(frozen=True)
class _Worker:
    """What a worker's last heartbeat said."""

    incarnation: int
    seen_at: float
    prepared: frozenset[int]


@dataclass
class _Sending:
    """What is known of a frame that was sent.

    :param workers: the incarnations of the workers that it was sent to, under whatever plan, and that have not died since.
    :param devices: of the plan that it was sent under last.
    :param lost: it is known not to come back from there.
    :param deaths: of workers that it was sent to.
    :param killed: the device of the last one.
    :param failed_on: why it failed on a device, where that may be the device's doing.
    :param failed_at: when, while it waits for a plan without that device; else NaN.
    """

    workers: dict[str, int] = field(default_factory=dict)
    devices: Collection[str] = ()
    lost: bool = False
    deaths: int = 0
    killed: str = ''
    failed_on: dict[str, str] = field(default_factory=dict)
    failed_at: float = math.nan


@dataclass
class SourcePlans(PlanRegistry):
    """Which plan each frame under way has, and who had it. Time is passed in; not thread safe."""

    _plans: dict[int, Plan] = field(default_factory=dict)
    _workers: dict[str, _Worker] = field(default_factory=dict)
    _sent: dict[int, _Sending] = field(default_factory=dict)
    _latencies: dict[int, deque[float]] = field(default_factory=dict)
    """How long the last frames of each plan in use took, in seconds."""
    _proposed: Plan | None = None
    _hopeless: dict[str, float] = field(default_factory=dict)
    """Devices without which there was no plan a while ago, or none that helped, and until when that is not waited for again."""

    def on_plan(self, plan: Plan, status: PlanStatus) -> bool:
        """Take a message in; return True if it puts another plan in force."""
        if status is PlanStatus.PROPOSED:
            self._proposed = plan
        elif self._proposed is not None and self._proposed.version <= plan.version:
            self._proposed = None
        return super().on_plan(plan, status)

    def on_heartbeat(self, device: str, incarnation: int, prepared: Collection[int], now: float) -> tuple[bool, bool]:
        """Take a worker's heartbeat in; return whether it has started anew, and whether it has prepared other plans than before.

        :param prepared: the versions whose frames it takes.
        """
        before, after = self._workers.get(device), _Worker(incarnation, now, frozenset(prepared))
        self._workers[device] = after
        anew = before is not None and before.incarnation != incarnation
        if anew:
            self._died(device, incarnation)
        return anew, before is None or before.prepared != after.prepared

    def _died(self, device: str, incarnation: int) -> None:
        for sending in self._sent.values():
            if sending.workers.get(device, incarnation) != incarnation:
                del sending.workers[device]
                sending.lost |= device in sending.devices
                sending.deaths += 1
                sending.killed = device

    def sent(self, frame_number: int, plan: Plan) -> None:
        """Note that a frame goes out under a plan now."""
        self._plans[plan.version] = plan
        sending = self._sent.setdefault(frame_number, _Sending())
        sending.devices, sending.lost, sending.failed_at = plan.devices, False, math.nan
        sending.workers |= {device: self._workers[device].incarnation for device in plan.devices if device in self._workers}

    @property
    def moving(self) -> bool:
        """Whether a plan has been proposed that may come into force next."""
        return self._proposed is not None

    def incarnation(self, device: str) -> int:
        """Return the incarnation of a device's worker by its last heartbeat; 0: none came."""
        return self._workers[device].incarnation if device in self._workers else 0

    def prepared(self, plan: Plan) -> bool:
        """Return whether all workers of a plan accept its frames, by their last heartbeats."""
        return all(device in self._workers and plan.version in self._workers[device].prepared for device in plan.devices)

    def on_refusal(self, failure: Failure, now: float) -> bool:
        """Take in that a worker lacks a frame's plan, so that it waits for that; return whether the worker has started anew."""
        worker = self._workers.get(failure.device)
        anew = worker is not None and worker.incarnation != failure.incarnation
        known = frozenset() if worker is None or anew else worker.prepared - {failure.plan_version}
        self.on_heartbeat(failure.device, failure.incarnation, known, now)
        self._sent.setdefault(failure.frame_number, _Sending()).lost = True
        return anew

    def on_failure(self, failure: Failure, now: float) -> str:
        """Take in that a frame failed on a device and may succeed on another; return why it has failed for good, if it has."""
        sending = self._sent.setdefault(failure.frame_number, _Sending())
        if failure.device in sending.failed_on and not math.isnan(sending.failed_at):
            return ''  # reported twice: the attempt was received twice there
        if sending.failed_on:  # elsewhere, too
            self._hopeless |= dict.fromkeys((*sending.failed_on, failure.device), now + HOPELESS_SECONDS)
            return f'{failure}; before that, {next(iter(sending.failed_on.values()))}'
        sending.failed_on[failure.device] = str(failure)
        sending.failed_at = now
        return ''

    def verdict(self, frame: Frame, now: float, patience: Patience) -> str:
        """Return why a frame under way has failed for good, if it has: it kills workers, or has nowhere else to run."""
        sending = self._sent.get(frame.frame_number)
        if sending is None:
            return ''
        if sending.deaths >= MOST_DEATHS:
            return f'{sending.deaths} workers died with this frame, the last one on {sending.killed}'
        if not math.isnan(sending.failed_at) and self.elsewhere(frame) is None:
            (device, why), = sending.failed_on.items()
            others = [name for name in self._workers if name != device and not self.gone(name, now, patience)]
            waited, proposed = now - sending.failed_at, self._proposed
            coming = proposed is not None and device not in proposed.devices and waited < PREPARATION_SECONDS
            if not others or self._hopeless.get(device, 0.0) > now:
                return why
            if waited >= PROPOSAL_SECONDS and not coming:
                self._hopeless[device] = now + HOPELESS_SECONDS
                return why
        return ''

    def elsewhere(self, frame: Frame) -> Plan | None:
        """Return a prepared plan without the device that a frame failed on, for its one other try; None: there is none yet."""
        sending = self._sent.get(frame.frame_number)
        if sending is None or math.isnan(sending.failed_at):
            return None
        plans = [self.active, *reversed(self._plans.values())]
        fits = (p for p in plans if p is not None and self.prepared(p) and not sending.failed_on.keys() & set(p.devices))
        return next(fits, None)

    def waits(self, frame: Frame) -> bool:
        """True if a frame failed on a device and waits for a plan without it."""
        sending = self._sent.get(frame.frame_number)
        return sending is not None and not math.isnan(sending.failed_at)

    def suspect(self, frame_number: int) -> bool:
        """True if a worker has died that a frame was sent to: it may be the cause, and so is sent alone."""
        sending = self._sent.get(frame_number)
        return sending is not None and sending.deaths > 0

    def on_result(self, version: int, seconds: float) -> None:
        """Record how long a frame of a plan took."""
        if version in self._plans:
            self._latencies.setdefault(version, deque(maxlen=_FRAMES)).append(seconds)

    def done(self, frame_number: int) -> None:
        """Forget a frame that has ended."""
        self._sent.pop(frame_number, None)

    def tidy(self, using: set[int]) -> None:
        """Forget plans that no frame under way uses, and that are not prepared any more."""
        kept = using.union(*(worker.prepared for worker in self._workers.values()))
        self._plans = {version: plan for version, plan in self._plans.items() if version in kept or plan is self.active}
        self._latencies = {version: seconds for version, seconds in self._latencies.items() if version in self._plans}

    def plan_of(self, frame: Frame) -> Plan | None:
        """Return the plan that a frame was sent under; None if that was in an earlier run."""
        return self._plans.get(frame.plan_version)

    def gone(self, device: str, now: float, patience: Patience) -> bool:
        """Return whether a worker's heartbeat is overdue, or never came."""
        known = self._workers.get(device)
        return known is None or now - known.seen_at > patience.heartbeat_seconds

    def usual_seconds(self, plan: Plan) -> float:
        """Return how long frames of a plan take: as predicted, or as the last ones did where that is longer."""
        return max(plan.latency_seconds, median(self._latencies.get(plan.version, (0.0,))))

    def overtaken(self, frame: Frame, now: float, factor: float, seconds_left: Callable[[int], float] = lambda _: 0.0) -> bool:
        """True if a frame of an earlier plan is late, or sure to be, and so better sent again under the plan in force.

        A link that has collapsed holds it up for longer than the whole model takes elsewhere, and all later results with it,
        since they are delivered in order.

        :param factor: it is late after so many times what is usual under its plan; 0: never. Nor is it where the plan in force
            is to save energy.
        :param seconds_left: says for how long a frame will still be on its first way. It is sure to be late if the plan in force
            has it done sooner.
        """
        plan, active = self.plan_of(frame), self.active
        if not factor or plan is None or active is None or active is plan:
            return False
        objective = OBJECTIVES.get(active.objective)
        if objective is not None and not objective.resend_late:
            return False
        if frame.attempt - frame.first_attempt >= MOST_OVERTAKEN or plan.latency_seconds <= 0:
            return False
        late = now - frame.sent_at > max(factor * self.usual_seconds(plan), active.latency_seconds)
        return late or 0 < active.latency_seconds < seconds_left(frame.frame_number)

    def overdue(self, frame: Frame, now: float, patience: Patience) -> Overdue | None:
        """Return why a frame must be sent again under the plan in force, if it must.

        A frame of an earlier run is lost. While a worker of its plan gives no heartbeat, or the frame waits for a plan without
        one, its time does not run out.
        """
        plan, sending = self.plan_of(frame), self._sent.get(frame.frame_number)
        if plan is None or sending is None or sending.lost:
            return Overdue.LOST
        gone = any(self.gone(device, now, patience) for device in plan.devices)
        if gone or self.waits(frame):
            return Overdue.LOST if gone and self.active is not plan else None
        seconds = patience.seconds(plan)
        if latencies := self._latencies.get(plan.version):
            seconds = max(seconds, patience.factor / 2 * median(latencies))
        late = now - frame.sent_at > seconds * 2 ** min(frame.timeouts, 4)
        return Overdue.TIMEOUT if late else None


class Sender(Protocol):
    """Sends frames, and may still be at it."""

    def forget_frame(self, frame_number: int, *, late: bool = False) -> None:
        """Send nothing more of a frame."""

    def forget_device(self, device: str) -> None:
        """Send nothing more to a device."""

    def seconds_left(self, frame_number: int) -> float:
        """Return how long what is left here of a frame will be on its way; 0 if nothing is, or that is not known."""

    def may_overtake(self, frame: Frame, plan: Plan, now: float) -> bool:
        """Return whether a frame of an earlier plan can be sent again under the one in force, with a use."""


class Repetition:
    """Sends lost and late frames again, and ends those that cannot be processed. Time is passed in; not thread safe.

    :param send: sends a frame out under a plan.
    :param refuse: takes the reason for each frame that cannot be processed.
    """

    def __init__(
        self, plans: SourcePlans, ledger: FrameLedger, sender: Sender, send: Callable[[Frame, Plan], None],
        refuse: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._plans, self._ledger, self._sender, self._send, self._refuse = plans, ledger, sender, send, refuse

    def on_failure(self, failure: Failure, now: float) -> None:
        """Take in that a worker cannot process a frame; the failure of an earlier attempt, or of a hedge, is ignored."""
        frame = self._ledger.under_way(failure.frame_number)
        if frame is None or (frame.attempt, frame.plan_version) != (failure.attempt, failure.plan_version):
            return
        match failure.kind:
            case FailureKind.NOT_READY:
                if self._plans.on_refusal(failure, now):
                    self._sender.forget_device(failure.device)
            case FailureKind.DEVICE:
                self._end(frame, self._plans.on_failure(failure, now), now)
            case FailureKind.DATA:
                self._end(frame, str(failure), now)

    def again(self, frame: Frame, now: float, patience: Patience, *, audible: bool = True) -> bool:
        """End a frame that has failed, or send it again, if that is due; return whether it is.

        :param audible: somebody subscribes to results, and so gets that of a frame of an earlier run.
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
        if not overdue and not self._sender.may_overtake(frame, plan, now):
            return False
        if not audible and self._plans.plan_of(frame) is None:
            return False
        return self._repeat(frame, plan, now, overtaken=overtaken, timeout=not overtaken and overdue is Overdue.TIMEOUT)

    def _has_turn(self, frame: Frame) -> bool:
        """True unless an earlier frame may be what kills the workers: then it alone is sent, to know it."""
        if not self._plans.suspect(frame.frame_number):
            return True
        return frame is next(other for other in self._ledger.unfinished if self._plans.suspect(other.frame_number))

    def _repeat(self, frame: Frame, plan: Plan, now: float, *, overtaken: bool = False, timeout: bool = False) -> bool:
        self._sender.forget_frame(frame.frame_number, late=overtaken)
        again = self._ledger.repeat(frame.frame_number, now, plan.version, timeout=timeout)
        if again is not None:
            if overtaken:
                self._ledger.hedged(frame.frame_number)  # two results are to be expected
            self._send(again, plan)
        return True

    def _end(self, frame: Frame, why: str, now: float) -> bool:
        """End a frame if there is a reason to."""
        if why:
            self._refuse(f'frame {frame.frame_number} cannot be processed: {why}')
            self._sender.forget_frame(frame.frame_number)
            self._ledger.fail(frame.frame_number, now, why)
        return bool(why)
