# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's network: one file for everyone, with a light front, whose results tell images apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.graph.cuts import linear_cuts
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.testbed import demo_model


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


@pytest.mark.parametrize('size', ['demo', 'second', 'tiny'])
def test_it_is_the_same_file_every_time_and_small(size: str, tmp_path: Path) -> None:
    path = demo_model.build(tmp_path / 'a' / 'model.onnx', size=size)
    assert path.read_bytes() == demo_model.model_bytes(size) == demo_model.cached(size).read_bytes()
    assert path.stat().st_size < 10e6
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (7, 13)


def test_a_file_with_another_content_is_replaced_and_an_equal_one_left(tmp_path: Path) -> None:
    path = demo_model.build(tmp_path / 'model.onnx', size='tiny')
    path.write_bytes(b'old')
    demo_model.build(path, size='tiny')
    written = path.stat().st_mtime_ns
    demo_model.build(path, size='tiny')
    assert path.stat().st_mtime_ns == written


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(UserError, match='demo, second, tiny'):
        demo_model.model_bytes('huge')


@pytest.mark.parametrize('size', ['demo', 'second', 'tiny'])
def test_images_fit_its_input_and_different_ones_give_different_results(size: str, tmp_path: Path) -> None:
    engine = Engine(demo_model.build(tmp_path / 'model.onnx', size=size))
    preprocessing = Preprocessing.from_dict(demo_model.preprocessing(size))
    preprocessing.check(engine.inputs[0])
    random = np.random.default_rng(7)
    smooth = np.kron(random.integers(0, 256, (9, 16, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    edges = np.kron(random.integers(0, 256, (45, 80, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    results = [engine.run({'image': preprocessing.apply(image, 'rgb8')}) for image in (smooth, edges)]
    for name, first in results[0].items():
        assert np.isfinite(first).all()
        spread = float(np.std(first))
        assert spread > 0.01
        assert np.abs(first - results[1][name]).max() > spread / 2


def test_a_cut_after_a_tenth_of_the_work_carries_little(tmp_path: Path) -> None:
    model = load_model(demo_model.build(tmp_path / 'model.onnx'))
    cuts = {cut.tensors[0].name: cut for cut in linear_cuts(model) if len(cut.tensors) == 1}
    neck = cuts['front.neck.pointwise.relu']
    assert 40_000 <= neck.bytes <= 60_000
    work = [_multiplications(node, model.proto) for node in model.proto.graph.node]
    front = sum(work[node] for nodes in model.layer_nodes[:neck.index] for node in nodes)
    assert 0.03 < front / sum(work) < 0.12
    assert any(len(cut.tensors) > 1 for cut in linear_cuts(model))  # residuals: it is a DAG


def _multiplications(node: onnx.NodeProto, proto: onnx.ModelProto) -> int:
    """Of a convolution; of another operator nothing, which is next to nothing."""
    if node.op_type != 'Conv':
        return 0
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
              for value in (*proto.graph.value_info, *proto.graph.output)}
    weights = {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    output = shapes[node.output[0]]
    return int(np.prod(output[1:]) * np.prod(weights[node.input[1]][1:]))
