# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Who plays a recording: the product's policies, and what they are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from edge_dnn_partition.control.decision.calibration import Calibration
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policies import policy_of
from edge_dnn_partition.control.decision.policy import FixedPolicy, Policy
from edge_dnn_partition.control.decision.recorded import RecordedPolicy
from edge_dnn_partition.deployment.node_parameters import SCHEDULER
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate

from .policy_rivals import BanditSettings, LinearBandit

Assignment = tuple[str, ...]
DEFAULT: Final = next(str(parameter.default) for parameter in SCHEDULER if parameter.name == 'policy')
"""The policy of the product that is held against the bounds."""
_POLICIES: Final = ('exact', 'auto', 'q_learning')
_RATES: Final = 24
_START_SECONDS: Final = 10.0


def product(name: str) -> Policy:
    """Return one of the scheduler's policies with its record of switches, all as by default."""
    return RecordedPolicy(policy_of(name, Settings()), Calibration())


def problem_at(
    pipeline: Pipeline, uplink: float, links: Mapping[tuple[str, str], tuple[float, float]], image_bytes: float,
    devices: Sequence[str] | None = None,
) -> Problem:  # fmt: skip
    """Return the planning problem at a rate of the links to the cloud.

    :param uplink: bytes per second.
    :param links: of each pair the rate, where it is not that of the uplink, and the delay.
    """
    there = devices or list(pipeline.fleet.devices)
    estimates = {}
    for (a, b), (rate, delay) in links.items():
        estimate = LinkEstimate(uplink if 'cloud' in (a, b) else rate, delay, measured=True)
        estimates[a, b] = estimates[b, a] = estimate
    return pipeline.problem(devices=there, factors={}, links=estimates, input_bytes=image_bytes, permitted=Permitted())


def planned(problem: Problem) -> Assignment:
    """Return the quickest plan."""
    found = solve(problem).assignment
    assert found is not None
    return tuple(found)


def undominated(
    pipeline: Pipeline, rates: Sequence[float], links: Mapping[tuple[str, str], tuple[float, float]], image_bytes: float
) -> list[Assignment]:
    """Return the plans that are the quickest at some rate of the uplink between the least and the most, bytes per second."""
    span = np.geomspace(max(min(rates), 2e3), max(*rates, 4e3), _RATES)
    return list(dict.fromkeys(planned(problem_at(pipeline, float(rate), links, image_bytes)) for rate in span))


def neurosurgeon(problem: Problem, source: str, server: str) -> Assignment:
    """Return the best plan with one cut between two devices (Kang et al., Neurosurgeon, ASPLOS 2017)."""
    plans = [(source,) * k + (server,) * (problem.nodes - k) for k in range(problem.nodes + 1)]
    return min(plans, key=lambda plan: evaluate(problem, plan).latency_seconds)


def competitors(
    pipeline: Pipeline, rates: Sequence[tuple[float, float]], links: Mapping[tuple[str, str], tuple[float, float]],
    image_bytes: float,
) -> dict[str, Callable[[], Policy]]:  # fmt: skip
    """Return who plays beside the product's default, by name.

    :param rates: when the uplink gets which rate, bytes per second.
    """
    source = pipeline.fleet.source
    start = float(np.mean([rate for at, rate in rates if at <= _START_SECONDS]))
    at_start = problem_at(pipeline, max(start, 2e3), links, image_bytes)
    two = problem_at(pipeline, max(start, 2e3), links, image_bytes, [source, 'cloud'])
    fixed = {
        'split once (Neurosurgeon)': neurosurgeon(at_start, source, 'cloud'),
        'split once (DADS)': planned(two),  # on two devices the planner is the min-cut of DADS (Hu et al., INFOCOM 2019)
        'split once (all devices)': planned(at_start),
    }
    for plan in undominated(pipeline, [rate for _, rate in rates], links, image_bytes):
        fixed[f'fixed {pipeline.plan(plan).label()}'] = plan
    found: dict[str, Callable[[], Policy]] = {name: lambda plan=plan: FixedPolicy(plan) for name, plan in fixed.items()}  # type: ignore[misc]
    found['exact without hysteresis'] = lambda: policy_of(
        'exact', Settings(least_gain=0.0, most_gain=0.0, dwell_seconds=0.0, confirmations=1)
    )
    found['discounted bandit'] = lambda: LinearBandit(BanditSettings(forget=0.95, least_gain=0.05))
    for name in _POLICIES:
        if name != DEFAULT:
            found[name] = lambda name=name: product(name)  # type: ignore[misc]
    return found
