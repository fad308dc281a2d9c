# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source without ROS: an event goes in, and the actions that follow from it come out, in order.

Inputs wait for their turn, an accepted frame is sent under the plan in force, again where it is lost, as a hedge where it is
late, and ends in exactly one result. While nothing else is under way a shadow frame may run.

Where the model carries state, frames run one at a time, without hedges and shadow frames; frames that have had their result may
run again to bring the state back (`StateTracker`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .actions import Accepted, Action, Ended, Forget, ForgetDevice, Refuse, Send, ShadowEnded
from .admission import Admission, apart
from .failure import Failure, FailureKind
from .hedge import HEDGE_VERSION, TAIL_VERSION, Hedger, is_hedge
from .ledger import DELIVERED, Frame, FrameLedger
from .plan_registry import PlanStatus
from .repetition import Repetition, SourcePlans
from .room import Room
from .settings import Settings
from .shadow_run import FIRST_NUMBER, ShadowRun
from .state_tracker import StateTracker, homes_of

_DISCOVERY_SECONDS: Final = 5.0
_RUN_BITS: Final = 16
"""Runs are numbered from so many times a frame's number on: no earlier frame source has come so far."""
_LISTENERS_SECONDS: Final = 1.0
"""Subscribers of results may take so long to be discovered, and others after the first: before that, results of an earlier
run's frames would reach nobody."""
_TURN: Final = 2.0
"""A shadow frame may hold inputs up for so many times what a frame of the plan in force takes: what takes longer cannot compete."""


class Links(Protocol):
    """What is known of the way to the devices."""

    def reaches(self, plan: Plan) -> bool:
        """Return whether the devices that get a plan's inputs can be sent to."""

    def seconds_left(self, frame_number: int) -> float:
        """Return how long what is left here of a frame will be on its way; 0 if nothing is, or that is not known."""


@dataclass
class FrameDispatcher:
    """Decides what becomes of the frames of one source. Time is passed in; not thread safe.

    :param model: runs whole on ``device`` for a hedge.
    :param device: the source.
    :param settings: returns those that hold now.
    :param inputs: where the model's inputs arise; None: see `compose`.
    :param states: of a model that carries state from frame to frame.
    """

    model: Model
    device: str
    ledger: FrameLedger
    links: Links
    settings: Callable[[], Settings] = Settings
    inputs: ModelInputs | None = None
    states: StateTracker | None = None
    plans: SourcePlans = field(default_factory=SourcePlans)
    hedger: Hedger = field(default_factory=Hedger)
    accepts: bool = True
    """False while the frame source drains."""
    _actions: deque[Action] = field(default_factory=deque)
    _admission: Admission = field(default_factory=Admission)
    _accepted_with: dict[int, int] = field(default_factory=dict)
    _last_inputs: FrameInputs | None = None
    """Of the last frame that was delivered, for a shadow frame."""
    _hedge_ready: bool = False
    _left: tuple[int, ...] = ()
    """Frames of an earlier run whose inputs were not kept."""
    _settle_at: float = math.inf

    def __post_init__(self) -> None:
        """Make what needs the model."""
        whole = [(self.device, True, ((0, len(self.model.layers)),))]
        self.hedge_plan = compose(
            self.model, whole, version=HEDGE_VERSION, source=self.device, sink=self.device, inputs=self.inputs
        )
        self.shadows = ShadowRun(len(self.model.outputs))
        self.room = Room(
            self.ledger, self.plans, self.hedger, self.hedge_plan, self.settings, one_by_one=self.states is not None
        )
        self._repetition = Repetition(self.plans, self.ledger, self, self._send, lambda why: self._actions.append(Refuse(why)))

    def take(self) -> tuple[Action, ...]:
        """Return the actions that have come up since the last call, in order."""
        actions = tuple(self._actions)
        self._actions.clear()
        return actions

    @property
    def idle(self) -> bool:
        """Whether every accepted frame has its result, and that has been taken."""
        return not self.ledger.in_flight and not self._actions

    @property
    def at_rest(self) -> bool:
        """Whether no inputs wait and no frame is under way, so that `tick` need not be called often."""
        return self.ledger.idle and self.shadows.idle and not self._actions

    # Start and end --------------------------------------------------------------------------------------------

    def restore(self, frame_number: int, inputs: FrameInputs | None, runs: int, now: float) -> None:
        """Take up a frame of an earlier run; see `FrameLedger.restore`.

        :param inputs: None: they were not kept, and the frame is lost, once a subscriber can get that result. So it is where the
            model carries state, which that run had.
        """
        inputs = inputs if self.states is None else None
        self.ledger.restore(frame_number, inputs or FrameInputs(), now, runs)
        if inputs is None:
            self._left += (frame_number,)

    def begin(self, now: float) -> None:
        """The frame source has become active: subscribers of results may take a while to be discovered."""
        self.accepts = True
        self._settle_at = now + _DISCOVERY_SECONDS
        if self.states is not None:
            self.states.number_above(self.ledger.next_id << _RUN_BITS)

    def give_up(self, now: float) -> None:
        """End every frame that is under way as lost."""
        self.ledger.give_up(now)
        self._release()

    # Inputs ---------------------------------------------------------------------------------------------------

    def offer(self, inputs: FrameInputs, now: float) -> None:
        """Take inputs from the camera."""
        self.ledger.offer(inputs)
        self._pump(now)

    def ask(self, inputs: FrameInputs, call: Any, now: float) -> bool:
        """Take inputs whose result somebody waits for; False if none are taken now."""
        if self.accepts:
            self.ledger.ask(inputs, call)
            self._pump(now)
        return self.accepts

    def obstacle(self) -> str:
        """Return why inputs wait."""
        plan = self.plans.active
        if plan is None:
            return 'no plan is in force; is the scheduler running?'
        if not self._reachable(plan):
            return f'plan {plan.version}, {plan.label()}, is not connected or not prepared yet'
        if self.room.suspects:
            return 'a frame under way when a worker died runs alone, as it may be the cause'
        return f'busy: {self.ledger.in_flight} frames in flight, bound {self.room.most(plan)}'

    # Events ---------------------------------------------------------------------------------------------------

    def on_plan(self, plan: Plan, status: PlanStatus) -> bool:
        """Take in a message about a plan; return True if it puts another one in force, after which `tick` is due."""
        if not self.plans.on_plan(plan, status):
            return False
        self._admission.renew()
        self.plans.tidy({frame.plan_version for frame in self.ledger.unfinished})
        return True

    def on_heartbeat(self, device: str, incarnation: int, prepared: Collection[int], now: float) -> bool:
        """Take a worker's heartbeat in; return True if it has prepared other plans than before, after which `tick` is due."""
        if device == self.device:
            self._hedge_ready = HEDGE_VERSION in prepared
        anew, changed = self.plans.on_heartbeat(device, incarnation, prepared, now)
        if anew:
            self.forget_device(device)
        return changed

    def on_failure(self, failure: Failure, now: float) -> None:
        """Take in that a device cannot process a frame."""
        if self.states is not None:
            found = self.states.on_failure(failure)
        elif failure.frame_number >= FIRST_NUMBER:
            self.shadows.failed(failure.frame_number)
            return
        else:
            found = failure
        if found is not None:
            self._repetition.on_failure(found, now)
            self._release()

    def on_broken(self, address: Address, reason: str, incarnation: int, now: float) -> None:
        """Take in that a frame's outputs cannot be decoded."""
        self._on_hedge_result(address, now)
        at = address.frame_number, address.plan_version, address.attempt
        self.on_failure(Failure(FailureKind.DATA, self.device, incarnation, *at, -1, reason), now)

    def on_outputs(
        self, address: Address, outputs: Mapping[str, NDArray[Any]], stages: tuple[StageTime, ...], hops: tuple[HopTime, ...],
        now: float,
    ) -> None:  # fmt: skip
        """Take a frame's outputs in, all of them or some, with how its stages and hops went."""
        if address.frame_number >= FIRST_NUMBER:
            if self.states is None:
                self._on_shadow(address.frame_number, outputs, stages, hops, now)
            else:
                self._do(self.states.on_replayed(address.frame_number, outputs, now))
            return
        self._on_hedge_result(address, now)
        frame = self.ledger.result(
            address.frame_number, address.attempt, address.plan_version, outputs, stages, hops, len(self.model.outputs), now
        )
        if frame is None:
            return
        if self.states is not None:
            self.states.on_result(frame)
        self._admission.delivered(frame.plan_version, frame.stages, frame.hops)
        self.plans.on_result(frame.plan_version, frame.latency_seconds)
        hedge = is_hedge(frame.plan_version)
        self.hedger.finished(frame.frame_number, frame.latency_seconds, self.settings().max_age, hedge=hedge)
        self.forget_frame(frame.frame_number)
        self._release()
        self._repeat(now)
        self._pump(now)

    def tick(self, now: float, listeners: int = 1) -> None:
        """Send again what is overdue, end what is too old, accept what waits.

        :param listeners: how many subscribe to results.
        """
        settled, settings = self._settle(now, listeners), self.settings()
        if settings.max_age > 0:
            for frame in self.ledger.expire(now, settings.max_age):
                self.hedger.expired(settings.max_age)
                self.forget_frame(frame.frame_number)
        self._release()
        for frame in self.ledger.unfinished:
            if not self._repetition.again(frame, now, settings.patience, audible=settled):
                self._hedge(frame, now)
        self._release()
        self._let_shadow_go(now)
        self._pump(now)

    def _repeat(self, now: float) -> None:
        """Send frames of an earlier plan again that wait for room in the one in force, before others take it."""
        for frame in self.ledger.unfinished:
            if frame.plan_version != self.plans.active_version and self.plans.plan_of(frame) is not None:
                self._repetition.again(frame, now, self.settings().patience)

    def _settle(self, now: float, listeners: int) -> bool:
        """End what is left of an earlier run once its results reach a subscriber; return whether they do."""
        if listeners > 0:
            self._settle_at = min(self._settle_at, now + _LISTENERS_SECONDS)
        if now < self._settle_at:
            return False
        for frame_number in self._left:
            self.ledger.lose(frame_number, now)
        self._left = ()
        return True

    # Frames ---------------------------------------------------------------------------------------------------

    def may_overtake(self, frame: Frame, plan: Plan, now: float) -> bool:
        """Return whether a frame of an earlier plan may be sent under the one in force; see `Room`."""
        return self.room.may_overtake(frame, plan, now)

    def _reachable(self, plan: Plan) -> bool:
        """Return whether a plan's inputs can be sent, and all its devices take its frames; none is accepted before."""
        return self.links.reaches(plan) and self.plans.prepared(plan)

    def _pump(self, now: float) -> None:
        """Accept inputs that wait while there is room; not faster than the plan's slowest part can take them."""
        plan = self.plans.active
        if plan is None or not self.accepts or not self._reachable(plan):
            return
        if self.ledger.in_flight and not self._admission.may_accept(now):
            return
        if self.room.suspects:
            return  # a frame that may kill workers runs alone
        if self.states is None and self._shadow_first(plan, now):
            return
        most = self.room.most(plan)
        frame = self.ledger.accept(now, plan.version, self.ledger.in_flight + most - self.room.busy(plan))
        if frame is None:
            return
        self._actions.append(Accepted(frame))
        self._accepted_with[frame.frame_number] = self.ledger.in_flight
        self._admission.accepted(plan, most, now)
        self._send(frame, plan)
        self._hedge(frame, now)

    def _send(self, frame: Frame, plan: Plan) -> None:
        self.plans.sent(frame.frame_number, plan)
        if self.states is None:
            self._actions.append(Send(frame.inputs, plan, frame.frame_number, frame.attempt))
            return
        homes = homes_of(plan, self.model.states, self.plans.incarnation)
        patience = self.settings().patience.seconds(plan)
        self._do(self.states.begin(frame, plan, homes, frame.sent_at, patience, moving=self.plans.moving))

    def _do(self, action: Action | None) -> None:
        if action is not None:
            self._actions.append(action)

    def _release(self) -> None:
        for frame in self.ledger.release():
            self.plans.done(frame.frame_number)
            if frame.status == DELIVERED and frame.inputs.values:  # not of an earlier run that kept none
                self._last_inputs = frame.inputs
            self._actions.append(Ended(frame, self._accepted_with.pop(frame.frame_number, 1)))

    def seconds_left(self, frame_number: int) -> float:
        """Return how long a frame will still be on its way; see `Links`."""
        return self.links.seconds_left(frame_number)

    def forget_frame(self, frame_number: int, *, late: bool = False) -> None:
        """Have nothing more sent of a frame."""
        self._actions.append(Forget(frame_number, late))

    def forget_device(self, device: str) -> None:
        """Have nothing more sent to a device."""
        self._actions.append(ForgetDevice(device))

    # Hedges ---------------------------------------------------------------------------------------------------

    def _hedge(self, frame: Frame, now: float) -> None:
        """Send a frame to this device as well if it is time for that."""
        plan, settings = self.plans.plan_of(frame), self.settings()
        if plan is None or not self._hedge_ready or not settings.hedge or plan.placement == self.hedge_plan.placement:
            return
        if self.states is not None:
            return
        active = self.plans.active
        if active is not None and active.placement == self.hedge_plan.placement and self.room.busy(active):
            return  # this device runs the frames of the plan in force
        self.hedger.share = settings.hedge_share
        self.hedger.follow(plan.version, plan.latency_seconds)
        age = now - frame.accepted_at
        if self.hedger.due(frame.frame_number, age, now, settings.max_age):
            self.hedger.start(frame.frame_number, age, now, settings.max_age)
            self.ledger.hedged(frame.frame_number)
            self._actions.append(Send(frame.inputs, self.hedge_plan, frame.frame_number, frame.attempt))

    def _on_hedge_result(self, address: Address, now: float) -> None:
        if is_hedge(address.plan_version):
            self.hedger.on_result(address.frame_number, now, tail=address.plan_version == TAIL_VERSION)

    # Shadow frames --------------------------------------------------------------------------------------------

    def _shadow_first(self, plan: Plan, now: float) -> bool:
        """Return whether inputs wait for a shadow frame, which is begun now if nothing is under way."""
        self._let_shadow_go(now)
        if self.shadows.current is None and not self.ledger.in_flight:
            self._begin_shadow(now)
        shadow = self.shadows.current
        return shadow is not None and not apart(plan, shadow.plan)

    def _let_shadow_go(self, now: float) -> None:
        """Drop a shadow frame that takes too long, by its own prediction or by what inputs may wait for it."""
        shadow, plan = self.shadows.current, self.plans.active
        if shadow is None:
            return
        in_the_way = plan is not None and self.ledger.waits and not apart(plan, shadow.plan)
        turn = _TURN * self.plans.usual_seconds(plan) if plan is not None and in_the_way else 0.0
        if self.shadows.let_go(now, turn or math.inf):
            self.forget_frame(shadow.number)

    def _begin_shadow(self, now: float) -> None:
        """Send inputs that have their result once more, if that was asked for."""
        if self._last_inputs is None or (shadow := self.shadows.begin(now)) is None:
            return
        if not self._reachable(shadow.plan):
            self.shadows.forget()
            return
        self._actions.append(Send(self._last_inputs, shadow.plan, shadow.number, 0))

    def _on_shadow(
        self, number: int, outputs: Collection[str], stages: tuple[StageTime, ...], hops: tuple[HopTime, ...], now: float
    ) -> None:
        done = self.shadows.result(number, outputs, stages, hops, now)
        if done is not None:
            self.forget_frame(number)
            self._actions.append(ShadowEnded(done))
            self._pump(now)
