# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Preparation never breaks a model: forms that onnxruntime's optimiser or a fixed shape would break."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import preparation, prepare
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.outline import outline
from edge_dnn_partition.graph.source import read_source
from edge_dnn_partition.graph.stages import extract_stages
from edge_dnn_partition.graph.tensors import annotate, read_tensors
from edge_dnn_partition.graph.verify import verify_stages
from edge_dnn_partition.graph.weights import copy_weights

HALF, FLOAT, BRAIN = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.BFLOAT16
node = helper.make_node


def tensor(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def values(name, *shape, dtype=np.float32):
    generator = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array((generator.standard_normal(shape) / 4).astype(dtype), name)


def model(nodes, inputs, outputs, weights=(), opset=17):
    graph = helper.make_graph(nodes, 'g', inputs, outputs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


def half_inside():
    """A half-precision export that keeps its ends in 32 bits."""
    nodes = [node('Cast', ['x'], ['h'], to=HALF), node('Conv', ['h', 'w'], ['a']), node('Relu', ['a'], ['b']),
             node('Conv', ['b', 'v'], ['c']), node('Cast', ['c'], ['y'], to=FLOAT)]
    return model(nodes, [tensor('x', [1, 3, 16, 16])], [tensor('y', [1, 4, 12, 12])],
                 [values('w', 4, 3, 3, 3, dtype=np.float16), values('v', 4, 4, 3, 3, dtype=np.float16)])


def mixed():
    """Mixed-precision training: products in 16 bits, the normalisation between them in 32."""
    nodes = [node('MatMul', ['x', 'w'], ['m']), node('Cast', ['m'], ['wide'], to=FLOAT),
             node('ReduceMean', ['wide'], ['mean'], axes=[-1], keepdims=1), node('Sub', ['wide', 'mean'], ['d']),
             node('Cast', ['d'], ['narrow'], to=HALF), node('MatMul', ['narrow', 'v'], ['n']), node('Cast', ['n'], ['y'], to=FLOAT)]
    return model(nodes, [tensor('x', [1, 8], HALF)], [tensor('y', [1, 8])],
                 [values('w', 8, 8, dtype=np.float16), values('v', 8, 8, dtype=np.float16)])


def half_function():
    """An operator of which onnxruntime has only a function, in 32 bits, for a CPU."""
    nodes = [node('MatMul', ['x', 'w'], ['a']), node('Add', ['a', 'x'], ['b']), node('Relu', ['b'], ['c']),
             node('MatMul', ['c', 'w'], ['y'])]
    return model(nodes, [tensor('x', [1, 8], HALF)], [tensor('y', [1, 8], HALF)], [values('w', 8, 8, dtype=np.float16)], 18)


def half_in_a_branch():
    """Casts to 16 bits inside an If that depends on data."""
    inner = helper.make_graph([node('Cast', ['p'], ['h'], to=HALF), node('MatMul', ['h', 'v'], ['m']),
                               node('Cast', ['m'], ['then'], to=FLOAT)], 'then', [], [tensor('then', [1, 4])])
    other = helper.make_graph([node('Identity', ['p'], ['else'])], 'else', [], [tensor('else', [1, 4])])
    nodes = [node('MatMul', ['x', 'w'], ['p']), node('ReduceSum', ['p'], ['sum'], keepdims=0),
             node('Greater', ['sum', 'zero'], ['is_positive']), node('If', ['is_positive'], ['q'], then_branch=inner, else_branch=other),
             node('Softmax', ['q'], ['y'])]
    return model(nodes, [tensor('x', [1, 4])], [tensor('y', [1, 4])],
                 [values('w', 4, 4), values('v', 4, 4, dtype=np.float16), numpy_helper.from_array(np.float32(0), 'zero')])


def squeezed_if_one():
    """"Squeeze if the size is 1", as exporters write it; the size is 6, and that branch is not valid."""
    inner = helper.make_graph([node('Squeeze', ['p', 'axis'], ['same'])], 'then', [], [tensor('same', None)])
    other = helper.make_graph([node('Neg', ['p'], ['same']), node('Neg', ['same'], ['p_again'])], 'else', [], [tensor('p_again', None)])
    nodes = [node('Conv', ['x', 'w'], ['a']), node('Relu', ['a'], ['p']), node('Shape', ['p'], ['sizes']),
             node('Gather', ['sizes', 'two'], ['size']), node('Equal', ['size', 'one'], ['is_one']),
             node('If', ['is_one'], ['q'], then_branch=inner, else_branch=other), node('Flatten', ['q'], ['f']),
             node('Softmax', ['f'], ['y'])]
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in (('axis', [2]), ('two', 2), ('one', 1))]
    return model(nodes, [tensor('x', ['batch', 3, 'h', 'w'])], [tensor('y', None)], [values('w', 4, 3, 3, 3), *constants])


def same_names():
    nodes = [node('Conv', ['x', 'w'], ['a'], name='n'), node('Sigmoid', ['a'], ['b'], name='n_2'), node('Conv', ['b', 'v'], ['y'], name='n')]
    return model(nodes, [tensor('x', [1, 3, 8, 8])], [tensor('y', [1, 4, 4, 4])], [values('w', 4, 3, 3, 3), values('v', 4, 4, 3, 3)])


def unsendable(dtype):
    """A tensor inside whose type no link carries."""
    nodes = [node('MatMul', ['x', 'w'], ['a']), node('Cast', ['a'], ['b'], to=dtype), node('Cast', ['b'], ['c'], to=FLOAT),
             node('MatMul', ['c', 'w'], ['y'])]
    return model(nodes, [tensor('x', [1, 4])], [tensor('y', [1, 4])], [values('w', 4, 4)])


@pytest.mark.parametrize(('build', 'shapes'), [
    (half_inside, None), (mixed, None), (half_function, None), (half_in_a_branch, None), (squeezed_if_one, {'x': (1, 3, 8, 8)}), (same_names, None),
    (lambda: unsendable(BRAIN), None), (lambda: unsendable(TensorProto.STRING), None),
], ids=['half_inside', 'mixed', 'half_function', 'half_in_a_branch', 'squeezed_if_one', 'same_names', 'bfloat16', 'strings'])  # fmt: skip
def test_any_cut_computes_what_the_whole_does(build, shapes, save, tmp_path):
    prepared = load_model(save(build()), shapes=shapes)
    for cut in range(1, len(prepared.layers)):
        assert verify_stages(prepared, extract_stages(prepared, [cut], tmp_path / str(cut))).passed, cut
    assert bool(prepared.remark) == (build in (half_in_a_branch, half_function)), 'there onnxruntime merges casts out of our sight'


def test_a_model_that_rounding_changes_much_may_differ_by_as_much(save, tmp_path):
    """The difference of near values, of which nearly nothing is left at a cut in 16 bits."""
    nodes = [node('MatMul', ['x', 'w'], ['a']), node('Neg', ['a'], ['b']), node('MatMul', ['b', 'w'], ['c']),
             node('Sub', ['c', 'x'], ['y'])]  # fmt: skip
    rotation = numpy_helper.from_array(np.array([[0, 1.02], [-1, 0]], np.float16), 'w')
    prepared = load_model(save(model(nodes, [tensor('x', [1, 2], HALF)], [tensor('y', [1, 2], HALF)], [rotation])))
    stages = extract_stages(prepared, [1, 2], tmp_path)
    found = verify_stages(prepared, stages)
    assert found.passed and found.tolerance > 4e-3
    wrong = onnx.load(stages[1].path)
    wrong.graph.initializer[0].raw_data = np.ones((2, 2), np.float16).tobytes()
    onnx.save(wrong, stages[1].path)
    assert not verify_stages(prepared, stages).passed


def test_a_refusal_is_about_the_model_not_about_where_its_weights_lie(save):
    whole = large(2, 64)
    whole.graph.input[0].CopyFrom(tensor('x', [1, 63]))
    with pytest.raises(ModelError, match='not a valid model') as caught:
        load_model(save(whole))
    assert 'stored' not in str(caught.value)


def test_what_a_converter_left_of_old_types_is_not_believed():
    whole = half_inside()
    whole.graph.value_info.extend([tensor('a', [1, 4, 14, 14]), tensor('b', [1, 4, 14, 14])])
    plain = preparation._plain(whole)
    annotate(plain, about='m', weights_at=Path)
    assert read_tensors(plain)['a'].dtype == HALF


def test_the_authors_casts_stay(save):
    for build, count in ((half_inside, 2), (mixed, 3)):
        operators = [operator for layer in load_model(save(build(), f'{count}.onnx')).layers for operator in layer.operators]
        assert operators.count('Cast') == count


@pytest.mark.parametrize('dtype', [BRAIN, TensorProto.STRING])
def test_ends_of_a_tensor_that_cannot_be_sent_stay_together(dtype, save):
    assert all('b' not in layer.outputs for layer in load_model(save(unsendable(dtype))).layers)


def broken(change):
    """Let the optimiser's result be changed before it is looked at."""
    def optimise(*arguments):
        proto = real(*arguments)
        change(proto.graph)
        return proto

    real = preparation._optimise
    return optimise


def wrong_types(graph):
    graph.node.insert(0, node('Cast', [graph.node[0].input[0]], ['other'], to=HALF))
    graph.node[1].input[0] = 'other'


def wrong_values(graph):
    graph.node[-1].input[0], graph.node[-1].input[1] = graph.node[-1].input[1], graph.node[-1].input[0]


@pytest.mark.parametrize(('change', 'words'), [(wrong_types, 'cannot run|different types'), (wrong_values, 'computes another y')])
def test_where_the_optimisation_breaks_it_the_authors_nodes_are_used_and_that_is_said(change, words, save, tmp_path, monkeypatch):
    nodes = [node('Constant', [], ['k'], value=values('k', 4, 4)), node('MatMul', ['x', 'k'], ['a']), node('Relu', ['a'], ['b']),
             node('Sub', ['b', 'x'], ['y'])]  # fmt: skip
    path = save(model(nodes, [tensor('x', [1, 4])], [tensor('y', [1, 4])]))
    monkeypatch.setattr(preparation, '_optimise', broken(change))
    monkeypatch.setattr(prepare, 'call_isolated', lambda function, about, **arguments: function(**arguments))
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    kept = load_model(path)
    assert [layer.operators for layer in kept.layers] == [('Constant', 'MatMul', 'Relu'), ('Sub',)]
    assert re.search(words, kept.remark)
    assert verify_stages(kept, extract_stages(kept, [1], tmp_path)).exact


def test_the_authors_nodes_are_free_of_what_a_settled_condition_left(save, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, '_optimise', broken(wrong_types))
    monkeypatch.setattr(prepare, 'call_isolated', lambda function, about, **arguments: function(**arguments))
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    kept = load_model(save(squeezed_if_one()), shapes={'x': (1, 3, 8, 8)})
    assert kept.remark and all(layer.outputs for layer in kept.layers)
    assert not {'If', 'Shape', 'Equal'}.intersection(operator for layer in kept.layers for operator in layer.operators)
    assert verify_stages(kept, extract_stages(kept, range(1, len(kept.layers)), tmp_path)).passed


def test_of_a_model_with_large_weights_beside_it_what_came_out_is_loaded(save, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, '_optimise', broken(wrong_types))
    monkeypatch.setattr(prepare, 'call_isolated', lambda function, about, **arguments: function(**arguments))
    monkeypatch.setattr(preparation, 'DETACH_ABOVE_BYTES', 0)
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    nodes = [node('MatMul', ['x', 'w'], ['a']), node('Relu', ['a'], ['b']), node('MatMul', ['b', 'w'], ['y'])]
    onnx.save(model(nodes, [tensor('x', [1, 32])], [tensor('y', [1, 32])], [values('w', 32, 32)]), tmp_path / 'm.onnx',
              save_as_external_data=True, location='m.data', size_threshold=0)
    kept = load_model(tmp_path / 'm.onnx')
    assert 'cannot run' in kept.remark or 'different types' in kept.remark
    assert verify_stages(kept, extract_stages(kept, [1], tmp_path / 'out')).exact


def test_a_model_is_found_through_a_link_though_its_weights_are_not_linked(tmp_path, save):
    path = tmp_path / 'store' / 'm.onnx'
    path.parent.mkdir()
    nodes = [node('MatMul', ['x', 'w'], ['a']), node('Relu', ['a'], ['b']), node('MatMul', ['b', 'w'], ['y'])]
    onnx.save(model(nodes, [tensor('x', [1, 32])], [tensor('y', [1, 32])], [values('w', 32, 32)]), path,
              save_as_external_data=True, location='m.data', size_threshold=0)
    link = tmp_path / 'link.onnx'
    link.symlink_to('store/m.onnx')
    linked = load_model(link)
    assert linked.sha256 == load_model(path).sha256
    assert verify_stages(linked, extract_stages(linked, [1], tmp_path / 'out')).exact


def large(count=16, side=1024):
    """A chain of products whose weights are 4 MB each."""
    weights = [values(f'w{i}', side, side) for i in range(count)]
    nodes = [made for i in range(count) for made in (
        node('MatMul', [f'r{i - 1}' if i else 'x', f'w{i}'], [f'm{i}']), node('Relu', [f'm{i}'], [f'r{i}']))]
    return model(nodes, [tensor('x', [1, side])], [tensor(f'r{count - 1}', [1, side])], weights)


@pytest.mark.parametrize('kind', ['raw', 'typed', 'constants'])
def test_weights_are_read_from_where_they_lie(kind, save):
    whole = large(2, 64)
    if kind == 'typed':
        for weight in whole.graph.initializer:
            weight.float_data.extend(np.frombuffer(weight.raw_data, np.float32).tolist())
            weight.ClearField('raw_data')
    elif kind == 'constants':
        constants = [node('Constant', [], [weight.name], value=weight) for weight in whole.graph.initializer]
        nodes = [*constants, *whole.graph.node]
        whole = model(nodes, whole.graph.input, whole.graph.output)
    path = save(whole)
    content = path.read_bytes()
    assert len(outline(content, 'm')) < 2000 < len(content)
    source = read_source(path)
    again = onnx.ModelProto()
    again.CopyFrom(source.proto)
    copy_weights(again, source.weights_at)
    found = [numpy_helper.to_array(t) for t in preparation.protos.all_tensors(again.graph)]
    assert all(np.array_equal(a, numpy_helper.to_array(b)) for a, b in zip(found, large(2, 64).graph.initializer, strict=True))
    assert source.external_bytes == 0


def test_a_file_that_is_no_message_has_no_outline():
    for content in (b'\x3a', b'\x3a\xff\xff', b'\x0b', b'\xff' * 12):
        with pytest.raises(ValueError, match='cut off|wire type'):
            outline(content, 'm')


_PEAK = """
import resource, sys
import edge_dnn_partition.graph.preparation, edge_dnn_partition.graph.reference, onnx, onnxruntime
from edge_dnn_partition.graph import isolation, prepare
from edge_dnn_partition.graph.model import load_model
prepare.call_isolated = lambda function, about, **arguments: function(**arguments)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_model(sys.argv[1])
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def test_preparing_takes_at_most_two_and_a_half_times_the_file(save, tmp_path):
    path = save(large())
    environment = os.environ | {'EDGE_DNN_PARTITION_CACHE': str(tmp_path / 'cache'), 'MALLOC_ARENA_MAX': '1'}
    said = subprocess.run([sys.executable, '-c', _PEAK, str(path)], env=environment, capture_output=True, text=True, check=True)
    assert int(said.stdout) < 2.5 * path.stat().st_size


def test_sizes_that_contradict_the_layers_are_named(tmp_path, monkeypatch):
    """Halving and doubling an odd size gives another one, the usual mistake with detectors."""
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    nodes = [
        helper.make_node('MaxPool', ['x'], ['half'], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node('Resize', ['half', '', 'twice'], ['whole'], mode='nearest'), helper.make_node('Add', ['x', 'whole'], ['y']),
    ]  # fmt: skip
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (('x', [1, 3, 'h', 'w']), ('y', None))]
    twice = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), 'twice')
    proto = helper.make_model(helper.make_graph(nodes, 'odd', values[:1], values[1:], [twice]),
                              opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(proto, tmp_path / 'odd.onnx')
    with pytest.raises(ModelError, match=r'cannot have inputs of the sizes x 1x3x7x7 \(.*Add.*\): correct shapes under model'):
        load_model(tmp_path / 'odd.onnx', shapes={'x': (1, 3, 7, 7)})
    assert load_model(tmp_path / 'odd.onnx', shapes={'x': (1, 3, 8, 8)}).inputs == ('x',)
