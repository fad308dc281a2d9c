# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Frames' results, failures and reports, their timing, and the state of links: messages to the project's own types and back."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.failure import Failure, FailureKind
from edge_dnn_partition.msg import Exploration, FrameFailure, Heartbeat, HopTiming, StageTiming, TensorData
from edge_dnn_partition.transport.link import LinkState
from edge_dnn_partition.transport.tensors import DTYPES, dtype_number
from edge_dnn_partition.transport.timing import HopTime, StageTime


def stage_time(message: StageTiming) -> StageTime:
    """Return a stage's timing from its message."""
    return StageTime(
        message.device, message.stage, message.queue_seconds, message.decode_seconds, message.run_seconds,
        message.cpu_seconds, message.joules, message.deviation_joules, message.energy_measured,
    )  # fmt: skip


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


def failure_of(message: FrameFailure) -> Failure:
    """Return a failure from its message.

    :raises WireError: if its kind is none.
    """
    if message.kind not in tuple(FailureKind):
        raise WireError(f'{message.device} reports frame {message.frame_number} as failed with the unknown kind {message.kind}')
    return Failure(
        FailureKind(message.kind), message.device, message.incarnation, message.frame_number, message.plan_version,
        message.attempt, message.stage, message.reason,
    )  # fmt: skip
