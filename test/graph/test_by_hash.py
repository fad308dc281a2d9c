# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A model without its file: its graph with weights named by their hashes, and those of some stages."""

import hashlib
import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.cache import cache_dir
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.by_hash import fetched_weight, offered, parts_folder, parts_sha256, with_made_up_weights
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.stages import extract_stage, stage_weights


@pytest.fixture
def parts(save, tmp_path):
    """A model, the same one in parts elsewhere, and where its weights lie."""
    random = np.random.default_rng(3)
    weights = [numpy_helper.from_array(random.normal(size=(32, 32)).astype(np.float32), name) for name in 'vw']
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32]) for name in 'xz']
    nodes = [helper.make_node('MatMul', ['x', 'v'], ['y']), helper.make_node('MatMul', ['y', 'w'], ['z'])]
    graph = helper.make_graph(nodes, 'two', ends[:1], ends[1:], weights)
    model, path = load_model(save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)]))), tmp_path / 'there.onnx'
    files, weights = offered(model)
    parts_folder(path).mkdir()
    for name, file in files.items():
        shutil.copyfile(file, parts_folder(path) / name)
    return model, path, weights


def test_a_stage_of_parts_is_that_of_the_whole_model_and_needs_its_own_weights_alone(parts, tmp_path):
    model, path, weights = parts
    assert parts_sha256(path) == model.sha256
    there = load_model(path)
    assert (there.sha256, there.key, there.layers, there.tensors) == (model.sha256, model.key, model.layers, model.tensors)
    layers = [1]
    needed = stage_weights(there, layers)
    assert (len(needed), len(weights)) == (1, 2)
    with pytest.raises(ModelError):
        extract_stage(there, layers, tmp_path / 'early.onnx')
    for sha256, size in needed.items():
        file, offset, length = weights[sha256]
        content = file.read_bytes()[offset : offset + length]
        assert (hashlib.sha256(content).hexdigest(), length) == (sha256, size)
        (cache_dir('blobs') / sha256).write_bytes(content)
    stages = [extract_stage(m, layers, tmp_path / f'{n}.onnx').path.read_bytes() for n, m in enumerate((model, there))]
    assert stages[0] == stages[1]


def test_made_up_weights_have_the_same_sizes_and_take_no_room(parts, tmp_path):
    made_up = with_made_up_weights(load_model(parts[1]))
    assert made_up.key != parts[0].key
    extract_stage(made_up, range(len(made_up.layers)), tmp_path / 'stage.onnx', embed_at_most=0)
    beside = tmp_path / 'stage.onnx.data'
    assert beside.stat().st_size > 0 == beside.stat().st_blocks


def test_a_graph_that_names_a_file_instead_of_a_hash_is_refused():
    with pytest.raises(ModelError, match='hash'):
        fetched_weight('../../etc/passwd')


def test_without_file_and_parts_there_is_no_model(tmp_path):
    with pytest.raises(ModelError, match='does not exist'):
        load_model(tmp_path / 'model.onnx')
    assert parts_sha256(tmp_path / 'model.onnx') == ''
