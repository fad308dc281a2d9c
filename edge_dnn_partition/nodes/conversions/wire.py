# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Frames' results, failures and reports, their timing, and the state of links: messages to the project's own types and back."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from std_msgs.msg import Header

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.failure import Failure, FailureKind
from edge_dnn_partition.execution.frames.ledger import DELIVERED, EXPIRED, FAILED, LOST, Frame
from edge_dnn_partition.execution.frames.shadow_run import Shadow
from edge_dnn_partition.msg import Exploration, FrameFailure, FrameReport, Heartbeat, HopTiming, Result, StageTiming, TensorData
from edge_dnn_partition.transport.link import LinkState
from edge_dnn_partition.transport.tensors import DTYPES, dtype_number
from edge_dnn_partition.transport.timing import HopTime, Radio, StageTime, frame_energy

_STATUS: Final = {DELIVERED: Result.OK, EXPIRED: Result.EXPIRED, LOST: Result.LOST, FAILED: Result.FAILED}


def stage_message(stage: StageTime) -> StageTiming:
    """Return a stage's timing as a message."""
    return StageTiming(
        device=stage.device,
        stage=stage.stage,
        queue_seconds=stage.queue_seconds,
        decode_seconds=stage.decode_seconds,
        run_seconds=stage.run_seconds,
        cpu_seconds=stage.cpu_seconds,
        joules=stage.joules,
        deviation_joules=stage.deviation_joules,
        energy_measured=stage.energy_measured,
    )


def stage_time(message: StageTiming) -> StageTime:
    """Return a stage's timing from its message."""
    return StageTime(
        message.device, message.stage, message.queue_seconds, message.decode_seconds, message.run_seconds,
        message.cpu_seconds, message.joules, message.deviation_joules, message.energy_measured,
    )  # fmt: skip


def hop_message(hop: HopTime) -> HopTiming:
    """Return a hop's timing as a message."""
    return HopTiming(
        sender=hop.sender,
        receiver=hop.receiver,
        from_stage=hop.from_stage,
        size=hop.size,
        encode_seconds=hop.encode_seconds,
        spread_seconds=hop.spread_seconds,
        spread_bytes=hop.spread_bytes,
    )


def hop_time(message: HopTiming) -> HopTime:
    """Return a hop's timing from its message."""
    return HopTime(
        message.sender, message.receiver, message.from_stage, message.size, message.encode_seconds,
        message.spread_seconds, message.spread_bytes,
    )  # fmt: skip


def tensor_message(name: str, value: np.ndarray[Any, Any]) -> TensorData:
    """Return a whole tensor of a result as a message."""
    message = TensorData(name=name, dtype=dtype_number(value.dtype), shape=list(value.shape))
    data = array('B')
    data.frombytes(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    message.data = data
    return message


def tensor_array(message: TensorData) -> np.ndarray[Any, Any]:
    """Return a result's tensor from its message.

    :raises WireError: if its shape and its bytes contradict each other.
    """
    dtype = DTYPES.get(message.dtype)
    if dtype is None or min(message.shape, default=0) < 0 or math.prod(message.shape) * dtype.itemsize != len(message.data):
        raise WireError(f'tensor {message.name[:80]!r} has {len(message.data)} bytes, which does not match its type and shape')
    return np.frombuffer(message.data, DTYPES[message.dtype]).reshape(tuple(message.shape))


def write_links(message: Heartbeat, states: Mapping[str, LinkState]) -> None:
    """Write the state of the links that start at its device into a heartbeat."""
    message.peers = list(states)
    message.bytes_per_second = [state.bytes_per_second for state in states.values()]
    message.latency_seconds = [state.latency_seconds for state in states.values()]
    message.age_seconds = [state.age_seconds for state in states.values()]


def links_in(message: Heartbeat) -> dict[str, LinkState]:
    """Return the state of the links that start at a heartbeat's device, by the device at the other end."""
    rows = zip(message.bytes_per_second, message.latency_seconds, message.age_seconds, strict=True)
    return {peer: LinkState(*row) for peer, row in zip(message.peers, rows, strict=True)}


def worth_in(message: Exploration, device: str) -> dict[str, tuple[float, float]]:
    """Return what the scheduler wants measured of the links that start at a device; see `TensorLink.on_exploration`."""
    rows = zip(message.senders, message.receivers, message.shares, message.bytes_per_second, strict=True)
    return {receiver: (share, rate) for sender, receiver, share, rate in rows if sender == device != receiver}


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
