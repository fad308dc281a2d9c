# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches the weights of a device's stages where the model's file is not here, by their hashes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from edge_dnn_partition.errors import NotReadyError
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.transport.blobs import BlobStore
from edge_dnn_partition.units import format_bytes

from .blob_client import TURN_SECONDS, BlobClient, Fetched

_WAIT_SECONDS: Final = 10.0
"""So long a plan's weights are waited for; then the plan in force stays, and the weights go on coming for the next try."""
_LOOK_SECONDS: Final = 0.02


class WeightFetcher:
    """Made in the thread that spins; `fetch` is called in any other."""

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self._client = BlobClient(node, node.topics, BlobStore())
        self._turning = node.every(TURN_SECONDS, self._turn)
        self._coming: dict[str, str] = {}
        """By hash, why the weight cannot be had; empty: it is on its way."""

    def fetch(self, weights: Mapping[str, int]) -> None:
        """Have weights come into the store.

        :param weights: bytes of each, by its hash.
        :raises NotReadyError: if they are on their way still.
        :raises UserError: if one cannot be had.
        """
        store, until, left = BlobStore(), time.monotonic() + _WAIT_SECONDS, dict(weights)
        self._node.ticks.soon(lambda: self._want(weights))
        while left := {sha256: size for sha256, size in left.items() if store.find(sha256) is None}:
            failures = [self._coming[sha256] for sha256 in left if self._coming.get(sha256)]
            if failures:
                raise NotReadyError(f'a weight cannot be fetched: {failures[0]}')
            if time.monotonic() > until or self._node.ending.is_set():
                whole, here = sum(weights.values()), sum(weights.values()) - sum(left.values())
                raise NotReadyError(f'its weights are being fetched: {format_bytes(here)} of {format_bytes(whole)} are here')
            time.sleep(_LOOK_SECONDS)

    def _want(self, weights: Mapping[str, int]) -> None:
        store = BlobStore()
        for sha256, size in weights.items():
            if store.find(sha256) is None and self._coming.get(sha256) != '':
                self._coming[sha256] = ''
                self._client.fetch(sha256, size, partial(self._on_fetched, sha256))
        self._turning.start()

    def _on_fetched(self, sha256: str, fetched: Fetched) -> None:
        self._coming[sha256] = fetched.failure
        if fetched.done:
            del self._coming[sha256]

    def _turn(self) -> None:
        self._client.turn()
        if self._client.idle:
            self._turning.stop()
