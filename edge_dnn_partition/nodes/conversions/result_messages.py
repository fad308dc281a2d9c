# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages about frames: a failure, a result, and the report that has no outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from std_msgs.msg import Header

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.failure import Failure, FailureKind
from edge_dnn_partition.execution.frames.ledger import DELIVERED, EXPIRED, FAILED, LOST, Frame
from edge_dnn_partition.execution.frames.shadow_run import Shadow
from edge_dnn_partition.msg import FrameFailure, FrameReport, Result
from edge_dnn_partition.transport.timing import Radio, frame_energy

from .wire import hop_message, stage_message, tensor_message

_STATUS: Final = {DELIVERED: Result.OK, EXPIRED: Result.EXPIRED, LOST: Result.LOST, FAILED: Result.FAILED}


def result_message(frame: Frame, outputs: Sequence[str], radio: Radio) -> Result:
    """Return a finished frame's result, with its outputs in the model's order."""
    energy, deviation, measured = frame_energy(frame.stages)
    return Result(
        header=frame.inputs.header or Header(), status=_STATUS[frame.status], frame_id=frame.frame_id,
        reason=frame.reason, plan_version=frame.plan_version, attempt=frame.attempt, latency_seconds=frame.latency_seconds,
        stages=[stage_message(stage) for stage in frame.stages], hops=[hop_message(hop) for hop in frame.hops],
        energy_joules=energy, energy_deviation_joules=deviation, energy_measured=measured,
        hop_radio_joules=[radio.joules(hop) for hop in frame.hops], radio_joules=radio.total(frame.hops),
        outputs=[tensor_message(name, frame.outputs[name]) for name in outputs if name in frame.outputs],
    )  # fmt: skip


def report_message(result: Result, in_flight: int) -> FrameReport:
    """Return the report on a frame, which is its result without the outputs.

    :param in_flight: how many frames were under way when it was accepted, itself included.
    """
    return FrameReport(
        status=result.status, frame_id=result.frame_id, reason=result.reason, plan_version=result.plan_version,
        attempt=result.attempt, latency_seconds=result.latency_seconds, in_flight=in_flight, stages=result.stages, hops=result.hops,
        hop_radio_joules=result.hop_radio_joules, radio_joules=result.radio_joules, energy_joules=result.energy_joules,
        energy_deviation_joules=result.energy_deviation_joules, energy_measured=result.energy_measured,
    )  # fmt: skip


def shadow_report(done: Shadow) -> FrameReport:
    """Return the report on a frame that ran once more under a plan that is not in force."""
    return FrameReport(
        status=Result.OK, frame_id=done.number, plan_version=done.plan.version, shadow=True, in_flight=1,
        latency_seconds=done.taken_seconds, stages=[stage_message(stage) for stage in done.stages],
        hops=[hop_message(hop) for hop in done.hops], radio_joules=math.nan,
    )  # fmt: skip


def failure_of(message: FrameFailure) -> Failure:
    """Return a failure from its message.

    :raises WireError: if its kind is none.
    """
    if message.kind not in tuple(FailureKind):
        raise WireError(f'{message.device} reports frame {message.frame_id} as failed with the unknown kind {message.kind}')
    return Failure(
        FailureKind(message.kind), message.device, message.incarnation, message.frame_id, message.plan_version,
        message.attempt, message.stage, message.reason,
    )  # fmt: skip
