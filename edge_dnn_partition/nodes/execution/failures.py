# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's reports of frames that it cannot process, said at once to who decides what becomes of them."""

from __future__ import annotations

from edge_dnn_partition.execution.frames.failure import kind_of, reason_of
from edge_dnn_partition.msg import FrameFailure
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.fragments import Address


class FailureReports:
    """May be used from any thread.

    :param node: a worker.
    """

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._publisher = node.advertise(FrameFailure, node.topics.frame_failure, qos.FAILURES)

    def publish(self, address: Address, stage: int, error: BaseException) -> None:
        """Say that a frame failed.

        :param stage: index in its plan; -1: its input was not taken.
        """
        self._publisher.publish(FrameFailure(
            kind=kind_of(error), device=self._node.topics.device, incarnation=self._node.incarnation, frame_id=address.frame_id,
            plan_version=address.plan_version, attempt=address.attempt, stage=stage, reason=reason_of(error),
        ))  # fmt: skip
