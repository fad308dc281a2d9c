# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The frames of an earlier run of the frame source that have no result: the journal, and the inputs that it kept of them."""

from __future__ import annotations

import os
from pathlib import Path

from edge_dnn_partition.cache import cache_dir
from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.journal import Journal
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.inputs.given import GivenInputs
from edge_dnn_partition.nodes.conversions.camera_messages import kept_inputs
from edge_dnn_partition.nodes.core.base import FleetNode


def open_journal(node: FleetNode, given: GivenInputs) -> tuple[Journal, dict[int, FrameInputs | None]]:
    """Return the journal, and the inputs of each unfinished frame in it by number; None where they are lost.

    :param node: a frame source, with the parameter ``journal``.
    :param given: what inputs have to be like now.
    """
    folder = node.params.text('journal')
    name = f'{node.topics.fleet.replace("/", "-")}-{node.topics.device}'
    root = Path(os.path.expanduser(folder)) if folder else cache_dir('frames')
    journal = Journal(root / f'{name}.journal', root / f'{name}.images' if folder else None)
    kept = {frame_number: _kept_inputs(node, given, journal, frame_number) for frame_number in journal.unfinished}
    if lost := sum(inputs is None for inputs in kept.values()):
        node.get_logger().warning(f'{lost} frames of an earlier run had no result; they are reported as lost')
    return journal, kept


def _kept_inputs(node: FleetNode, given: GivenInputs, journal: Journal, frame_number: int) -> FrameInputs | None:
    """Return the inputs that were kept of a frame; None if there are none that can be read."""
    content = journal.inputs(frame_number)
    try:
        inputs = kept_inputs(content) if content else None
        if inputs is not None:
            given.check(inputs.values)  # the fleet file may say otherwise now
        return inputs
    except WireError as error:
        node.get_logger().warning(f'frame {frame_number} of an earlier run: {error}')
        return None
