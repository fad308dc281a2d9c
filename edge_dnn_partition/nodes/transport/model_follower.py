# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Follows which model the fleet has (FleetDescription): a node that has another one begins anew with it, once it is quiet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

import yaml

from edge_dnn_partition.deployment.model_choice import ModelChoice, ModelRef, at_hand, choose, chosen, ref_of
from edge_dnn_partition.msg import FleetDescription
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.blobs import BlobStore

_LOOK_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 30.0
"""A node that is not quiet for so long begins anew nevertheless."""


class ModelFollower:
    """Used in the thread that spins.

    :param fleet: the node's.
    :param model_sha256: of the node's model.
    :param quiet: whether nothing is under way here; None: the node sees to that itself, by draining.
    """

    def __init__(self, node: FleetNode, fleet: Fleet, model_sha256: str, quiet: Callable[[], bool] | None = None) -> None:
        self._node, self._fleet, self._quiet = node, fleet, quiet
        self._own = ref_of(fleet, model_sha256)
        self._wanted: ModelRef | None = None
        self._since, self._is_here = 0.0, False
        node.subscribe(FleetDescription, node.topics.description, self._on_description, qos.DESCRIPTION)
        self._looking = node.every(_LOOK_SECONDS, self._look)

    def _on_description(self, message: FleetDescription) -> None:
        given = message.earlier_sha256 or chosen(self._fleet.fleet) is not None  # else files differ, which the scheduler reports
        if not given or message.model_sha256 == self._own.sha256:
            self._wanted = None
            return
        self._wanted, self._since = described_model(message), time.monotonic()
        self._is_here = at_hand(self._node.fleet_as_written, self._wanted.sha256) is not None
        self._looking.start()

    def _look(self) -> None:
        if self._wanted is None:
            self._looking.stop()
            return
        store = BlobStore()
        if not self._is_here and store.find(self._wanted.sha256) is None:
            return  # the device's monitor fetches it
        if self._quiet is None or self._quiet() or time.monotonic() - self._since > _LONGEST_SECONDS:
            choose(self._node.fleet_as_written, ModelChoice(self._wanted, self._own), store)
            self._node.reload(f'the model is {self._wanted.name} now', drain=self._quiet is None)


def described_model(message: FleetDescription) -> ModelRef:
    """Return the model in force that a message names.

    :raises PlanError: if it is no good.
    """
    name = dict(zip(message.sha256, message.paths, strict=False)).get(message.model_sha256, 'model.onnx')
    try:
        settings = (yaml.safe_load(message.fleet_file) or {}).get('model', {}).get('shapes', {})
    except (yaml.YAMLError, AttributeError):
        settings = {}
    ref = ModelRef(message.model_sha256, PurePosixPath(name).name, {'shapes': settings} if settings else {})
    ref.check()
    return ref
