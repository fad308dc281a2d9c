# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""COSTS.json: a planning problem on bare costs.

    {"source": "pi", "sink": "pi", "input_bytes": 150528,
     "devices": {"pi": {"active_watts": 4.0, "idle_watts": 0.0, "radio_watts": 1.0,
                        "energy_weight": 1.0, "memory_bytes": null}},
     "links": [{"from": "pi", "to": "jetson", "bytes_per_second": 1.0e6,
                "latency_seconds": 0.004, "channel": null}],
     "layers": [{"name": "conv1", "inputs": [-1], "output_bytes": 602112, "weight_bytes": 9408,
                 "seconds": {"pi": 0.031, "jetson": 0.004}}],
     "outputs": [17],
     "constraints": {"pin": {"conv1": "pi"}, "exclude": ["cloud"], "private_until": "conv1"}}

``outputs``, ``constraints`` and every field of a device may be missing; so may a link's
``latency_seconds`` and ``channel`` and a layer's ``name`` and ``weight_bytes``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, StrictInt

from edge_dnn_partition.errors import PlanError, nearest
from edge_dnn_partition.schema import Strict, check

from .parts import INPUT, Device, Link, Tensor
from .problem import Problem

Figure = Annotated[float, Field(ge=0, strict=True)]
Name = Annotated[str, Field(min_length=1)]


class _Device(Strict):
    active_watts: Figure = 0.0
    idle_watts: Figure = 0.0
    radio_watts: Figure = 0.0
    energy_weight: Figure = 1.0
    memory_bytes: Figure | None = None


class _Link(Strict):
    sender: str = Field(alias='from')
    reader: str = Field(alias='to')
    bytes_per_second: float = Field(gt=0, strict=True)
    latency_seconds: Figure = 0.0
    channel: Name | None = None


class _Layer(Strict):
    name: Name | None = None
    inputs: tuple[StrictInt, ...]
    output_bytes: Figure
    weight_bytes: Figure = 0.0
    seconds: dict[str, Figure]


class _Constraints(Strict):
    pin: dict[str, Name] | None = None
    exclude: tuple[Name, ...] | None = None
    private_until: Name | None = None


class _Costs(Strict):
    source: str
    sink: str
    input_bytes: Figure | None = None
    devices: dict[Name, _Device] = Field(min_length=1)
    links: tuple[_Link, ...] = ()
    layers: tuple[_Layer, ...] = Field(min_length=1)
    outputs: tuple[StrictInt, ...] | None = None
    constraints: _Constraints | None = None


def load(path: Path | str) -> Problem:
    """Read a cost file.

    :raises PlanError: if the file cannot be read, is not JSON, or is not a valid cost file.
    """
    try:
        document = json.loads(Path(path).read_text(encoding='utf-8'), object_pairs_hook=_distinct)
    except OSError as error:
        raise PlanError(f'cannot read {path}: {error.strerror or error}; give the path of a cost file') from None
    except json.JSONDecodeError as error:
        raise PlanError(f'{path} is not JSON: {error.msg} at line {error.lineno} column {error.colno}; correct it') from None
    except (ValueError, RecursionError) as error:
        raise PlanError(f'{path} cannot be read as JSON ({error}); give the path of a cost file') from None
    return from_costs_json(document)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise PlanError(f'the key {twice!r} occurs twice in one object; keep one of them')
    return document


def from_costs_json(document: object) -> Problem:
    """Return the problem of a cost document.

    :raises PlanError: one line that says what is wrong and what to do.
    """
    if not isinstance(document, Mapping):
        raise PlanError('the cost file must be an object with source, sink, devices, links and layers')
    costs = check(_Costs, document, what='the cost file')
    for what, name in (('source', costs.source), ('sink', costs.sink)):
        _known(name, costs.devices, what)
    seconds = np.full((len(costs.layers), len(costs.devices)), np.inf)
    position = {name: index for index, name in enumerate(costs.devices)}
    readers: list[dict[int, None]] = [{} for _ in range(len(costs.layers) + 1)]  # the last is the model's input
    for i, layer in enumerate(costs.layers):
        what = f'layers.{i}' if layer.name is None else f'layers.{i} ({layer.name})'
        for entry in layer.inputs:
            if not -1 <= entry < i:
                raise PlanError(f'{what}: inputs has {entry}; give earlier layers, below {i}, or -1 for the input of the model')
            readers[entry][i] = None
        for device, given in layer.seconds.items():
            seconds[i, position[_known(device, costs.devices, f'{what}: seconds')]] = given
    if readers[-1] and costs.input_bytes is None:
        raise PlanError('the cost file: input_bytes is missing; add it')
    outputs = {i for i in range(len(costs.layers)) if not readers[i]} if costs.outputs is None else set(costs.outputs)
    if wrong := [entry for entry in outputs if not 0 <= entry < len(costs.layers)]:
        raise PlanError(f'outputs has {wrong[0]}; the layers are 0 to {len(costs.layers) - 1}')
    names = tuple(layer.name or f'layer{i}' for i, layer in enumerate(costs.layers))
    problem = Problem(
        source=costs.source,
        sink=costs.sink,
        devices=tuple(
            Device(name=name, **device.model_dump(exclude_none=True)) for name, device in costs.devices.items()
        ),
        links=_links(costs),
        node_names=names,
        tensors=(
            Tensor(name='input', producer=INPUT, readers=tuple(sorted(readers[-1])), bytes=costs.input_bytes or 0.0),
            *(
                Tensor(name=names[i], producer=i, readers=tuple(sorted(readers[i])), bytes=layer.output_bytes, at_sink=i in outputs)
                for i, layer in enumerate(costs.layers)
            ),
        ),
        seconds=seconds,
        weight_bytes=np.array([layer.weight_bytes for layer in costs.layers]),
    )
    return problem if costs.constraints is None else problem.constrained(**costs.constraints.model_dump(exclude_none=True))


def _links(costs: _Costs) -> tuple[Link, ...]:
    seen: dict[tuple[str, str], int] = {}
    for i, link in enumerate(costs.links):
        ends = (_known(link.sender, costs.devices, f'links.{i}.from'), _known(link.reader, costs.devices, f'links.{i}.to'))
        if link.sender == link.reader:
            raise PlanError(f'links.{i} goes from {link.sender!r} to itself; leave it out')
        if seen.setdefault(ends, i) != i:
            raise PlanError(f'links.{i} repeats links.{seen[ends]} from {link.sender!r} to {link.reader!r}; keep one')
    return tuple(Link(**link.model_dump()) for link in costs.links)


def _known(name: str, devices: Collection[str], what: str) -> str:
    if name not in devices:
        raise PlanError(f'{what}: unknown device {name!r}{nearest(name, devices)}')
    return name
