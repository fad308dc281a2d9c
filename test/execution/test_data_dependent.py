# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Models whose tensors have sizes that depend on the data: profiled, warmed up and measured on sizes that occur."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.execution.profiling.coding_profile import Segments, compare, measure_codings
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, profile_model
from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, StageInputs
from edge_dnn_partition.execution.stages.stage_store import StageStore
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.shapes import FIRST_INPUT
from edge_dnn_partition.graph.stages import extract_stages
from edge_dnn_partition.graph.verify import verify_stages
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan

node = helper.make_node


def constant(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.array(value, dtype), name)


def save(path, nodes, output, weights):
    graph = helper.make_graph(nodes, 'g', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, 16, 16])],
                              [helper.make_tensor_value_info('y', TensorProto.FLOAT, output)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


@pytest.fixture
def bright_pixels(tmp_path, monkeypatch):
    """Where a blurred image is bright, and those places' values: nothing in a dark image."""
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    nodes = [node('Conv', ['x', 'blur'], ['a']), node('Relu', ['a'], ['b']), node('Greater', ['b', 'k'], ['bright']),
             node('NonZero', ['bright'], ['places']), node('Transpose', ['places'], ['rows'], perm=[1, 0]),
             node('GatherND', ['b', 'rows'], ['values']), node('Mul', ['values', 'k'], ['y'])]  # fmt: skip
    return load_model(save(tmp_path / 'bright.onnx', nodes, ['n'], [
        constant('blur', np.full((1, 3, 3, 3), 1 / 27)), constant('k', 2.0)]))  # fmt: skip


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """Boxes chosen by NonMaxSuppression, reshaped to a size that is computed: made-up ones cannot be that size."""
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    corners = np.random.default_rng(0).random((1, 36, 2)) * 10
    boxes = np.concatenate([corners, corners + 2], 2)
    nodes = [node('Conv', ['x', 'w'], ['a'], strides=[2, 2]), node('Relu', ['a'], ['b']), node('ReduceMean', ['b'], ['m'], axes=[1]),
             node('Reshape', ['m', 'row'], ['scores']), node('Slice', ['scores', 'zero', 'many', 'two'], ['s']),
             node('NonMaxSuppression', ['boxes', 's', 'most', 'overlap', 'least'], ['chosen']),
             node('Gather', ['chosen', 'two_'], ['index'], axis=1), node('Gather', ['boxes', 'index'], ['found'], axis=1),
             node('Size', ['index'], ['count']), node('Unsqueeze', ['count', 'zero'], ['counts']),
             node('Concat', ['counts', 'four'], ['size'], axis=0), node('Reshape', ['found', 'size'], ['y'])]  # fmt: skip
    integers = {'row': [1, 1, -1], 'zero': [0], 'many': [36], 'two': [2], 'two_': 2, 'most': [20], 'four': [4]}
    return load_model(save(tmp_path / 'detector.onnx', nodes, ['n', 4], [
        constant('w', np.random.default_rng(1).standard_normal((4, 3, 3, 3)) / 5), constant('boxes', boxes),
        constant('overlap', [0.5]), constant('least', [0.01]), *(constant(n, v, np.int64) for n, v in integers.items())]))  # fmt: skip


def test_the_sizes_are_of_inputs_that_give_something(bright_pixels, tmp_path):
    sizes = {name: tensor.shape for name, tensor in bright_pixels.tensors.items() if tensor.observed}
    assert sizes['y'][0] > 0 and sizes['places'] == (4, sizes['y'][0]), 'normal values, averaged, are never bright'
    stages = extract_stages(bright_pixels, [1], tmp_path)
    assert verify_stages(bright_pixels, stages).exact
    broken = onnx.load(stages[1].path)
    next(n for n in broken.graph.node if n.op_type == 'Mul').op_type = 'Add'
    onnx.save(broken, stages[1].path)
    assert not verify_stages(bright_pixels, stages).passed, 'empty outputs would be equal'


def test_each_stage_runs_on_sizes_that_occur(bright_pixels):
    inputs = StageInputs(bright_pixels)
    dark = StageInputs(bright_pixels, {FIRST_INPUT: np.zeros((1, 3, 16, 16), np.float32)})
    segments = Segments(bright_pixels, range(len(bright_pixels.layers) + 1), providers=(CPU_PROVIDER,), threads=1)
    for engine in segments._engines:
        inputs.compute(engine)
        dark.compute(engine)
    assert inputs._values['y'].shape == bright_pixels.tensors['y'].shape
    assert dark._values['y'].shape == (0,)


def test_another_number_of_results_is_the_largest_error(bright_pixels):
    """A lossy encoding moved a pixel over the threshold, which ended the profile in an IndexError."""
    assert compare({'y': np.ones(3, np.float32)}, {'y': np.ones(4, np.float32)}, ['y']) == (1e9, False)
    rng = np.random.default_rng(0)
    near = [{'x': np.full((1, 3, 16, 16), level, np.float32) + rng.random((1, 3, 16, 16), np.float32)} for level in (1.5, 1.5, 0.0)]
    segments = Segments(bright_pixels, (0, 1, len(bright_pixels.layers)), providers=(CPU_PROVIDER,), threads=1)
    assert max(coding.error for coding in measure_codings(segments, near)) == 1e9


@pytest.mark.parametrize('model', ['bright_pixels', 'detector'])
def test_it_is_profiled_and_every_stage_prepared(model, request):
    model = request.getfixturevalue(model)
    profile = profile_model(model, ProfileOptions(runs=1, interval_seconds=0.0, coding_seconds=0.2))
    assert all(seconds > 0 for seconds in profile.segment_seconds)
    for cut in range(1, len(model.layers)):
        stages = tuple(StagePlan('pi', False, ((start, stop),)) for start, stop in ((0, cut), (cut, len(model.layers))))
        store = StageStore(model, None, providers=(CPU_PROVIDER,), threads=1)
        store.prepare(Plan(1, model.sha256, 'pi', 'pi', stages, ()), 'pi')
        assert all(store.stage(1, index).engine is not None for index in (0, 1))
