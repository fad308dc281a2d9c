# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The names of the zoo's models, and where each is once it has been built.

Weights are random but seeded, and batch normalisation holds statistics of the network's
own activations, so that outputs neither vanish nor explode. Only ``digits`` is trained.
The variants whose names end in ``_small`` have few channels and small images.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_dnn_partition.cache import needed
from edge_dnn_partition.errors import ModelError

#: Raised when a network or its weights change.
ZOO_VERSION = 2


@dataclass(frozen=True)
class Entry:
    """How to build one model: a module of this package, a function in it, its arguments."""

    module: str
    function: str
    #: Input names and shapes; the integer inputs of ``words`` hold indices below its value.
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...] = ('scores',)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    words: int | None = None
    #: An axis that stays open, by input and output.
    open_axes: Mapping[str, int] = field(default_factory=dict)


def _image(size: int) -> dict[str, tuple[int, ...]]:
    return {'image': (1, 3, size, size)}


def _text(length: int) -> dict[str, tuple[int, ...]]:
    return {'input_ids': (1, length), 'attention_mask': (1, length)}


def _arm(size: int) -> dict[str, tuple[int, ...]]:
    return {'front': (1, 3, size, size), 'wrist': (1, 3, size, size), 'state': (1, 6)}


def _decoder(depth: int, shared: int, size: int, **arguments: Any) -> Entry:
    """Return a decoder with its cache as exporters write it: open in the number of tokens before."""
    ends = [f'{block}.{what}' for block in range(depth) for what in ('key', 'value')]
    past, present = [f'past_key_values.{end}' for end in ends], [f'present.{end}' for end in ends]
    tokens = 4
    return Entry(
        'decoder', 'decoder',
        {'input_ids': (1, 1), 'attention_mask': (1, tokens + 1), 'position_ids': (1, 1)}
        | dict.fromkeys(past, (1, shared, tokens, size)),
        ('logits', *present), {'depth': depth, 'shared': shared, **arguments}, words=arguments['vocabulary'],
        open_axes={'attention_mask': 1, **dict.fromkeys((*past, *present), 2)},
    )  # fmt: skip


_SCALES = ('large_objects', 'middle_objects', 'small_objects')

_ENTRIES: dict[str, Entry] = {
    'alexnet': Entry('convnets', 'alexnet', _image(224)),
    'vgg16': Entry('convnets', 'vgg16', _image(224)),
    'resnet18': Entry('resnets', 'resnet18', _image(224)),
    'resnet50': Entry('resnets', 'resnet50', _image(224)),
    'mobilenetv2': Entry('mobile', 'mobilenetv2', _image(224)),
    'efficientnet_b0': Entry('mobile', 'efficientnet_b0', _image(224)),
    'inception': Entry('inception', 'inception', _image(224)),
    'vit_b16': Entry('transformers', 'vit', _image(224)),
    'bert': Entry('transformers', 'bert', _text(128), ('states', 'pooled'), words=30522),
    'yolo': Entry('detector', 'yolo', _image(320), _SCALES),
    'act': Entry('policy', 'act', _arm(128), ('actions',), arguments={'side': 128}),
    'digits': Entry('digits', 'digits', {'image': (1, 1, 8, 8)}),
}

_SMALL: dict[str, Entry] = {
    'alexnet_small': Entry('convnets', 'alexnet', _image(96), arguments={'width': 0.25, 'classes': 10}),
    'vgg16_small': Entry('convnets', 'vgg16', _image(32), arguments={'width': 0.25, 'classes': 10}),
    'resnet18_small': Entry('resnets', 'resnet18', _image(64), arguments={'width': 16, 'classes': 10}),
    'resnet50_small': Entry('resnets', 'resnet50', _image(64), arguments={'width': 16, 'classes': 10}),
    'mobilenetv2_small': Entry('mobile', 'mobilenetv2', _image(64), arguments={'width': 0.5, 'classes': 10}),
    'efficientnet_small': Entry('mobile', 'efficientnet_b0', _image(64), arguments={'width': 0.5, 'classes': 10}),
    'inception_small': Entry('inception', 'inception', _image(64), arguments={'width': 0.25, 'classes': 10}),
    'vit_small': Entry('transformers', 'vit', _image(32),
                       arguments={'size': 32, 'patch': 8, 'width': 48, 'depth': 3, 'heads': 3, 'classes': 10}),
    'bert_small': Entry('transformers', 'bert', _text(16), ('states', 'pooled'), words=100,
                        arguments={'vocabulary': 100, 'width': 48, 'depth': 3, 'heads': 3, 'length': 16}),
    'act_small': Entry('policy', 'act', _arm(64), ('actions',),
                       arguments={'width': 48, 'channels': 8, 'depth': 1, 'heads': 3, 'side': 64}),
    'yolo_small': Entry('detector', 'yolo', _image(64), _SCALES, arguments={'width': 0.25, 'classes': 4}),
}

_STATEFUL: dict[str, Entry] = {'decoder_small': _decoder(3, 2, 8, vocabulary=61, width=32, heads=4)}
"""Carry state from frame to frame, and need shapes."""


def names() -> tuple[str, ...]:
    """Return the names of the models in full size."""
    return tuple(_ENTRIES)


def small_names() -> tuple[str, ...]:
    """Return the names of the small variants and of ``digits``, which is small as it is."""
    return (*_SMALL, 'digits')


def entry(name: str) -> Entry:
    """Return how a model is built.

    :raises ModelError: the zoo has no such model.
    """
    found = _ENTRIES.get(name) or _SMALL.get(name) or _STATEFUL.get(name)
    if found is None:
        raise ModelError(f'the zoo has no model {name}: it has {", ".join((*_ENTRIES, *_SMALL, *_STATEFUL))}')
    return found


def model_path(name: str) -> Path:
    """Return the ONNX file of a model, which is built at the first call and then cached.

    :raises ModelError: the zoo has no such model, or torch, which builds it, is missing.
    """
    wanted = entry(name)
    tag = hashlib.sha256(f'{ZOO_VERSION} {name} {wanted}'.encode()).hexdigest()[:16]
    return needed(functools.partial(_build, wanted), 'zoo', f'{name}-{tag}', f'{name}.onnx')


def _build(wanted: Entry, path: Path) -> None:
    """Build a model with torch and write it; a reader never sees a part."""
    name = path.stem
    try:
        from edge_dnn_partition.graph.zoo.export import build
    except ImportError as error:
        raise ModelError(
            f'the zoo builds {name} with torch, and {error.name} is missing: '
            "install the extra 'export' (pip install 'edge_dnn_partition[export]')") from None
    temporary = Path(tempfile.mkdtemp(dir=path.parent.parent, prefix='.new-'))
    try:
        build(wanted, temporary / path.name)
        os.replace(temporary / path.name, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
