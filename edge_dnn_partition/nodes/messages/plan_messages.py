# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Plans and profiles as messages, and plans of messages, checked."""

from __future__ import annotations

import dataclasses
import math

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.msg import PlanStage, PlanTransfer
from edge_dnn_partition.msg import Profile as ProfileMessage
from edge_dnn_partition.msg import TensorCoding as CodingMessage
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.runtime.frames.plan_book import PlanStatus
from edge_dnn_partition.runtime.scheduling.readings import plan_of


def plan_message(plan: Plan, status: int) -> PlanMessage:
    """Return a plan as a message."""
    message = PlanMessage(
        status=status,
        version=plan.version,
        model_sha256=plan.model_sha256,
        objective=plan.objective,
        source=plan.source,
        sink=plan.sink,
        max_in_flight=plan.max_in_flight,
        latency_seconds=plan.latency_seconds,
        latency_deviation=plan.latency_deviation,
        energy_joules=plan.energy_joules,
        bottleneck_seconds=plan.bottleneck_seconds,
        reason=plan.reason,
    )
    message.stages = [
        PlanStage(
            device=stage.device,
            preprocess=stage.preprocess,
            layer_ranges=[edge for pair in stage.layers for edge in pair],
            inputs=list(stage.inputs),
            outputs=list(stage.outputs),
        )
        for stage in plan.stages
    ]
    message.transfers = [
        PlanTransfer(
            tensor=t.tensor, from_stage=t.from_stage, from_device=t.from_device, to_device=t.to_device,
            to_sink=t.to_sink, encoding=t.encoding,
        )
        for t in plan.transfers
    ]  # fmt: skip
    return message


def plan_for(message: PlanMessage, model_sha256: str) -> Plan:
    """Return a plan from its message, for a node that has one model.

    :raises PlanError: if the plan is for another model.
    """
    if message.model_sha256 != model_sha256:
        raise PlanError(
            f'plan {message.version} is for another model than this device has; copy one model file to all devices'
        )
    return plan_of(message)


def status_of(message: PlanMessage) -> PlanStatus:
    """Return what a message says of its plan.

    :raises PlanError: if that is nothing known.
    """
    try:
        return PlanStatus(message.status)
    except ValueError:
        raise PlanError(f'plan {message.version} comes with the status {message.status}, which is unknown') from None


def profile_message(profile: Profile, device: str) -> ProfileMessage:
    """Return a profile as a message."""
    return ProfileMessage(
        device=device,
        model_sha256=profile.model_sha256,
        provider=profile.provider,
        threads=profile.threads,
        boundaries=list(profile.boundaries),
        segment_seconds=list(profile.segment_seconds),
        seam_seconds=list(profile.seam_seconds),
        preprocess_seconds=math.nan if profile.preprocess_seconds is None else profile.preprocess_seconds,
        relative_error=profile.relative_error,
        throttled=profile.throttled,
        probe_seconds=profile.probe_seconds,
        codings=[CodingMessage(**dataclasses.asdict(coding)) for coding in profile.codings],
        picture_bytes=profile.picture_bytes,
    )
