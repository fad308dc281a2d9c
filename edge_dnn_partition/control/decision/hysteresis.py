# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whether to move to a better plan now: the one hysteresis, through which every policy passes its best candidate."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.planning.objectives import Goal, goal_of

FAR_BETTER: Final = 0.5
"""A gain that waits only for its confirmation."""
STEP_BETTER: Final = 0.25
"""A gain that does not wait out the dwell time if a step since the last move explains it."""
CALM_DWELLS: Final = 30.0
"""For so many dwell times there is one move at most that no step explains: with the defaults, one a minute."""
EXPLAINS_SECONDS: Final = 5.0
"""So long after a step it explains a move, the first one after it."""


@dataclass(frozen=True)
class Settings:
    """What tempers the decision, under every policy.

    :param objective: its name, or a whole goal.
    :param least_gain: a new plan must be predicted to be better by this share of the present plan's value; what a scheduler
        begins with, until :mod:`.calibration` has a record.
    :param most_gain: a gain of that share is enough however uncertain the predictions are.
    :param dwell_seconds: how long a plan stays at least, unless it cannot go on, another is better by `FAR_BETTER`, or by
        `STEP_BETTER` after a step since, or one is better with a device that has come since.
    :param confirmations: in how many decisions on end another plan must be the better one.
    """

    objective: str | Goal = 'latency'
    least_gain: float = 0.08
    most_gain: float = 0.2
    dwell_seconds: float = 2.0
    confirmations: int = 2

    @property
    def goal(self) -> Goal:
        """What is to be least."""
        return goal_of(self.objective)


@dataclass(frozen=True)
class Verdict:
    """Whether to move, and why or what is waited for; ``reason`` begins with the gain."""

    moves: bool
    reason: str


class Hysteresis:
    """Knows the plan in force, since when, and for how many decisions on end another was better. Time is passed in.

    :param plan: the one in force; None: there is none yet.
    """

    def __init__(self, settings: Settings | None = None, plan: Hashable | None = None, since: float = -math.inf) -> None:
        self.settings = settings or Settings()
        self.plan, self.since = plan, since
        self._count = 0
        self._unexplained: Hashable | None = None
        """The plan that a move was granted to which no step explains."""
        self._restless_at = -math.inf
        """When such a move was made last."""

    def least_gain(self, deviation: float = 0.0, recorded: float | None = None) -> float:
        """Return the gain that a plan needs.

        :param deviation: relative standard deviation of the predictions.
        :param recorded: what the record of switches says; None: the settings count.
        """
        least = self.settings.least_gain if recorded is None else recorded
        return max(least, min(deviation, self.settings.most_gain))

    def moved(self, now: float, plan: Hashable) -> None:
        """Record that a plan has come into force, whoever asked for it."""
        if plan == self.plan:
            return
        if plan == self._unexplained:
            self._restless_at = now
        self.plan, self.since = plan, now
        self.calm()

    def calm(self) -> None:
        """Record that no plan is better now."""
        self._count, self._unexplained = 0, None

    def weigh(
        self, now: float, plan: Hashable, gain: float, least_gain: float, *, stepped_at: float = -math.inf,
        appeared_at: float = -math.inf, move_seconds: float = 0.0,
    ) -> Verdict:  # fmt: skip
        """Return whether to move to the best candidate. A move that was granted stays granted until `moved`.

        :param gain: the share of the present plan's value that it saves.
        :param least_gain: of `least_gain`.
        :param stepped_at: when a step has last made the plan in force worse or the candidate better.
        :param appeared_at: when a device of the candidate last appeared: a plan that was chosen without it need not stay.
        :param move_seconds: for so long the move itself stops the stream, which it must make up for while moves are rare.
        """
        least_gain += move_seconds / max(CALM_DWELLS * self.settings.dwell_seconds, 1.0)
        words = f'{gain:.0%}'.replace('%', ' %') + ' better'
        if gain <= 0 or gain < least_gain:
            self.calm()
            return Verdict(False, f'{words}, less than the {100 * least_gain:.0f} % needed')
        self._count += 1
        needed = self.settings.confirmations
        if self._count < needed:
            return Verdict(False, f'{words}, waiting for confirmation ({self._count} of {needed} decisions)')
        explained = stepped_at > max(self.since, now - EXPLAINS_SECONDS)
        if gain < FAR_BETTER:
            dwell = self.settings.dwell_seconds
            held = appeared_at <= self.since and not (explained and gain >= STEP_BETTER)
            if held and (left := self.since + dwell - now) > 0:
                return Verdict(False, f'{words}, waiting out dwell_seconds ({left:.1f} s left)')
            if not explained and (left := self._restless_at + CALM_DWELLS * dwell - now) > 0:
                return Verdict(False, f'{words}, waiting: no estimate has made a step lately ({left:.0f} s left)')
        self._unexplained = None if explained or gain >= FAR_BETTER else plan
        return Verdict(True, words)
