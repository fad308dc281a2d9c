# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A plan: which device runs which layers, and which tensors travel where."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge_dnn_partition.errors import PlanError

IMAGE: Final = '@image'
"""The name of the camera's own bytes, the input of the preprocessing; of the first camera's, if there are several."""
_OTHER_IMAGES: Final = f'{IMAGE}:'

SOURCE_STAGE = -1
"""The stage index of the frame source."""

MOST_LAYERS: Final = 100_000
"""Of a plan whose model is unknown."""
_MOST_COST: Final = 1e9
_MOST_IN_FLIGHT: Final = 10_000
_LONGEST_REASON: Final = 4096

LARGEST_VERSION: Final = 2**31 - 1
"""Larger versions are for plans that never come into force."""

_ANEW: Final = 100_000


def image_name(before: int, name: str) -> str:
    """Return the name of the image that a model's input is made of.

    :param before: how many inputs before it are made of images.
    :param name: of the model's input.
    """
    return f'{_OTHER_IMAGES}{name}' if before else IMAGE


def is_image(name: str) -> bool:
    """Return whether a value of a frame is a camera's image, and not a tensor of the model."""
    return name == IMAGE or name.startswith(_OTHER_IMAGES)


PlacedStage = tuple[str, bool, tuple[tuple[int, int], ...]]
"""A stage's device, whether it begins with the preprocessing, ``(start, stop)`` ranges of layers."""


@dataclass(frozen=True)
class StagePlan:
    """The layers between two cuts, run on one device.

    ``layers`` holds ``(start, stop)`` ranges of layer indices, ascending; no range
    means preprocessing alone. ``inputs`` and ``outputs`` are tensors by name.
    """

    device: str
    preprocess: bool
    layers: tuple[tuple[int, int], ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def layer_indices(self) -> tuple[int, ...]:
        """Every layer of the stage, ascending."""
        return tuple(i for start, stop in self.layers for i in range(start, stop))


@dataclass(frozen=True)
class Transfer:
    """A tensor sent from the stage that makes it (``SOURCE_STAGE``: the source) to one other device."""

    tensor: str
    from_stage: int
    from_device: str
    to_device: str
    to_sink: bool = False
    encoding: str = 'raw'


@dataclass(frozen=True)
class Plan:
    """An ordered list of stages with everything the workers need; times in seconds."""

    version: int
    model_sha256: str
    source: str
    sink: str
    stages: tuple[StagePlan, ...]
    transfers: tuple[Transfer, ...]
    objective: str = 'latency'
    max_in_flight: int = 1
    latency_seconds: float = float('nan')
    latency_deviation: float = float('nan')
    energy_joules: float = float('nan')
    bottleneck_seconds: float = float('nan')
    reason: str = field(default='', compare=False)
    scheduler: int = 0
    """The incarnation of the scheduler that made it: two schedulers may give one version to different plans."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that run a stage, in the order of their first one."""
        return tuple(dict.fromkeys(stage.device for stage in self.stages))

    @property
    def placement(self) -> tuple[PlacedStage, ...]:
        """Devices and layers alone: two plans with the same placement run alike."""
        return tuple((stage.device, stage.preprocess, stage.layers) for stage in self.stages)

    def label(self) -> str:
        """Return the placement in a form for people that :func:`parse_label` reads: ``pi:pre-12 cloud:12-31``."""
        return label_of(self.placement)


def supersedes(version: int, other: int) -> bool:
    """Return whether a plan of one version comes after a plan of another.

    Versions rise. One far below the other restarts the numbering: no plan is kept for so long, and the other version is one that
    no scheduler has issued.

    :param other: 0: none.
    """
    return version > other or version <= other - _ANEW


def believable(version: int, known: int) -> bool:
    """Return whether a scheduler that continued from a known version may have issued this one."""
    return known < version <= min(known + _ANEW, LARGEST_VERSION)


def label_of(placement: Iterable[PlacedStage]) -> str:
    """Return a placement in the form that :func:`parse_label` reads."""
    parts = []
    for device, preprocess, layers in placement:
        ranges = [f'{start}-{stop}' for start, stop in layers]
        if preprocess:
            ranges = ['pre', *ranges]
            if layers and layers[0][0] == 0:
                ranges = [f'pre-{layers[0][1]}', *ranges[2:]]
        parts.append(f'{device}:{",".join(ranges)}')
    return ' '.join(parts)


def parse_label(text: str, layers: int) -> tuple[PlacedStage, ...]:
    """Read a placement as :meth:`Plan.label` writes it.

    The ranges of a stage are put in order and joined where they touch, so that equal stages are written alike.

    :param layers: the number of the model's layers; ``end`` stands for it.
    :raises PlanError: if it is malformed, leaves a layer out or names one twice.
    """
    example = f"write for example 'pi:pre-3 cloud:3-{layers}'"
    placement = []
    seen: list[int] = []
    for number, part in enumerate(text.split()):
        device, colon, ranges = part.partition(':')
        if not colon or not device or not ranges:
            raise PlanError(f'plan {text!r}: {part!r} is not DEVICE:RANGES; {example}')
        preprocess = False
        pairs: list[tuple[int, int]] = []
        for item in ranges.split(','):
            start, dash, stop = item.partition('-')
            if start == 'pre':
                if number != 0 or pairs or preprocess:
                    raise PlanError(f'plan {text!r}: pre must come first, and once; {example}')
                preprocess = True
                if not dash:
                    continue
                start = '0'
            try:
                pair = (int(start), layers if stop == 'end' else int(stop))
            except ValueError:
                raise PlanError(f'plan {text!r}: {item!r} is not START-STOP; {example}') from None
            if not 0 <= pair[0] < pair[1] <= layers:
                raise PlanError(f'plan {text!r}: {item!r} is not within 0-{layers}; {example}')
            pairs.append(pair)
            seen.extend(range(*pair))
        placement.append((device, preprocess, ranges_of(i for pair in pairs for i in range(*pair))))
    if not placement or not placement[0][1]:
        raise PlanError(f'plan {text!r}: the first stage must begin with pre; {example}')
    if sorted(seen) != list(range(layers)):
        raise PlanError(f'plan {text!r}: each of the {layers} layers must occur once; {example}')
    return tuple(placement)


def placement_of_words(text: str, layers: int, devices: Sequence[str] | None) -> tuple[PlacedStage, ...]:
    """Read a plan written by a person: as plans are shown (`parse_label`), or a device's name for everything on it.

    :param layers: the number of the model's layers.
    :param devices: of the fleet; None: of any.
    :raises PlanError: if it is malformed, or names a device that the fleet does not have.
    """
    alone = text.isidentifier()
    placement = parse_label(f'{text}:pre-end' if alone else text, layers)
    for device, _, _ in placement:
        if devices is not None and device not in devices:
            raise PlanError(f'plan {text!r}: no device is called {device!r}; known are {", ".join(devices)}')
    return placement


def ranges_of(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending ``(start, stop)`` ranges that hold the given indices."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def check_layers(plan: Plan, layers: int | None) -> None:
    """Raise if the stages do not hold each layer of a model once. Ranges are compared, not expanded: they may be huge.

    :param layers: how many the model has; None: unknown here.
    :raises PlanError: with the first contradiction found.
    """
    most, done = MOST_LAYERS if layers is None else layers, 0
    for start, stop in sorted(pair for stage in plan.stages for pair in stage.layers):
        if start >= stop or stop > most:
            raise PlanError(f'plan {plan.version}: layers {start} to {stop} do not exist; the model has {most}')
        if start != done:
            raise PlanError(f'plan {plan.version}: each layer must occur once, and layer {min(start, done)} does not')
        done = stop
    if layers not in (None, done):
        raise PlanError(f'plan {plan.version}: ends with layer {done} of {layers}')


def check_figures(plan: Plan) -> None:
    """Raise if a predicted cost or the reason is out of range.

    :raises PlanError: if a figure is negative or too large, or a text too long.
    """
    costs = (plan.latency_seconds, plan.latency_deviation, plan.energy_joules, plan.bottleneck_seconds)
    if not all(math.isnan(cost) or 0 <= cost <= _MOST_COST for cost in costs) or plan.max_in_flight > _MOST_IN_FLIGHT:
        raise PlanError(f'plan {plan.version}: its predicted costs are impossible')
    if len(plan.reason) > _LONGEST_REASON:
        raise PlanError(f'plan {plan.version} has a reason of {len(plan.reason)} characters')


def check_plan(plan: Plan, devices: Container[str], given: Collection[str] = (IMAGE,)) -> None:
    """Raise if a plan contradicts itself or names an unknown device.

    Every device must be in the fleet; a tensor is sent once to each device, by the device that makes it, and as a result only to
    the sink; what a stage reads must have been made or sent there before.

    :param given: the inputs that a frame may have, which are on the source from the start.
    :raises PlanError: with the first contradiction found.
    """
    if not plan.stages:
        raise PlanError(f'plan {plan.version} has no stage')
    ends = (end for transfer in plan.transfers for end in (transfer.from_device, transfer.to_device))
    for name in (plan.source, plan.sink, *(stage.device for stage in plan.stages), *ends):
        if name not in devices:
            raise PlanError(
                f'plan {plan.version}: no device is called {name!r}; give all devices of the fleet the same fleet file'
            )
    makers = {(t, i): stage.device for i, stage in enumerate(plan.stages) for t in stage.outputs}
    makers |= {(name, SOURCE_STAGE): plan.source for name in given}
    seen: set[tuple[str, str, bool]] = set()
    for transfer in plan.transfers:
        what, sender = transfer.tensor, transfer.from_device
        if sender == transfer.to_device and not transfer.to_sink:
            raise PlanError(f'plan {plan.version}: {what!r} is sent from a device to itself')
        if transfer.to_sink and transfer.to_device != plan.sink:
            raise PlanError(f'plan {plan.version}: {what!r} is sent to {transfer.to_device} as the sink, which is {plan.sink}')
        key = (what, transfer.to_device, transfer.to_sink)
        if key in seen:
            raise PlanError(f'plan {plan.version}: {what!r} is sent twice to {transfer.to_device}')
        seen.add(key)
        who = 'the source' if transfer.from_stage == SOURCE_STAGE else f'stage {transfer.from_stage}'
        maker = makers.get((what, transfer.from_stage))
        if maker is None:
            raise PlanError(f'plan {plan.version}: {who} does not make {what!r}')
        if maker != sender:
            raise PlanError(f'plan {plan.version}: {what!r} is sent from {sender}, yet {who} is on {maker}')
    here = {(name, plan.source) for name in given}
    for i in range(SOURCE_STAGE, len(plan.stages)):
        if i != SOURCE_STAGE:
            stage = plan.stages[i]
            for name in stage.inputs:
                if (name, stage.device) not in here:
                    raise PlanError(
                        f'plan {plan.version}: stage {i} reads {name!r}, which is neither made on {stage.device} before '
                        'nor sent there'
                    )
            here.update((name, stage.device) for name in stage.outputs)
        here.update((t.tensor, t.to_device) for t in plan.transfers if t.from_stage == i and not t.to_sink)


def check_private(plan: Plan, held: Collection[str]) -> None:
    """Raise if a plan sends an input away that may not leave the source.

    :param held: the names of such inputs.
    :raises PlanError: that names one.
    """
    for transfer in plan.transfers:
        if transfer.tensor in held and transfer.to_device != plan.source:
            raise PlanError(f'plan {plan.version} sends {transfer.tensor!r} to {transfer.to_device}, but it is private')
