# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's services: pin a plan, free it, plan again at once, profile again; each answers with what happened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from rclpy.parameter import Parameter as RosParameter
from std_srvs.srv import Trigger

from edge_dnn_partition.control.decision.policy import feasible
from edge_dnn_partition.control.scheduling.background import run_in_background
from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler
from edge_dnn_partition.control.scheduling.switch import Activate, Drop
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.rclpy_gaps import DeferredResponse
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.plans.plan import label_of
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.srv import PinPlan, ProfileAgain

_SPARE_SECONDS: Final = 2.0
"""A requested plan is dropped so long after the time to prepare one."""

_GONE_SECONDS: Final = 5.0
"""Without a heartbeat after which a worker that profiles counts as gone."""

_LOOK_SECONDS: Final = 0.5


@dataclass
class _Waiting:
    """A caller that waits for a plan to come into force."""

    later: DeferredResponse
    response: Any
    placement: object
    until: float
    begin: str
    """How the answer begins if it does."""
    undo: dict[str, str] = field(default_factory=dict)
    """Parameters to set if it does not."""


class SchedulerServices:
    """Used in the thread that spins.

    :param node: the scheduler.
    """

    def __init__(self, node: FleetNode, scheduler: FleetScheduler) -> None:
        self._node, self._scheduler, self._view = node, scheduler, scheduler.view
        self._policy_before = ''
        self._waiting: list[_Waiting] = []
        self._profiling: dict[str, tuple[DeferredResponse, Any]] = {}
        """By device: the caller that waits for its profile."""
        topics = node.topics
        node.serve(PinPlan, topics.pin_plan, self._pin)
        node.serve(Trigger, topics.free_plan, self._free)
        node.serve(Trigger, topics.replan, self._replan)
        node.serve(ProfileAgain, topics.profile_again(), self._profile_again)
        self._profilers: dict[str, Any] = {}
        node.every(_LOOK_SECONDS, self._look)

    def close(self) -> None:
        """Answer those who wait that the scheduler ends."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._answer(one, success=False, message='the scheduler ended before that was done')

    # Pinning --------------------------------------------------------------------------------------------------

    def _pin(self, request: PinPlan.Request, response: PinPlan.Response) -> Any:
        active = self._scheduler.switch.active
        words = request.plan.strip() or (active.label() if active is not None else '')
        if not words:
            raise PlanError('no plan is in force to pin; name one')
        placement = self._scheduler.placement_of(words)
        label = label_of(placement)
        costs = self._scheduler.costs_of(placement, self._scheduler.problem_now(time.monotonic()))
        before = {name: self._node.params.text(name) for name in ('policy', 'fixed_plan')}
        if before['policy'] != 'fixed':
            self._policy_before = before['policy']
        self._forget_pins()
        self._scheduler.mover.forget_failures()
        self._set({'policy': 'fixed', 'fixed_plan': label})
        predicted = f', {costs.latency_seconds * 1e3:.3g} ms predicted' if costs is not None else ''
        if active is not None and active.placement == placement:
            return _filled(response, f'pinned: plan {active.version}, {label}{predicted}, which was in force')
        return self._wait(response, placement, f'pinned{predicted}', before)

    def _free(self, _: Trigger.Request, response: Trigger.Response) -> Any:
        policy = self._node.params.text('policy')
        if policy != 'fixed':
            return _filled(response, f'no plan was pinned; the policy is {policy}')
        policy = self._policy_before or 'auto'
        self._forget_pins()
        self._set({'policy': policy, 'fixed_plan': ''})
        active = self._scheduler.switch.active
        stays = f'; plan {active.version} stays until it finds a better one' if active is not None else ''
        return _filled(response, f'free: the policy {policy} decides{stays}')

    def _forget_pins(self) -> None:
        """Answer those whose plan is not there yet: something else is asked for now."""
        for one in [one for one in self._waiting if one.undo]:
            self._waiting.remove(one)
            self._answer(one, success=False, message='another request came meanwhile')

    def _set(self, values: dict[str, str]) -> None:
        result = self._node.set_parameters_atomically([RosParameter(name, value=value) for name, value in values.items()])
        if not result.successful:
            raise PlanError(result.reason)

    # Planning again -------------------------------------------------------------------------------------------

    def _replan(self, _: Trigger.Request, response: Trigger.Response) -> Any:
        if self._node.params.text('policy') == 'fixed':
            raise PlanError('a plan is pinned; free it first (free_plan)')
        if (proposal := self._scheduler.switch.proposal) is not None:
            return self._wait(response, proposal.placement, 'the fleet was moving already')
        problem, goal = self._scheduler.problem_now(time.monotonic()), self._scheduler.runner.goal
        later = DeferredResponse()
        work = run_in_background(lambda: solve(problem, goal, quick=True, few_stages=True), 'planning')
        later.follow(self._node, work, lambda done: self._planned(done, problem, response), response)
        return later

    def _planned(self, work: Future[Any], problem: Problem, response: Trigger.Response) -> Any:
        """Go to the planner's answer if it is better by anything at all."""
        best, active, present = work.result().assignment, self._scheduler.switch.active, self._scheduler.runner.assignment
        if best is None:
            raise PlanError(f'no device can run the model now: {work.result().reason}')
        costs, goal = evaluate(problem, best), self._scheduler.runner.goal
        if self._scheduler.switch.proposal is not None:
            return self._wait(response, self._scheduler.switch.proposal.placement, 'the fleet was moving already')
        if active is not None and present is not None and feasible(problem, present):
            current = evaluate(problem, present)
            gain = goal.gain(current, costs, current)
            if tuple(best) == present or gain <= 0:
                what = f'plan {active.version}, {active.label()}, is the best one'
                return _filled(response, f'{what}: {current.latency_seconds * 1e3:.3g} ms predicted')
            reason = f'replan was asked for: {100 * gain:.0f} % better'
        else:
            reason = 'replan was asked for'
        self._scheduler.move_to(tuple(best), costs, reason, time.monotonic())
        switch = self._scheduler.switch
        assert switch.proposal is not None
        return self._wait(response, switch.proposal.placement, f'moved, {costs.latency_seconds * 1e3:.3g} ms predicted')

    # Waiting for a plan ---------------------------------------------------------------------------------------

    def _wait(self, response: Any, placement: object, begin: str, undo: dict[str, str] | None = None) -> DeferredResponse:
        until = time.monotonic() + self._node.params.number('prepare_timeout') + _SPARE_SECONDS
        later = DeferredResponse()
        self._waiting.append(_Waiting(later, response, placement, until, begin, undo or {}))
        return later

    def on_move_end(self, outcome: Activate | Drop) -> None:
        """Answer those who wait for a plan that came into force or was dropped."""
        for one in [one for one in self._waiting if one.placement == outcome.plan.placement]:
            if isinstance(outcome, Activate):
                self._end(one, success=True, message=f'{one.begin}: plan {outcome.plan.version}, {outcome.plan.label()}')
            else:
                self._end(one, success=False, message=f'the plan could not be prepared: {outcome.reason}')

    def _look(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._waiting if now > one.until]:
            self._end(one, success=False, message='the plan did not come into force in time; see /diagnostics')
        for device, (later, response) in list(self._profiling.items()):
            if device not in self._view.devices or now - self._view.devices[device].seen_at > _GONE_SECONDS:
                del self._profiling[device]
                later.send(_filled(response, f'{device}: its worker is gone', success=False))

    def _end(self, one: _Waiting, *, success: bool, message: str) -> None:
        self._waiting.remove(one)
        if not success and one.undo:
            self._set(one.undo)
            message += f'; the policy is {one.undo["policy"]} as before'
        self._answer(one, success=success, message=message)

    @staticmethod
    def _answer(one: _Waiting, *, success: bool, message: str) -> None:
        one.later.send(_filled(one.response, message, success=success))

    # Profiling ------------------------------------------------------------------------------------------------

    def _profile_again(self, request: ProfileAgain.Request, response: ProfileAgain.Response) -> Any:
        if request.device and request.device not in self._view.devices:
            raise PlanError(f'no device is called {request.device!r}; known are {", ".join(self._view.devices)}')
        alive = self._view.alive(time.monotonic())
        devices = [request.device] if request.device else list(alive)
        if not devices:
            raise PlanError('no device is alive')
        if request.device and request.device not in alive:
            raise PlanError(f'{request.device} is not alive; alive are {", ".join(alive) or "none"}')
        later = DeferredResponse()
        self._profile_next(devices, [], response, later)
        return later

    def _profile_next(self, devices: Sequence[str], answers: list[str], response: Any, later: DeferredResponse) -> None:
        """Profile the first of some devices, then the others: played on one machine, they would hold each other up."""
        device, *rest = devices
        if device not in self._profilers:
            self._profilers[device] = self._node.client(Trigger, self._node.topics.profile_again(device))
        client = self._profilers[device]
        if device in self._profiling:
            later.send(_filled(response, f'{device} is already being profiled', success=False))
            return
        if not client.service_is_ready():
            later.send(_filled(response, '; '.join([*answers, f'{device}: its worker does not answer']), success=False))
            return

        def done(future: Any) -> None:
            if self._profiling.pop(device, None) is None:
                return  # the worker counts as gone
            answer = future.result()
            answers.append(answer.message)
            if rest and answer.success:
                self._profile_next(rest, answers, response, later)
            else:
                later.send(_filled(response, '; '.join(answers), success=answer.success))

        self._profiling[device] = (later, response)
        client.call_async(Trigger.Request()).add_done_callback(done)


def _filled(response: Any, message: str, *, success: bool = True) -> Any:
    response.success, response.message = success, message
    return response
