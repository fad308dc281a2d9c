# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's service that gives the fleet another model while it streams: fetched, checked, prepared everywhere, in force."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

import yaml

from edge_dnn_partition.control.scheduling.background import run_in_background
from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.model_choice import ModelChoice, ModelRef, at_hand, choose, chosen, ref_of, with_model
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.msg import DeviceDescription
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.rclpy_gaps import DeferredResponse
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.nodes.scheduling.description import DescriptionPublisher
from edge_dnn_partition.nodes.transport.blob_client import TURN_SECONDS, BlobClient, Fetched
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.srv import SetModel
from edge_dnn_partition.transport.blobs import BlobStore

_SECONDS: Final = 1800.0
"""A model that not all devices have by then does not come into force."""
_AWAY_SECONDS: Final = 10.0
"""A device that was not heard for so long is not waited for; it gets the model when it is back."""
_ANSWER_SECONDS: Final = 0.3
"""So long the answer has to leave before the service ends with the old model."""


class ModelPush:
    """Used in the thread that spins.

    :param node: the scheduler.
    :param fleet: with its present model.
    :param description: says which model is offered.
    """

    def __init__(
        self, node: FleetNode, fleet: Fleet, model_sha256: str, scheduler: FleetScheduler, description: DescriptionPublisher
    ) -> None:
        self._node, self._fleet, self._scheduler, self._description = node, fleet, scheduler, description
        self._present, self._store = ref_of(fleet, model_sha256), BlobStore()
        self._have: dict[str, frozenset[str]] = {}
        self._later: DeferredResponse | None = None
        self._ref: ModelRef | None = None
        self._until = 0.0
        self._checking: Future[None] | None = None
        self._checked = self._everywhere = False
        self._client = BlobClient(node, Topics(node.topics.fleet, 'scheduler'), self._store)
        node.serve(SetModel, node.topics.set_model, self._set)
        self._turning = node.every(TURN_SECONDS, self._turn)

    def on_description(self, message: DeviceDescription) -> None:
        """Take in which models a device has."""
        self._have[message.device] = frozenset(message.model_sha256)

    def close(self) -> None:
        """Answer who waits that the scheduler ends."""
        if self._later is not None:
            self._end('the scheduler ends', success=False)

    def _set(self, request: SetModel.Request, _response: SetModel.Response) -> DeferredResponse:
        if self._later is not None:
            raise PlanError('another model is being prepared: wait for it')
        ref = self._earlier() if not request.sha256 else ModelRef(request.sha256, request.name, _settings(request.settings))
        ref.check()
        if ref == self._present:
            raise PlanError(f'{ref.name} is in force already')
        self._later, self._ref, self._checking, self._checked = DeferredResponse(), ref, None, False
        self._until = time.monotonic() + _SECONDS
        self._everywhere = at_hand(self._node.fleet_as_written, ref.sha256) is not None  # the fleet had it before
        if self._everywhere:
            self._check(ref)
        else:
            self._client.fetch(ref.sha256, None, self._on_fetched)
        self._turning.start()
        return self._later

    def _earlier(self) -> ModelRef:
        choice = chosen(self._fleet.fleet)
        if choice is None:
            raise PlanError('the fleet had no other model before')
        return choice.earlier

    def _on_fetched(self, fetched: Fetched) -> None:
        if fetched.failure:
            self._end(f'the model cannot be fetched: {fetched.failure}', success=False)
        elif self._ref is not None:
            self._check(self._ref)

    def _check(self, ref: ModelRef) -> None:
        """Look in the background whether the fleet could run a model, which also prepares it here."""
        path = at_hand(self._node.fleet_as_written, ref.sha256)
        if path is None:
            extent = self._store.find(ref.sha256)
            path = None if extent is None else extent.path
        if path is None:
            raise PlanError('the model is not in the cache any more: push it again')
        fleet, values = with_model(self._node.fleet_as_written, ref, path), dict(self._node.params)
        self._checking = run_in_background(lambda: _check_model(fleet, ref, values), 'model')

    def _turn(self) -> None:
        self._client.turn()
        now, ref = time.monotonic(), self._ref
        if ref is None:
            self._turning.stop()
            return
        if self._checking is not None and self._checking.done():
            error, self._checking = self._checking.exception(), None
            if error is not None:
                self._end(str(error), success=False)
                return
            self._checked = True
            extent = self._store.find(ref.sha256)
            if extent is not None:
                self._description.offer(ref.name, ref.sha256, extent.size)
        if not self._checked:
            missing = ['the scheduler']
        else:
            near = [name for name, view in self._scheduler.view.devices.items() if now - view.seen_at < _AWAY_SECONDS]
            missing = [] if self._everywhere else [name for name in near if ref.sha256 not in self._have.get(name, ())]
        if not missing:
            self._switch(ref)
        elif now > self._until:
            self._end(f'{", ".join(missing)} did not get {ref.name} in time', success=False)

    def _switch(self, ref: ModelRef) -> None:
        choose(self._node.fleet_as_written, ModelChoice(ref, self._present), self._store)
        self._end(f'{ref} comes into force', success=True)
        self._node.every(_ANSWER_SECONDS, lambda: self._node.reload(f'the model is {ref.name} now'))

    def _end(self, message: str, *, success: bool) -> None:
        later, self._later, self._ref = self._later, None, None
        if later is not None:
            later.send(SetModel.Response(success=success, message=message))


def _settings(given: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for text in given:
        try:
            part = yaml.safe_load(text)
        except yaml.YAMLError:
            part = None
        if not isinstance(part, dict):
            raise PlanError(f'the setting {text[:80]!r} is no YAML table, such as shapes: {{image: [1, 3, 224, 224]}}')
        settings |= part
    return settings


def _check_model(fleet: Fleet, ref: ModelRef, values: Mapping[str, Any]) -> None:
    model = start_checks.model_of(fleet)
    if model.sha256 != ref.sha256:
        raise PlanError(f'{ref.name} keeps weights in other files: save it with its weights in it, and push that')
    start_checks.preprocessing_of(fleet, model)
    start_checks.check_scheduling(fleet, model, values)
