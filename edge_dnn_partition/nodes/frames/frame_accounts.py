# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frame source's journal at work: what an earlier run left without a result is sent again, or reported as lost."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from edge_dnn_partition.cache import cache_dir
from edge_dnn_partition.execution.frames.journal import Journal
from edge_dnn_partition.execution.frames.ledger import Frame, FrameLedger
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.inputs.kinds import inputs_from_bytes, inputs_to_bytes
from edge_dnn_partition.nodes.core.base import FleetNode

_DISCOVERY_SECONDS: Final = 5.0
_LISTENERS_SECONDS: Final = 1.0
"""So long who listens to results may take to be found, and others after the first: before that results of an earlier run's
frames would go unheard."""


class FrameAccounts:
    """Accounts for frames over the end of the process.

    :param node: a frame source, with its parameters.
    :param ledger: gets the frames of an earlier run that have no result, before it has accepted any.
    """

    def __init__(self, node: FleetNode, ledger: FrameLedger) -> None:
        self._node, self._ledger = node, ledger
        folder = node.params.text('journal')
        name = f'{node.topics.fleet.replace("/", "-")}-{node.topics.device}'
        root = Path(os.path.expanduser(folder)) if folder else cache_dir('frames')
        self._journal = Journal(root / f'{name}.journal', root / f'{name}.images' if folder else None)
        ledger.number_above(self._journal.last)
        now, lost = time.monotonic(), []
        for frame_id in self._journal.unfinished:
            inputs = self._kept(frame_id)
            ledger.restore(frame_id, inputs or FrameInputs(), now, self._journal.runs[frame_id])
            if inputs is None:
                lost.append(frame_id)
        self._left = tuple(lost)
        self._settle_at = now + _DISCOVERY_SECONDS

    def _kept(self, frame_id: int) -> FrameInputs | None:
        """Return the inputs that were kept of a frame of an earlier run; None if there are none that can be read."""
        content = self._journal.inputs(frame_id)
        if not content:
            return None
        try:
            inputs, header = inputs_from_bytes(content)
            return replace(inputs, header=deserialize_message(header, Header))
        except (ValueError, RuntimeError) as error:
            self._node.get_logger().warning(f'frame {frame_id} of an earlier run is lost: {error}')
            return None

    def begin(self, now: float) -> None:
        """The node has become active: those who want results may take a while to be found."""
        self._settle_at = now + _DISCOVERY_SECONDS

    def accepted(self, frame: Frame) -> None:
        """Note a frame, and its inputs if they are kept."""
        inputs = frame.inputs
        self._journal.accepted(frame.frame_id, lambda: inputs_to_bytes(inputs, serialize_message(inputs.header or Header())))

    def telling(self, frame_id: int) -> bool:
        """Note that a frame's result goes out now; return whether it may have gone out in an earlier run already."""
        again = self._journal.may_be_told(frame_id)
        self._journal.telling(frame_id)
        return again

    def finished(self, frame_id: int) -> None:
        """Note that a frame has had its result."""
        self._journal.finished(frame_id)

    def may_settle(self, now: float, listeners: int) -> bool:
        """True once who wants results has been found, or has had time to be."""
        if listeners > 0:
            self._settle_at = min(self._settle_at, now + _LISTENERS_SECONDS)
        return now >= self._settle_at

    def settle(self, now: float) -> None:
        """Report the frames of an earlier run as lost whose inputs were not kept."""
        lost = sum(self._ledger.lose(frame_id, now) for frame_id in self._left)
        if lost:
            self._node.get_logger().warning(f'{lost} frames of an earlier run have no result')
        self._left = ()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
