# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Stage files are cut out once, found again, told apart, and the ones used longest ago go first."""

import os

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.numpy_helper import from_array

from edge_dnn_partition import cache_limit
from edge_dnn_partition.cache_limit import limit_cache
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.execution.stages import stage_cache
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.zoo.tiny import TINY


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'stages'


@pytest.fixture
def models(tmp_path):
    def load(name, **options):
        onnx.save(TINY[name](), tmp_path / f'{name}.onnx', **options)
        return load_model(tmp_path / f'{name}.onnx')

    return load


def files(cache):
    return sorted(path for path in cache.rglob('*') if path.is_file())


def test_a_stage_is_cut_out_once_and_its_use_is_noted(models, cache):
    model = models('skip')
    first = stage_file(model, range(1, 3))
    assert (first.inputs, first.outputs) == (('a',), ('c',))
    assert files(cache) == [first.path]
    first.path.write_bytes(b'as it was')
    os.utime(first.path, (1e9, 1e9))
    assert stage_file(model, (2, 1)) == first
    assert stage_file(models('skip'), [1, 2]) == first
    assert first.path.read_bytes() == b'as it was', 'it was cut out again'
    assert first.path.stat().st_mtime > 1e9, 'it counts as unused'


def test_other_layers_and_other_models_have_files_of_their_own(models, cache):
    model = models('skip')
    stages = [(0, 1), (0, 1, 2), (1, 2), (0, 1, 2, 3, 4, 5)]
    found = [stage_file(model, layers) for layers in stages]
    found += [stage_file(models('diamond'), layers) for layers in ((0, 1), (0, 1, 3), (0, 1, 2, 3))]
    assert len({file.path for file in found}) == len(files(cache)) == 7
    for file in found:
        graph = onnx.load(file.path).graph
        assert tuple(value.name for value in graph.input) == file.inputs
        assert tuple(value.name for value in graph.output) == file.outputs


def test_stages_in_a_row_give_what_the_whole_model_gives(models):
    model = models('diamond')
    values = {'x': np.random.default_rng(5).standard_normal((2, 8)).astype(np.float32)}
    whole = Engine(stage_file(model, range(5)).path).run(values)
    for layers in ((0, 3), (1, 2), (4,)):
        engine = Engine(stage_file(model, layers).path)
        values |= engine.run({tensor.name: values[tensor.name] for tensor in engine.inputs})
    np.testing.assert_allclose(values['y'], whole['y'], rtol=1e-6)


@pytest.mark.parametrize(('layers', 'words'), [((0, 2), 'cannot be one stage'), ((), 'at least one layer'), ((9,), 'no layer 9')])
def test_what_is_no_stage_is_refused_and_leaves_no_file(models, cache, layers, words):
    with pytest.raises(ModelError, match=words):
        stage_file(models('chain'), layers)
    assert files(cache) == []


def limit_to(monkeypatch, size):
    monkeypatch.setenv(cache_limit.VARIABLE, f'{size} B')
    limit_cache()


@pytest.fixture
def unlimited(monkeypatch):
    """Prepared models are as if this process held none of them, and count for nothing."""
    monkeypatch.setattr(cache_limit, '_LARGE', ('stages', 'optimised'))


def test_the_stages_used_longest_ago_go_first_and_come_back_when_needed(models, cache, monkeypatch, unlimited):
    model, other = models('skip'), models('chain')
    kept = [stage_file(model, (0,)), stage_file(other, (0,)), stage_file(model, (1,))]
    for age, file in enumerate(kept):
        os.utime(file.path, (1e9 - age, 1e9 - age))
    stage_file(model, (1,))
    limit_cache()
    assert len(files(cache)) == 3, 'the limit was not reached'
    limit_to(monkeypatch, kept[0].path.stat().st_size + kept[2].path.stat().st_size)
    assert {*files(cache)} == {kept[0].path, kept[2].path}
    assert not kept[1].path.parent.exists(), 'no empty folder of a model is left'
    content = kept[0].path.read_bytes()
    kept[0].path.unlink()
    assert stage_file(model, (0,)) == kept[0]
    assert kept[0].path.read_bytes() == content
    limit_to(monkeypatch, 0)
    assert {*files(cache)} == {kept[0].path, kept[2].path}, 'what was just looked up is about to be loaded'


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    """Return a model whose stages keep their weights in a file beside them, as those of more than 1 MiB do."""
    monkeypatch.setattr(stage_cache, '_EMBED_AT_MOST', 0)
    random = np.random.default_rng(3)  # weights of 4 kB each: preparation leaves up to 1 kB in the file
    weights = [from_array(random.standard_normal((32, 32), np.float32), f'w_{name}') for name in 'abc']
    nodes = [helper.make_node('MatMul', [before, f'w_{name}'], [name]) for before, name in zip('xab', 'abc', strict=True)]
    x, c = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (2, 32)) for name in 'xc')
    graph = helper.make_graph(nodes, 'heavy', [x], [c], weights)
    proto = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid('', 17)])
    path = tmp_path / 'heavy.onnx'
    onnx.save(proto, path, save_as_external_data=True, size_threshold=0, location='heavy.weights')
    return load_model(path)


def test_a_stage_and_its_weights_go_together(heavy, cache, monkeypatch, unlimited):
    kept = [stage_file(heavy, (layer,)) for layer in range(3)]
    weights = [file.path.with_name(file.path.name + '.data') for file in kept]
    assert files(cache) == sorted([file.path for file in kept] + weights)
    size = sum(path.stat().st_size for path in (kept[0].path, kept[1].path, *weights[:2]))
    for path in weights:
        os.utime(path, (1e9, 1e9))
    for age, file in enumerate(kept):
        os.utime(file.path, (1.1e9 - age, 1.1e9 - age))
    limit_to(monkeypatch, size)
    assert files(cache) == sorted([kept[0].path, kept[1].path, *weights[:2]]), 'the weights alone are the oldest files'
    limit_to(monkeypatch, size - 1)
    assert files(cache) == [kept[0].path, weights[0]]
    values = {'b': np.ones((2, 32), np.float32)}
    for file in (stage_file(heavy, (2,)), stage_file(heavy, (2,))):
        assert Engine(file.path).run(values)['c'].shape == (2, 32)


def test_the_use_of_a_stage_is_a_use_of_its_weights(heavy, cache, monkeypatch, unlimited):
    used, unused = stage_file(heavy, (0,)), stage_file(heavy, (1,))
    for age, path in enumerate(files(cache)):
        os.utime(path, (1e9 + age, 1e9 + age))
    stage_file(heavy, (0,))
    limit_to(monkeypatch, 1)
    assert {path.name for path in files(cache)} == {used.path.name, f'{used.path.name}.data'}
    assert not unused.path.exists()
