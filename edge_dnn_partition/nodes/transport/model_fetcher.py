# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches the models that the fleet is about to have, or has, to this device, and prepares them (FleetDescription)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final

from edge_dnn_partition.control.scheduling.background import run_in_background
from edge_dnn_partition.deployment.fleet_description import OFFERED
from edge_dnn_partition.deployment.model_choice import at_hand
from edge_dnn_partition.msg import FleetDescription
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.blobs import BlobStore

from .blob_client import TURN_SECONDS, BlobClient, Fetched

_PREPARE_SECONDS: Final = 900.0


class ModelFetcher:
    """Used in the thread that spins.

    :param changed: called when there is another model here.
    """

    def __init__(self, node: FleetNode, changed: Callable[[], None]) -> None:
        self._node, self._changed, self._store = node, changed, BlobStore()
        self.models: set[str] = set()
        """Hashes of those that were asked for and are here, prepared."""
        self._client = BlobClient(node, node.topics, self._store)
        self._preparing: dict[str, Future[object]] = {}
        node.subscribe(FleetDescription, node.topics.description, self._on_description, qos.DESCRIPTION)
        self._turning = node.every(TURN_SECONDS, self._turn)

    def _on_description(self, message: FleetDescription) -> None:
        for path, sha256, size in zip(message.paths, message.sha256, message.bytes, strict=True):
            in_force = message.earlier_sha256 and sha256 == message.model_sha256
            if not (path.startswith(OFFERED) or in_force) or sha256 in self.models or sha256 in self._preparing:
                continue
            if (here := at_hand(self._node.fleet_as_written, sha256)) is not None:
                self._prepare(sha256, here)
            else:
                self._client.fetch(sha256, size, partial(self._on_fetched, sha256))
            self._turning.start()

    def _on_fetched(self, sha256: str, fetched: Fetched) -> None:
        extent = self._store.find(sha256)
        if fetched.failure or extent is None:
            self._node.refuse('file', f'a model that the fleet is to have cannot be fetched: {fetched.failure}')
        else:
            self._prepare(sha256, extent.path)

    def _prepare(self, sha256: str, path: Path) -> None:
        command = [sys.executable, '-m', 'edge_dnn_partition.cli', 'inspect', str(path), '--json', '--fleet',
                   self._node.params.text('fleet_file')]  # fmt: skip

        def prepare() -> object:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                timeout=_PREPARE_SECONDS, preexec_fn=lambda: os.nice(10),
            )  # fmt: skip

        self._preparing[sha256] = run_in_background(prepare, 'model')

    def _turn(self) -> None:
        self._client.turn()
        for sha256, work in list(self._preparing.items()):
            if work.done():
                del self._preparing[sha256]
                self.models.add(sha256)
                self._changed()
        if self._client.idle and not self._preparing:
            self._turning.stop()
