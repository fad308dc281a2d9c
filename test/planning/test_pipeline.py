# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem of a model: what travels together, boundary overheads, factors, constraints, the fleet's present state."""

import dataclasses
import itertools
import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import DELAY, EACH, LINKS, RATE, problem, profile

from edge_dnn_partition.control.decision.exact import decide
from edge_dnn_partition.control.decision.explain import explain
from edge_dnn_partition.control.decision.hysteresis import Hysteresis, Settings
from edge_dnn_partition.control.decision.policy import feasible
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.zoo.tiny import TINY
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import INPUT
from edge_dnn_partition.planning.cost_model.problem import _FROM
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.objectives import goal_of
from edge_dnn_partition.planning.plans.compose import compose, placement_of
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.plans.plan import IMAGE
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.testbed import demo_model


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        for name in ('skip', 'several_ends'):
            onnx.save(TINY[name](), folder / f'{name}.onnx')
        demo_model.build(folder / 'demo.onnx', size='tiny')
        yield {name: load_model(folder / f'{name}.onnx') for name in ('skip', 'several_ends', 'demo')}


def fleet(sink='pi', devices=None, channel=None, **constraints):
    return parse_fleet({
        'source': 'pi', 'sink': sink, 'devices': devices or {'pi': {}, 'cloud': {}},
        'links': [{'between': ['cloud', 'pi'], 'rate': '1 MB/s', 'channel': channel}], 'constraints': constraints,
    })  # fmt: skip


def pipeline(model, boundaries=EACH, *, of=None):
    profiles = {name: profile(model, name, boundaries) for name in ('pi', 'cloud')}
    return Pipeline(model, profiles, of or fleet())


def test_a_link_is_as_it_is_believed_now_and_not_as_it_was(models):
    model = models['skip']
    made = Pipeline(model, {name: profile(model, name) for name in ('pi', 'cloud')}, fleet(channel='air'))
    before = problem(made)
    there, back = ('pi', 'cloud'), ('cloud', 'pi')
    after = problem(made, links=LINKS | {there: LinkEstimate(2 * RATE, DELAY, measured=True)})
    assert [link.channel for link in after.links] == ['air', 'air']
    pi, cloud = after.position['pi'], after.position['cloud']
    assert after.rate[pi, cloud] == 2 * RATE and after.rate[cloud, pi] == RATE == before.rate[pi, cloud]
    gone = problem(made, links={back: LINKS[back]})
    assert gone.rate[pi, cloud] == 0 and gone.rate[cloud, pi] == RATE
    assert problem(made).rate.tolist() == before.rate.tolist()


@pytest.mark.parametrize('changes', [
    {}, {'links': LINKS | {('pi', 'cloud'): LinkEstimate(3 * RATE, DELAY, measured=True)}}, {'input_bytes': 5000.0},
    {'devices': ('pi',)}, {'memory_bytes': {'cloud': 1.0}},
])  # fmt: skip
def test_what_one_problem_has_worked_out_serves_the_next_only_where_that_is_the_same(models, changes):
    made, plan = pipeline(models['skip']), ('pi',) * 7
    names = [name for group in _FROM.values() for name in group]
    first = problem(made)
    first.column('memory_bytes')
    costs = evaluate(first, plan)
    for name in names:
        getattr(first, name)
    second = problem(made, **changes)
    fresh = dataclasses.replace(second)
    second.column('memory_bytes'), fresh.column('memory_bytes')
    for name in names:
        np.testing.assert_equal(getattr(second, name), getattr(fresh, name), err_msg=name)
    assert evaluate(second, plan) == evaluate(second, second.indices(plan)) == evaluate(fresh, plan)
    assert evaluate(first, plan) == costs


def tensors(made):
    return [(t.name, t.producer, t.readers, t.bytes, t.at_sink) for t in problem(made).tensors]


def barred(found):
    """Return the nodes that may not run on each device."""
    return {name: {int(node) for node in np.flatnonzero(np.isinf(found.seconds[:, d]))} for d, name in enumerate(found.names)}


def test_tensors_of_one_node_for_the_same_readers_are_one(models):
    assert tensors(pipeline(models['skip'], (0, 4, 6))) == [
        (IMAGE, INPUT, (0,), 1000.0, False), ('x', 0, (1, 2), 64.0, False), ('a d', 1, (2,), 128.0, False),
        ('y', 2, (), 128.0, True),
    ]  # fmt: skip
    *_, last = tensors(pipeline(models['demo'], (0, 20, 27)))
    assert last == ('map scores', 2, (), 992.0, True)


def test_tensors_with_other_readers_or_at_the_sink_are_apart(models):
    found = tensors(pipeline(models['skip'], (0, 2, 4, 6)))
    assert [row[:3] for row in found[2:]] == [('a', 1, (3,)), ('b', 1, (2,)), ('d', 2, (3,)), ('y', 3, ())]
    found = tensors(pipeline(models['several_ends'], (0, 3, 5, 6)))
    assert [(name, *readers) for name, _, *readers, _, _ in found[1:]] == [
        ('x', (1,)), ('z', (1,)), ('early', (2,)), ('left', ()), ('right', (3,)), ('late', ()),
    ]  # fmt: skip
    assert [name for *_, name in found[1:]] == [False, False, True, True, False, True]


def test_what_travels_together_waits_for_the_link_once(models):
    found = problem(pipeline(models['skip'], (0, 4, 6)), input_bytes=0.0)
    seconds = 4e-3 + 1e-3 + 2e-3
    assert evaluate(found, ('pi', 'cloud', 'pi')).latency_seconds == pytest.approx(seconds + 2 * DELAY + (64 + 128) / RATE)
    assert evaluate(found, ('pi', 'pi', 'cloud')).latency_seconds == pytest.approx(seconds + 3 * DELAY + (64 + 128 + 128) / RATE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from([('skip', EACH), ('skip', (0, 4, 6)), ('demo', (0, 3, 7, 9, 13, 17, 20, 25, 27))]), st.data())
def test_a_plan_costs_what_its_stages_and_its_bytes_take(models, which, data):
    name, boundaries = which
    model, made = models[name], pipeline(models[name], boundaries)
    links = {pair: LinkEstimate(RATE, 0.0, measured=True) for pair in LINKS}
    assignment = data.draw(st.lists(st.sampled_from(['pi', 'cloud']), min_size=len(boundaries), max_size=len(boundaries)))
    placement = placement_of(assignment, boundaries)
    plan = compose(model, placement, version=1, source='pi', sink='pi')
    sizes = {IMAGE: 1000.0} | {name: tensor.bytes for name, tensor in model.tensors.items()}
    ways = {(t.tensor, t.to_device) for t in plan.transfers if t.from_device != t.to_device}
    seconds = 4e-3 + sum(made.profiles[stage.device].stage_seconds(*r) for stage in plan.stages for r in stage.layers)
    found = evaluate(problem(made, links=links), assignment)
    assert found.latency_seconds == pytest.approx(seconds + sum(sizes[tensor] for tensor, _ in ways) / RATE)


def test_names_and_weights_are_those_of_the_segments_layers(models):
    found = problem(pipeline(models['skip'], (0, 4, 6)))
    assert found.node_names == ('preprocessing', 'MatMul_a … MatMul_d', 'Add_e … Concat_y')
    assert list(found.weight_bytes) == [0.0, 4 * 256.0, 0.0]


def test_factors_scale_segments_and_overheads_and_the_preprocessing_apart(models):
    made = pipeline(models['skip'], (0, 2, 4, 6))
    found = problem(made, factors={'pi': 3.0}, preprocessing_factors={'pi': 5.0, 'cloud': 7.0})
    np.testing.assert_allclose(found.seconds.T, [[20e-3, 3e-3, 6e-3, 9e-3], [28e-3, 1e-3, 2e-3, 3e-3]])
    np.testing.assert_allclose(found.seam_seconds.T, [[0, 3e-4, 6e-4], [0, 1e-4, 2e-4]])
    np.testing.assert_allclose(problem(made, factors={'pi': 3.0}).seconds[0], [12e-3, 4e-3])


def test_without_a_time_for_it_a_device_does_no_preprocessing(models):
    model = models['skip']
    profiles = {'pi': profile(model, 'pi'), 'cloud': profile(model, 'cloud', preprocess_seconds=None)}
    assert barred(problem(Pipeline(model, profiles, fleet()))) == {'pi': set(), 'cloud': {0}}


def test_a_pin_keeps_the_whole_segment_on_its_device(models):
    made = pipeline(models['skip'], (0, 2, 4, 6), of=fleet(pin={'MatMul_d': 'cloud', 'preprocessing': 'pi'}))
    assert barred(problem(made)) == {'pi': {2}, 'cloud': {0}}
    assert barred(problem(pipeline(models['skip'], (0, 2, 4, 6), of=fleet(pin={'MatMul_c': 'pi', 'MatMul_d': 'pi'})))) == {
        'pi': set(), 'cloud': {2},
    }  # fmt: skip


def test_private_layers_and_those_who_read_from_them_stay_on_the_source(models):
    made = pipeline(models['skip'], of=fleet(private_until='MatMul_b'))
    assert barred(problem(made)) == {'pi': set(), 'cloud': {0, 1, 2, 5, 6}}, 'e reads a, and y reads x'
    made = pipeline(models['demo'], (0, 7, 27), of=fleet(private_until='preprocessing'))
    assert barred(problem(made)) == {'pi': set(), 'cloud': {0}}


@pytest.mark.parametrize('until', ['preprocessing', 'MatMul_a', 'MatMul_b', 'MatMul_c', 'MatMul_d', 'Add_e', 'Concat_y'])
@pytest.mark.parametrize('boundaries', [EACH, (0, 2, 4, 5, 6), (0, 3, 6), (0, 1, 5, 6), (0, 6)])
def test_no_plan_sends_a_private_tensor_however_the_layers_are_grouped(models, boundaries, until):
    model = models['skip']
    found = problem(pipeline(model, boundaries, of=fleet(private_until=until)))
    names = [layer.name for layer in model.layers]
    last = names.index(until) if until in names else -1
    private = {IMAGE} | ({'x'} if last >= 0 else set()) | {name for layer in model.layers[: max(last, 0)] for name in layer.outputs}
    able = [[name for d, name in enumerate(found.names) if np.isfinite(row[d])] for row in found.seconds]
    assert all('pi' in devices for devices in able), 'the source may run everything'
    for assignment in itertools.product(*able):
        plan = compose(model, placement_of(assignment, boundaries), version=1, source='pi', sink='pi')
        assert not [t for t in plan.transfers if t.tensor in private and t.to_device != 'pi']
        for stage in plan.stages:
            assert stage.device == 'pi' or not (stage.preprocess or any(i <= last for i in stage.layer_indices))


def test_a_segment_that_reads_from_before_the_private_layer_stays_though_it_reads_nothing_from_its_segments_end(models):
    made = pipeline(models['skip'], (0, 2, 4, 5, 6), of=fleet(private_until='MatMul_b'))
    assert barred(problem(made)) == {'pi': set(), 'cloud': {0, 1, 3, 4}}, 'e reads a, y reads x, but b may leave'
    made = pipeline(models['skip'], (0, 2, 4, 5, 6), of=fleet(private_until='MatMul_a'))
    assert barred(problem(made)) == {'pi': set(), 'cloud': {0, 1, 4}}, 'a may leave'


def test_an_excluded_device_runs_nothing_and_need_not_be_there(models):
    made = pipeline(models['skip'], (0, 4, 6), of=fleet(exclude=['cloud']))
    assert barred(problem(made)) == {'pi': set(), 'cloud': {0, 1, 2}}
    assert problem(made, devices=('pi',)).names == ('pi',)


def test_devices_links_and_channel_are_the_fleets(models):
    power = {'idle': '1 W', 'active': '4 W', 'radio': '0.5 W', 'weight': 2.0}
    devices = {'pi': {'memory': '1 GiB', 'power': power}, 'cloud': {}, 'jetson': {}}
    made = pipeline(models['skip'], of=fleet(devices=devices, channel='wifi', sink='cloud'))
    found = problem(made, links=LINKS | {('pi', 'jetson'): LinkEstimate(1.0, 1.0, measured=False)})
    pi, cloud = found.devices
    assert (pi.idle_watts, pi.active_watts, pi.radio_watts, pi.energy_weight, pi.memory_bytes) == (1, 4, 0.5, 2, 2**30)
    assert cloud.memory_bytes == math.inf
    assert [(a.sender, a.reader, a.bytes_per_second, a.latency_seconds, a.channel) for a in found.links] == [
        ('pi', 'cloud', RATE, DELAY, 'wifi'), ('cloud', 'pi', RATE, DELAY, 'wifi'),
    ]  # fmt: skip
    assert (found.source, found.sink) == ('pi', 'cloud')
    assert problem(made, devices=('pi',)).sink == 'pi', 'the sink is gone'


def test_what_a_host_can_hold_bounds_a_device_only_where_the_model_is_larger(models):
    devices = {'pi': {'memory': '1 GiB'}, 'cloud': {}}
    made = pipeline(models['skip'], of=fleet(devices=devices))
    whole = float(made.weight_bytes.sum())
    assert [d.memory_bytes for d in problem(made, memory_bytes={'pi': whole - 1, 'cloud': whole}).devices] == [whole - 1, math.inf]
    assert [d.memory_bytes for d in problem(made, memory_bytes={'cloud': 0.0}).devices] == [2**30, 0.0]


@pytest.mark.parametrize(('constraints', 'words'), [
    ({'pin': {'MatMul_z': 'pi'}}, "no layer 'MatMul_z'; did you mean 'MatMul_"),
    ({'private_until': 'Add_f'}, "constraints.private_until: skip has no layer 'Add_f'; did you mean 'Add_e'"),
    ({'pin': {'MatMul_c': 'pi', 'MatMul_d': 'cloud'}}, r"'MatMul_d' \(cloud\) is in one segment with 'MatMul_c' \(pi\)"),
])  # fmt: skip
def test_constraints_that_cannot_be_met_are_refused(models, constraints, words):
    with pytest.raises(PlanError, match=words):
        pipeline(models['skip'], (0, 2, 4, 6), of=fleet(**constraints))


def test_a_result_that_may_not_leave_the_source_is_refused(models):
    made = pipeline(models['several_ends'], of=fleet(sink='cloud', private_until='MatMul_c'))
    with pytest.raises(PlanError, match="'early' may not leave the source"):
        problem(made)
    made = pipeline(models['several_ends'], (0, 6), of=fleet(sink='cloud', private_until='MatMul_c'))
    for devices in (('pi', 'cloud'), ('pi',)):
        with pytest.raises(PlanError, match="'early' may not leave the source, but the sink 'cloud' needs it; name"):
            problem(made, devices=devices)
    problem(pipeline(models['several_ends'], (0, 6), of=fleet(sink='cloud', private_until='Add_early')))


def test_profiles_that_do_not_fit_are_refused(models):
    model = models['skip']
    good = profile(model, 'pi')
    with pytest.raises(PlanError, match='no device has been profiled yet'):
        Pipeline(model, {}, fleet())
    with pytest.raises(PlanError, match='profile of cloud is of another model; profile skip on cloud'):
        Pipeline(model, {'pi': good, 'cloud': profile(models['demo'], 'cloud')}, fleet())
    for boundaries in ((0, 3, 5), (0, 3, 8)):
        words = f'profile of cloud ends at layer {boundaries[-1]}, but skip has 6 layers here; profile that device again'
        for profiles in ({'cloud': profile(model, 'cloud', boundaries)}, {'pi': good, 'cloud': profile(model, 'cloud', boundaries)}):
            with pytest.raises(PlanError, match=words):
                Pipeline(model, profiles, fleet())
    with pytest.raises(PlanError, match='different boundaries'):
        Pipeline(model, {'pi': good, 'cloud': profile(model, 'cloud', (0, 6))}, fleet())


@pytest.mark.parametrize('profiled', [True, False])
@pytest.mark.parametrize('objective', ['latency', 'energy', 'throughput', 'balanced'])
def test_a_source_that_runs_nothing_still_sends_its_images_and_gets_the_results(models, objective, profiled):
    model = models['skip']
    profiles = {name: profile(model, name) for name in (('pi', 'cloud') if profiled else ('cloud',))}
    found = problem(Pipeline(model, profiles, fleet()), devices=('cloud',), permitted=Permitted(('raw', 'zstd')))
    whole = ('cloud',) * found.nodes
    assert solve(found, objective).assignment == whole
    costs = evaluate(found, whole)
    assert costs.latency_seconds > 2 * DELAY + 1000 / RATE
    assert not feasible(found, ('pi', *whole[1:]))
    decision = decide(0.0, found, Hysteresis(Settings(objective), ('pi',) * found.nodes))
    assert (decision.assignment, decision.reason) == (whole, 'the present plan cannot go on')
    assert 'all on cloud' in explain(found, whole, EACH, goal_of(objective), reason='why').text


def test_devices_that_cannot_be_planned_with_are_refused(models):
    for held in ({'private_until': 'MatMul_a'}, {'pin': {'MatMul_a': 'pi'}}):
        with pytest.raises(PlanError, match="'pi'.* is offline or not profiled"):
            problem(pipeline(models['skip'], of=fleet(**held)), devices=('cloud',))
    with pytest.raises(PlanError, match="'cloud' is offline or not profiled"):
        problem(pipeline(models['skip'], of=fleet(pin={'MatMul_a': 'cloud'})), devices=('pi',))
    with pytest.raises(PlanError, match='cloud has no profile'):
        problem(Pipeline(models['skip'], {'pi': profile(models['skip'], 'pi')}, fleet()))
