# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem of a model with several inputs, or with a state: each is priced where it arises, and private ones stay."""

import itertools

import numpy as np
import onnx
import pytest
from pipelines import LINKS, RATE, problem, profile

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.plans.plan import IMAGE, check_private
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate


@pytest.fixture(scope='module')
def two_cameras(tmp_path_factory):
    """Two images, a vector and a constant: each image has a trunk of two layers, the ends are joined with the vector."""
    folder = tmp_path_factory.mktemp('inputs')
    ends = {'front': [1, 3, 4, 6], 'depth': [1, 1, 4, 6], 'pose': [1, 24], 'task': [1, 24]}
    nodes = [
        onnx.helper.make_node('ReduceSum', ['front', 'axis'], ['a'], keepdims=1), onnx.helper.make_node('Sin', ['a'], ['b']),
        onnx.helper.make_node('Cos', ['depth'], ['c']), onnx.helper.make_node('Add', ['b', 'c'], ['d']),
        onnx.helper.make_node('Reshape', ['d', 'flat'], ['e']), onnx.helper.make_node('Mul', ['e', 'pose'], ['f']),
        onnx.helper.make_node('Max', ['f', 'task'], ['y']),
    ]  # fmt: skip
    infos = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in ends.items()]
    constants = [onnx.helper.make_tensor('axis', 7, [1], [1]), onnx.helper.make_tensor('flat', 7, [2], [1, 24])]
    graph = onnx.helper.make_graph(nodes, 'g', infos, [onnx.helper.make_tensor_value_info('y', 1, [1, 24])], constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8), folder / 'm.onnx')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        yield load_model(folder / 'm.onnx')


def fed(private=()):
    given = {
        'front': {'kind': 'image', 'topic': 'a/compressed', 'preprocessing': 'p.yaml'},
        'depth': {'kind': 'image', 'topic': 'depth', 'preprocessing': 'p.yaml'},
        'pose': {'kind': 'message', 'topic': 'pose', 'type': 'std_msgs/msg/Float32MultiArray'},
        'task': {'kind': 'constant', 'value': 0},
    }  # fmt: skip
    for name in private:
        given[name]['private'] = True
    return parse_fleet({
        'source': 'pi', 'devices': {'pi': {}, 'cloud': {}}, 'links': [{'between': ['cloud', 'pi'], 'rate': '1 MB/s'}],
        'model': {'path': 'm.onnx'}, 'inputs': given,
    })  # fmt: skip


def of_inputs(model, private=()):
    boundaries = tuple(range(len(model.layers) + 1))
    return Pipeline(model, {name: profile(model, name, boundaries) for name in ('pi', 'cloud')}, fed(private)), boundaries


def test_every_input_is_priced_where_it_arises(two_cameras):
    made, boundaries = of_inputs(two_cameras)
    found = problem(made, links={pair: LinkEstimate(RATE, 0.0, measured=True) for pair in LINKS}, other_bytes={'@image:depth': 500.0})
    assert [t.name for t in found.tensors if t.producer == INPUT] == [IMAGE, '@image:depth', 'pose']
    sizes = {IMAGE: 1000.0, '@image:depth': 500.0} | {name: tensor.bytes for name, tensor in two_cameras.tensors.items()}
    for assignment in itertools.product(('pi', 'cloud'), repeat=len(boundaries)):
        plan = made.plan(assignment)
        ways = {(t.tensor, t.to_device) for t in plan.transfers if t.from_device != t.to_device}
        seconds = 4e-3 + sum(made.profiles[s.device].stage_seconds(*r) for s in plan.stages for r in s.layers)
        priced = evaluate(found, assignment).latency_seconds
        assert priced == pytest.approx(seconds + sum(sizes[tensor] for tensor, _ in ways) / RATE)
    all_there = made.plan(('cloud',) * len(boundaries))
    assert {t.tensor for t in all_there.transfers if t.to_device == 'cloud'} == {IMAGE, '@image:depth', 'pose'}, 'no constant'


@pytest.mark.parametrize('private', [('front',), ('depth',), ('pose',), ('front', 'pose')])
def test_no_plan_sends_a_private_input(two_cameras, private):
    made, boundaries = of_inputs(two_cameras, private)
    found = problem(made)
    held = made.inputs.held
    able = [[name for d, name in enumerate(found.names) if np.isfinite(row[d])] for row in found.seconds]
    count = 0
    for assignment in itertools.product(*able):
        check_private(made.plan(assignment), held)
        count += 1
    assert 1 < count < 2 ** len(boundaries), 'some is free, and some is not'
    for assignment in itertools.product(('pi', 'cloud'), repeat=len(boundaries)):
        if any(device not in able[node] for node, device in enumerate(assignment)):
            plan = made.plan(assignment)
            reads = [stage for stage in plan.stages if stage.device == 'cloud' and held.intersection(stage.inputs)]
            stays = not any(t.tensor in held for t in plan.transfers if t.to_device == 'cloud')
            assert reads or (stays and 'cloud' in assignment), 'only what a private input forbids is barred'
    with pytest.raises(PlanError, match='what reads the private input .* runs on the source'):
        problem(made, devices=('cloud',))


def test_the_solvers_agree_on_models_with_several_inputs(two_cameras):
    made, boundaries = of_inputs(two_cameras)
    found = problem(made, links={pair: LinkEstimate(1e5, 1e-3, measured=True) for pair in LINKS}, factors={'pi': 5.0})
    best = min(evaluate(found, a).latency_seconds for a in itertools.product(('pi', 'cloud'), repeat=len(boundaries)))
    solution = solve(found)
    assert solution.optimal and solution.latency_seconds == pytest.approx(best)


@pytest.mark.parametrize(('width', 'parameters', 'share'), [(2000, {}, 0.1), (2000, {'state_interval': 4}, 0.25), (1000, {}, 1.0)])
def test_state_stays_with_its_layers_and_comes_to_the_source_now_and_then(tmp_path, monkeypatch, width, parameters, share):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    ends = {name: onnx.helper.make_tensor_value_info(name, 1, [1, width]) for name in ('x', 'h', 'y', 'hn')}
    nodes = [onnx.helper.make_node(kind, *names) for kind, names in (
        ('Relu', (['x'], ['a'])), ('MatMul', (['a', 'w'], ['b'])), ('Add', (['b', 'h'], ['hn'])), ('MatMul', (['hn', 'w'], ['y'])))]  # fmt: skip
    weight = onnx.numpy_helper.from_array(np.eye(width, dtype=np.float32), 'w')
    graph = onnx.helper.make_graph(nodes, 'g', [ends['x'], ends['h']], [ends['y'], ends['hn']], [weight])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'm.onnx')
    model = load_model(tmp_path / 'm.onnx', states={'h': 'hn'})
    described = parse_fleet({
        'source': 'pi', 'devices': {'pi': {}, 'cloud': {}}, 'links': [{'between': ['cloud', 'pi'], 'rate': '1 MB/s'}],
        'model': {'path': 'm.onnx'}, 'inputs': {'h': {'kind': 'state', 'output': 'hn'}}, 'parameters': {'frame_source': parameters},
    })  # fmt: skip
    boundaries = tuple(range(len(model.layers) + 1))
    made = Pipeline(model, {name: profile(model, name, boundaries) for name in ('pi', 'cloud')}, described)
    found = problem(made, links={pair: LinkEstimate(RATE, 0.0, measured=True) for pair in LINKS}, permitted=Permitted(('raw', 'zstd')))
    size = 4.0 * width
    (snapshot,) = (tensor for tensor in found.tensors if tensor.name.startswith('state of'))
    assert (snapshot.at_sink, snapshot.readers, snapshot.bytes) == (True, (), share * size)
    assert sum(found.state_bytes) == size and found.state_bytes[snapshot.producer] == size
    here, there = (('pi',) * found.nodes, ('cloud',) * found.nodes)
    rate = found.rate[0, 1]
    assert found.state_seconds(here, there) == pytest.approx(size / rate) and found.state_seconds(here, here) == 0
    plan = made.plan(there)
    assert {t.tensor for t in plan.transfers if t.to_sink} == {'y', 'hn'} and ('h', 'cloud') in {(t.tensor, t.to_device) for t in plan.transfers}
