# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Models with state over two devices, with real engines: a recurrent net, and a decoder with its keys and values."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from stage_fleet import StageFleet

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs

WINDOW, PROMPT, TOKENS = 24, 7, 12
WIDTH = 1500


def recurrent(path, width=WIDTH):
    """Write a net whose state is larger than what comes with each result: embed, a recurrent layer, head."""
    rng = np.random.default_rng(5)
    shapes = (('embed', (6, width)), ('step', (width, width)), ('head', (width, 3)))
    weight = {name: (0.9 * rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32) for name, shape in shapes}
    nodes = [
        helper.make_node('MatMul', ['x', 'embed'], ['e'], 'embedding'),
        helper.make_node('MatMul', ['h', 'step'], ['s'], 'stepping'),
        helper.make_node('Add', ['e', 's'], ['p'], 'adding'),
        helper.make_node('Tanh', ['p'], ['hn'], 'squashing'),
        helper.make_node('MatMul', ['hn', 'head'], ['y'], 'head'),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (('x', 6), ('h', width), ('y', 3), ('hn', width))]
    graph = helper.make_graph(nodes, 'net', ends[:2], ends[2:], [numpy_helper.from_array(w, n) for n, w in weight.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


@pytest.fixture(scope='module')
def net(tmp_path_factory):
    return recurrent(tmp_path_factory.mktemp('net') / 'net.onnx')


def fleet_of(net, interval=10):
    model = load_model(net, states={'h': 'hn'})
    inputs = ModelInputs(tensors=('x',), states={'h': 'hn'})
    return StageFleet(model, inputs, {'h': np.zeros((1, WIDTH), np.float32)}, interval)


def whole(net):
    session = ort.InferenceSession(net, providers=['CPUExecutionProvider'])
    state = np.zeros((1, WIDTH), np.float32)
    while True:
        x = yield
        y, state = session.run(['y', 'hn'], {'x': x, 'h': state})
        yield y


def frames(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 1, 6)).astype(np.float32)


def test_what_lies_between_the_ends_of_a_state_is_one_layer(net):
    layers = load_model(net).layers
    joined = load_model(net, states={'h': 'hn'})
    assert [layer.inputs for layer in joined.layers if 'h' in layer.inputs] == [('e', 'h')] or len(joined.layers) < len(layers)
    (reader,) = (layer for layer in joined.layers if 'h' in layer.inputs)
    assert 'hn' in reader.outputs
    assert joined.key != load_model(net).key and joined.states == {'h': 'hn'}


@pytest.mark.parametrize(('states', 'words'), [
    ({'g': 'hn'}, "no input 'g'; did you mean|no input 'g'"),
    ({'h': 'hm'}, "no output 'hm'"),
    ({'h': 'y'}, r"'y' \[1, 3\] cannot become 'h' \[1, 1500\]"),
    ({'h': 'hn', 'x': 'y'}, "cannot become 'x'"),
])  # fmt: skip
def test_states_that_do_not_fit_are_refused(net, states, words):
    with pytest.raises(ModelError, match=words):
        load_model(net, states=states)


def test_a_model_without_a_result_is_refused(tmp_path):
    model = onnx.load(recurrent(tmp_path / 'net.onnx', 8))
    del model.graph.output[0]
    onnx.save(model, tmp_path / 'alone.onnx')
    with pytest.raises(ModelError, match='no result is left'):
        load_model(tmp_path / 'alone.onnx', states={'h': 'hn'})


@pytest.mark.parametrize('interval', [1, 3, 10])
def test_a_state_outlives_switches_and_one_dead_device_after_the_other(net, interval):
    """Of two servers that fail one after the other the second began with an empty cache, and a session could not go on."""
    fleet = fleet_of(net, interval)
    count = len(fleet.model.layers)
    fleet.follow(f'pi:pre-1 cloud:1-{count}')
    reference = whole(net)
    for number, x in enumerate(frames(20)):
        next(reference)
        expected = reference.send(x)
        if number in (5, 6, 11):
            fleet.begin('cloud')
        if number == 8:
            fleet.follow(f'cloud:pre-{count}')
        if number == 14:
            fleet.follow(f'pi:pre-{count}')
            fleet.begin('cloud')
        np.testing.assert_allclose(fleet.run({'x': x})['y'], expected, rtol=1e-5, atol=1e-6)
    assert (fleet.tracker.replayed > 0) == (interval > 1)


def test_a_planned_switch_costs_one_transfer(net):
    fleet = fleet_of(net)
    count = len(fleet.model.layers)
    fleet.follow(f'pi:pre-1 cloud:1-{count}')
    for x in frames(4):
        fleet.run({'x': x})
    plan = fleet.follow(f'pi:pre-{count}', moving=True)
    fleet.run({'x': frames(5)[4]})
    fleet.dispatcher.plans.on_plan(plan, 1)
    fleet.dispatcher._admission.renew()
    fleet.run({'x': frames(6)[5]})
    assert fleet.tracker.replayed == 0


def test_a_reset_begins_anew_and_a_frame_that_fails_changes_nothing(net):
    fleet = fleet_of(net)
    fleet.follow(f'cloud:pre-{len(fleet.model.layers)}')
    first, second, third = frames(3)
    before = fleet.run({'x': first})['y']
    again = fleet.run({'x': second})['y']
    assert 'stage 0 on cloud' in fleet.run({'x': np.zeros((2, 2), np.float32)})
    reference = whole(net)
    for x in (first, second):
        next(reference)
        reference.send(x)
    next(reference)
    np.testing.assert_allclose(fleet.run({'x': third})['y'], reference.send(third), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(fleet.run({'x': first}, reset_state=True)['y'], before)
    np.testing.assert_array_equal(fleet.run({'x': second})['y'], again)


def tokens_by(step):
    """Return the prompt's last scores and the tokens that follow it, greedily.

    :param step: returns the scores after a token at a place.
    """
    prompt = np.random.default_rng(7).integers(0, 61, PROMPT)
    scores = [step(int(token), place) for place, token in enumerate(prompt)]
    made = []
    for place in range(PROMPT, PROMPT + TOKENS):
        made.append(int(scores[-1].argmax()))
        scores.append(step(made[-1], place))
    return np.array(scores), made


@pytest.fixture(scope='module')
def decoder():
    pytest.importorskip('torch', reason='torch builds the decoder')
    return zoo.model_path('decoder_small')


def grown(decoder):
    """Return a step of the file as people run it: the cache grows."""
    session = ort.InferenceSession(decoder, providers=['CPUExecutionProvider'])
    past = {end.name: np.zeros((1, 2, 0, 8), np.float32) for end in session.get_inputs() if end.name.startswith('past')}

    def step(token, place):
        given = {'input_ids': [[token]], 'position_ids': [[place]], 'attention_mask': [[1] * (place + 1)]}
        logits, *present = session.run(None, {name: np.array(value) for name, value in given.items()} | past)
        past.update(zip(past, present, strict=True))
        return logits[0, 0]

    return step


@pytest.mark.parametrize('troubled', [False, True])
def test_a_decoder_over_two_devices_says_what_it_says_on_one(decoder, troubled):
    expected, words = tokens_by(grown(decoder))
    ends = [f'{block}.{what}' for block in range(3) for what in ('key', 'value')]
    states = {f'past_key_values.{end}': f'present.{end}' for end in ends}
    shapes = {'attention_mask': (1, WINDOW + 1)} | dict.fromkeys(states, (1, 2, WINDOW, 8))
    model = load_model(decoder, shapes=shapes, states=states)
    inputs = ModelInputs(tensors=('input_ids', 'attention_mask', 'position_ids'), states=states)
    fleet = StageFleet(model, inputs, {name: np.zeros(shapes[name], np.float32) for name in states}, interval=5)
    readers = [layer.index for layer in model.layers if states.keys() & set(layer.inputs)]
    half, count = sorted(readers)[len(readers) // 2] , len(model.layers)
    plan = fleet.follow(f'pi:pre-{half} cloud:{half}-{count}')
    holders = [sum(name in states for name in stage.inputs) for stage in plan.stages]
    assert min(holders) > 0, 'both devices hold a part of the cache'

    def step(token, place):
        if troubled and place in (4, 9, 10):
            fleet.begin('cloud')
        if troubled and place in (6, 13):
            fleet.follow(f'cloud:pre-{half - 2} pi:{half - 2}-{count}' if place == 6 else f'pi:pre-{half} cloud:{half}-{count}')
        mask = np.zeros((1, WINDOW + 1), np.int64)
        mask[0, WINDOW - place:] = 1
        given = {'input_ids': np.array([[token]]), 'attention_mask': mask, 'position_ids': np.array([[place]])}
        return fleet.run(given)['logits'][0, 0]

    scores, made = tokens_by(step)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert made == words and len(set(made)) > 3
    assert (fleet.tracker.replayed > 0) == troubled
