# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Why a worker cannot run its part of a frame, and whether another device could."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from edge_dnn_partition.errors import DeviceError, ModelError, NotReadyError, WireError

_LONGEST_REASON: Final = 400


class FailureKind(IntEnum):
    """What a failure depends on; the numbers are those of ``FrameFailure.msg``."""

    DATA = 0
    DEVICE = 1
    NOT_READY = 2


@dataclass(frozen=True)
class Failure:
    """A frame that a device cannot process; ``stage`` is an index in the plan, -1: its input was not taken."""

    kind: FailureKind
    device: str
    incarnation: int
    frame_number: int
    plan_version: int
    attempt: int
    stage: int
    reason: str

    def __str__(self) -> str:
        """Say it to people."""
        return f'{f"stage {self.stage}" if self.stage >= 0 else "its input"} on {self.device}: {self.reason}'


def kind_of(error: BaseException) -> FailureKind:
    """Return what a failure of a stage depends on; one that nobody expects may be the device's."""
    if isinstance(error, NotReadyError):
        return FailureKind.NOT_READY
    if isinstance(error, WireError | ModelError) and not isinstance(error, DeviceError):
        return FailureKind.DATA
    return FailureKind.DEVICE


def reason_of(error: BaseException) -> str:
    """Return an error as one line of printable text."""
    text = str(error)
    if not isinstance(error, WireError | ModelError):
        text = f'{type(error).__name__}: {text}'
    line = ' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + '…'
