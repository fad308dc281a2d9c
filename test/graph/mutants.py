# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Broken ONNX files: small models with their protobuf fields, or the bytes of the file, changed at random."""

import random
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_dnn_partition.graph.zoo.tiny import SHAPES, TINY

WEIGHTS = 'weights.bin'
_NOT_UTF8 = 'notutf8'
"""Stands where bytes that are no UTF-8 go: protobuf's Python classes refuse to hold them."""
_TEXTS = ('', 'x', 'y', '\0', 'a\nb', '\x1b[31mred\x1b]0;title\x07', '\u202eesrever', 'a' * 5000, '../../etc/passwd', '/etc/passwd',
          '..', '-1', '1e9', 'NaN', '9' * 30, 'no number', WEIGHTS, 'location', 'offset', 'length', 'Loop', 'If', 'Frobnicate',
          'Constant', 'ai.onnx', 'com.microsoft', 'ai.onnx.ml', _NOT_UTF8)  # fmt: skip
_INTEGERS = (0, 1, -1, 2, 3, 5, 7, 16, 99, 127, 255, 65_537, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 1e38, float('inf'), float('nan'))
_NUMBERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
            FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_ENUM}  # fmt: skip


@dataclass(frozen=True)
class Files:
    """A model's file, the file of weights beside it if there is one, and the shapes it is used with."""

    name: str
    model: bytes
    weights: bytes | None = None
    weights_link: str | None = None
    shapes: dict = field(default_factory=dict)


def seeds():
    """Return the models that are changed: the tiny ones, and one for each thing that they lack."""
    found = [Files(name, build().SerializeToString(), shapes=SHAPES.get(name, {})) for name, build in TINY.items()]
    others = (_endless, _text, _sparse, _functions, _optional)
    return [*found, _external(), *(Files(build.__name__[1:], build().SerializeToString()) for build in others)]


def _model(nodes, *, weights=(), kind=TensorProto.FLOAT, shape=(2, 2), out=TensorProto.FLOAT, **more):
    graph = helper.make_graph(nodes, 'g', [helper.make_tensor_value_info('x', kind, shape)],
                              [helper.make_tensor_value_info('y', out, shape)], list(weights), doc_string='words')
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid('', 17), *more.pop('opsets', ())], **more)


def _weight(name='w'):
    return numpy_helper.from_array(np.ones((2, 2), np.float32), name)


def _external():
    tensors = []
    for number in range(3):
        tensor = _weight(f'w{number}')
        tensor.ClearField('raw_data')
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (('location', WEIGHTS), ('offset', 16 * number), ('length', 16)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
    nodes = [helper.make_node('MatMul', ['x', 'w0'], ['a']), helper.make_node('MatMul', ['a', 'w1'], ['b']),
             helper.make_node('Add', ['b', 'w2'], ['y'])]
    return Files('external', _model(nodes, weights=tensors).SerializeToString(), weights=np.ones(12, np.float32).tobytes())


def _endless():
    """Return a Loop without an end, of whose results only a run would tell the shape."""
    body = helper.make_graph(
        [helper.make_node('Identity', ['going'], ['still']), helper.make_node('Concat', ['state', 'state'], ['twice'], axis=0),
         helper.make_node('Slice', ['twice', 'zero', 'two'], ['next'])], 'body',
        [helper.make_tensor_value_info('turn', TensorProto.INT64, ()), helper.make_tensor_value_info('going', TensorProto.BOOL, ()),
         helper.make_tensor_value_info('state', TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info('still', TensorProto.BOOL, ()), helper.make_tensor_value_info('next', TensorProto.FLOAT, None)])
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in
                 (('turns', 2**63 - 1), ('go', True), ('zero', [0]), ('two', [2]))]
    return _model([helper.make_node('Loop', ['turns', 'go', 'x'], ['a'], body=body), helper.make_node('Relu', ['a'], ['y'])],
                  weights=constants)  # fmt: skip


def _text():
    nodes = [helper.make_node('LabelEncoder', ['x'], ['a'], domain='ai.onnx.ml', keys_strings=['a', 'b'], values_floats=[1.0, 2.0]),
             helper.make_node('Softmax', ['a'], ['y'])]
    return _model(nodes, kind=TensorProto.STRING, shape=(2,), opsets=[helper.make_opsetid('ai.onnx.ml', 2)])


def _sparse():
    values, indices = numpy_helper.from_array(np.ones(2, np.float32), 'w'), numpy_helper.from_array(np.array([0, 3]), 'i')
    model = _model([helper.make_node('MatMul', ['x', 'w'], ['a']), helper.make_node('MatMul', ['a', 'v'], ['y'])], weights=[_weight('v')])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 2]))
    annotation = model.graph.quantization_annotation.add(tensor_name='a')
    annotation.quant_parameter_tensor_names.add(key='SCALE_TENSOR', value='v')
    return model


def _functions():
    own = [helper.make_opsetid('own', 1)]
    function = helper.make_function('own', 'Twice', ['p'], ['q'], [helper.make_node('Add', ['p', 'p'], ['q'])],
                                    [helper.make_opsetid('', 17)])
    model = _model([helper.make_node('Twice', ['x'], ['a'], domain='own'), helper.make_node('MatMul', ['a', 'w'], ['y'])],
                   weights=[_weight()], opsets=own, functions=[function])
    model.training_info.add().algorithm.CopyFrom(model.graph)
    model.metadata_props.add(key='made', value='by hand')
    return model


def _optional():
    nodes = [helper.make_node('Optional', ['x'], ['o']), helper.make_node('OptionalGetElement', ['o'], ['a']),
             helper.make_node('SequenceConstruct', ['a', 'x'], ['s']), helper.make_node('ConcatFromSequence', ['s'], ['c'], axis=0),
             helper.make_node('ReduceSum', ['c', 'axes'], ['r']), helper.make_node('Add', ['x', 'r'], ['y'])]
    return _model(nodes, weights=[numpy_helper.from_array(np.array([0]), 'axes')])


def mutant(models, generator: random.Random):
    """Return a model of `models` with one to four changes."""
    start = generator.choice(models)
    content, weights, link = start.model, start.weights, start.weights_link
    for _ in range(generator.choice((1, 1, 1, 1, 2, 2, 3))):
        if generator.random() < 0.75:
            content = _change_field(content, generator)
        else:
            content = _change_bytes(content, generator, models)
    if weights is not None and generator.random() < 0.3:
        weights, link = generator.choice((
            (None, None), (weights[: generator.randrange(len(weights))], None), (b'', None), (None, '/etc/passwd'), (None, '..'),
            (None, WEIGHTS)))  # fmt: skip
    return Files(start.name, content, weights, link, start.shapes)


def _change_field(content, generator):
    proto = ModelProto()
    try:
        proto.ParseFromString(content)
        places = list(_places(proto))
        texts = [message for message in places if message.DESCRIPTOR.name in ('NodeProto', 'TensorProto', 'ValueInfoProto')]
        message = generator.choice(texts if texts and generator.random() < 0.5 else places)
        _change_message(message, places, generator)
    except Exception:  # noqa: BLE001 (an earlier change has left what protobuf's Python classes cannot hold)
        return content
    return proto.SerializeToString().replace(_NOT_UTF8.encode(), b'\xff\xfe\xc3\x28\x80\xf0\x90')


def _places(message):
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for inner in value if descriptor.is_repeated else (value,):
                yield from _places(inner)


def _change_message(message, places, generator):
    present = [descriptor for descriptor, _ in message.ListFields()]
    every = list(message.DESCRIPTOR.fields)
    descriptor = generator.choice(present if present and generator.random() < 0.7 else every)
    if descriptor.is_repeated:
        _change_repeated(getattr(message, descriptor.name), descriptor, places, generator)
    elif generator.random() < 0.1:
        message.ClearField(descriptor.name)
    elif descriptor.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        other = _another(descriptor, places, generator)
        if other is None:
            getattr(message, descriptor.name).SetInParent()
        else:
            getattr(message, descriptor.name).CopyFrom(other)
    else:
        setattr(message, descriptor.name, _value(descriptor, getattr(message, descriptor.name), places, generator))


def _change_repeated(values, descriptor, places, generator):
    at = generator.randrange(len(values)) if len(values) else None
    choice = generator.randrange(6)
    if choice == 0 and at is not None:
        del values[at]
    elif descriptor.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        other = _another(descriptor, places, generator)
        if choice == 1:
            del values[:]
        elif choice == 2 and at is not None and other is not None:
            values[at].CopyFrom(other)
        else:
            for _ in range(generator.choice((1, 1, 2, 200))):
                values.add().CopyFrom(other or values.add())
    elif choice < 4 and at is not None:
        values[at] = _value(descriptor, values[at], places, generator)
    elif choice == 4:
        values.extend([_value(descriptor, None, places, generator)] * generator.choice((1, 2, 1000)))
    else:
        del values[:]


def _another(descriptor, places, generator):
    same = [place for place in places if place.DESCRIPTOR is descriptor.message_type]
    return type(same[0]).FromString(generator.choice(same).SerializeToString()) if same else None


def _value(descriptor, old, places, generator):
    kind = descriptor.cpp_type
    if kind in _NUMBERS:
        return generator.choice((*_INTEGERS, generator.randrange(30)))
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return generator.choice(_FLOATS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return not old
    names = [value for place in places for inner, value in place.ListFields()
             if inner.cpp_type == FieldDescriptor.CPPTYPE_STRING and not inner.is_repeated and isinstance(value, str)]
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        old = old or b''
        return generator.choice((b'', old[: len(old) // 2], old + b'\0', old * 2, generator.randbytes(len(old) + 1), b'\xff\x1b[31m',
                                 generator.choice(names or ['']).encode()))
    return generator.choice((generator.choice(_TEXTS), generator.choice(names or ['x']), (old or '') + generator.choice(_TEXTS)))


def _change_bytes(content, generator, models):
    raw = bytearray(content)
    start = generator.randrange(len(raw) + 1)
    stop = min(len(raw), start + generator.choice((1, 2, 4, 16, 100)))
    choice = generator.randrange(6)
    if choice == 0:
        for _ in range(generator.randrange(1, 9)):
            if raw:
                raw[generator.randrange(len(raw))] ^= 1 << generator.randrange(8)
    elif choice == 1:
        del raw[start:]
    elif choice == 2:
        del raw[start:stop]
    elif choice == 3:
        raw[start:start] = generator.randbytes(generator.randrange(1, 20))
    elif choice == 4:
        raw[start:start] = raw[start:stop]
    else:
        other = generator.choice(models).model
        begin = generator.randrange(len(other))
        raw[start:stop] = other[begin: begin + generator.choice((4, 40, 400))]
    return bytes(raw)
