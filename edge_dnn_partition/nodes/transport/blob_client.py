# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches files and weights by their hash from devices that have them (`transport.blob_fetch`)."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.msg import BlobBlock, BlobRequest
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.carrier import Carrier
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.transport.blob_fetch import BlobFetch, Earlier
from edge_dnn_partition.transport.blobs import BlobPart, BlobStore

TURN_SECONDS: Final = 0.01
"""How often `BlobClient.turn` is to be called while something is being fetched."""


@dataclass(frozen=True)
class Fetched:
    """How far a blob has come.

    :param total: bytes of it; None: not known yet.
    :param failure: why it cannot be had; empty: it can.
    """

    have: int
    total: int | None
    done: bool
    failure: str


class BlobClient:
    """Fetches blobs for one process, one after the other; used in the thread that spins.

    :param topics: of this device.
    """

    def __init__(self, carrier: Carrier, topics: Topics, store: BlobStore) -> None:
        self.topics, self._store = topics, store
        self._incarnation = secrets.randbits(63)
        self._queue: OrderedDict[str, tuple[int | None, Callable[[Fetched], None]]] = OrderedDict()
        self._fetch: BlobFetch | None = None
        self._before: Earlier | None = None
        carrier.subscribe(BlobBlock, topics.blobs(), self._on_block, qos.BLOBS)
        self._requests = carrier.advertise(BlobRequest, topics.blob_requests, qos.BLOB_REQUESTS)

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted."""
        return not self._queue

    def fetch(self, sha256: str, size: int | None, ended: Callable[[Fetched], None]) -> None:
        """Want a blob.

        :param size: bytes of it, if that is known.
        :param ended: called when it is here or cannot be had.
        """
        self._queue[sha256] = (size, ended)

    def progress(self) -> Fetched | None:
        """Return how far the blob is that is being fetched."""
        return None if self._fetch is None else _state(self._fetch)

    def turn(self) -> None:
        """Ask for what is due; see `TURN_SECONDS`.

        :raises UserError: if what came cannot be written.
        """
        if self._fetch is None and self._queue:
            sha256, (size, _) = next(iter(self._queue.items()))
            self._fetch = BlobFetch(sha256, self._store, size=size, before=self._before)
        if self._fetch is None:
            return
        ask = self._fetch.ask(time.monotonic())
        if ask is not None:
            self._requests.publish(BlobRequest(
                device=self.topics.device, incarnation=self._incarnation, holder=ask.holder, sha256=ask.sha256,
                offset=ask.offset, bytes=ask.size,
            ))  # fmt: skip
        self._look()

    def close(self) -> None:
        """Want nothing more; what has come is kept for later."""
        self._queue.clear()
        self._put_aside()

    def _put_aside(self) -> None:
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.close()

    def _on_block(self, message: BlobBlock) -> None:
        if self._fetch is None or message.incarnation != self._incarnation:
            return
        part = BlobPart(
            message.holder, message.sha256, message.total_bytes, message.offset, bytes(message.data), message.missing
        )  # fmt: skip
        self._fetch.on_part(part, time.monotonic())
        self._look()
        self.turn()

    def _look(self) -> None:
        """End a fetch that is done or has failed."""
        fetch = self._fetch
        if fetch is None or not (fetch.done or fetch.failure):
            return
        self._before = fetch.earlier
        self._put_aside()
        _, ended = self._queue.pop(fetch.sha256)
        ended(_state(fetch))


def _state(fetch: BlobFetch) -> Fetched:
    return Fetched(fetch.have, fetch.total, fetch.done, fetch.failure)
