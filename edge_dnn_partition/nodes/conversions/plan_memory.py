# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The last plan in force and the last version, on disk: a transient-local message dies with the scheduler that sent it."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from rclpy.serialization import deserialize_message, serialize_message

from edge_dnn_partition.cache import cache_dir, keep
from edge_dnn_partition.execution.frames.plan_registry import PlanRegistry
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.msg import PlanStage, PlanTransfer
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.plans.plan import IMAGE, LARGEST_VERSION

_DIGEST_BYTES: Final = 32
_KINDS: Final = (PlanMessage, PlanStage, PlanTransfer)


def forget_plans(fleet: str) -> None:
    """Remove what the nodes of a fleet have kept, so that it starts as if it never ran."""
    for path in cache_dir('plans').glob(f'{fleet}-*.plan'):
        path.unlink(missing_ok=True)


def _digest(content: bytes) -> bytes:
    """Return one of a plan's message that differs between releases whose messages have other fields, or other names for inputs."""
    fields = b''.join(repr(kind.get_fields_and_field_types()).encode() for kind in _KINDS)
    return hashlib.sha256(fields + IMAGE.encode() + content).digest()


class VersionMemory:
    """Keeps the number of the last version that one scheduler gave to a plan."""

    def __init__(self, node: FleetNode) -> None:
        self._path = cache_dir('scheduler') / f'{node.topics.fleet.replace("/", "-")}.json'

    @property
    def last(self) -> int:
        """The last one; 0 if none is known, or what is kept can be none."""
        try:
            version = int(json.loads(self._path.read_bytes())['last_version'])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return 0
        return version if 0 < version <= LARGEST_VERSION else 0

    def keep(self, version: int) -> None:
        """Write one down."""
        keep(self._path, json.dumps({'last_version': version}).encode())


class PlanMemory:
    """Keeps one node's last plan."""

    def __init__(self, node: FleetNode) -> None:
        self._node, topics = node, node.topics
        name = '-'.join(filter(None, (topics.fleet.replace('/', '-'), topics.device, node.get_name())))
        self._path = cache_dir('plans') / f'{name}.plan'

    def keep(self, message: PlanMessage) -> None:
        """Write a plan down, if it can be written."""
        content = serialize_message(message)
        keep(self._path, _digest(content) + content)

    def recall(self, model_sha256: str) -> PlanMessage | None:
        """Return the plan that was kept last; None if there is none for this model, or it is damaged or of another release."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(content) != digest:
            self._node.get_logger().info(f'{self._path}: ignored: damaged, or from another release; waiting for a scheduler')
            return None
        message: PlanMessage = deserialize_message(content, PlanMessage)
        known = message.model_sha256 == model_sha256 and 0 < message.version <= LARGEST_VERSION
        return message if known else None

    def begin(self, book: PlanRegistry, model_sha256: str, now: float) -> PlanMessage | None:
        """Begin a node's book with what is on disk, and return it."""
        kept = self.recall(model_sha256)
        book.begin(now, 0 if kept is None else kept.version)
        return kept

    def resume(self, book: PlanRegistry, model_sha256: str, now: float) -> PlanMessage | None:
        """Return the plan on disk if it is to be followed, since nobody says one."""
        kept = self.recall(model_sha256) if book.recall_due(now) else None
        if kept is not None:
            self._node.get_logger().info(f'no scheduler has published a plan; resuming plan {kept.version} from disk')
        return kept
