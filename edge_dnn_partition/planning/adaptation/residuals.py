# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the planner's predictions miss, as logarithms: shared by plans (devices, links) and of single plans.

A frame's latency over its prediction tells of every device and link on its way at once, and of the plan
itself (a wrong profile of one stage, a stage that falls out of a cache). An extended Kalman filter tells
them apart as far as they can be: the state is the logarithm of a factor of each component and of each
candidate plan, the measurement the logarithm of a frame's cost, and, where they are known, of its parts: then a
device that has become slow is not taken for a slow link. All factors drift back to 1 as they age, so
that what was not seen for long is the planner's word again (an Ornstein-Uhlenbeck process, the dynamic
linear model of West and Harrison, Bayesian Forecasting and Dynamic Models, 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.problem import Floats

from .components import Components

_WHOLE: Final = 1.02
"""Parts that are more than the whole ran side by side, or are wrong: they tell nothing of the whole."""


@dataclass(frozen=True)
class ResidualSettings:
    """How strong and how lasting residuals are thought to be.

    :param component_deviation: standard deviation of a device's or a link's log factor before anything is known.
    :param component_seconds: time constant with which such a factor drifts.
    :param plan_deviation: the same for a single plan; 0: plans have no effects of their own.
    :param plan_seconds: time constant of a plan's effect.
    :param noise: standard deviation of the logarithm of a frame's cost under equal conditions; of a part of it, the more
        the smaller the part is.
    :param least_part: share of a frame's predicted cost below which a part tells nothing.
    :param clip: the largest surprise that is believed at once, as a logarithm.
    :param telemetry_step: by how much an estimate must change, as a logarithm, to count as a change.
    """

    component_deviation: float = 0.4
    component_seconds: float = 30.0
    plan_deviation: float = 0.15
    plan_seconds: float = 600.0
    noise: float = 0.06
    least_part: float = 0.05
    clip: float = 1.0
    telemetry_step: float = 0.12


class ResidualFilter:
    """Follows log residuals; time is passed in. Not thread safe.

    :param components: how many components predictions have (:attr:`.components.Predictor.count`).
    :param plans: how many candidate plans have an effect of their own; they are counted from 0.
    """

    def __init__(self, components: int, plans: int = 0, settings: ResidualSettings | None = None) -> None:
        self.settings = settings or ResidualSettings()
        self.count = components
        size = components + plans
        self._prior = np.full(size, self.settings.component_deviation**2)
        self._prior[components:] = self.settings.plan_deviation**2
        self._seconds = np.full(size, self.settings.component_seconds)
        self._seconds[components:] = self.settings.plan_seconds
        self.mean: Floats = np.zeros(size)
        self.covariance: Floats = np.diag(self._prior)
        self._at = -math.inf
        self._surprises: dict[int | None, int] = {}
        self._levels: Floats | None = None

    @property
    def component_logs(self) -> Floats:
        """The log factor of each component, ``(components,)``."""
        return self.mean[: self.count]

    @property
    def plan_logs(self) -> Floats:
        """The log factor of each candidate plan, ``(plans,)``."""
        return self.mean[self.count :]

    def forget_plan(self, plan: int) -> None:
        """Begin anew with one plan's effect: another plan has taken its number."""
        index = self.count + plan
        self.mean[index] = 0.0
        self.covariance[index, :] = 0.0
        self.covariance[:, index] = 0.0
        self.covariance[index, index] = self._prior[index]

    def advance(self, now: float) -> None:
        """Let time pass: factors drift back to 1, and are less certain."""
        if not now > self._at:
            return
        if math.isfinite(self._at):
            keep = np.exp(-(now - self._at) / self._seconds)
            self.mean = self.mean * keep
            self.covariance = self.covariance * np.outer(keep, keep)
            self.covariance[np.diag_indices_from(self.covariance)] += (1 - keep**2) * self._prior
        self._at = now

    def telemetry(self, levels: Floats) -> None:
        """Take in what telemetry says: what it has come to show, residuals need not explain any more.

        Estimates come late. Until they do, a residual stands in for them; it must not stay when they have come, least
        of all that of a link that is not used any more, since no frame would ever correct it.

        :param levels: ``(components,)`` of :meth:`.components.Predictor.levels`.
        """
        if self._levels is None:
            self._levels = levels.copy()
            return
        change = levels - self._levels
        moved = np.abs(change) > self.settings.telemetry_step  # False for NaN
        self._levels = np.where(moved | np.isnan(self._levels), levels, self._levels)
        for index in np.flatnonzero(moved).tolist():
            mean, step = float(self.mean[index]), float(change[index])
            if mean * step > 0:
                self.mean[index] = math.copysign(max(abs(mean) - abs(step), 0.0), mean)
            self.covariance[index, index] += min(step**2, float(self._prior[index]))

    def predict(self, components: Components) -> Floats:
        """Return the logarithm of the corrected value of each candidate plan, ``(plans,)``."""
        return components.log_values(self.component_logs) + self.plan_logs[: len(components.values)]

    def deviations(self, components: Components, than: int | None) -> Floats:
        """Return the standard deviation of how each candidate's corrected log value differs from that of one of them.

        Plans that share a device share its uncertainty, which says nothing of which is better.

        :param than: that one's number; None: of each value alone.
        :return: ``(plans,)``; 0 where a plan cannot run.
        """
        able = np.isfinite(components.values[:, 0])
        base = np.zeros(len(self.mean))
        if than is not None and able[than]:
            base = self._gradient(components, than, than)
        rows = np.array([self._gradient(components, i, i) - base if able[i] else base * 0 for i in range(len(able))])
        rows = rows.reshape(len(able), len(self.mean))
        variances = np.einsum('ki,ij,kj->k', rows, self.covariance, rows)
        return np.asarray(np.sqrt(np.maximum(variances, 0.0)), dtype=np.float64)

    def update(
        self, components: Components, row: int, plan: int | None, log_measured: float, *, alone: bool = False,
        parts: Floats | None = None,
    ) -> float:  # fmt: skip
        """Take a frame's cost in, and return by how much it surprised, as a logarithm (clipped).

        A great surprise may be a late frame and is let pass. Two on end of one sign mean that something has changed:
        then the components' factors count as little known, so that they follow within a few frames.

        :param row: which row of ``components`` the frame ran under.
        :param plan: the number of that plan among the candidates; None if it is none of them.
        :param log_measured: the logarithm of what the frame cost.
        :param alone: it has no neighbours that would confirm a great surprise (a shadow frame).
        :param parts: ``(components,)``, what the components that were timed have cost, in the unit of ``components``; NaN
            for the others, which share what is left of the whole.
        """
        predicted = float(components.log_values(self.component_logs)[row])
        if not (math.isfinite(predicted) and math.isfinite(log_measured)):
            return 0.0
        effect = 0.0 if plan is None else float(self.mean[self.count + plan])
        noise = self.settings.noise**2 + (self.settings.plan_deviation**2 if plan is None else 0.0)
        surprise = min(max(log_measured - predicted - effect, -self.settings.clip), self.settings.clip)
        if parts is not None and components.groups is None:
            self._take_parts(components.values[row], parts, plan, math.exp(log_measured), alone=alone)
        effect = 0.0 if plan is None else float(self.mean[self.count + plan])
        predicted = float(components.log_values(self.component_logs)[row]) + effect
        self._correct(None, self._gradient(components, row, plan), log_measured - predicted, noise, alone=alone)
        return surprise

    def _take_parts(self, values: Floats, parts: Floats, plan: int | None, measured: float, *, alone: bool) -> None:
        """Correct the timed components by their own times, and the others by what is left of the whole."""
        timed = np.isfinite(parts) & (parts > 0) & (values > 0)
        if float(parts[timed].sum()) > _WHOLE * measured:
            return
        now = values * np.exp(self.component_logs)
        total = float(now.sum())
        for index in np.flatnonzero(timed & (now >= self.settings.least_part * total)).tolist():
            gradient = np.zeros(len(self.mean))
            gradient[index] = 1.0
            error = math.log(float(parts[index])) - math.log(float(now[index]))
            self._correct_part(index, gradient, error, float(now[index]) / total, plan, alone=alone)
        others = np.where(timed, 0.0, now)
        rest, left = float(others.sum()), measured - float(parts[timed].sum())
        if rest >= self.settings.least_part * total and left > 0:
            gradient = np.zeros(len(self.mean))
            gradient[: self.count] = others / rest
            self._correct_part(self.count, gradient, math.log(left / rest), rest / total, plan, alone=alone)

    def _correct_part(
        self, key: int, gradient: Floats, error: float, share: float, plan: int | None, *, alone: bool
    ) -> None:  # fmt: skip
        """Correct the state by a part of a frame, in which the plan's own effect counts as in the whole.

        :param share: of the part in the whole: the smaller it is, the noisier.
        """
        noise = (self.settings.noise / share) ** 2
        if plan is None:
            noise += self.settings.plan_deviation**2
        else:
            gradient[self.count + plan] = 1.0
            error -= float(self.mean[self.count + plan])
        self._correct(key, gradient, error, noise, alone=alone)

    def _correct(self, key: int | None, gradient: Floats, error: float, noise: float, *, alone: bool) -> None:
        """Correct the state by one measurement.

        :param key: of what: each has its own great surprises.
        :param gradient: of the measurement, ``(components + plans,)``.
        :param error: the measurement less its prediction, as logarithms.
        :param noise: its variance.
        """
        error = min(max(error, -self.settings.clip), self.settings.clip)
        spread = self.covariance @ gradient
        variance = float(gradient @ spread) + noise
        if alone:
            limit = 3 * math.sqrt(variance)
            error = min(max(error, -limit), limit)
        elif error**2 > 9 * variance:
            sign = 1 if error > 0 else -1
            if self._surprises.get(key) != sign:
                self._surprises[key] = sign
                return
            index = np.flatnonzero(gradient[: self.count]) if key is not None else np.arange(self.count)
            self.covariance[index, index] += self._prior[index]
            spread = self.covariance @ gradient
            variance = float(gradient @ spread) + noise
        else:
            self._surprises[key] = 0
        self.mean = self.mean + spread * (error / variance)
        self.covariance = self.covariance - np.outer(spread, spread) / variance

    def _gradient(self, components: Components, row: int, plan: int | None) -> Floats:
        gradient = np.zeros(len(self.mean))
        gradient[: self.count] = components.shares(row, self.component_logs)
        if plan is not None:
            gradient[self.count + plan] = 1.0
        return gradient

    def to_json(self) -> dict[str, Any]:
        """Return the plans' effects and how sure they are; the components' are of the moment and not kept."""
        variances = np.diag(self.covariance)[self.count :]
        return {'mean': self.plan_logs.tolist(), 'variance': variances.tolist()}

    def restore(self, document: Any) -> None:
        """Take up what :meth:`to_json` returned.

        :raises PlanError: if it is malformed or of another number of plans.
        """
        try:
            mean = np.array(document['mean'], dtype=np.float64)
            variance = np.array(document['variance'], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            raise PlanError('the residuals on record are malformed; delete the file') from None
        if not (mean.shape == variance.shape == self.plan_logs.shape and np.isfinite(mean).all() and (variance >= 0).all()):
            raise PlanError('the residuals on record are of other plans; delete the file')
        self.mean[self.count :] = mean
        index = np.arange(self.count, len(self.mean))
        self.covariance[index, index] = np.minimum(variance, self._prior[self.count :])
