# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes in words why the plan in force is what it is (`control.decision.explain`)."""

from __future__ import annotations

import functools
import math
from concurrent.futures import Future
from typing import Final

from edge_dnn_partition.control.decision.explain import Explanation, explain
from edge_dnn_partition.control.scheduling.background import run_in_background
from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler
from edge_dnn_partition.msg import Decision
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.plans.compose import assignment_of

_PERIOD_SECONDS: Final = 2.0
"""A plan that stays is explained again so often, as the figures change ..."""
_MOST_SHARE: Final = 0.05
"""... but not so often that explaining takes a larger share of a core."""


class ExplanationPublisher:
    """Used in the thread that spins; explaining, which plans many times, has a thread of its own.

    :param node: the scheduler.
    """

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._decisions = node.advertise(Decision, node.topics.decision, qos.DECISION, overridable=True)
        self._work: Future[Explanation] | None = None
        self._about = (0, False)
        self._began = self._due = -math.inf
        self._version = 0
        self.last: Explanation | None = None
        """What was published last."""

    def on_problem(self, scheduler: FleetScheduler, problem: Problem, now: float) -> None:
        """Publish what is ready, and explain the plan in force if it is new, or that is due; at each decision."""
        if self._work is not None:
            if not self._work.done():
                return
            work, self._work = self._work, None
            self._due = now + max(_PERIOD_SECONDS, (now - self._began) / _MOST_SHARE)
            if (error := work.exception()) is not None:
                self._node.refuse('explanation', str(error))
            else:
                self._publish(work.result())
        plan = scheduler.switch.active
        if plan is None:
            return
        moved = plan.version not in (self._version, scheduler.mover.resumed_version)
        if plan.version == self._version and now < self._due:
            return
        self._version, self._began, self._about = plan.version, now, (plan.version, moved)
        reason = plan.reason if moved else scheduler.decision_words(now)
        goal, boundaries = scheduler.runner.goal, scheduler.estimator.pipeline.boundaries
        assignment = assignment_of(plan.placement, boundaries)
        if assignment is None:
            words = f'{plan.label()}, which is cut where nothing was measured; {"moved here" if moved else "stays"}: {reason}'
            self._publish(Explanation(words, goal.name, math.nan))
            self._due = now + _PERIOD_SECONDS
        else:
            explaining = functools.partial(explain, problem, assignment, boundaries, goal, reason=reason, moved=moved)
            self._work = run_in_background(explaining, 'explaining')

    def _publish(self, found: Explanation) -> None:
        """Publish an explanation unless it says what the last one said."""
        version, moved = self._about
        if not moved and found == self.last:
            return
        self.last = found
        self._decisions.publish(Decision(
            stamp=self._node.get_clock().now().to_msg(), version=version, moved=moved, text=found.text,
            objective=found.objective, value=found.value, unit=found.unit, next_best=found.next_best,
            next_best_value=found.next_best_value,
        ))  # fmt: skip
        if moved:
            self._node.get_logger().info(f'plan {version}: {found.text}')
