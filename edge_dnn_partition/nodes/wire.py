# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensor pieces and their receipts: messages to the project's own types and back (the hot path)."""

from __future__ import annotations

from array import array

from edge_dnn_partition.msg import HopTiming, StageTiming, TensorInfo, TensorPiece
from edge_dnn_partition.runtime.pieces import Address, Piece
from edge_dnn_partition.runtime.tensors import WireTensor
from edge_dnn_partition.runtime.timing import HopTime, StageTime


def stage_message(stage: StageTime) -> StageTiming:
    """Return a stage's timing as a message."""
    return StageTiming(
        device=stage.device,
        stage=stage.stage,
        queue_seconds=stage.queue_seconds,
        decode_seconds=stage.decode_seconds,
        run_seconds=stage.run_seconds,
        cpu_seconds=stage.cpu_seconds,
    )


def stage_time(message: StageTiming) -> StageTime:
    """Return a stage's timing from its message."""
    return StageTime(
        message.device, message.stage, message.queue_seconds, message.decode_seconds, message.run_seconds,
        message.cpu_seconds,
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


def piece_message(piece: Piece) -> TensorPiece:
    """Return a piece as a message. Its data is copied once, into the array that rclpy takes fastest."""
    message = TensorPiece()
    address = piece.address
    message.kind = piece.kind
    message.sender = piece.sender
    message.incarnation = piece.incarnation
    message.bundle = piece.bundle
    message.index = piece.index
    message.count = piece.count
    message.offset = piece.offset
    message.total = piece.total
    message.sent_ns = piece.sent_ns
    message.paced = piece.paced
    message.segment = piece.segment
    if piece.index == 0:
        message.model_sha256 = address.model_sha256
        message.plan_version = address.plan_version
        message.frame_id = address.frame_id
        message.attempt = address.attempt
        message.from_stage = address.from_stage
        message.tensors = [
            TensorInfo(
                name=t.name, dtype=t.dtype, shape=list(t.shape), encoding=t.encoding, offset=t.offset, size=t.size
            )
            for t in piece.layout
        ]
        message.stages = [stage_message(stage) for stage in piece.stages]
        message.hops = [hop_message(hop) for hop in piece.hops]
        message.encode_seconds = piece.encode_seconds
    data = array('B')
    data.frombytes(piece.data)
    message.data = data
    return message


def piece_of(message: TensorPiece) -> Piece:
    """Return a piece from its message; its data is a view of the message's."""
    first = message.index == 0
    return Piece(
        message.kind,
        message.sender,
        message.incarnation,
        Address(message.model_sha256, message.plan_version, message.frame_id, message.attempt, message.from_stage),
        message.bundle,
        message.index,
        message.count,
        message.offset,
        message.total,
        memoryview(message.data),
        message.paced,
        message.sent_ns,
        tuple(WireTensor(t.name, t.dtype, tuple(t.shape), t.encoding, t.offset, t.size) for t in message.tensors)
        if first
        else (),
        tuple(stage_time(s) for s in message.stages) if first else (),
        tuple(hop_time(h) for h in message.hops) if first else (),
        message.encode_seconds,
        message.segment,
    )
