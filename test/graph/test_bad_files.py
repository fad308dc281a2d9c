# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be used: one line that says what to do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.shapes import parse_shapes
from edge_dnn_partition.graph.zoo.tiny import chain, open_shapes


def refused(path, match, **arguments):
    with pytest.raises(ModelError, match=match) as caught:
        load_model(path, **arguments)
    assert '\n' not in str(caught.value)


def small(nodes, *, opset=17, weights=(), ir_version=8):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ('x', 'y')]
    graph = helper.make_graph(nodes, 'g', ends[:1], ends[1:], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset), helper.make_opsetid('own', 1)],
                             ir_version=ir_version)


@pytest.mark.parametrize(('content', 'match'), [
    (b'', 'is empty'),
    (b'\x08\x08\xff\xff\xff\xff\xff', 'not an ONNX file|holds no ONNX graph'),
    (b'hello, this is no model', 'not an ONNX file|holds no ONNX graph'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
])
def test_broken_content(content, match, tmp_path):
    path = tmp_path / 'model.onnx'
    path.write_bytes(content)
    refused(path, match)


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / 'none.onnx', 'does not exist')
    refused(tmp_path, 'is a folder')


@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_cut_off_file(share, tmp_path):
    content = chain().SerializeToString()
    path = tmp_path / 'model.onnx'
    path.write_bytes(content[:int(len(content) * share)])
    refused(path, 'model.onnx')


@pytest.mark.parametrize(('nodes', 'match'), [
    ([helper.make_node('Frobnicate', ['x'], ['y'])], 'operator Frobnicate'),
    ([helper.make_node('Frobnicate', ['x'], ['y'], domain='own')], 'operator own:Frobnicate'),
    ([helper.make_node('Add', ['x', 'b'], ['a']), helper.make_node('Relu', ['a'], ['b']),
      helper.make_node('Relu', ['b'], ['y'])], 'cycle through'),
    ([helper.make_node('Relu', ['nowhere'], ['y'])], 'reads nowhere, which nothing computes'),
    ([helper.make_node('Relu', ['x'], ['y']), helper.make_node('Neg', ['x'], ['y'])], 'computes y twice'),
    ([helper.make_node('Relu', ['x'], ['z'])], 'nothing computes the output y'),
    ([helper.make_node('Reshape', ['x'], ['y'])], 'not a valid model'),
    ([], 'nothing to split'),
])
def test_bad_graphs(nodes, match, save):
    refused(save(small(nodes)), match)


def test_newer_opset_than_the_runtime_knows(save):
    refused(save(small([helper.make_node('Relu', ['x'], ['y'])], opset=99)), 'opset|valid')


def test_nodes_out_of_order_are_sorted(save):
    nodes = [helper.make_node('Softmax', ['a'], ['y']), helper.make_node('Neg', ['x'], ['a'])]
    assert [layer.operators for layer in load_model(save(small(nodes))).layers] == [('Neg',), ('Softmax',)]


def external(folder, location='weights.bin', length=16):
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), 'w')
    weight.ClearField('raw_data')
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (('location', location), ('offset', 0), ('length', length)):
        weight.external_data.add(key=key, value=str(value))
    path = folder / 'model.onnx'
    path.write_bytes(small([helper.make_node('MatMul', ['x', 'w'], ['y'])], weights=[weight]).SerializeToString())
    return path


def test_external_weights_that_are_not_there(tmp_path):
    path = external(tmp_path)
    refused(path, "weights in 'weights.bin', which is missing")
    (tmp_path / 'weights.bin').write_bytes(b'\0' * 8)
    refused(path, 'too short')
    (tmp_path / 'weights.bin').write_bytes(np.ones(4, np.float32).tobytes())
    model = load_model(path)
    (tmp_path / 'weights.bin').write_bytes(np.zeros(4, np.float32).tobytes())
    assert load_model(path).sha256 != model.sha256


@pytest.mark.parametrize('location', ['../weights.bin', '/etc/passwd', ''])
def test_external_weights_outside_the_folder(location, tmp_path):
    refused(external(tmp_path, location), 'outside its own folder')


def test_external_weights_of_the_wrong_length(tmp_path):
    (tmp_path / 'weights.bin').write_bytes(b'\0' * 64)
    refused(external(tmp_path, length=12), 'needs 16')


@pytest.mark.parametrize(('key', 'value'), [('offset', 'no number'), ('length', '1e9'), ('offset', '')])
def test_external_weights_at_places_that_are_no_numbers(key, value, tmp_path):
    path = external(tmp_path)
    proto = onnx.ModelProto.FromString(path.read_bytes())
    next(entry for entry in proto.graph.initializer[0].external_data if entry.key == key).value = value
    path.write_bytes(proto.SerializeToString())
    (tmp_path / 'weights.bin').write_bytes(b'\0' * 16)
    refused(path, 'are no numbers')


def test_external_weights_through_links(tmp_path):
    """As a hub's cache has them, where the model is a link too; a link of a stranger's to elsewhere is not followed."""
    blobs, snapshot = tmp_path / 'blobs', tmp_path / 'snapshot'
    blobs.mkdir()
    snapshot.mkdir()
    external(blobs).rename(blobs / 'a1')
    (blobs / 'b2').write_bytes(np.ones(4, np.float32).tobytes())
    (snapshot / 'weights.bin').symlink_to('../blobs/b2')
    (snapshot / 'model.onnx').symlink_to('../blobs/a1')
    assert len(load_model(snapshot / 'model.onnx').layers) == 1
    stranger = tmp_path / 'stranger'
    stranger.mkdir()
    (stranger / 'weights.bin').symlink_to('../blobs/b2')
    refused(external(stranger), 'a link to outside its own folder')


def test_names_that_are_no_text(tmp_path):
    path = tmp_path / 'model.onnx'
    for name in ('reluname', 'readname', 'yy'):
        nodes = [helper.make_node('Neg', ['x'], ['readname'], name='reluname'), helper.make_node('Relu', ['readname'], ['y'])]
        proto = small(nodes)
        proto.graph.doc_string = 'yy'
        path.write_bytes(proto.SerializeToString().replace(name.encode(), b'\xff' * len(name)))
        refused(path, 'not UTF-8')


@pytest.mark.parametrize(('dtype', 'dims', 'match'), [
    (999, [2, 2], 'of type 999'), (1, [-2, 2], 'below 0'), (1, [1 << 62, 4], 'no device can hold'), (8, [1 << 62], 'no device can hold'),
    (1, [1] * 40, '40 dimensions')])
def test_weights_of_types_and_sizes_that_cannot_be(dtype, dims, match, save):
    weight = TensorProto(name='w', data_type=dtype, dims=dims)
    refused(save(small([helper.make_node('MatMul', ['x', 'w'], ['y'])], weights=[weight])), match)


def test_inputs_of_types_and_sizes_that_cannot_be(save):
    for dtype, dims, match in ((99, [2, 2], 'of type 99'), (1, [1 << 40, 1 << 40], 'no device can hold')):
        model = small([helper.make_node('Relu', ['x'], ['y'])])
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info('x', dtype, dims))
        refused(save(model), match)


@pytest.mark.parametrize(('shapes', 'match'), [
    (None, 'leaves sizes open: image .1, 3, height, width.*--shape image=1x3x224x224'),
    ({'image': (1, 3, 8)}, 'has 4 dimensions'),
    ({'image': (1, 4, 8, 8)}, 'fixed shape'),
    ({'image': (1, 3, 8, 0)}, 'below 1'),
    ({'photo': (1, 3, 8, 8)}, 'no input photo; its inputs are image, extra'),
    ({'image': (1, 3, 8, 8), 'extra': (2, 4)}, "make 'batch' both 1 and 2"),
])
def test_shapes_that_do_not_fit(shapes, match, save):
    refused(save(open_shapes()), match, shapes=shapes)


def test_a_named_size_settles_it_for_all_inputs(save):
    model = load_model(save(open_shapes()), shapes={'image': (3, 3, 10, 12)})
    assert model.tensors['extra'].shape == (3, 4)
    assert model.tensors['b'].shape == (3, 8, 10, 12)


@pytest.mark.parametrize('text', ['image', '=1x3', 'image=1xax3', 'image=1x-3', 'image=1x'])
def test_shape_texts_of_another_form(text):
    with pytest.raises(ModelError, match='must have the form'):
        parse_shapes([text])


def test_shape_texts():
    assert parse_shapes(['image=1x3x224x224', 'a=b=2', 'scalar=']) == {
        'image': (1, 3, 224, 224), 'a=b': (2,), 'scalar': ()}
    with pytest.raises(ModelError, match='two shapes'):
        parse_shapes(['a=1', 'a=2'])


def test_inner_tensors_of_sizes_that_cannot_be(save):
    huge = helper.make_node('Expand', ['x', 'sizes'], ['a'])
    sizes = numpy_helper.from_array(np.array([1 << 45, 2, 2], np.int64), 'sizes')
    end = helper.make_node('ReduceSum', ['a'], ['y'], keepdims=0)
    model = small([huge, end], weights=[sizes])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info('y', TensorProto.FLOAT, []))
    refused(save(model), 'no device can hold')


def test_stored_model_is_checked_as_a_whole(save):
    onnx.checker.check_model(str(load_model(save(chain())).path), full_check=True)
