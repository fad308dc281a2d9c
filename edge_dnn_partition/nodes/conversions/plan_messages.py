# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Plans and profiles as messages, plans of messages, checked, and the last plan and version on disk.

A transient-local message dies with the scheduler that sent it, so each node keeps the last plan itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import TYPE_CHECKING, Final

from rclpy.serialization import deserialize_message, serialize_message

from edge_dnn_partition.cache import cache_dir, keep
from edge_dnn_partition.control.state.fleet_estimator import plan_of
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.plan_registry import PlanRegistry, PlanStatus
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.msg import PlanStage, PlanTransfer
from edge_dnn_partition.msg import Profile as ProfileMessage
from edge_dnn_partition.msg import TensorCoding as CodingMessage
from edge_dnn_partition.planning.fleet.inputs import model_inputs
from edge_dnn_partition.planning.plans.encodings import parts
from edge_dnn_partition.planning.plans.plan import (
    IMAGE,
    LARGEST_VERSION,
    SOURCE_STAGE,
    Plan,
    check_figures,
    check_layers,
    check_plan,
    check_private,
    is_image,
)
from edge_dnn_partition.planning.plans.profile import Profile

if TYPE_CHECKING:
    from edge_dnn_partition.graph.model import Model
    from edge_dnn_partition.nodes.core.base import FleetNode
    from edge_dnn_partition.planning.fleet.fleet import Constraints, Fleet

_DIGEST_BYTES: Final = 32
_KINDS: Final = (PlanMessage, PlanStage, PlanTransfer)


def plan_message(plan: Plan, status: int) -> PlanMessage:
    """Return a plan as a message."""
    message = PlanMessage(
        status=status,
        version=plan.version,
        scheduler=plan.scheduler,
        model_sha256=plan.model_sha256,
        objective=plan.objective,
        source=plan.source,
        sink=plan.sink,
        max_in_flight=plan.max_in_flight,
        latency_seconds=plan.latency_seconds,
        latency_deviation=plan.latency_deviation,
        energy_joules=plan.energy_joules,
        bottleneck_seconds=plan.bottleneck_seconds,
        reason=plan.reason,
    )
    message.stages = [
        PlanStage(
            device=stage.device,
            preprocess=stage.preprocess,
            layer_ranges=[edge for pair in stage.layers for edge in pair],
            inputs=list(stage.inputs),
            outputs=list(stage.outputs),
        )
        for stage in plan.stages
    ]
    message.transfers = [
        PlanTransfer(
            tensor=t.tensor, from_stage=t.from_stage, from_device=t.from_device, to_device=t.to_device,
            to_sink=t.to_sink, encoding=t.encoding,
        )
        for t in plan.transfers
    ]  # fmt: skip
    return message


def plan_for(message: PlanMessage, fleet: Fleet | None, model: Model | None = None) -> Plan:
    """Return a plan from its message; every receiver uses this, so that all refuse the same.

    :param fleet: whose plan it is; None: not known here, as to who only shows it.
    :param model: that it is for; None: not known here.
    :raises PlanError: if the plan is for another model or fleet, contradicts itself, or claims what cannot be.
    """
    version = message.version
    if model is not None and message.model_sha256 != model.sha256:
        raise PlanError(f'plan {version} is for another model than this device has; copy one model file to all devices')
    if any(len(stage.layer_ranges) % 2 for stage in message.stages):
        raise PlanError(f'plan {version} has a range of layers without an end')
    plan = plan_of(message)
    check_layers(plan, None if model is None else len(model.layers))
    check_figures(plan)
    if fleet is not None:
        inputs = None if model is None else model_inputs(fleet, model)
        check_plan(plan, fleet, _given(plan) if inputs is None else inputs.sent)
        if inputs is not None:
            check_private(plan, inputs.held)
        if (plan.source, plan.sink) != (fleet.source, fleet.sink_device):
            raise PlanError(
                f'plan {version} is from {plan.source} to {plan.sink}; give all devices of the fleet the same fleet file'
            )
    for transfer in plan.transfers:
        parts(transfer.encoding)
    if model is not None:
        named = {name for stage in plan.stages for name in (*stage.inputs, *stage.outputs)}
        if unknown := sorted(name for name in named - model.tensors.keys() if not is_image(name)):
            raise PlanError(f'plan {version} names the tensor {unknown[0][:80]!r}, which is not in the model')
    return plan


def _given(plan: Plan) -> set[str]:
    """Return the inputs that a frame has, as far as a plan tells: the model is not known here."""
    made = {name for stage in plan.stages for name in stage.outputs}
    read = {name for stage in plan.stages for name in stage.inputs}
    return {IMAGE} | (read - made) | {t.tensor for t in plan.transfers if t.from_stage == SOURCE_STAGE}


def status_of(message: PlanMessage) -> PlanStatus:
    """Return what a message says of its plan.

    :raises PlanError: if that is nothing known.
    """
    try:
        return PlanStatus(message.status)
    except ValueError:
        raise PlanError(f'plan {message.version} has the unknown status {message.status}') from None


def profile_message(profile: Profile, device: str) -> ProfileMessage:
    """Return a profile as a message."""
    return ProfileMessage(
        device=device,
        model_sha256=profile.model_sha256,
        provider=profile.provider,
        threads=profile.threads,
        boundaries=list(profile.boundaries),
        segment_seconds=list(profile.segment_seconds),
        seam_seconds=list(profile.seam_seconds),
        preprocess_seconds=math.nan if profile.preprocess_seconds is None else profile.preprocess_seconds,
        relative_error=profile.relative_error,
        throttled=profile.throttled,
        probe_seconds=profile.probe_seconds,
        codings=[CodingMessage(**dataclasses.asdict(coding)) for coding in profile.codings],
        image_bytes=profile.image_bytes,
    )


# On disk ----------------------------------------------------------------------------------------------------------


def forget_plans(fleet: str) -> None:
    """Remove what the nodes of a fleet have kept, so that it starts as if it never ran."""
    for path in cache_dir('plans').glob(f'{fleet.replace("/", "-")}-*.plan'):
        path.unlink(missing_ok=True)


def _digest(content: bytes, constraints: Constraints) -> bytes:
    """Return one of a plan's message and what it had to keep to; other fields or names of inputs in a release make another one."""
    fields = b''.join(repr(kind.get_fields_and_field_types()).encode() for kind in _KINDS)
    return hashlib.sha256(fields + IMAGE.encode() + constraints.model_dump_json().encode() + content).digest()


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
    """Keeps one node's last plan.

    :param constraints: on where layers may run; a plan that was kept under others is not read, since it may break these.
    """

    def __init__(self, node: FleetNode, constraints: Constraints) -> None:
        self._node, self._constraints, topics = node, constraints, node.topics
        name = '-'.join(filter(None, (topics.fleet.replace('/', '-'), topics.device, node.get_name())))
        self._path = cache_dir('plans') / f'{name}.plan'

    def keep(self, message: PlanMessage) -> None:
        """Write a plan down, if it can be written."""
        content = serialize_message(message)
        keep(self._path, _digest(content, self._constraints) + content)

    def recall(self, model_sha256: str) -> PlanMessage | None:
        """Return the plan that was kept last; None if there is none for this model that can be read."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(content, self._constraints) != digest:
            why = 'damaged, from another release, or made under other constraints'
            self._node.get_logger().info(f'{self._path}: ignored: {why}; waiting for a scheduler')
            return None
        message: PlanMessage = deserialize_message(content, PlanMessage)
        known = message.model_sha256 == model_sha256 and 0 < message.version <= LARGEST_VERSION
        return message if known else None

    def begin(self, registry: PlanRegistry, model_sha256: str, now: float) -> PlanMessage | None:
        """Begin a node's registry with what is on disk, and return it."""
        kept = self.recall(model_sha256)
        registry.begin(now, 0 if kept is None else kept.version)
        return kept

    def resume(self, registry: PlanRegistry, model_sha256: str, now: float) -> PlanMessage | None:
        """Return the plan on disk if it is to be followed, since no scheduler publishes one."""
        kept = self.recall(model_sha256) if registry.recall_due(now) else None
        if kept is not None:
            self._node.get_logger().info(f'no scheduler has published a plan; resuming plan {kept.version} from disk')
        return kept
