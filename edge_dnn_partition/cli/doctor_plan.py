# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's questions whether a fleet file leaves any plan at all, and whether all that it says is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edge_dnn_partition.deployment.node_parameters import parameters_of
from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.fleet.inputs import cameras_of, place_of
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.units import is_number

_SECONDS: Final = 1e-3
_IMAGE_BYTES: Final = 150_000.0
_LEAST_BUDGET_BYTES: Final = 1e5


def check_any_plan(fleet: Fleet, model: Model) -> None:
    """Refuse a file whose constraints, memory and links leave no plan, however fast its devices and links are.

    :raises PlanError: with the reason.
    """
    boundaries = tuple(candidate_boundaries(model))
    profiles = {
        name: Profile(
            model_sha256=model.sha256, model=model.name, device=name, provider=device.providers[0] if device.providers else '',
            threads=device.threads, onnxruntime_version='', boundaries=boundaries,
            segment_seconds=(_SECONDS,) * (len(boundaries) - 1), seam_seconds=(0.0,) * (len(boundaries) - 2),
            preprocess_seconds=_SECONDS,
        )
        for name, device in fleet.devices.items()
    }  # fmt: skip
    links = {
        pair: LinkEstimate(link.rate, link.delay, measured=False)
        for link in fleet.links for pair in (link.between, link.between[::-1])
    }  # fmt: skip
    problem = Pipeline(model, profiles, fleet).problem(
        devices=list(fleet.devices), factors={}, links=links, input_bytes=_IMAGE_BYTES
    )
    found = solve(problem)
    if not found.feasible and found.optimal:
        raise PlanError(f'no plan can run: {found.reason}; see constraints, memory and links in the fleet file')


def _impatient(fleet: Fleet) -> Iterator[str]:
    """Yield which nodes take a worker for dead that has only little to do."""
    try:
        worker, *others = (parameters_of(fleet.parameters, node) for node in ('worker', 'scheduler', 'frame_source'))
    except UserError:
        return  # another check tells of it
    slowest = min(worker['heartbeat_hz'], worker['rest_heartbeat_hz'])
    for node, parameters in zip(('scheduler', 'frame_source'), others, strict=True):
        seconds = parameters['heartbeat_timeout']
        if seconds < 3 / slowest:
            yield (
                f'parameters.{node}.heartbeat_timeout: {seconds:g} s is shorter than three heartbeats of a worker at rest '
                f'({slowest:g} a second), so one that is well counts as dead; set it to {3 / slowest:.2g} or more'
            )


def unused(fleet: Fleet, scheduler: Mapping[str, Any], preprocessing: FramePreprocessing | None) -> Iterator[str]:
    """Yield what the file says that does nothing, or hardly what was meant.

    :param scheduler: its parameters.
    """
    objective = scheduler['objective'] or fleet.objective
    for key, needed in (('deadline', 'deadline'), ('weights', 'balanced')):
        if key in fleet.model_fields_set and objective != needed:
            yield f'{key} counts only with objective: {needed}, and the objective is {objective}'
    if scheduler['fixed_plan'] and scheduler['policy'] != 'fixed':
        yield f'parameters.scheduler.fixed_plan counts only with policy: fixed, and the policy is {scheduler["policy"]}'
    budget = fleet.parameters.get('worker', {}).get('memory_budget', '')
    if is_number(budget) and 0 < float(budget) < _LEAST_BUDGET_BYTES:
        yield f'parameters.worker.memory_budget: {budget} is {float(budget):g} bytes, too few; give a unit, such as {budget} GB'
    yield from _impatient(fleet)
    linked = {name for link in fleet.links for name in link.between}
    alone = [name for name in fleet.devices if name not in linked]
    if len(fleet.devices) > 1 and alone:
        yield f'links: {", ".join(alone)} has none, so nothing is ever sent there or from there'
    image_topic = fleet.parameters.get('frame_source', {}).get('image_topic')
    cameras = {} if preprocessing is None else cameras_of(fleet, preprocessing.inputs)
    places = {place_of(fleet, name): camera for name, camera in cameras.items()} or {'camera': fleet.camera}
    if fleet.inputs and fleet.camera.model_fields_set and 'camera' not in places:
        yield 'camera: the images come from where inputs says'
    sourced = {name for name, camera in cameras.items() if camera.given or (place_of(fleet, name) == 'camera' and image_topic)}
    absent = [name for name in cameras if name not in sourced]
    streams = () if preprocessing is None else (*sourced, *preprocessing.inputs.tensors)
    if absent and any(name in fleet.inputs for name in streams):
        yield f'inputs: no source gives {absent[0]}, so frames come by infer only; name it under inputs, or add camera'
    for place, camera in places.items():
        topic = camera.topic
        if topic is not None and topic.endswith('/compressed') != camera.compressed:
            kind = 'CompressedImage' if camera.compressed else 'Image'
            yield f'{place}.topic: {topic} with compressed: {str(camera.compressed).lower()} waits for messages of type {kind}'
    for name, image in () if preprocessing is None else preprocessing.images.items():
        if image.colour != 'depth' and max(image.mean) > 255 * image.scale:
            yield (
                f'preprocessing{f" of {name}" if len(cameras) > 1 else ""}: mean {max(image.mean):g} is above every pixel times '
                f'scale ({255 * image.scale:g} at most): a mean of 0 to 255 needs scale: 1'
            )
