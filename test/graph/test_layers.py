# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes one layer, and in which order layers stand."""

import json
import re

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.order import small_frontier_order, strongly_connected
from edge_dnn_partition.graph.tensor_info import tensor_bytes

EXPECTED = {
    'chain': ['MatMul Relu'] * 4,
    'gated': ['MatMul Sigmoid Mul', 'MatMul Add Clip Mul Div', 'MatMul Div Erf Add Mul Mul', 'MatMul Softplus Tanh Mul'],
    'old_style': ['Conv Relu', 'Conv'],
    'half': ['Conv Relu', 'Conv Sigmoid Mul', 'Flatten', 'MatMul'],
    'loop': ['MatMul', 'MatMul', 'Loop', 'MatMul'],
    'sequence': ['MatMul', 'SplitToSequence SequenceAt', 'MatMul', 'Concat', 'Softmax'],
}


@pytest.mark.parametrize('name', EXPECTED)
def test_layers_of_tiny_models(name, models):
    assert [' '.join(layer.operators) for layer in models(name).layers] == EXPECTED[name]


def test_quantised_model_is_cut_where_it_is_int8(models):
    model = models('quantised')
    for layer in model.layers[:-1]:
        assert layer.operators[-1] == 'QuantizeLinear'
        assert [model.tensors[name].dtype for name in layer.outputs] == [TensorProto.UINT8]


def test_a_preactivation_that_is_read_elsewhere_stays_a_layer_of_its_own(save):
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [4, 4], [0.1] * 16) for name in ('w', 'v')]
    nodes = [helper.make_node('MatMul', ['x', 'w'], ['a']), helper.make_node('Relu', ['a'], ['b']),
             helper.make_node('MatMul', ['b', 'v'], ['c']), helper.make_node('Add', ['a', 'c'], ['y'])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4]) for name in ('x', 'y')]
    graph = helper.make_graph(nodes, 'preactivation', value[:1], value[1:], weights)
    model = load_model(save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)))
    assert [layer.operators for layer in model.layers] == [('MatMul',), ('Relu',), ('MatMul',), ('Add',)]


def test_weights_are_counted_where_they_are_needed(models):
    assert [layer.weight_bytes for layer in models('chain').layers] == [8 * 8 * 4] * 4
    assert [layer.weight_bytes for layer in models('shared_weight').layers] == [256, 0, 256, 0, 256]
    conditional = next(layer for layer in models('conditional').layers if 'If' in layer.operators)
    assert conditional.weight_bytes == 8 * 8 * 4 + 8 * 4
    assert set(conditional.inputs) == {'positive', 'a', 'x'}
    assert [layer.output_bytes for layer in models('chain').layers] == [2 * 8 * 4] * 4


def test_half_precision_stays_what_is_sent(models):
    model = models('half')
    assert {model.tensors[name].dtype for layer in model.layers for name in layer.outputs} == {TensorProto.FLOAT16}
    assert {'b', 'e', 'f', 'y'} <= set(model.tensors)


def test_shape_that_depends_on_data_is_marked(models):
    tensors = models('data_dependent').tensors
    assert tensors['chosen'].observed
    assert not tensors['a'].observed


def test_batch_normalisation_of_an_old_model_is_folded(models):
    model = models('old_style')
    assert model.inputs == ('x',)
    assert onnx.load(model.path).ir_version == 3


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    reads = [['input', *(f't{index}' for index in range(number) if draw(st.booleans()))] for number in range(count)]
    names = draw(st.permutations(range(count)))
    return [reads[number] for number in names], [[f't{number}'] for number in names], {
        f't{number}': draw(st.integers(0, 9)) for number in range(count)}


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_order_is_topological_and_the_same_each_time(graph):
    reads, writes, sizes = graph
    order = small_frontier_order(reads, writes, sizes=sizes, outputs=[])
    assert sorted(order) == list(range(len(reads)))
    made = {'input'}
    for index in order:
        assert set(reads[index]) <= made
        made.update(writes[index])
    assert order == small_frontier_order(reads, writes, sizes=sizes, outputs=[])


def test_order_finishes_a_branch_before_the_next_begins():
    # two branches of three layers each from one stem, joined at the end; equal sizes
    reads = [['x'], ['s'], ['s'], ['a1'], ['b1'], ['a2'], ['b2'], ['a3', 'b3']]
    writes = [['s'], ['a1'], ['b1'], ['a2'], ['b2'], ['a3'], ['b3'], ['y']]
    sizes = dict.fromkeys((name for names in writes for name in names), 4)
    assert small_frontier_order(reads, writes, sizes=sizes, outputs=['y']) == [0, 1, 3, 5, 2, 4, 6, 7]


@given(st.integers(1, 12).flatmap(lambda count: st.lists(
    st.lists(st.integers(0, count - 1), max_size=4), min_size=count, max_size=count)))
@settings(max_examples=150, deadline=None)
def test_strongly_connected_components_are_those_of_networkx(successors):
    networkx = pytest.importorskip('networkx')
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(successors)))
    graph.add_edges_from((start, stop) for start, stops in enumerate(successors) for stop in stops)
    assert sorted(strongly_connected(successors)) == sorted(
        sorted(component) for component in networkx.strongly_connected_components(graph))


def test_layers_are_kept_beside_the_prepared_model(models):
    model = models('inception_small')
    kept = model.path.with_name(f'layers_{model.key[:16]}.json')
    content = kept.read_bytes()
    again = load_model(model.source_path)
    assert (again.layers, again.layer_nodes, again.tensors) == (model.layers, model.layer_nodes, model.tensors)
    assert (again.inputs, again.outputs, again.remark, again.example) == (model.inputs, model.outputs, model.remark, model.example)
    document = json.loads(content)
    older, short = document | {'version': 0}, {name: value for name, value in document.items() if name != 'layers'}
    for broken in (b'', b'[]', b'{}', content[:-9], json.dumps(older).encode(), json.dumps(short).encode()):
        kept.write_bytes(broken)
        assert load_model(model.source_path).layers == model.layers
        assert kept.read_bytes() == content


def test_each_type_has_the_size_that_onnx_gives_it():
    for name, number in TensorProto.DataType.items():
        if name in ('STRING', 'UNDEFINED'):
            assert tensor_bytes(number, (3, 5)) == 0
            continue
        bits = next((int(found) for found in re.findall(r'(?:INT|FLOAT)(\d+)', name)), None)
        given = {'FLOAT': 32, 'DOUBLE': 64, 'BOOL': 8, 'COMPLEX64': 64, 'COMPLEX128': 128, 'BFLOAT16': 16, 'FLOAT6E2M3': 8, 'FLOAT6E3M2': 8}.get(name, bits)
        assert tensor_bytes(number, (3, 5)) == -(-15 * given // 8), name
        if given >= 8:
            assert given == 8 * helper.tensor_dtype_to_np_dtype(number).itemsize, name
