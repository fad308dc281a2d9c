# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The files that ``init`` writes: what is known of the model, each value with where it is from, and what is left to a person."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.graph.metadata.ends import End, Ends
from edge_dnn_partition.graph.metadata.facts import Fact, Facts
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import TODO
from edge_dnn_partition.results.checks import likely_kind
from edge_dnn_partition.results.postprocess import postprocessor_of

LABELS: Final = 'labels.txt'
_PLAIN: Final = re.compile(r'[A-Za-z_./][\w./-]*')
_WORDS: Final = re.compile(r'(?:yes|no|on|off|true|false|null)', re.IGNORECASE)
_WINDOW: Final = 128
"""Tokens that a decoder sees."""
_DTYPES: Final[dict[int, str]] = {TensorProto.FLOAT16: 'float16', TensorProto.UINT8: 'uint8', TensorProto.INT8: 'int8'}
_GUESSED: Final = {'scale': Fact(1 / 255, 'a guess: what most exports of PyTorch expect', guess=True)}
_BY_NAME: Final = {'heatmap': 'keypoints', 'hidden_state': 'embedding', 'pooler': 'embedding', 'embed': 'embedding'}
_ALIKE: Final = {'detr': 'rt_detr', 'yolov5': 'yolox'}
"""Heads whose outputs have the same shapes."""
_USUAL_SIDE: Final = 224
_WIDTH: Final = 30


@dataclass
class Written:
    """What `init` makes of a model: texts by file name, and what to tell."""

    files: dict[str, str] = field(default_factory=dict)
    guesses: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for.

    :param devices: the first is the source; none: two that are played on this machine.
    :param images: a folder of images in place of a camera.
    """

    fleet: str
    model: str
    devices: tuple[str, ...] = ()
    images: str = ''


def write_files(ends: Ends, facts: Facts | None, wanted: Wanted) -> Written:
    """Return the fleet file and those that it names."""
    made = Written(unknown=list(facts.unknown) if facts is not None else [])
    prepared: dict[str, Preprocessing] = {}
    alone = len(ends.inputs) == 1
    for end in ends.images:
        name = 'preprocessing.yaml' if alone else f'{_file_name(end.name)}.yaml'
        text, preprocessing = _preprocessing(end, facts, made)
        made.files[name] = text
        if preprocessing is not None:
            prepared[end.name] = preprocessing
    meaning = _meaning(ends, facts, made)
    if facts is not None and facts.labels and 'kind' in meaning:
        made.files[LABELS] = ''.join(f'{label}\n' for label in _lines(facts.labels))
        meaning['labels'] = Fact(LABELS, facts.source)
    _try_meaning(ends, meaning, made, next(iter(prepared.values()), None))
    made.files[f'{wanted.fleet}.yaml'] = ''.join(f'{line}\n' for line in _fleet_file(ends, facts, wanted, meaning, made))
    return made


def _preprocessing(end: End, facts: Facts | None, made: Written) -> tuple[str, Preprocessing | None]:
    """Return a preprocessing file, and what it says if that is allowed."""
    known = facts is not None and bool(facts.preprocessing)
    size = facts.size if facts is not None else None
    width, height = (have or said for have, said in zip(end.size, size or (_USUAL_SIDE, _USUAL_SIDE), strict=True))
    origin = f'input {end.name}'
    if 0 in end.size:
        origin += f' leaves it open; {facts.source}' if facts is not None and size is not None else ' leaves it open; a guess'
        if size is None:
            made.guesses.append(f'the size of {end.name}, {width} x {height}: the model takes others')
    values = {'width': Fact(width, origin), 'height': Fact(height, origin), 'layout': Fact(end.layout, f'input {end.name}')}
    if end.dtype in _DTYPES:
        values['dtype'] = Fact(_DTYPES[end.dtype], f'input {end.name}')
    said = dict(facts.preprocessing) if facts is not None else {}
    depth = _is_depth(end)
    if depth:
        said = {'colour': Fact('depth', 'a guess by the name: metres', guess=True)}
    elif end.channels == 1 and said.get('colour', Fact('')).value != 'gray':
        said['colour'] = Fact('gray', f'input {end.name} has one channel')
        for key in ('mean', 'std'):
            if key in said and len(said[key].value) == 3:
                said[key] = Fact([float(np.mean(said[key].value))], f'the mean of {said[key].origin}', guess=True)
    if not known:
        whole = end.dtype in (TensorProto.UINT8, TensorProto.INT8)
        said = {'colour': said.get('colour', Fact('rgb', 'a guess', guess=True)), **({} if whole or depth else _GUESSED),
                'resize': Fact('stretch', 'a guess; center_crop and letterbox keep the shape', guess=True)}  # fmt: skip
        if depth:
            made.unknown.append(f'preprocessing of {end.name}: what makes its values of metres (scale, mean, std)')
        elif not whole:
            made.unknown.append(
                f'preprocessing of {end.name}: nothing says how its pixels are scaled (scale, mean, std), in which order the '
                'colours are, and how it is resized: see how the model was trained'
            )
        elif end.dtype == TensorProto.INT8:
            made.unknown.append(f'preprocessing of {end.name}: it gets pixels less 128 unless quantisation says otherwise')
    values |= said
    head = f'# What {end.name} of the model wants of an image; a value becomes (pixel * scale - mean) / std.'
    text = '\n'.join([head, *(_line(f'{key}: {_flow(fact.value)}', fact.origin) for key, fact in values.items()), ''])
    try:
        return text, Preprocessing.from_dict({key: fact.value for key, fact in values.items()})
    except UserError as error:
        made.unknown.append(f'{error}: correct the file')
        return text, None


def _meaning(ends: Ends, facts: Facts | None, made: Written) -> dict[str, Fact]:
    """Return the keys of postprocessing: as said, else as the outputs look."""
    if facts is not None and facts.postprocessing:
        return dict(facts.postprocessing)
    looks = _looks(ends) if ends.images and len(ends.inputs) == 1 else None
    if looks is None:
        return {}
    alike = f' (or head: {_ALIKE[head]})' if (head := looks.get('head')) in _ALIKE else ''
    made.guesses.append(f'postprocessing, {_flow(looks)}{alike}: the outputs look like it; see docs/seeing.md')
    return {key: Fact(value, 'a guess from the shapes of the outputs', guess=True) for key, value in looks.items()}


def _looks(ends: Ends) -> dict[str, Any] | None:
    """Return what the outputs most often are, by the first one's name and the shapes; None: they do not tell."""
    name = ends.outputs[0].name.lower()
    if 'hidden_state' in name and 'encoder' in ends.path.stem.lower():
        return None  # a decoder reads it
    for word, kind in _BY_NAME.items():
        if word in name:
            return {'kind': kind}
    if lists := _lists(ends):
        return lists
    looks = likely_kind({end.name: end.shape for end in ends.outputs})
    return None if looks == {'kind': 'classification'} and len(ends.outputs) > 1 else looks


def _lists(ends: Ends) -> dict[str, Any] | None:
    """Return how to read lists whose names do not tell, as torchvision's detectors are exported with: boxes, scores, classes."""
    boxes = [end.name for end in ends.outputs if len(end.shape) == 2 and end.shape[1] == 4]
    flat = {end.name: end.dtype for end in ends.outputs if len(end.shape) == 1}
    classes = [name for name, dtype in flat.items() if dtype == TensorProto.INT64]
    if len(ends.outputs) != 3 or len(boxes) != 1 or len(flat) != 2 or len(classes) != 1:
        return None
    (scores,) = flat.keys() - set(classes)
    return {'kind': 'detection', 'head': 'lists', 'output': boxes[0], 'scores': scores, 'classes': classes[0]}


def _try_meaning(ends: Ends, meaning: dict[str, Fact], made: Written, preprocessing: Preprocessing | None) -> None:
    """Try the postprocessing on outputs of the declared shapes, and leave out what does not fit."""
    if not meaning:
        return
    keys = {key: fact.value for key, fact in meaning.items()}
    shapes = [end.shape for end in ends.outputs]
    try:
        with tempfile.TemporaryDirectory() as folder:
            if LABELS in made.files:
                (Path(folder) / LABELS).write_text(made.files[LABELS], encoding='utf-8')
            postprocessor = postprocessor_of(keys, Path(folder))
        if all(shape and 0 not in shape for shape in shapes):
            zeros = {end.name: np.zeros(end.shape, onnx.helper.tensor_dtype_to_np_dtype(end.dtype)) for end in ends.outputs}
            postprocessor(zeros, (640, 480), preprocessing)
        names = made.files.get(LABELS, '').count('\n')
        if keys['kind'] == 'classification' and names and shapes[0] and shapes[0][-1] not in (0, names):
            made.unknown.append(f'labels: {names} names for {shapes[0][-1]} classes; do they belong to this model?')
    except UserError as error:
        made.unknown.append(f'{error}: {_flow(keys)} was left out')
        meaning.clear()


def _fleet_file(
    ends: Ends, facts: Facts | None, wanted: Wanted, meaning: Mapping[str, Fact], made: Written
) -> Iterator[str]:
    devices = wanted.devices or ('pi', 'server')
    source = 'nothing' if facts is None else facts.source
    alone, file = len(ends.inputs) == 1, f'{wanted.fleet}.yaml'
    yield f'# Written by `edge-dnn-partition init`; what it knows of the model is from {source}.'
    yield f'# `edge-dnn-partition doctor --fleet {file}` says whether it would start, and what is still to be filled in.'
    yield from (f'# NOT KNOWN: {line}' for line in made.unknown)
    yield f'fleet: {wanted.fleet}'
    yield 'model:'
    yield f'  path: {_flow(wanted.model)}'
    if shapes := _shapes(ends):
        made.guesses.append(f'shapes, {_flow(shapes)}: the model leaves sizes open')
        yield _line(f'  shapes: {_flow(shapes)}', 'a guess: the model leaves sizes open; a frame has exactly these')
    if alone and ends.images:
        yield '  preprocessing: preprocessing.yaml'
    if meaning:
        yield _line(f'  postprocessing: {_flow({k: f.value for k, f in meaning.items()})}', meaning['kind'].origin)
    yield _line(f'source: {devices[0]}', 'where the camera is; results come back there')
    yield _line('objective: latency', 'or energy, throughput, balanced, deadline')
    yield from _devices(wanted, devices)
    yield from _inputs(ends, wanted, made)


def _grows(ends: Ends) -> bool:
    """Return whether a state has an open size: the model is a decoder, and the state what it keeps of the tokens before."""
    return any(0 in end.shape[1:] for end in ends.inputs if end.name in ends.states)


def _shapes(ends: Ends) -> dict[str, list[int]]:
    """Return shapes of the inputs that leave sizes open; of a decoder: one token, and a window of those before it."""
    still_open = [end for end in ends.inputs if 0 in end.shape[1:] and not end.layout]
    if not _grows(ends):
        return {end.name: list(end.proposal) for end in still_open}

    def tokens(end: End) -> int:
        return _WINDOW if end.name in ends.states else _WINDOW + 1 if 'mask' in end.name else 1

    return {end.name: [end.shape[0] or 1, *(size or tokens(end) for size in end.shape[1:])] for end in still_open}


def _devices(wanted: Wanted, devices: Sequence[str]) -> Iterator[str]:
    yield 'devices:'
    if not wanted.devices:
        yield '  # played on this machine, each run taking slowdown times its CPU time; real devices: init --device NAME …'
        yield f'  {devices[0]}: {{threads: 1, emulate: {{slowdown: 4}}}}'
        yield f'  {devices[1]}: {{threads: 1, emulate: {{slowdown: 1}}}}'
    for name in wanted.devices:
        yield _line(f'  {name}: {{threads: 4}}', 'a guess: its cores')
    if wanted.devices:
        yield '  # with a GPU: providers: [CUDAExecutionProvider, CPUExecutionProvider]'
    if len(devices) > 1:
        yield _line('links:', 'first guesses; both are measured' if wanted.devices else 'held to these, because emulate is set')
    emulate = '' if wanted.devices else ', emulate: true'
    for index, name in enumerate(devices):
        for other in devices[index + 1 :]:
            yield f'  - {{between: [{name}, {other}], rate: 20 Mbit/s, delay: 2 ms{emulate}}}'


def _inputs(ends: Ends, wanted: Wanted, made: Written) -> Iterator[str]:
    """Say where the inputs come from: a camera, by name from topics with what a person has to fill in, or ``infer`` alone."""
    camera = f'images: {_flow(wanted.images)}' if wanted.images else ''
    if len(ends.inputs) == 1 and ends.images:
        usual = 'topic: /camera/image_raw/compressed, compressed: true'
        if not camera:
            made.guesses.append('the camera topic, /camera/image_raw/compressed: see `ros2 topic list`')
            yield '# a guess; or images: DIR, video: FILE, camera: 0 (a number); or no camera at all: images then come by infer'
        yield f'camera: {{{camera or usual}}}'
        return
    if not ends.images:
        yield '# These inputs come by `infer`, as tensors by name (docs/own_node.md); from topics or files: docs/inputs.md'
        yield from (f'#   {end.name}: {_described(end)}' for end in ends.inputs if end.name not in ends.states)
        if not ends.states:
            return
    comment = 'name all, or none: they then come by infer' if ends.images else 'what a frame has from the frame before it'
    yield _line('inputs:', f'by the name of the model; {comment}; docs/inputs.md')
    for end in ends.inputs:
        if end.layout:
            raw = ', compressed: false' if _is_depth(end) and not camera else ''
            where = camera or f"topic: '{TODO}: the camera topic of {end.name}'{raw}"
            yield f'  {_flow(end.name)}: {{kind: image, {where}, preprocessing: {_file_name(end.name)}.yaml}}'
        elif end.name in ends.states:
            output = ends.states[end.name]
            made.guesses.append(f'the state {end.name}, taken from output {output} of the frame before')
            yield _line(f'  {_flow(end.name)}: {{kind: state, output: {_flow(output)}, initial: 0.0}}', 'a guess by name and shape')
        elif ends.images:
            todo = {'topic': 'the topic that has it', 'type': 'of its messages', 'field': 'of them'}
            keys = {'kind': 'message', **{key: f'{TODO}: {what}' for key, what in todo.items()}}
            yield f'  # {_described(end)}; or kind: constant with a value'
            yield f'  {_flow(end.name)}: {_flow(keys)}'


def _is_depth(end: End) -> bool:
    return end.channels == 1 and 'depth' in end.name.lower() and end.dtype not in _DTYPES


def _described(end: End) -> str:
    sizes = [str(size) if size else name or '?' for size, name in zip(end.shape, end.sizes or ('',) * len(end.shape), strict=True)]
    return f'{TensorProto.DataType.Name(end.dtype).lower()} [{", ".join(sizes)}]'


def _lines(labels: Sequence[str]) -> Iterator[str]:
    """Yield names that each take one line, and none that is empty: a line is a class."""
    for index, label in enumerate(labels):
        plain = ' '.join(label.split('\n'))
        yield plain or f'class {index}'


def _file_name(name: str) -> str:
    return re.sub(r'[^A-Za-z0-9_]+', '_', name).strip('_') or 'input'


def _line(text: str, comment: str) -> str:
    return f'{text:<{_WIDTH - 2}}  # {comment}' if comment else text


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, Mapping):
        return f'{{{", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items())}}}'
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(_flow, value))}]'
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
