# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes what a device needs to know of the fleet to join it (FleetDescription), and answers for the files that it names."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

from edge_dnn_partition.control.scheduling.background import run_in_background
from edge_dnn_partition.deployment.fleet_description import OFFERED, FleetDescription, FleetFile, describe
from edge_dnn_partition.deployment.model_choice import chosen
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.msg import FleetDescription as DescriptionMessage
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.blob_server import BlobServer
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.blobs import BlobStore, Extent

_LOOK_SECONDS: Final = 0.25


class DescriptionPublisher:
    """Used in the thread that spins; the files' hashes are taken on a thread of its own.

    :param node: the scheduler.
    :param model: in force.
    """

    def __init__(self, node: FleetNode, fleet: Fleet, model: Model) -> None:
        self._node, self._model_sha256, self._version = node, model.sha256, 0
        self._publisher = node.advertise(DescriptionMessage, node.topics.description, qos.DESCRIPTION)
        self._places: dict[str, Extent] = {}
        """Of the fleet's files and the model's weights here, by hash."""
        BlobServer(node, node.topics, node.get_name(), self._find)
        self._work: Future[tuple[FleetDescription, dict[str, Extent]]]
        self._work = run_in_background(lambda: describe(fleet, model), 'description')
        choice = chosen(fleet.fleet)
        self._earlier_sha256 = '' if choice is None else choice.earlier.sha256
        self._described: FleetDescription | None = None
        self._offered: tuple[FleetFile, ...] = ()
        self._looking = node.every(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if not self._work.done():
            return
        self._looking.stop()
        self._described, self._places = self._work.result()
        self._publish()

    def offer(self, name: str, sha256: str, size: int) -> None:
        """Let every device fetch a model that the fleet is to have next."""
        self._offered = (FleetFile(OFFERED + name, sha256, size),)
        self._publish()

    def _publish(self) -> None:
        if self._described is None:
            return
        files = (*self._described.files, *self._offered)
        self._version += 1
        self._publisher.publish(DescriptionMessage(
            stamp=self._node.get_clock().now().to_msg(), incarnation=self._node.incarnation, version=self._version,
            fleet_file=self._described.text, paths=[file.path for file in files],
            sha256=[file.sha256 for file in files], bytes=[file.bytes for file in files],
            whole=[file.whole for file in files], model_sha256=self._model_sha256, earlier_sha256=self._earlier_sha256,
        ))  # fmt: skip

    def _find(self, sha256: str) -> Extent | None:
        return self._places.get(sha256) or BlobStore().find(sha256)
