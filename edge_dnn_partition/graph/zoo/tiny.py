# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny models that need no torch, one for each thing a graph can have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

_FLOAT, _INT64, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_WIDTH = 8
_SHAPE = (2, _WIDTH)


def _values(name: str, *shape: int, seed: int = 0) -> TensorProto:
    """Return seeded normal values; the name takes part in the seed."""
    generator = np.random.default_rng([seed, *name.encode()])
    return numpy_helper.from_array((generator.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32), name)


def _constant(name: str, value: Any, kind: Any = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=kind), name)


def _tensor(name: str, shape: Sequence[int | str | None] | None = _SHAPE, kind: int = _FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), name=f'{kind}_{outputs[0]}', **attributes)


def _model(
    nodes: Sequence[NodeProto], inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[TensorProto] = (), *, opset: int = 17, ir_version: int = 8,
) -> ModelProto:
    graph: GraphProto = helper.make_graph(list(nodes), 'tiny', list(inputs), list(outputs), list(weights))
    model: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=ir_version)
    onnx.checker.check_model(model)
    return model


def _product(before: str, after: str) -> NodeProto:
    return _node('MatMul', [before, f'w_{after}'], [after])


def chain(length: int = 4) -> ModelProto:
    """Return matrix products, each followed by a Relu."""
    nodes, before = [], 'x'
    for index in range(length):
        nodes += [_product(before, f'a{index}'), _node('Relu', [f'a{index}'], [f'r{index}'])]
        before = f'r{index}'
    return _model(nodes, [_tensor('x')], [_tensor(before)],
                  [_values(f'w_a{index}', _WIDTH, _WIDTH) for index in range(length)])


def diamond() -> ModelProto:
    """Return a product, two branches from it, and their sum."""
    nodes = [_product('x', 'a'), _product('a', 'b'), _product('a', 'c'), _node('Softmax', ['c'], ['d']),
             _node('Add', ['b', 'd'], ['y'])]
    return _model(nodes, [_tensor('x')], [_tensor('y')],
                  [_values(f'w_{name}', _WIDTH, _WIDTH) for name in 'abc'])


def skip() -> ModelProto:
    """Return a chain whose first result and whose input are read again at its end."""
    nodes = [_product('x', 'a'), _product('a', 'b'), _product('b', 'c'), _product('c', 'd'),
             _node('Add', ['d', 'a'], ['e']), _node('Concat', ['e', 'x'], ['y'], axis=1)]
    return _model(nodes, [_tensor('x')], [_tensor('y', (2, 2 * _WIDTH))],
                  [_values(f'w_{name}', _WIDTH, _WIDTH) for name in 'abcd'])


def several_ends() -> ModelProto:
    """Return a model of two inputs and three outputs, one of which inner layers read as well."""
    nodes = [_product('x', 'a'), _product('z', 'b'), _node('Add', ['a', 'b'], ['early']),
             _product('early', 'c'), _node('Split', ['c'], ['left', 'right'], axis=1), _node('Neg', ['right'], ['late'])]
    return _model(nodes, [_tensor('x'), _tensor('z')],
                  [_tensor('early'), _tensor('left', (2, 4)), _tensor('late', (2, 4))],
                  [_values(f'w_{name}', _WIDTH, _WIDTH) for name in 'abc'])


def shared_weight() -> ModelProto:
    """Return a chain that multiplies with the same matrix three times."""
    nodes = [_node('MatMul', ['x', 'shared'], ['a']), _node('Softmax', ['a'], ['b']),
             _node('MatMul', ['b', 'shared'], ['c']), _node('Softmax', ['c'], ['d']),
             _node('MatMul', ['d', 'shared'], ['y'])]
    return _model(nodes, [_tensor('x')], [_tensor('y')], [_values('shared', _WIDTH, _WIDTH)])


def conditional() -> ModelProto:
    """Return an If whose branches capture an inner tensor, the input and a weight."""
    yes = helper.make_graph([_node('MatMul', ['a', 'captured'], ['yes'])], 'yes', [], [_tensor('yes')])
    no = helper.make_graph([_node('Add', ['x', 'captured_row'], ['no'])], 'no', [], [_tensor('no')])
    nodes = [_product('x', 'a'), _product('a', 'b'), _node('ReduceSum', ['b'], ['sum'], keepdims=0),
             _node('Greater', ['sum', 'zero'], ['positive']),
             _node('If', ['positive'], ['c'], then_branch=yes, else_branch=no), _product('c', 'y')]
    return _model(nodes, [_tensor('x')], [_tensor('y')], [
        *(_values(f'w_{name}', _WIDTH, _WIDTH) for name in 'aby'), _values('captured', _WIDTH, _WIDTH),
        _values('captured_row', _WIDTH), _constant('zero', 0.0, np.float32)])


def loop() -> ModelProto:
    """Return a Loop that runs three times, with a weight and an inner tensor from outside."""
    body = helper.make_graph(
        [_node('MatMul', ['state', 'step'], ['moved']), _node('Add', ['moved', 'a'], ['next']),
         _node('Identity', ['going'], ['still'])],
        'body', [_tensor('turn', (), _INT64), _tensor('going', (), _BOOL), _tensor('state')],
        [_tensor('still', (), _BOOL), _tensor('next')])
    nodes = [_product('x', 'a'), _product('a', 'b'), _node('Loop', ['turns', 'go', 'b'], ['c'], body=body),
             _product('c', 'y')]
    return _model(nodes, [_tensor('x')], [_tensor('y')], [
        *(_values(f'w_{name}', _WIDTH, _WIDTH) for name in 'aby'), _values('step', _WIDTH, _WIDTH),
        _constant('turns', 3), _constant('go', True, np.bool_)])


def scan() -> ModelProto:
    """Return a Scan over rows that carries a state and captures a weight."""
    body = helper.make_graph(
        [_node('MatMul', ['row', 'mix'], ['mixed']), _node('Add', ['state', 'mixed'], ['next']),
         _node('Identity', ['next'], ['seen'])],
        'body', [_tensor('state', (_WIDTH,)), _tensor('row', (_WIDTH,))],
        [_tensor('next', (_WIDTH,)), _tensor('seen', (_WIDTH,))])
    nodes = [_product('x', 'a'), _node('Scan', ['start', 'a'], ['last', 'all'], body=body, num_scan_inputs=1),
             _product('all', 'b'), _node('Add', ['b', 'last'], ['y'])]
    return _model(nodes, [_tensor('x')], [_tensor('y')], [
        *(_values(f'w_{name}', _WIDTH, _WIDTH) for name in 'ab'), _values('mix', _WIDTH, _WIDTH),
        _values('start', _WIDTH)])


def quantised() -> ModelProto:
    """Return two quantised convolutions in QDQ form with a residual sum around the second."""
    nodes, weights = [], []

    def quantise(name: str, scale: float) -> str:
        weights.extend([_constant(f'{name}_scale', scale, np.float32), _constant(f'{name}_zero', 3, np.uint8)])
        nodes.extend([
            _node('QuantizeLinear', [name, f'{name}_scale', f'{name}_zero'], [f'{name}_q']),
            _node('DequantizeLinear', [f'{name}_q', f'{name}_scale', f'{name}_zero'], [f'{name}_d'])])
        return f'{name}_d'

    def convolve(before: str, after: str, inputs: int, outputs: int) -> None:
        generator = np.random.default_rng([7, *after.encode()])
        weights.extend([
            _constant(f'{after}_w', generator.integers(-127, 128, (outputs, inputs, 3, 3)), np.int8),
            _constant(f'{after}_w_scale', 0.003, np.float32), _constant(f'{after}_w_zero', 0, np.int8)])
        nodes.extend([
            _node('DequantizeLinear', [f'{after}_w', f'{after}_w_scale', f'{after}_w_zero'], [f'{after}_wd']),
            _node('Conv', [before, f'{after}_wd'], [after], pads=[1] * 4)])

    convolve(quantise('x', 0.03), 'a', 3, 8)
    nodes.append(_node('Relu', ['a'], ['ar']))
    first = quantise('ar', 0.02)
    convolve(first, 'b', 8, 8)
    nodes.append(_node('Add', [quantise('b', 0.02), first], ['c']))
    convolve(quantise('c', 0.03), 'd', 8, 4)
    nodes.append(_node('Identity', [quantise('d', 0.03)], ['y']))
    return _model(nodes, [_tensor('x', (1, 3, 8, 8))], [_tensor('y', (1, 4, 8, 8))], weights)


def open_shapes() -> ModelProto:
    """Return a convolution and a mean whose batch and image size are open."""
    nodes = [_node('Conv', ['image', 'w'], ['a'], pads=[1] * 4), _node('Relu', ['a'], ['b']),
             _node('MaxPool', ['b'], ['c'], kernel_shape=[2, 2], strides=[2, 2]),
             _node('Conv', ['c', 'v'], ['d'], pads=[1] * 4), _node('ReduceMean', ['d'], ['e'], axes=[2, 3], keepdims=0),
             _node('Add', ['e', 'extra'], ['y'])]
    return _model(nodes, [_tensor('image', ('batch', 3, 'height', 'width')), _tensor('extra', ('batch', 4))],
                  [_tensor('y', ('batch', 4))], [_values('w', 8, 3, 3, 3), _values('v', 4, 8, 3, 3)])


def data_dependent() -> ModelProto:
    """Return a model in which the size of a tensor depends on the values of the input."""
    nodes = [_product('x', 'a'), _node('Greater', ['a', 'zero'], ['positive']),
             _node('Compress', ['a', 'flat'], ['chosen']), _node('Softmax', ['chosen'], ['soft'], axis=0),
             _node('ReduceSum', ['soft'], ['sum'], keepdims=0), _node('Add', ['a', 'sum'], ['y'])]
    nodes.insert(2, _node('Reshape', ['positive', 'one_row'], ['flat']))
    return _model(nodes, [_tensor('x')], [_tensor('y')],
                  [_values('w_a', _WIDTH, _WIDTH), _constant('zero', 0.0, np.float32), _constant('one_row', [-1])])


def sequence() -> ModelProto:
    """Return a model that passes a sequence of tensors, which cannot be cut through."""
    nodes = [_product('x', 'a'), _node('SplitToSequence', ['a', 'two'], ['parts'], axis=1),
             _product('x', 'b'), _node('SequenceAt', ['parts', 'zero'], ['first']),
             _node('Concat', ['first', 'b'], ['c'], axis=1), _node('Softmax', ['c'], ['y'])]
    return _model(nodes, [_tensor('x')], [_tensor('y', (2, 4 + _WIDTH))],
                  [_values('w_a', _WIDTH, _WIDTH), _values('w_b', _WIDTH, _WIDTH), _constant('two', 4),
                   _constant('zero', 0)])


def old_style() -> ModelProto:
    """Return a model of IR version 3, where weights are inputs too, with batch normalisation."""
    names = ('scale', 'shift', 'mean', 'variance')
    weights = [_values('w', 4, 3, 3, 3), *(_values(name, 4) for name in names[:3]),
               _constant('variance', [0.5, 1.0, 1.5, 2.0], np.float32), _values('v', 2, 4, 1, 1)]
    nodes = [_node('Conv', ['x', 'w'], ['a'], pads=[1] * 4), _node('BatchNormalization', ['a', *names], ['b']),
             _node('Relu', ['b'], ['c']), _node('Conv', ['c', 'v'], ['y'])]
    inputs = [_tensor('x', (1, 3, 6, 6)), *(_tensor(weight.name, list(weight.dims)) for weight in weights)]
    return _model(nodes, inputs, [_tensor('y', (1, 2, 6, 6))], weights, opset=9, ir_version=3)


def half() -> ModelProto:
    """Return convolutions and a product in float16."""
    def weight(name: str, *shape: int) -> TensorProto:
        return _constant(name, numpy_helper.to_array(_values(name, *shape)), np.float16)

    nodes = [_node('Conv', ['x', 'w'], ['a'], pads=[1] * 4), _node('Relu', ['a'], ['b']),
             _node('Conv', ['b', 'v'], ['c'], pads=[1] * 4), _node('Sigmoid', ['c'], ['d']),
             _node('Mul', ['c', 'd'], ['e']), _node('Flatten', ['e'], ['f']), _node('MatMul', ['f', 'm'], ['y'])]
    kind = TensorProto.FLOAT16
    return _model(nodes, [_tensor('x', (1, 3, 8, 8), kind)], [_tensor('y', (1, 5), kind)],
                  [weight('w', 8, 3, 3, 3), weight('v', 8, 8, 3, 3), weight('m', 512, 5)])


def gated() -> ModelProto:
    """Return products with activations that exporters write as several nodes: SiLU, HardSwish, GELU, Mish."""
    weights = [_values(f'w_{name}', _WIDTH, _WIDTH) for name in ('a', 'b', 'c', 'd')]
    for name, value in (('three', 3.0), ('zero', 0.0), ('six', 6.0), ('root', 2 ** 0.5), ('one', 1.0), ('half', 0.5)):
        weights.append(_constant(name, value, np.float32))
    nodes = [
        _product('x', 'a'), _node('Sigmoid', ['a'], ['a1']), _node('Mul', ['a', 'a1'], ['silu']),
        _product('silu', 'b'), _node('Add', ['b', 'three'], ['b1']), _node('Clip', ['b1', 'zero', 'six'], ['b2']),
        _node('Mul', ['b', 'b2'], ['b3']), _node('Div', ['b3', 'six'], ['swish']),
        _product('swish', 'c'), _node('Div', ['c', 'root'], ['c1']), _node('Erf', ['c1'], ['c2']),
        _node('Add', ['c2', 'one'], ['c3']), _node('Mul', ['c', 'c3'], ['c4']), _node('Mul', ['c4', 'half'], ['gelu']),
        _product('gelu', 'd'), _node('Softplus', ['d'], ['d1']), _node('Tanh', ['d1'], ['d2']),
        _node('Mul', ['d', 'd2'], ['y'])]
    return _model(nodes, [_tensor('x')], [_tensor('y')], weights)


#: Every tiny model by name.
TINY: dict[str, Callable[[], ModelProto]] = {
    builder.__name__: builder for builder in (
        chain, diamond, skip, several_ends, shared_weight, conditional, loop, scan, quantised, open_shapes,
        data_dependent, sequence, old_style, gated, half)}
#: The shapes that models with open ones are used with.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {'open_shapes': {'image': (2, 3, 16, 16), 'extra': (2, 4)}}
