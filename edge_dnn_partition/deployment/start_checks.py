# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a fleet's nodes ask of its file when they start, one function a concern.

The nodes call them, and so does ``doctor --fleet``; parameters are checked in `node_parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.shapes import FIRST_INPUT
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing, array_in, filled
from edge_dnn_partition.inputs.messages import readers_of
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.inputs.synchroniser import synchroniser_of
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet, check_watts
from edge_dnn_partition.planning.fleet.inputs import ConstantInput, ImageInput, StateInput, model_inputs, states_of
from edge_dnn_partition.planning.fleet.pipeline import pins_of
from edge_dnn_partition.planning.objectives import Goal, check_weights
from edge_dnn_partition.planning.plans.plan import IMAGE, placement_of_words
from edge_dnn_partition.results.postprocess import Postprocessor, postprocessor_of
from edge_dnn_partition.results.postprocess_kinds import Raw
from edge_dnn_partition.sensing.sources.limits import LimitsReading
from edge_dnn_partition.transport.tensors import Array


def with_own_device(fleet: Fleet, device: str, limits: LimitsReading) -> Fleet:
    """Return a fleet as this machine's device knows it: itself included, where the file welcomes anybody.

    What the file leaves out of its entry is as its monitor tells the scheduler (DeviceDescription).

    :raises PlanError: if the file neither names nor welcomes it.
    """
    entry = fleet.device(device)
    return fleet if fleet.anybody is None else fleet.with_device(device, entry.filled(Device(threads=limits.whole_cores)))


def with_parameters(described: Device, parameters: Mapping[str, Any]) -> Device:
    """Return a device with its worker's parameters over what the fleet file says of it.

    :raises UserError: if the onnxruntime that is installed here lacks a provider of it.
    """
    from edge_dnn_partition.execution.stages.engine import check_providers  # loads onnxruntime, which the worker alone needs

    providers = tuple(filter(None, parameters['providers'])) or described.providers
    check_providers(providers)
    return described.model_copy(update={'providers': providers, 'threads': parameters['threads'] or described.threads})


def too_many_threads(threads: int, limits: LimitsReading) -> str:
    """Return what to say of more threads than the process may use cores; empty: it has enough."""
    cores = limits.usable_cores
    if threads <= max(1.0, cores + 0.5):
        return ''
    halted = ', and all are halted once the quota is used up' if limits.quota.cores == cores else ''
    return f'threads: {threads}, but this process may use {cores:g} cores{halted}; write threads: {max(1, round(cores))}'


def model_of(fleet: Fleet, path: str | Path | None = None, shapes: Mapping[str, Sequence[int]] | None = None) -> Model:
    """Return the model that a fleet shares, with open sizes as `model.shapes` says, else as the preprocessing makes them.

    :param path: of another file than the fleet's.
    :param shapes: instead of those in the fleet file, by input.
    :raises UserError: if there is none, or it cannot be split.
    """
    described = fleet.model
    if path is None and described is not None:
        path = described.path
    if path is None:
        raise PlanError('the fleet file names no model; add model: {path: model.onnx, preprocessing: preprocessing.yaml}')
    usual = {}
    if described is not None and described.preprocessing is not None:
        with suppress(UserError):  # `preprocessing_of` says why
            usual[FIRST_INPUT] = Preprocessing.from_yaml(described.preprocessing).shape
    for name, given in fleet.inputs.items():
        if isinstance(given, ImageInput):
            with suppress(UserError):
                usual[name] = Preprocessing.from_yaml(given.preprocessing).shape
    fixed = {**({} if described is None else described.shapes), **(shapes or {})}
    return load_model(path, shapes=fixed, usual=usual, states=states_of(fleet))


def preprocessing_of(fleet: Fleet, model: Model) -> FramePreprocessing:
    """Return what makes the model's inputs of a frame's values.

    :raises UserError: if it cannot be read, or does not make those inputs.
    """
    inputs = model_inputs(fleet, model)
    camera = {'topic', 'images', 'video', 'camera'} & fleet.camera.model_fields_set
    if camera and IMAGE not in inputs.images.values():
        raise PlanError(
            f'the fleet file does not say how an image becomes {model.inputs[0]!r} {list(model.tensors[model.inputs[0]].shape)}; '
            'add preprocessing: preprocessing.yaml under model'
        )
    streams = [name for name in fleet.inputs if name in inputs.given or name in inputs.images]
    unsaid = [name for name in inputs.tensors if name not in fleet.inputs]
    if unsaid and (camera or streams):
        raise PlanError(
            f'nothing gives the input {unsaid[0]!r}, so no frame would be complete; name it under inputs in the fleet file, or '
            f'name no sources, and give {model.name} all its inputs by infer'
        )
    images, constants = {}, {}
    for name in inputs.images:
        images[name] = Preprocessing.from_yaml(_preprocessing_file(fleet, name))
        images[name].check(model.tensors[name])
    for name in inputs.constants:
        given, what = fleet.inputs[name], f'inputs.{name}'
        assert isinstance(given, ConstantInput)
        value = given.value if given.file is None else array_in(given.file, f'{what}.file')
        constants[name] = filled(value, model.tensors[name], what)
    return FramePreprocessing(inputs, images, constants)


def check_sources(fleet: Fleet, model: Model, fleet_file: str | Path) -> None:
    """Refuse sources that the frame source cannot follow; paths in the fleet file start at its folder.

    :raises UserError: with what to change.
    """
    inputs = model_inputs(fleet, model)
    readers = readers_of(fleet, model, Path(fleet_file).resolve().parent)
    if names := [*inputs.images, *inputs.tensors]:
        synchroniser_of(fleet, names, [name for name, reader in readers.items() if reader.latest])


def initial_states(fleet: Fleet, model: Model) -> dict[str, Array]:
    """Return the state before the first frame, by the model's input.

    :raises UserError: if it does not fit the model.
    """
    found = {}
    for name in model.states:
        given, what = fleet.inputs[name], f'inputs.{name}'
        assert isinstance(given, StateInput)
        value = given.initial if given.file is None else array_in(given.file, f'{what}.file')
        found[name] = filled(value, model.tensors[name], what)
    return found


def check_stateful(*, hedge: bool) -> None:
    """Refuse what a frame source cannot do with a model that carries state.

    :raises PlanError: with what to change.
    """
    if hedge:
        raise PlanError('hedge: each frame of a model that carries state runs once; set hedge to false')


def _preprocessing_file(fleet: Fleet, name: str) -> Path:
    given = fleet.inputs.get(name)
    if isinstance(given, ImageInput):
        return given.preprocessing
    assert fleet.model is not None
    assert fleet.model.preprocessing is not None
    return fleet.model.preprocessing


def postprocessing_of(fleet: Fleet, fleet_file: str | Path) -> Postprocessor:
    """Return what the model's outputs mean; paths in the fleet file start at its folder.

    :raises UserError: if it cannot be followed.
    """
    given = None if fleet.model is None else fleet.model.postprocessing
    return Raw() if given is None else postprocessor_of(given, Path(fleet_file).resolve().parent)


def check_ends(fleet: Fleet, device: str) -> None:
    """Refuse a frame source on another device than the source, or results that are to end elsewhere.

    :raises PlanError: with what to change.
    """
    if device != fleet.source:
        raise PlanError(f"the frame source must run on {fleet.source!r}, the fleet's source, not on {device!r}")
    if fleet.sink_device != device:
        raise PlanError(
            f'sink: results go to the frame source, on {device}; remove sink, and subscribe to the topic result on '
            f'{fleet.sink_device}'
        )


def goal_of(parameters: Mapping[str, Any], fleet: Fleet) -> Goal:
    """Return what is to be least: what the scheduler's parameters say, else the fleet file.

    :raises PlanError: if they do not fit each other, or joules are to be counted that nobody can know.
    """
    weights = tuple(parameters['weights'])
    if weights == (0.0, 0.0):
        weights = fleet.weights
    check_weights(weights)
    deadline = parameters['deadline'] or fleet.deadline or math.inf
    goal = Goal(parameters['objective'] or fleet.objective, (weights[0], weights[1]), deadline, parameters['deadline_share'])
    check_watts(fleet, goal, measured=True)
    return goal


def check_scheduling(fleet: Fleet, model: Model, parameters: Mapping[str, Any]) -> None:
    """Refuse what a scheduler cannot plan for: its goal, constraints that no plan can meet, a fixed plan.

    :raises PlanError: with the reason.
    """
    goal_of(parameters, fleet)
    pins_of(fleet.constraints, model, candidate_boundaries(model))
    if model.states and goal_of(parameters, fleet).pipelined:
        raise PlanError('objective throughput: a model that carries state runs one frame after the other; choose latency')
    if parameters['fixed_plan']:
        placement_of_words(parameters['fixed_plan'], len(model.layers), tuple(fleet.devices) if fleet.anybody is None else None)
