# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Open sizes: what is given, what is usual, a batch of one, and what to propose for the rest."""

import pytest
from onnx import TensorProto, helper

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.shapes import FIRST_INPUT, fix_shapes


def model(inputs, **metadata):
    """A model of inputs with those shapes; only they are looked at."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph([helper.make_node('Identity', [next(iter(inputs))], ['y'])], 'g', values,
                              [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    helper.set_model_props(proto, metadata)
    return proto


def fixed(proto, shapes=None, usual=None):
    """The inputs' shapes once they are fixed."""
    fix_shapes(proto, shapes, usual)
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in proto.graph.input}


@pytest.mark.parametrize(('inputs', 'expected'), [
    ({'x': ['batch', 3, 32, 32]}, {'x': (1, 3, 32, 32)}),
    ({'x': ['N', 3, 32, 32], 'state': ['N', 7]}, {'x': (1, 3, 32, 32), 'state': (1, 7)}),
    ({'x': ['?', 3, 32, 32], 'state': ['unk__12', 7]}, {'x': (1, 3, 32, 32), 'state': (1, 7)}),
    ({'x': [None, 8, 8, 3]}, {'x': (1, 8, 8, 3)}),
    ({'hidden': [1, 'batch_size', 64]}, {'hidden': (1, 1, 64)}),
])
def test_an_open_batch_is_one(inputs, expected):
    assert fixed(model(inputs)) == expected


@pytest.mark.parametrize(('inputs', 'match'), [
    ({'x': ['batch', 3, 'height', 'width']}, r'x \(1, 3, height, width\).*--shape x=1x3x224x224.*shapes: \{x: \[1, 3, 224, 224\]\}'),
    ({'x': ['?', '?', '?', 3]}, '--shape x=1x224x224x3'),
    ({'tokens': ['batch', 'sequence_length']}, '--shape tokens=1x128'),
    ({'points': ['num_points', 4]}, '--shape points=16x4'),
    ({'a': ['?', '?'], 'b': [1, '?']}, '--shape a=16x16 --shape b=1x16'),
])
def test_what_stays_open_is_asked_for_with_a_sensible_proposal(inputs, match):
    with pytest.raises(ModelError, match=match):
        fixed(model(inputs))


def test_the_proposal_is_what_the_file_says_of_itself():
    with pytest.raises(ModelError, match='--shape images=1x3x384x640'):
        fixed(model({'images': ['batch', 3, 'height', 'width']}, imgsz='[384, 640]'))


def test_two_sizes_without_a_name_need_not_be_equal():
    proto = model({'x': ['?', '?', '?', '?'], 'state': ['?', 7]})
    assert fixed(proto, {'x': (1, 3, 24, 32)}) == {'x': (1, 3, 24, 32), 'state': (1, 7)}
    with pytest.raises(ModelError, match="make 'side' both 24 and 32"):
        fixed(model({'x': [1, 3, 'side', 'side']}), {'x': (1, 3, 24, 32)})


def test_the_usual_shape_settles_only_what_is_open_and_was_not_given():
    inputs = {'x': ['batch', 3, 'height', 'width'], 'depth': ['batch', 1, 'height', 'width']}
    usual = {FIRST_INPUT: (1, 3, 24, 32)}
    assert fixed(model(inputs), usual=usual) == {'x': (1, 3, 24, 32), 'depth': (1, 1, 24, 32)}
    assert fixed(model(inputs), {'x': (2, 3, 8, 8)}, usual) == {'x': (2, 3, 8, 8), 'depth': (2, 1, 8, 8)}
    assert fixed(model({'x': [1, 3, 8, 8]}), usual=usual) == {'x': (1, 3, 8, 8)}, 'another size is refused by who prepares'
    with pytest.raises(ModelError, match='leaves sizes open: x'):
        fixed(model({'x': ['batch', 'height', 'width', 3]}), usual=usual)
