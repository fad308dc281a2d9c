# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Answers the questions of a fleet's devices for files and weights, by their hash (`transport.blobs`)."""

from __future__ import annotations

from typing import Any, Final

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.msg import BlobBlock, BlobRequest
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.carrier import Carrier
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.transport.blobs import BlobAsk, Find, answer

_MOST_ASKING: Final = 256
"""Devices to which there is a publisher."""


class BlobServer:
    """Answers the questions of a fleet's devices for what this process has.

    :param name: who answers: a device, or a node of the fleet.
    :param find: says where what is asked for lies; called in the thread that spins.
    """

    def __init__(self, carrier: Carrier, topics: Topics, name: str, find: Find) -> None:
        self._carrier, self.topics, self._name, self._find = carrier, topics, name, find
        self._publishers: dict[str, Any] = {}
        carrier.subscribe(BlobRequest, topics.blob_requests, self._on_request, qos.BLOB_REQUESTS)

    def _on_request(self, message: BlobRequest) -> None:
        ask = BlobAsk(message.holder, message.sha256, message.offset, message.bytes)
        parts = answer(ask, self._name, self._find)
        if not parts:
            return
        publisher = self._publishers.get(message.device)
        if publisher is None:
            if len(self._publishers) >= _MOST_ASKING:
                raise UserError(f'{message.device[:80]!r} asks for files, as {_MOST_ASKING} devices did before: not answered')
            publisher = self._carrier.advertise(BlobBlock, self.topics.blobs(message.device), qos.BLOBS)
            self._publishers[message.device] = publisher
        for part in parts:
            publisher.publish(BlobBlock(
                device=message.device, incarnation=message.incarnation, holder=part.holder, sha256=part.sha256,
                total_bytes=part.total, missing=part.missing, offset=part.offset, data=part.data,
            ))  # fmt: skip
