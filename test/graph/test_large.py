# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A model of more than 2 GiB is inspected and split without loading its weights."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

SIZE = 12288
LAYERS = 4
LAYER_BYTES = SIZE * SIZE * 4

CHILD = """
import re, sys
from pathlib import Path
from edge_dnn_partition.graph.cuts import linear_cuts
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.stages import extract_stages
model = load_model(sys.argv[1])
assert len(linear_cuts(model)) == 5, model.layers
stages = extract_stages(model, [1, 3], sys.argv[2])
# not getrusage's ru_maxrss: that is never below the size of the process that forked this one
print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])
"""


@pytest.fixture
def large(tmp_path):
    """Four matrix products of 576 MiB each in one sparse file; each matrix has one row that is not zero."""
    weights, nodes = [], []
    for index in range(LAYERS):
        weight = TensorProto(name=f'w{index}', data_type=TensorProto.FLOAT, dims=[SIZE, SIZE],
                             data_location=TensorProto.EXTERNAL)
        for key, value in (('location', 'large.weights'), ('offset', index * LAYER_BYTES), ('length', LAYER_BYTES)):
            weight.external_data.add(key=key, value=str(value))
        weights.append(weight)
        nodes.append(helper.make_node('MatMul', [f't{index}', f'w{index}'], [f't{index + 1}']))
    with (tmp_path / 'large.weights').open('wb') as stream:
        for index in range(LAYERS):
            stream.seek(index * LAYER_BYTES + 3 * SIZE * 4)
            stream.write(np.full(SIZE, 0.25 * (index + 1), np.float32).tobytes())
        stream.truncate(LAYERS * LAYER_BYTES)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIZE]) for name in ('t0', f't{LAYERS}')]
    graph = helper.make_graph(nodes, 'large', ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    path = tmp_path / 'large.onnx'
    path.write_bytes(model.SerializeToString())
    return path


def test_split_without_loading_the_weights(large, tmp_path):
    out = tmp_path / 'out'
    done = subprocess.run([sys.executable, '-c', CHILD, str(large), str(out)], capture_output=True, text=True,
                          check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    peak_bytes = int(done.stdout) * 1024
    assert peak_bytes < LAYER_BYTES  # not even one layer's weights were in memory
    assert large.with_suffix('.weights').stat().st_size > 2 ** 31
    first = np.memmap(out / 'stage_0.onnx.data', np.float32, mode='r', shape=(SIZE, SIZE))
    assert first[3].tolist() == [0.25] * SIZE
    assert not first[4].any()
    second = onnx.load(out / 'stage_1.onnx', load_external_data=False)
    assert [tensor.name for tensor in second.graph.initializer] == ['w1', 'w2']
    data = out / 'stage_1.onnx.data'
    assert data.stat().st_size == 2 * LAYER_BYTES
    assert data.stat().st_blocks * 512 < LAYER_BYTES  # holes stay holes
    rows = np.memmap(data, np.float32, mode='r', shape=(2, SIZE, SIZE))
    assert rows[0, 3, 7] == 0.5
    assert rows[1, 3, 7] == 0.75
    onnx.checker.check_model(str(out / 'stage_1.onnx'))
