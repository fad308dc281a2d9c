# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A prepared model whose weights are named by their hashes, for a device that gets those of its stages alone.

Beside each prepared model lie its graph in this form and an index that says where each weight is (`write`, `offered`). A device
that has no model file keeps the graph, with what the model is, in a folder beside the place where that file would be
(`parts_folder`, `load_parts`); the weights come into the cache, each under its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.cache import cache_dir, keep
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.layering import layering_of
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.prepare import load_prepared, prepared_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

_GRAPH: Final = 'by_hash.onnx'
_INDEX: Final = 'by_hash.json'
_ABOUT: Final = 'about.json'
_SHA256: Final = re.compile(r'[0-9a-f]{64}')
_CHUNK_BYTES: Final = 1 << 22
_HOLES: Final = 'made_up'


def write(folder: Path, source_path: Path) -> None:
    """Write the graph with its weights named by their hashes, and the index of them, beside a prepared model.

    :param folder: of the prepared model.
    :param source_path: the user's file, which may hold the weights.
    :raises ModelError: if weights cannot be read.
    """
    from edge_dnn_partition.graph import protos
    from edge_dnn_partition.graph.weights import point

    proto = load_prepared(folder / 'model.onnx')
    index: dict[str, tuple[str, int, int]] = {}
    for tensor in protos.all_tensors(proto.graph):
        if protos.is_external(tensor):
            location, offset, length = protos.external_entry(tensor)
            sha256 = _hash(prepared_weights(folder, source_path, location), offset, length)
            index.setdefault(sha256, (location, offset, length))
            point(tensor, sha256, 0, length)
    (folder / _GRAPH).write_bytes(proto.SerializeToString(deterministic=True))
    (folder / _INDEX).write_text(json.dumps(index))


def _hash(path: Path, offset: int, length: int) -> str:
    digest, left = hashlib.sha256(), length
    try:
        with path.open('rb') as stream:
            stream.seek(offset)
            while left and (content := stream.read(min(left, _CHUNK_BYTES))):
                digest.update(content)
                left -= len(content)
    except OSError as error:
        raise ModelError(f'the weights {path} cannot be read ({error.strerror}): load the model again') from None
    if left:
        raise ModelError(f'the weights {path} are too short: copy the file again')
    return digest.hexdigest()


def offered(model: Model) -> tuple[dict[str, Path], dict[str, tuple[Path, int, int]]]:
    """Return what devices without the model's file need: files for its `parts_folder`, by name, and the weights.

    :returns: the files, and of each weight, by its hash, the file here, the offset and the length.
    :raises ModelError: if it cannot be read.
    """
    folder = model.path.parent
    about = folder / f'about_{model.key[:16]}.json'
    layering_of(model.path, model.key, model.states)  # written where it was not
    keep(about, json.dumps({'name': model.name, 'sha256': model.sha256, 'key': model.key}).encode())
    try:
        index = json.loads((folder / _INDEX).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f'the prepared model in {folder} is not complete ({error}): delete that folder') from None
    weights = {sha256: (prepared_weights(folder, model.source_path, location), offset, length)
               for sha256, (location, offset, length) in index.items()}  # fmt: skip
    layers = f'layers_{model.key[:16]}.json'
    return {'model.onnx': folder / _GRAPH, layers: folder / layers, _ABOUT: about}, weights


def parts_folder(path: Path) -> Path:
    """Return where the parts of a model lie whose file would be at a path."""
    return path.with_name(f'{path.name}.parts')


def parts_sha256(path: Path) -> str:
    """Return the hash of the model whose parts lie where its file would be; empty: there are none."""
    try:
        return str(_about(path)['sha256'])
    except ModelError:
        return ''


def load_parts(path: Path, states: Mapping[str, str]) -> Model:
    """Return the model whose parts lie where its file would be.

    :param states: as for `load_model`.
    :raises ModelError: if they are not there, or are no good.
    """
    about, graph = _about(path), parts_folder(path) / 'model.onnx'
    found = layering_of(graph, about['key'], states)
    return Model(
        name=about['name'], sha256=about['sha256'], key=about['key'], path=graph, source_path=path, layers=found.layers,
        tensors=found.tensors, inputs=found.inputs, outputs=found.outputs, layer_nodes=found.layer_nodes, remark=found.remark,
        example=found.example, states=states, weights=fetched_weight,
    )  # fmt: skip


def _about(path: Path) -> dict[str, str]:
    try:
        document = json.loads((parts_folder(path) / _ABOUT).read_bytes())
        return {key: str(document[key]) for key in ('name', 'sha256', 'key')}
    except (OSError, ValueError, TypeError, KeyError):
        raise ModelError(f'{path} does not exist: give the path of an ONNX file') from None


def fetched_weight(sha256: str) -> Path:
    """Return where a weight lies once it has been fetched.

    :raises ModelError: if that is no hash.
    """
    if not _SHA256.fullmatch(sha256):
        raise ModelError(f'the graph keeps weights at {sha256[:80]!r}, where the hash of one should stand')
    return cache_dir('blobs') / sha256


def with_made_up_weights(model: Model) -> Model:
    """Return a model whose weights are all zero, which takes as long to run and no room on the disk.

    :raises ModelError: if the graph cannot be read.
    """
    from edge_dnn_partition.graph import protos

    sizes = [protos.external_entry(tensor)[2] for tensor in protos.all_tensors(model.proto.graph) if protos.is_external(tensor)]
    holes = model.path.with_name(_HOLES)
    with holes.open('ab') as stream:
        stream.truncate(max(sizes, default=0))
    key = hashlib.sha256(f'{model.key} {_HOLES}'.encode()).hexdigest()
    return replace(model, key=key, weights=lambda _: holes, made_up=True)
