# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem of a real model: the preprocessing, then the segments of its profiles, on a fleet's devices.

Node 0 is the preprocessing (decode each image, resize, normalise), whose inputs are the cameras'
own bytes; node ``i`` is the segment between boundaries ``i - 1`` and ``i``. Tensors that are no images go from
the source to the segments that read them; what each device has itself, constants, costs nothing.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge_dnn_partition.errors import PlanError, nearest
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.states import SMALL_BYTES, STATE_INTERVAL
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Constraints, Fleet
from edge_dnn_partition.planning.fleet.inputs import cameras_of, gives_pixels, model_inputs
from edge_dnn_partition.planning.objectives import LATENCY, Criterion
from edge_dnn_partition.planning.plans.coding import CodingChooser, Pixels
from edge_dnn_partition.planning.plans.compose import Placement, compose, placement_of
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.plans.plan import IMAGE, Plan, is_image
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.link import LinkEstimate

PREPROCESSING = 'preprocessing'


def pins_of(limits: Constraints, model: Model, boundaries: Sequence[int]) -> dict[int, str]:
    """Return the devices to which nodes are pinned, by node: 0 is the preprocessing, ``i`` the segment that ends at boundary ``i``.

    :raises PlanError: if the model lacks a layer that constraints name, or one segment is pinned to two devices.
    """
    layers = {PREPROCESSING: -1} | {layer.name: layer.index for layer in model.layers}
    for what, name in (*(('pin', name) for name in limits.pin), ('private_until', limits.private_until)):
        if name is not None and name not in layers:
            raise PlanError(f'constraints.{what}: {model.name} has no layer {name!r}{nearest(name, [*layers])}')
    pins: dict[int, tuple[str, str]] = {}
    for name, device in limits.pin.items():
        other, place = pins.setdefault(bisect.bisect_right(boundaries, layers[name]), (name, device))
        if place != device:
            raise PlanError(
                f'constraints.pin: {name!r} ({device}) is in one segment with {other!r} ({place}), and segments are not divided; '
                'pin both to one device'
            )
    return {node: device for node, (_, device) in pins.items()}


def _bytes_or_inf(given: float | None) -> float:
    return math.inf if given is None else float(given)


class Pipeline:
    """A model and its profiles on a fleet; `problem` adds the present state of the fleet.

    :param profiles: by device; all with the same boundaries.
    :raises PlanError: if a profile is of another model or does not end with its last layer, the boundaries
        differ, or a constraint names an unknown layer.
    """

    def __init__(self, model: Model, profiles: Mapping[str, Profile], fleet: Fleet) -> None:
        if not profiles:
            raise PlanError('no device has been profiled yet')
        for name, profile in profiles.items():
            if profile.model_sha256 != model.sha256:
                raise PlanError(f'the profile of {name} is of another model; profile {model.name} on {name}')
            if profile.boundaries[-1] != len(model.layers):
                raise PlanError(
                    f'the profile of {name} ends at layer {profile.boundaries[-1]}, but {model.name} has '
                    f'{len(model.layers)} layers here; profile that device again with the same model and onnxruntime'
                )
        boundaries = {profile.boundaries for profile in profiles.values()}
        if len(boundaries) > 1:
            raise PlanError('the devices were profiled with different boundaries; profile them again with one release')
        self.model = model
        self.fleet = fleet
        self.inputs = model_inputs(fleet, model)
        self.profiles = dict(profiles)
        self.boundaries: tuple[int, ...] = boundaries.pop()
        ranges = list(zip(self.boundaries, self.boundaries[1:], strict=False))
        self._node_of_layer = [node for node, (start, stop) in enumerate(ranges, 1) for _ in range(start, stop)]
        self.names = (
            PREPROCESSING,
            *(f'{model.layers[start].name} … {model.layers[stop - 1].name}' for start, stop in ranges),
        )
        self.weight_bytes = np.array(
            [0.0, *(float(sum(model.layers[i].weight_bytes for i in range(start, stop))) for start, stop in ranges)]
        )
        self.state_bytes = self._state_of_nodes()
        self._tensors = self._find_tensors()
        self._channels = {pair: link.channel for link in fleet.links for pair in (link.between, link.between[::-1])}
        self._links: dict[tuple[str, str], tuple[LinkEstimate, Link]] = {}
        """The last estimate and its `Link` by sender and receiver: in a large fleet few change between two decisions."""
        self._last: Problem | None = None
        sizes = {name: float(model.tensors[name].bytes) for names in self._bundles for name in names if not is_image(name)}
        parameters = fleet.parameters.get('frame_source', {})
        cameras = cameras_of(fleet, self.inputs).items()
        pixels = [self.inputs.images[name] for name, camera in cameras if gives_pixels(camera, parameters)]
        self._codings = CodingChooser(sizes, self.profiles, pixels)
        self._pins = pins_of(fleet.constraints, model, self.boundaries)
        until = fleet.constraints.private_until
        last = None if until is None else next((layer.index for layer in model.layers if layer.name == until), -1)
        self._private_nodes, self._private_results = self._held_private(last)

    def _held_private(self, last: int | None) -> tuple[list[int], list[str]]:
        """Return the nodes and the results that stay on the source.

        What reads a private input runs there. So do the layers up to and including that of ``private_until`` (-1: the
        preprocessing; None: there is none), and tensors of earlier ones do not leave. Every segment with such a layer, or with
        one that reads such a tensor, runs there as a whole.
        """
        layers, private = self.model.layers, set(self.inputs.private)
        held: set[int] = set() if private.isdisjoint(self.inputs.images) and last is None else {0}
        if last is not None and last >= 0:
            private.update(self.model.inputs, (name for before in layers[:last] for name in before.outputs))
        held.update(
            self._node_of_layer[at.index] for at in layers
            if (last is not None and at.index <= last) or not private.isdisjoint(at.inputs)
        )  # fmt: skip
        return sorted(held), [name for name in self.model.outputs if name in private]

    def _find_tensors(self) -> tuple[Tensor, ...]:
        model = self.model
        producer = dict.fromkeys(self.inputs.images, 0) | dict.fromkeys(self.inputs.tensors, INPUT)
        readers: dict[str, set[int]] = {name: set() for name in producer}
        for layer in model.layers:
            for name in layer.outputs:
                producer[name] = self._node_of_layer[layer.index]
                readers.setdefault(name, set())
            for name in layer.inputs:
                if name in readers:
                    readers[name].add(self._node_of_layer[layer.index])
        # What one node makes for the same readers travels in one bundle, and so waits for the link's latency once.
        bundles: dict[tuple[int, tuple[int, ...], bool], list[str]] = {}
        outputs = set(model.outputs) - set(model.states.values())
        for name, node in producer.items():
            elsewhere = tuple(sorted(reader for reader in readers[name] if reader != node))
            if elsewhere or name in outputs:
                bundles.setdefault((node, elsewhere, name in outputs), []).append(name)
        snapshots = self._snapshots()
        self._bundles = [*((name,) for name in self.inputs.images.values()), *map(tuple, bundles.values()), *((),) * len(snapshots)]
        return tuple(
            Tensor(
                name=' '.join(names), producer=node, readers=elsewhere, at_sink=at_sink,
                bytes=float(sum(model.tensors[name].bytes for name in names)),
            )
            for (node, elsewhere, at_sink), names in bundles.items()
        ) + snapshots  # fmt: skip

    def _snapshots(self) -> tuple[Tensor, ...]:
        """Return the state that comes to the source with some frames, a part of it with each; that is never encoded."""
        given = self.fleet.parameters.get('frame_source', {}).get('state_interval', STATE_INTERVAL)
        interval = 1 if sum(self.state_bytes) <= SMALL_BYTES or not isinstance(given, int) else max(given, 1)
        return tuple(
            Tensor(name=f'state of {self.names[node]}', producer=node, readers=(), at_sink=True, bytes=size / interval)
            for node, size in enumerate(self.state_bytes) if size
        )  # fmt: skip

    def _state_of_nodes(self) -> tuple[float, ...]:
        """Return the bytes of state that each node keeps from frame to frame."""
        sizes, node_of = [0.0] * len(self.names), {
            name: self._node_of_layer[layer.index] for layer in self.model.layers for name in layer.outputs
        }
        for name, output in self.model.states.items():
            if output in node_of:
                sizes[node_of[output]] += self.model.tensors[name].bytes
        return tuple(sizes)

    def _private_words(self) -> str:
        held = sorted(self.inputs.private)
        return f'what reads the private input {held[0]!r}' if held else 'what constraints.private_until keeps private'

    def _images(self, size: float, others: Mapping[str, float]) -> Iterator[Tensor]:
        for name in self.inputs.images.values():
            yield Tensor(name=name, producer=INPUT, readers=(0,), bytes=size if name == IMAGE else others.get(name, size))

    def plan(self, assignment: Sequence[str], version: int = 0) -> Plan:
        """Return the plan of an assignment of the nodes to devices, without predictions, all tensors raw.

        :raises PlanError: if it does not fit the nodes.
        """
        return self.composed(placement_of(assignment, self.boundaries), version)

    def composed(self, placement: Placement, version: int) -> Plan:
        """Return the plan of a placement, which may be cut anywhere; see `compose`."""
        return compose(
            self.model, placement, version=version, source=self.fleet.source, sink=self.fleet.sink_device, inputs=self.inputs
        )

    def encoded(
        self, problem: Problem, encodings: Mapping[tuple[str, str, str], str], factors: Mapping[str, float],
        pixels: Pixels | None = None,
    ) -> Problem:  # fmt: skip
        """Return the problem with given encodings, by tensor, sender and reader, in place of its own."""
        return self._codings.choose(problem, self._bundles, Permitted(), LATENCY, factors, encodings, pixels)

    def _link(self, pair: tuple[str, str], estimate: LinkEstimate) -> Link:
        known = self._links.get(pair)
        if known is None or known[0] is not estimate:
            link = Link(
                sender=pair[0], reader=pair[1], bytes_per_second=estimate.bytes_per_second,
                latency_seconds=estimate.latency_seconds, channel=self._channels.get(pair),
            )  # fmt: skip
            known = self._links[pair] = estimate, link
        return known[1]

    def problem(
        self,
        *,
        devices: Sequence[str],
        factors: Mapping[str, float],
        preprocessing_factors: Mapping[str, float] | None = None,
        links: Mapping[tuple[str, str], LinkEstimate],
        input_bytes: float,
        other_bytes: Mapping[str, float] | None = None,
        permitted: Permitted | None = None,
        encode_for: Criterion = LATENCY,
        pixels: Pixels | None = None,
        memory_bytes: Mapping[str, float] | None = None,
    ) -> Problem:
        """Return the problem under the fleet's present state.

        :param devices: those that can run something. The source is always in the problem: images start there.
        :param factors: each device's time now over its profiled time.
        :param preprocessing_factors: the same for the preprocessing; ``factors`` where it is None.
        :param links: by sender and receiver.
        :param input_bytes: the size of a camera image as it arrives.
        :param other_bytes: that of further cameras' images, by name; ``input_bytes`` where it is not known.
        :param permitted: the encodings that tensors may be sent in; None: all go raw.
        :param encode_for: what the encodings are chosen by, see `Objective.encode_for`.
        :param pixels: for images that arrive as pixels and may be encoded; None: they are compressed already.
        :param memory_bytes: free memory that each device reports; the fleet file's limit holds as well.
        :raises PlanError: if a device that must run something is missing, a device has no profile, or the sink needs a
            private tensor.
        """
        runs = frozenset(devices)
        if self.fleet.source not in runs:
            if self._private_nodes:
                raise PlanError(
                    f'{self._private_words()} runs on the source {self.fleet.source!r} alone, which is offline or not profiled'
                )
            devices = [name for name in self.fleet.devices if name in runs or name == self.fleet.source]
        if self._private_results and self.fleet.sink_device != self.fleet.source:
            raise PlanError(
                f'constraints.private_until: {self._private_results[0]!r} may not leave the source, but the sink '
                f'{self.fleet.sink_device!r} needs it; name an earlier layer or make the source the sink'
            )
        columns, overheads = [], []
        for name in devices:
            if name not in runs:
                columns.append(np.full(len(self.names), math.inf))
                overheads.append(np.zeros(len(self.names) - 1))
                continue
            profile = self.profiles.get(name)
            if profile is None:
                raise PlanError(f'{name} has no profile; profile the model there')
            factor = factors.get(name, 1.0)
            preprocess = math.inf if profile.preprocess_seconds is None else profile.preprocess_seconds
            first = preprocess * (preprocessing_factors or factors).get(name, 1.0) if self.inputs.images else 0.0
            columns.append(np.array([first, *(seconds * factor for seconds in profile.segment_seconds)]))
            if name != self.fleet.source:
                columns[-1][self._private_nodes] = math.inf
            overheads.append(np.array([0.0, *profile.seam_seconds]) * factor)
        known = self.fleet.devices
        sink = self.fleet.sink_device if self.fleet.sink_device in devices else self.fleet.source
        there = frozenset(devices)
        whole = float(self.weight_bytes.sum())
        reported = {name: room for name, room in (memory_bytes or {}).items() if room < whole}
        problem = Problem(
            source=self.fleet.source,
            sink=sink,
            devices=tuple(
                Device(
                    name=name,
                    active_watts=known[name].power.active,
                    idle_watts=known[name].power.idle,
                    radio_watts=known[name].power.radio,
                    energy_weight=known[name].power.weight,
                    memory_bytes=min(_bytes_or_inf(known[name].memory), reported.get(name, math.inf)),
                )
                for name in devices
            ),
            links=tuple(
                self._link(pair, estimate) for pair, estimate in links.items() if pair[0] in there and pair[1] in there
            ),
            node_names=self.names,
            tensors=(*self._images(input_bytes, other_bytes or {}), *self._tensors),
            seconds=np.stack(columns, axis=1),
            weight_bytes=self.weight_bytes,
            seam_seconds=np.stack(overheads, axis=1),
            state_bytes=self.state_bytes if any(self.state_bytes) else (),
        )
        if self._last is not None:
            problem.like(self._last)
        self._last = problem
        for node, device in self._pins.items():
            if device not in runs:
                raise PlanError(f'constraints.pin: {device!r} is offline or not profiled')
            problem = problem.constrained(pin={self.names[node]: device})
        if permitted is not None:
            problem = self._codings.choose(problem, self._bundles, permitted, encode_for, factors, pixels=pixels)
        return problem.constrained(exclude=[name for name in self.fleet.constraints.exclude if name in devices])
