# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How frames end, as the bytes that DDS carries: Result and FrameReport in CDR, without the generated classes.

Each frame has one of both. A test holds them against the generated classes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.cdr import Reader, Writer
from edge_dnn_partition.transport.expected import check_timings
from edge_dnn_partition.transport.fragment_codec import read_hop, read_stage, write_hop, write_stage
from edge_dnn_partition.transport.tensors import Array, dtype_number
from edge_dnn_partition.transport.timing import HopTime, Radio, StageTime, frame_energy

from .ledger import DELIVERED, EXPIRED, FAILED, LOST, Frame
from .shadow_run import Shadow

STATUS: Final = {DELIVERED: 0, LOST: 1, EXPIRED: 2, FAILED: 4}
"""The numbers of Result and FrameReport."""
_SPARE: Final = 8
"""So much longer than needed Fast DDS makes a message, for the numbers of an empty sequence."""
_LARGEST: Final = 1e18


@dataclass(frozen=True)
class Report:
    """How a frame went: what a reader of FrameReport gets, with the message's names."""

    status: int
    frame_number: int
    reason: str
    plan_version: int
    attempt: int
    latency_seconds: float
    in_flight: int
    shadow: bool
    stages: tuple[StageTime, ...]
    hops: tuple[HopTime, ...]
    hop_radio_joules: tuple[float, ...]
    energy_joules: float
    radio_joules: float
    energy_deviation_joules: float
    energy_measured: bool


def report_of(frame: Frame, radio: Radio, in_flight: int) -> Report:
    """Return the report on a frame that has ended.

    :param in_flight: how many frames were under way when it was accepted, itself included.
    """
    energy, deviation, measured = frame_energy(frame.stages)
    return Report(
        STATUS[frame.status], frame.frame_number, frame.reason, frame.plan_version, frame.attempt, frame.latency_seconds, in_flight,
        False, frame.stages, frame.hops, tuple(map(radio.joules, frame.hops)), energy, radio.total(frame.hops), deviation, measured,
    )  # fmt: skip


def shadow_report(done: Shadow) -> Report:
    """Return the report on a frame that ran once more under a plan that is not in force."""
    return Report(
        STATUS[DELIVERED], done.number, '', done.plan.version, 0, done.taken_seconds, 1, True, done.stages, done.hops, (),
        0.0, math.nan, 0.0, False,
    )  # fmt: skip


def encode_report(report: Report) -> bytes:
    """Return a FrameReport."""
    writer = Writer()
    writer.put('BQ', report.status, report.frame_number)
    writer.text(report.reason)
    writer.put('IHdI?', report.plan_version, report.attempt, report.latency_seconds, report.in_flight, report.shadow)
    _write_timings(writer, report)
    return writer.sealed()


def encode_result(
    frame: Frame, report: Report, outputs: Sequence[str], *, incarnation: int, sequence: int, redelivered: bool
) -> bytes:
    """Return the Result of a frame, with its outputs in the model's order.

    :param outputs: of the model.
    :param incarnation: of the frame source; ``sequence`` counts its results.
    :param redelivered: it may have been published before.
    """
    writer, header = Writer(), frame.inputs.header
    if header is None:
        writer.put('iI', 0, 0)
        writer.text('')
    else:
        writer.put('iI', header.stamp.sec, header.stamp.nanosec)
        writer.text(header.frame_id)
    writer.put('BQQQ?IH', report.status, incarnation, sequence, frame.frame_number, redelivered, frame.plan_version, frame.attempt)
    writer.sequence(tuple((name, frame.outputs[name]) for name in outputs if name in frame.outputs), _write_output)
    writer.text(frame.reason)
    writer.put('d', frame.latency_seconds)
    _write_timings(writer, report)
    return writer.sealed()


def decode_report(raw: bytes) -> Report:
    """Return the report in a FrameReport of either byte order.

    :raises WireError: if the bytes end too soon, are too many or none of this message, or a figure cannot be.
    """
    try:
        reader = Reader(raw)
        (status, frame_number), reason = reader.take('BQ'), reader.text()
        version, attempt, latency, in_flight, shadow = reader.take('IHdI?')
        stages, hops, radio = reader.sequence(read_stage), reader.sequence(read_hop), reader.numbers('d')
        report = Report(
            status, frame_number, reason, version, attempt, latency, in_flight, shadow, stages, hops, radio, *reader.take('ddd?')
        )
        whole = reader.ends(_SPARE)
    except struct.error:
        raise WireError(f'a FrameReport of {len(raw)} bytes ends before it is complete') from None
    except UnicodeDecodeError:
        raise WireError('a FrameReport has text that is not UTF-8') from None
    if not whole:
        raise WireError(f'a FrameReport of {len(raw)} bytes, which are too many or too few')
    check_timings(report.stages, report.hops, report.latency_seconds)
    joules = (report.energy_joules, report.radio_joules, report.energy_deviation_joules, *report.hop_radio_joules)
    if any(abs(value) > _LARGEST for value in joules) or report.latency_seconds > _LARGEST:
        raise WireError(f'a FrameReport of frame {frame_number} with impossible figures')
    return report


def _write_timings(writer: Writer, report: Report) -> None:
    writer.sequence(report.stages, write_stage)
    writer.sequence(report.hops, write_hop)
    writer.numbers('d', report.hop_radio_joules)
    writer.put('ddd?', report.energy_joules, report.radio_joules, report.energy_deviation_joules, report.energy_measured)


def _write_output(writer: Writer, output: tuple[str, Array]) -> None:
    name, value = output
    writer.text(name)
    writer.put('i', dtype_number(value.dtype))
    writer.numbers('q', value.shape)
    writer.raw(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
