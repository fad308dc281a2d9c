# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""COSTS.json: a planning problem on bare costs, checked field by field.

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
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_dnn_partition.errors import PlanError, nearest

from .parts import INPUT, Device, Link, Tensor
from .problem import Problem

_TOP: Final = ('source', 'sink', 'input_bytes', 'devices', 'links', 'layers', 'outputs', 'constraints')
_DEVICE: Final = ('active_watts', 'idle_watts', 'radio_watts', 'energy_weight', 'memory_bytes')
_LINK: Final = ('from', 'to', 'bytes_per_second', 'latency_seconds', 'channel')
_LAYER: Final = ('name', 'inputs', 'output_bytes', 'weight_bytes', 'seconds')
_CONSTRAINTS: Final = ('pin', 'exclude', 'private_until')


def load(path: Path | str) -> Problem:
    """Read a cost file.

    :raises PlanError: if the file cannot be read, is no JSON, or is no valid cost file.
    """
    try:
        document = json.loads(Path(path).read_text(encoding='utf-8'), object_pairs_hook=_distinct)
    except OSError as error:
        raise PlanError(f'cannot read {path}: {error.strerror or error}; give the path of a cost file') from None
    except UnicodeDecodeError:
        raise PlanError(f'{path} is no text; give a cost file in JSON') from None
    except RecursionError:
        raise PlanError(f'{path} is nested too deeply for a cost file') from None
    except json.JSONDecodeError as error:
        raise PlanError(f'{path} is no JSON: {error.msg} at line {error.lineno} column {error.colno}; mend it') from None
    return read(document)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise PlanError(f'the key {twice!r} stands twice in one object; keep one of them')
    return document


def _object(value: object, what: str, known: Collection[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanError(f'{what} must be an object, not {_show(value)}')
    if known is not None:
        for key in value:
            if key not in known:
                raise PlanError(f'{what}: unknown key {key!r}{nearest(key, known)}')
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise PlanError(f'{what} must be a list, not {_show(value)}')
    return list(value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise PlanError(f'{what} must be a text that is not empty, not {_show(value)}')
    return value


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f'{text[:37]}...'


def _number(value: object, what: str, *, positive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PlanError(f'{what} must be a number, not {_show(value)}')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PlanError(f'{what} must be finite, not {_show(value)}; leave out what cannot run or cannot talk')
    if number < 0 or (positive and number == 0):
        raise PlanError(f'{what} must be {"above 0" if positive else "0 or more"}, not {_show(value)}')
    return number


def _require(document: Mapping[str, Any], key: str, what: str) -> Any:
    if key not in document:
        raise PlanError(f'{what} has no {key!r}; add it')
    return document[key]


def _known(value: object, devices: Collection[str], what: str) -> str:
    if not isinstance(value, str) or value not in devices:
        raise PlanError(f'{what}: unknown device {_show(value)}{nearest(str(value), devices)}')
    return value


def _device(name: str, value: object) -> Device:
    what = f'device {_text(name, "the name of a device")!r}'
    fields = dict(_object(value, what, _DEVICE))
    memory = fields.pop('memory_bytes', None)
    return Device(
        name=name,
        memory_bytes=math.inf if memory is None else _number(memory, f'{what}: memory_bytes'),
        **{key: _number(field, f'{what}: {key}') for key, field in fields.items()},
    )


def _link(index: int, value: object, devices: Collection[str]) -> Link:
    what = f'links[{index}]'
    fields = _object(value, what, _LINK)
    sender = _known(_require(fields, 'from', what), devices, f'{what}: from')
    reader = _known(_require(fields, 'to', what), devices, f'{what}: to')
    if sender == reader:
        raise PlanError(f'{what} goes from {sender!r} to itself; leave it out')
    channel = fields.get('channel')
    return Link(
        sender=sender,
        reader=reader,
        bytes_per_second=_number(
            _require(fields, 'bytes_per_second', what), f'{what}: bytes_per_second', positive=True
        ),
        latency_seconds=_number(fields.get('latency_seconds', 0.0), f'{what}: latency_seconds'),
        channel=None if channel is None else _text(channel, f'{what}: channel'),
    )


def _index(value: object, lowest: int, limit: int, what: str, hint: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PlanError(f'{what} must be the index of a layer, not {_show(value)}')
    if not lowest <= value < limit:
        raise PlanError(f'{what} is {value}, but {hint}')
    return value


def read(document: object) -> Problem:
    """Return the problem of a cost document.

    :raises PlanError: one line that says what is wrong and what to do.
    """
    top = _object(document, 'the cost file', _TOP)
    devices = _object(_require(top, 'devices', 'the cost file'), 'devices')
    if not devices:
        raise PlanError('devices is empty; describe at least the source')
    parts = tuple(_device(name, value) for name, value in devices.items())
    source = _known(_require(top, 'source', 'the cost file'), devices, 'source')
    sink = _known(_require(top, 'sink', 'the cost file'), devices, 'sink')
    links = tuple(_link(i, value, devices) for i, value in enumerate(_list(top.get('links', []), 'links')))
    seen: dict[tuple[str, str], int] = {}
    for i, link in enumerate(links):
        first = seen.setdefault((link.sender, link.reader), i)
        if first != i:
            raise PlanError(f'links[{i}] repeats links[{first}] from {link.sender!r} to {link.reader!r}; keep one')

    layers = _list(_require(top, 'layers', 'the cost file'), 'layers')
    if not layers:
        raise PlanError('layers is empty; describe at least one layer')
    position = {name: index for index, name in enumerate(devices)}
    seconds = np.full((len(layers), len(parts)), np.inf)
    weights = np.zeros(len(layers))
    sizes: list[float] = []
    names: list[str] = []
    readers: list[dict[int, None]] = [{} for _ in range(len(layers) + 1)]  # the last is the model's input
    for i, value in enumerate(layers):
        fields = _object(value, f'layers[{i}]', _LAYER)
        names.append(_text(fields.get('name', f'layer{i}'), f'layers[{i}]: name'))
        what = f'layers[{i}] ({names[-1]})'
        for entry in _list(_require(fields, 'inputs', what), f'{what}: inputs'):
            hint = f"it may read only earlier layers, 0 to {i - 1}, or -1 for the model's input" if i else \
                "the first layer may read only -1, the model's input"
            readers[_index(entry, -1, i, f'{what}: an entry of inputs', hint)][i] = None
        sizes.append(_number(_require(fields, 'output_bytes', what), f'{what}: output_bytes'))
        weights[i] = _number(fields.get('weight_bytes', 0), f'{what}: weight_bytes')
        for device, entry in _object(_require(fields, 'seconds', what), f'{what}: seconds').items():
            place = position[_known(device, devices, f'{what}: seconds')]
            seconds[i, place] = _number(entry, f'{what}: seconds on {device!r}')

    if top.get('outputs') is None:
        outputs = {i for i in range(len(layers)) if not readers[i]}
    else:
        hint = f'the layers are 0 to {len(layers) - 1}'
        entries = _list(top['outputs'], 'outputs')
        outputs = {_index(entry, 0, len(layers), 'an entry of outputs', hint) for entry in entries}
    tensors = [
        Tensor(
            name=names[i], producer=i, readers=tuple(sorted(readers[i])), bytes=sizes[i], at_sink=i in outputs
        )
        for i in range(len(layers))
    ]
    needs_input = bool(readers[-1])
    input_bytes = _number(
        _require(top, 'input_bytes', 'the cost file') if needs_input else top.get('input_bytes', 0), 'input_bytes'
    )
    tensors.insert(
        0, Tensor(name='input', producer=INPUT, readers=tuple(sorted(readers[-1])), bytes=input_bytes)
    )
    problem = Problem(
        source=source,
        sink=sink,
        devices=parts,
        links=links,
        node_names=tuple(names),
        tensors=tuple(tensors),
        seconds=seconds,
        weight_bytes=weights,
    )
    return _constrain(problem, top.get('constraints'))


def _constrain(problem: Problem, value: object) -> Problem:
    if value is None:
        return problem
    fields = _object(value, 'constraints', _CONSTRAINTS)
    pin = _object(fields.get('pin') or {}, 'constraints: pin')
    exclude = _list(fields.get('exclude') or [], 'constraints: exclude')
    until = fields.get('private_until')
    return problem.constrained(
        pin={layer: _text(device, f'constraints: pin of {layer!r}') for layer, device in pin.items()},
        exclude=[_text(device, 'constraints: exclude') for device in exclude],
        private_until=None if until is None else _text(until, 'constraints: private_until'),
    )
