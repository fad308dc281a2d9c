# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's side of a switch: says plans to the fleet, and goes on from what an earlier scheduler had said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

from edge_dnn_partition.control.scheduling.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.msg import Heartbeat, StageState
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.nodes.conversions.plan_memory import PlanMemory, VersionMemory
from edge_dnn_partition.nodes.conversions.plan_messages import plan_for, plan_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.compose import assignment_of
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import Plan

Assignment = tuple[str, ...]

_SAY_AGAIN_SECONDS: Final = 1.0
"""So long after a plan has come into force a node may still follow the one before."""
_RETRY_SECONDS: Final = 5.0
"""A plan that could not be prepared is not tried again for so long."""


class InForce(Protocol):
    """Who hears of the plan in force."""

    def __call__(self, plan: Plan | None, assignment: Assignment | None, now: float, *, taken_up: bool = False) -> None:
        """Take in that another plan is in force, or none is (None).

        :param assignment: its devices as the present problem names them; None if that cannot.
        :param taken_up: it was before this scheduler began.
        """


class SwitchController:
    """Used in the thread that spins. Times are of a monotonic clock, in seconds.

    :param node: the scheduler, with its parameter ``prepare_timeout``.
    :param boundaries: returns the layers before which the present problem may cut.
    :param in_force: hears of the plan in force.
    :param ended: hears how a move has ended.
    """

    def __init__(
        self, node: FleetNode, fleet: Fleet, model: Model, boundaries: Callable[[], Sequence[int]], in_force: InForce,
        ended: Callable[[Activate | Drop], None],
    ) -> None:  # fmt: skip
        self._node, self._boundaries, self._in_force, self._ended = node, boundaries, in_force, ended
        self._versions, self._memory, self._of = VersionMemory(node), PlanMemory(node), (fleet, model)
        self._earlier: Plan | None = None
        """The plan of an earlier scheduler, until it is known whether it goes on."""
        self._said_at = float('-inf')
        self._followed: dict[tuple[str, str], tuple[int, int]] = {}
        """Scheduler and version of the plan that each worker follows, and the frame source."""
        self._prepared: dict[str, frozenset[int]] = {}
        """By device, the versions that its worker has prepared."""
        self._proposed: Assignment | None = None
        self._failed_until: dict[object, float] = {}
        self.switch = PlanSwitch(node.incarnation, prepare_seconds=node.params.number('prepare_timeout'))
        """The plan in force, and the one that is proposed."""
        self._plans = node.advertise(PlanMessage, node.topics.plan, qos.PLAN)

    def begin(self) -> None:
        """The scheduler has become active: go on from what is on disk, if this one has said nothing yet."""
        self.switch.last_version = max(self.switch.last_version, self._versions.last)
        if self.switch.active is None:
            self._earlier = self._kept()

    def _kept(self) -> Plan | None:
        fleet, model = self._of
        kept = self._memory.recall(model.sha256)
        try:
            return None if kept is None else plan_for(kept, fleet, model)
        except PlanError as error:
            self._node.refuse('plan', f'the plan on disk is of no use: {error}')
            return None

    # Moving ---------------------------------------------------------------------------------------------------

    def propose(self, plan: Plan, assignment: Assignment | None, now: float) -> None:
        """Ask the workers to prepare a plan.

        :param assignment: the device of each of the problem's nodes; None if the problem cannot cut there.
        """
        plan = self.switch.propose(plan, now)
        self._proposed = assignment
        self._versions.keep(plan.version)
        self._plans.publish(plan_message(plan, PlanMessage.PROPOSED))

    def reserve(self) -> None:
        """Give out the next version to a plan that is never to be in force."""
        self._versions.keep(self.switch.reserve())

    def tick(self, alive: Collection[str], now: float) -> None:
        """Give up a proposal that nobody answers, or a device of which is gone."""
        self._apply(self.switch.tick(now), now)
        for device in self.switch.proposal.devices if self.switch.proposal else ():
            if device not in alive:
                self.lost(device, now)

    def give_up(self, reason: str, now: float) -> None:
        """Drop a proposal that is under way, which is no failure of it."""
        self._apply(self.switch.give_up(reason), now)
        self.forget_failures()

    def lost(self, device: str, now: float) -> None:
        """Take in that a worker is gone, or has started anew and has nothing prepared."""
        self._apply(self.switch.lost(device), now)

    def stage_state(self, message: StageState, now: float) -> None:
        """Take in what a worker says of a plan."""
        if message.state == StageState.READY:
            self._apply(self.switch.ready(message.device, message.plan_version, message.scheduler), now)
        elif message.state == StageState.FAILED:
            self._apply(self.switch.failed(message.device, message.plan_version, message.scheduler, message.reason), now)

    def failed_lately(self, what: object, now: float) -> bool:
        """True if an assignment, or a placement that is none, could not be prepared a short while ago."""
        return self._failed_until.get(what, 0.0) > now

    def forget_failures(self) -> None:
        """Let plans be proposed that could not be prepared lately."""
        self._failed_until.clear()

    def _apply(self, outcome: Activate | Drop | None, now: float) -> None:
        if outcome is None:
            return
        plan = outcome.plan
        if isinstance(outcome, Activate):
            message, self._said_at = plan_message(plan, PlanMessage.ACTIVE), now
            self._plans.publish(message)
            self._memory.keep(message)
            self._in_force(plan, self._proposed, now)
            coded = ''.join(f', {t.tensor!r} as {t.encoding}' for t in plan.transfers if t.encoding != RAW)
            self._node.get_logger().info(f'plan {plan.version}: {plan.label()} ({plan.reason}){coded}')
        else:
            self._plans.publish(plan_message(replace(plan, reason=outcome.reason), PlanMessage.DROPPED))
            self._failed_until[self._proposed or plan.placement] = now + _RETRY_SECONDS
            reason = f'is given up, the old one goes on: {outcome.reason}'
            self._node.repeats.warning(reason, f'plan {plan.version} {reason}')
        self._ended(outcome)

    # What the fleet follows ------------------------------------------------------------------------------------

    def heartbeat(self, message: Heartbeat, now: float) -> None:
        """Go on from the fleet's versions, even if this scheduler's own record of them is gone."""
        if message.node not in ('worker', 'frame_source'):
            return
        if message.node == 'worker':
            self._prepared[message.device] = frozenset(message.plan_versions)
        self._followed[message.device, message.node] = message.active_scheduler, message.active_version
        plan = self.switch.unheard(message.active_version)
        if plan is not None and now - self._said_at > _SAY_AGAIN_SECONDS:
            self._said_at = now
            self._plans.publish(plan_message(plan, PlanMessage.ACTIVE))
        active = self.switch.active
        self._apply(self.switch.heard(message.last_version, message.active_version, message.active_scheduler), now)
        if active is not None and self.switch.active is None:
            others = self._node.count_publishers(self._plans.topic_name) > 1
            self._node.repeats.warning(
                'versions',
                f'{message.device} knows version {message.last_version}, so that nobody follows plan {active.version}; '
                f'another will be proposed'
                + ('; another scheduler of this fleet runs, or ran a moment ago: there must be one' if others else ''),
            )
            self._in_force(None, None, now)

    def resume(self, ready: Collection[str], now: float, until: float) -> bool:
        """Go on with the plan that was in force when an earlier scheduler ended, if every device of it still has it.

        :param until: how long to wait for workers that may have it.
        :return: False while that is not known; the stream goes on meanwhile.
        """
        if self._earlier is None:
            return True
        plan = self._earlier
        followed = {which for which in self._followed.values() if which[1]}
        if followed and (plan.scheduler, plan.version) not in followed:
            self._earlier = None  # this record is of an older plan than the one in force
            return True
        if all(device in ready and plan.version in self._prepared.get(device, ()) for device in plan.devices):
            self.switch.adopt(plan)
            self._in_force(plan, assignment_of(plan.placement, self._boundaries()), now, taken_up=True)
            self._plans.publish(plan_message(plan, PlanMessage.ACTIVE))
            self._node.get_logger().info(f'plan {plan.version} goes on: {plan.label()}')
        elif any(self._prepared.values()) and now < until:
            return False
        self._earlier = None
        return True
