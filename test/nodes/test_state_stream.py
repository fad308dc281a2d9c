# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A recurrent net over two devices in real processes: its state outlives the worker that held it."""

import os
import signal

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from test_named_inputs import client_of, fixed, own_cache, weights  # noqa: F401

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

WIDTH = 1100  # more than what comes to the source with each frame


def recurrent(path):
    nodes = [
        helper.make_node('MatMul', ['x', 'embed'], ['e']), helper.make_node('MatMul', ['h', 'step'], ['s']),
        helper.make_node('Add', ['e', 's'], ['p']), helper.make_node('Tanh', ['p'], ['hn']), helper.make_node('MatMul', ['hn', 'head'], ['y']),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (('x', 6), ('h', WIDTH), ('y', 3), ('hn', WIDTH))]
    shapes = {'embed': (6, WIDTH), 'step': (WIDTH, WIDTH), 'head': (WIDTH, 3)}
    initialisers = [weights(name, *shape, scale=0.9 / shape[0] ** 0.5) for name, shape in shapes.items()]
    onnx.save(helper.make_model(
        helper.make_graph(nodes, 'net', ends[:2], ends[2:], initialisers), opset_imports=[helper.make_opsetid('', 17)], ir_version=8
    ), path)  # fmt: skip


def worker_of(up, device):
    commands = {p: p.cmdline() for p in psutil.Process(up.pid).children() if p.is_running()}
    return next((p for p, command in commands.items() if 'worker' in command and f'__ns:=/named/{device}' in command), None)


def test_a_state_outlives_the_worker_that_held_it(nodes, context, tmp_path):
    from edge_dnn_partition.execution.stages.engine import Engine

    recurrent(tmp_path / 'net.onnx')
    document = {
        'model': {'path': 'net.onnx'}, 'parameters': fixed('pi:pre-1 box:1-end') | {'frame_source': {'state_interval': 4}},
        'inputs': {'h': {'kind': 'state', 'output': 'hn'}},
    }  # fmt: skip
    asked = np.random.default_rng(3).standard_normal((12, 1, 6)).astype(np.float32)
    whole, state, expected = Engine(tmp_path / 'net.onnx'), np.zeros((1, WIDTH), np.float32), []
    for number, x in enumerate(asked):
        outputs = whole.run({'x': x, 'h': np.zeros_like(state) if number == 10 else state})
        state = outputs['hn']
        expected.append(outputs['y'])
    with client_of(nodes, context, tmp_path, document) as client:
        up = nodes.all[-1]
        for number, x in enumerate(asked):
            if number in (3, 7):  # after the first time the planner moves all to the other device, and back
                up.wait_for('[named.box.worker]: active', 1 + (number == 7))
                os.kill(worker_of(up, 'box').pid, signal.SIGKILL)
            result = client.infer_and_wait({'x': x}, timeout=30.0, reset_state=number == 10)
            assert set(result.outputs) == {'y'}, 'the state is no result'
            np.testing.assert_allclose(result.outputs['y'], expected[number], rtol=1e-4, atol=1e-5)
