# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where a model's inputs arise: what a fleet file says of them, and what plans send."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import Layer, Model
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.fleet.inputs import ImageInput, MessageInput, model_inputs
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, check_plan, check_private, is_image, parse_label
from edge_dnn_partition.planning.solvers.solve import solve

DEVICES = ('pi', 'jetson', 'cloud')
ROWS = [(('front',), 'a'), (('depth',), 'b'), (('task',), 'c'), (('pose', 'h', 'a'), 'dg'), ('bcd', 'y')]
POLICY = Model(
    'net', 'a' * 64, 'key', Path(), Path(), tuple(Layer(i, f'layer{i}', ('Op',), *map(tuple, ends), 0, 0) for i, ends in enumerate(ROWS)),
    {}, ('front', 'depth', 'pose', 'task', 'h'), ('y', 'g'), (),
)  # fmt: skip
"""One letter a tensor; `g` is the state after a frame, `h` before it."""
GIVEN = {
    'front': {'kind': 'image', 'topic': 'front/compressed', 'preprocessing': 'front.yaml'},
    'depth': {'kind': 'image', 'topic': '/depth', 'compressed': False, 'preprocessing': 'depth.yaml', 'private': True},
    'pose': {'kind': 'message', 'topic': '/joint_states', 'type': 'sensor_msgs/msg/JointState', 'field': 'position'},
    'task': {'kind': 'constant', 'value': [1.0, 0.0]},
    'h': {'kind': 'state', 'output': 'g'},
}  # fmt: skip


def fleet(inputs=GIVEN, **others):
    return parse_fleet(
        {'source': 'pi', 'devices': {name: {} for name in DEVICES}, 'model': {'path': 'm.onnx'}, 'inputs': inputs} | others
    )


def test_each_input_is_named_with_where_it_comes_from(tmp_path):
    found = parse_fleet({'source': 'pi', 'devices': {'pi': {}}, 'inputs': GIVEN, 'synchronise': {'slop': '20 ms'}}, base=tmp_path)
    assert found.synchronise.slop == 0.02 and isinstance(found.inputs['pose'], MessageInput)
    depth = found.inputs['depth']
    assert isinstance(depth, ImageInput) and (depth.compressed, depth.private) == (False, True)
    assert depth.preprocessing == tmp_path / 'depth.yaml'
    assert '"field":"position"' in found.model_dump_json()  # all of it, not what every kind has


@pytest.mark.parametrize(('given', 'words'), [
    ({'kind': 'imge'}, r"inputs\.x: kind: there is no 'imge'; did you mean 'image'"),
    ({}, r'inputs\.x: kind is missing; choose image, message, constant, state'),
    ('image', r'inputs\.x: write a table such as'),
    ({'kind': 'image', 'topic': 'a'}, r'inputs\.x: preprocessing is missing'),
    ({'kind': 'image', 'preprocessing': 'p.yaml'}, r'inputs\.x: give one of topic, images'),
    ({'kind': 'image', 'topic': 'a', 'preprocessing': 'p.yaml', 'compresed': True}, "'compresed'; did you mean 'compressed'"),
    ({'kind': 'image', 'topic': '', 'preprocessing': 'p.yaml'}, 'is not a ROS topic'),
    ({'kind': 'message', 'topic': 'a b', 'type': 'std_msgs/msg/Float32'}, 'is not a ROS topic'),
    ({'kind': 'message', 'topic': 'a', 'type': 'Float32'}, 'is not a message type; write one such as'),
    ({'kind': 'message', 'topic': 'a'}, r'inputs\.x: type is missing'),
    ({'kind': 'constant'}, 'give either value or file'),
    ({'kind': 'constant', 'value': 1, 'file': 'a.npy'}, 'give either value or file'),
    ({'kind': 'state'}, 'output is missing'),
])  # fmt: skip
def test_what_does_not_fit_is_refused_where_it_stands(given, words):
    with pytest.raises(PlanError, match=words):
        fleet({'x': given})


def test_every_input_arises_where_the_file_says():
    found = model_inputs(fleet(), POLICY)
    assert found == ModelInputs(
        {'front': IMAGE, 'depth': '@image:depth'}, ('pose',), frozenset({'task'}), {'h': 'g'}, frozenset({'depth'})
    )  # fmt: skip
    assert found.given == {IMAGE, '@image:depth', 'pose'} and found.held == {'depth', '@image:depth'}
    assert [is_image(name) for name in ('@image', '@image:x', 'image', '@imagex')] == [True, True, False, False]


def test_what_the_file_does_not_name_comes_by_infer_and_the_short_form_makes_the_first():
    assert model_inputs(fleet({}), POLICY) == ModelInputs(tensors=POLICY.inputs)
    short = {'model': {'path': 'm.onnx', 'preprocessing': 'p.yaml'}}
    assert model_inputs(fleet({}, **short), POLICY) == ModelInputs.of_image(POLICY)
    others = {name: given for name, given in GIVEN.items() if name != 'front'}
    assert model_inputs(fleet(others, **short), POLICY) == model_inputs(fleet(), POLICY)
    with pytest.raises(PlanError, match=r'inputs\.front: model\.preprocessing makes it'):
        model_inputs(fleet(**short), POLICY)


@pytest.mark.parametrize(('inputs', 'words'), [
    ({'fornt': GIVEN['front']}, "has no input 'fornt'; did you mean 'front'"),
    ({'h': {'kind': 'state', 'output': 'z'}}, r"inputs\.h\.output: net has no output 'z'"),
])  # fmt: skip
def test_names_that_the_model_does_not_have_are_refused(inputs, words):
    with pytest.raises(PlanError, match=words):
        model_inputs(fleet(inputs), POLICY)


def plan(label, model=POLICY, inputs=None):
    return compose(model, parse_label(label, len(model.layers)), version=1, source='pi', sink='pi', inputs=inputs)


def test_images_are_prepared_together_and_what_devices_have_is_not_sent():
    inputs = model_inputs(fleet(), POLICY)
    made = plan('jetson:pre-1 cloud:1-5', inputs=inputs)
    assert [stage.inputs for stage in made.stages] == [(IMAGE, '@image:depth'), ('depth', 'pose', 'h', 'a')]
    assert made.stages[0].outputs == ('depth', 'a')
    sent = [(t.tensor, t.to_device) for t in made.transfers if t.from_stage == SOURCE_STAGE]
    assert sent == [(IMAGE, 'jetson'), ('@image:depth', 'jetson'), ('pose', 'cloud'), ('h', 'cloud')]  # where it is lost
    check_plan(made, DEVICES, inputs.sent)


def test_a_stage_that_reads_constants_alone_is_sent_them():
    inputs = model_inputs(fleet(), POLICY)
    made = plan('pi:pre-2 cloud:2-3 pi:3-5', inputs=inputs)
    assert [stage.inputs for stage in made.stages] == [(IMAGE, '@image:depth'), ('task',), ('pose', 'h', 'a', 'b', 'c')]
    check_plan(made, DEVICES, inputs.sent)


def test_a_model_without_images_has_no_stage_that_prepares_them():
    inputs = ModelInputs(tensors=POLICY.inputs)
    made = plan('pi:pre cloud:0-5', inputs=inputs)
    assert made.label() == 'cloud:pre-5' and made.stages[0].inputs == ('front', 'depth', 'task', 'pose', 'h')
    assert {t.tensor for t in made.transfers if t.to_device == 'cloud'} == set(POLICY.inputs)
    check_plan(made, DEVICES, inputs.sent)


@pytest.mark.parametrize(('label', 'leaves'), [
    ('jetson:pre-5', '@image:depth'), ('pi:pre-1 cloud:1-5', 'depth'), ('pi:pre-2 cloud:2-5', None),
])  # fmt: skip
def test_a_plan_that_sends_a_private_input_away_is_refused(label, leaves):
    inputs = model_inputs(fleet(), POLICY)
    if leaves is None:
        check_private(plan(label, inputs=inputs), inputs.held)
        return
    with pytest.raises(PlanError, match=f"plan 1 sends '{leaves}' to .*, but it is private"):
        check_private(plan(label, inputs=inputs), inputs.held)


@pytest.mark.parametrize('seed', range(30))
def test_the_best_plan_is_found_and_proven_with_several_inputs(seed):
    rng = np.random.default_rng(seed)
    nodes, devices = int(rng.integers(2, 6)), DEVICES[: rng.integers(2, 4)]
    given = [
        Tensor(name=f'in{i}', producer=INPUT, bytes=rng.uniform(1e3, 1e6),
               readers=tuple(sorted({*rng.integers(0, nodes, size=1 + seed % 2).tolist()})))
        for i in range(rng.integers(1, 4))
    ]  # fmt: skip
    made = [
        Tensor(name=f't{k}', producer=k, bytes=rng.uniform(1e3, 1e6), at_sink=k == nodes - 1,
               readers=tuple(range(k + 1, min(nodes, k + 2 + (seed % 3 == 0)))))
        for k in range(nodes)
    ]  # fmt: skip
    problem = Problem(
        source='pi', sink=str(rng.choice(devices)), tensors=(*given, *made), node_names=tuple(f'n{i}' for i in range(nodes)),
        devices=tuple(Device(name=name, active_watts=rng.uniform(1, 9), idle_watts=0.5, radio_watts=2.0) for name in devices),
        links=tuple(
            Link(sender=a, reader=b, bytes_per_second=10 ** rng.uniform(6, 7.5), latency_seconds=rng.uniform(0, 0.01))
            for a, b in itertools.permutations(devices, 2)
        ),
        seconds=rng.uniform(0.001, 0.3, (nodes, len(devices))), weight_bytes=np.zeros(nodes),
        seam_seconds=rng.uniform(-0.0005, 0.001, (nodes - 1, len(devices))),
    )  # fmt: skip
    every = [evaluate(problem, plan) for plan in itertools.product(devices, repeat=nodes)]
    for objective, cost in (('latency', 'latency_seconds'), ('energy', 'energy_joules'), ('throughput', 'bottleneck_seconds')):
        found = solve(problem, objective)
        best = min(getattr(costs, cost) for costs in every if costs.feasible)
        assert found.optimal and found.objective_value == pytest.approx(best, rel=1e-9)
