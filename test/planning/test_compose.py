# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From a placement to a plan: every stage gets what it reads, each tensor travels once, contradictions are refused."""

import collections
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import Layer, Model
from edge_dnn_partition.planning.plans.compose import assignment_of, compose, merge_stages, placement_of
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan, Transfer, check_plan, parse_label, ranges_of

DEVICES = ('pi', 'jetson', 'cloud')
device = st.sampled_from(DEVICES)
repeat = settings(max_examples=150, deadline=None, derandomize=True)


def model_of(rows, outputs, inputs=('x',)):
    """Return a model from each layer's inputs and outputs, without a graph."""
    layers = tuple(Layer(i, f'layer{i}', ('Op',), tuple(reads), tuple(makes), 0, 0) for i, (reads, makes) in enumerate(rows))
    return Model('net', 'a' * 64, 'key', Path(), Path(), layers, {}, inputs, tuple(outputs), ())


DIAMOND = model_of([('x', 'a'), ('a', 'b'), ('a', 'c'), ('bc', 'y')], 'y')
"""One letter a tensor; `a` has two readers."""


@st.composite
def models(draw):
    """Return a random graph: layers of one or two outputs that read anything made before; some read ones are results."""
    rows, made, read = [], ['x'], set()
    for i in range(draw(st.integers(1, 8))):
        reads = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
        makes = [f't{i}{end}' for end in 'ab'[: draw(st.integers(1, 2))]]
        rows.append((reads, makes))
        read.update(reads)
        made += makes
    also = draw(st.sets(st.sampled_from(made[1:])))
    return model_of(rows, [name for name in made[1:] if name not in read or name in also])


@st.composite
def placements(draw, model):
    """Return any order of stages that the graph allows; a stage's layers need not be neighbours."""
    stage_of = {'x': 0}
    stages = collections.defaultdict(list)
    for layer in model.layers:
        stage = max(stage_of[name] for name in layer.inputs) + draw(st.integers(0, 2))
        stage_of.update(dict.fromkeys(layer.outputs, stage))
        stages[stage].append(layer.index)
    return tuple((draw(device), i == 0, ranges_of(stages[i])) for i in range(max(stages) + 1) if i == 0 or stages[i])


@st.composite
def plans(draw):
    """Return a model, and a plan of a random placement or of a random assignment of nodes."""
    model = draw(models())
    if draw(st.booleans()):
        placement = draw(placements(model))
    else:
        inner = draw(st.sets(st.integers(0, len(model.layers)))) | {0, len(model.layers)}
        assignment = draw(st.lists(device, min_size=len(inner), max_size=len(inner)))
        placement = placement_of(assignment, sorted(inner))
    return model, placement, compose(model, placement, version=7, source=draw(device), sink=draw(device))


@repeat
@given(plans())
def test_a_stage_reads_what_its_layers_need_from_outside_and_makes_what_others_need(made):
    model, placement, plan = made
    assert plan.placement == placement
    home = {name: i for i, stage in enumerate(plan.stages) for n in stage.layer_indices for name in model.layers[n].outputs}
    home['x'] = 0
    for i, stage in enumerate(plan.stages):
        reads = {name for n in stage.layer_indices for name in model.layers[n].inputs if home[name] != i}
        assert set(stage.inputs) == reads | ({IMAGE} if i == 0 else set())
        assert len(set(stage.inputs)) == len(stage.inputs)
    wanted = {name for stage in plan.stages for name in stage.inputs} | set(model.outputs)
    for i, stage in enumerate(plan.stages):
        assert sorted(stage.outputs) == sorted(name for name in wanted if home.get(name) == i)


@repeat
@given(plans())
def test_every_input_is_here_or_comes_once_and_every_result_reaches_the_sink(made):
    model, _, plan = made
    here = {name: set() for name in DEVICES}
    sent = collections.Counter()
    at_sink = []
    for i, stage in [(SOURCE_STAGE, None), *enumerate(plan.stages)]:
        if stage is None:
            here[plan.source].add(IMAGE)
        else:
            assert set(stage.inputs) <= here[stage.device], f'stage {i} waits for ever'
            here[stage.device] |= set(stage.outputs)
        for transfer in (t for t in plan.transfers if t.from_stage == i):
            assert transfer.from_device == (plan.source if stage is None else stage.device)
            assert transfer.tensor in here[transfer.from_device]
            if transfer.to_sink:
                assert transfer.to_device == plan.sink
                at_sink.append(transfer.tensor)
                continue
            later = plan.stages[i + 1 :]
            assert any(s.device == transfer.to_device and transfer.tensor in s.inputs for s in later), 'nobody reads it there'
            assert transfer.to_device != transfer.from_device
            here[transfer.to_device].add(transfer.tensor)
            sent[transfer.tensor, transfer.to_device] += 1
    assert set(sent.values()) <= {1}
    assert sorted(at_sink) == sorted(model.outputs)
    assert len(plan.transfers) == sent.total() + len(at_sink), 'a transfer from no stage'


@repeat
@given(plans())
def test_any_composed_plan_is_without_contradiction_and_its_label_can_be_read(made):
    model, placement, plan = made
    check_plan(plan, DEVICES)
    assert parse_label(plan.label(), len(model.layers)) == placement
    assert plan.devices == tuple(dict.fromkeys(name for name, _, _ in placement))


@repeat
@given(st.lists(device, min_size=2, max_size=9), st.data())
def test_an_assignment_and_its_placement_say_the_same(assignment, data):
    steps = data.draw(st.lists(st.integers(1, 3), min_size=len(assignment) - 1, max_size=len(assignment) - 1))
    boundaries = [sum(steps[:i]) for i in range(len(assignment))]
    placement = placement_of(assignment, boundaries)
    assert assignment_of(placement, boundaries) == tuple(assignment)
    assert merge_stages(placement) == placement
    assert all(a[0] != b[0] for a, b in zip(placement, placement[1:])), 'neighbouring stages of one device'
    assert all(len(ranges) == 1 for _, pre, ranges in placement if not pre)


def test_stages_of_one_device_are_joined():
    assert merge_stages([('pi', True, ()), ('pi', False, ((0, 2), (2, 3))), ('pi', False, ((4, 5),)), ('jetson', False, ((3, 4),))]) == (
        ('pi', True, ((0, 3), (4, 5))), ('jetson', False, ((3, 4),)),
    )  # fmt: skip
    assert assignment_of((('pi', True, ((0, 2),)), ('cloud', False, ((2, 5),))), (0, 3, 5)) is None
    with pytest.raises(PlanError, match='3 nodes do not match 2 boundaries'):
        placement_of(('pi', 'pi', 'cloud'), (0, 5))


def test_a_tensor_goes_straight_to_each_reading_device_and_once_to_one_that_reads_it_twice():
    placement = parse_label('pi:pre-1 jetson:1-2 cloud:2-3 jetson:3-4', 4)
    plan = compose(DIAMOND, placement, version=3, source='cloud', sink='pi')
    assert plan.transfers == (
        Transfer(IMAGE, SOURCE_STAGE, 'cloud', 'pi'), Transfer('a', 0, 'pi', 'jetson'), Transfer('a', 0, 'pi', 'cloud'),
        Transfer('c', 2, 'cloud', 'jetson'), Transfer('y', 3, 'jetson', 'pi', to_sink=True),
    )  # fmt: skip
    assert [(stage.inputs, stage.outputs) for stage in plan.stages] == [
        ((IMAGE,), ('a',)), (('a',), ('b',)), (('a',), ('c',)), (('b', 'c'), ('y',)),
    ]  # fmt: skip
    again = compose(DIAMOND, parse_label('pi:pre-1 jetson:1-2 pi:2-3 jetson:3-4', 4), version=4, source='pi', sink='pi')
    assert [t.to_device for t in again.transfers if t.tensor == 'a'] == ['jetson']


@pytest.mark.parametrize(('placement', 'words'), [
    ((), 'must name each of its 4 layers once'),
    ((('pi', True, ((0, 3),)),), 'must name each of its 4 layers once'),
    ((('pi', True, ((0, 3),)), ('cloud', False, ((2, 4),))), 'must name each of its 4 layers once'),
    ((('pi', False, ((0, 4),)),), 'preprocessing must be in the first stage'),
    ((('pi', True, ((0, 2),)), ('cloud', True, ((2, 4),))), 'preprocessing must be in the first stage'),
    ((('pi', True, ((1, 4),)), ('cloud', False, ((0, 1),))), "stage 0 needs 'a' before it is made"),
    ((('pi', True, ((0, 1), (3, 4))), ('cloud', False, ((1, 3),))), "stage 0 needs 'b' before it is made"),
])  # fmt: skip
def test_placements_that_cannot_be_followed_are_refused(placement, words):
    with pytest.raises(PlanError, match=words):
        compose(DIAMOND, placement, version=1, source='pi', sink='pi')


GOOD = compose(DIAMOND, parse_label('pi:pre-1 cloud:1-2 pi:2-4', 4), version=5, source='pi', sink='pi')


@pytest.mark.parametrize(('change', 'words'), [
    ({'stages': ()}, 'plan 5 has no stage'),
    ({'stages': (*GOOD.stages[:2], replace(GOOD.stages[2], device='mars'))}, "no device is called 'mars'"),
    ({'transfers': (*GOOD.transfers, Transfer('c', 2, 'pi', 'pi'))}, "'c' is sent from a device to itself"),
    ({'transfers': (*GOOD.transfers, GOOD.transfers[0])}, "'a' is sent twice to cloud"),
    ({'transfers': (*GOOD.transfers, Transfer('c', 0, 'pi', 'cloud'))}, "stage 0 does not make 'c'"),
    ({'transfers': (*GOOD.transfers, Transfer('c', 9, 'pi', 'cloud'))}, "stage 9 does not make 'c'"),
    ({'transfers': (*GOOD.transfers, Transfer('b', 0, 'pi', 'pi', to_sink=True))}, "stage 0 does not make 'b'"),
    ({'transfers': (*GOOD.transfers, Transfer('c', SOURCE_STAGE, 'pi', 'cloud'))}, "the source does not make 'c'"),
    ({'source': 'mars'}, "no device is called 'mars'; give all devices of the fleet the same fleet file"),
    ({'sink': 'mars'}, "no device is called 'mars'"),
    ({'transfers': (*GOOD.transfers, Transfer('c', 2, 'pi', 'mars'))}, "no device is called 'mars'"),
    ({'transfers': (*GOOD.transfers, Transfer('c', 2, 'mars', 'cloud'))}, "no device is called 'mars'"),
    ({'transfers': (replace(GOOD.transfers[0], from_device='jetson'), *GOOD.transfers[1:])}, "'a' is sent from jetson, yet stage 0 is on pi"),
    ({'transfers': (*GOOD.transfers, Transfer(IMAGE, SOURCE_STAGE, 'jetson', 'cloud'))}, 'from jetson, yet the source is on pi'),
    ({'transfers': (*GOOD.transfers[:-1], replace(GOOD.transfers[-1], to_device='cloud'))}, "'y' is sent to cloud as the sink, which is pi"),
    ({'transfers': (*GOOD.transfers, GOOD.transfers[-1])}, "'y' is sent twice to pi"),
    ({'transfers': GOOD.transfers[1:]}, "stage 1 reads 'a', which is neither made on cloud before nor sent there"),
    ({'transfers': tuple(t for t in GOOD.transfers if t.tensor != 'b')}, "stage 2 reads 'b', which is neither made on pi"),
    ({'source': 'cloud'}, "stage 0 reads '@image', which is neither made on pi before nor sent there"),
    ({'stages': tuple(reversed(GOOD.stages)), 'transfers': ()}, "stage 0 reads 'a'"),
])  # fmt: skip
def test_plans_that_contradict_themselves_are_refused(change, words):
    assert isinstance(GOOD, Plan)
    with pytest.raises(PlanError, match=words):
        check_plan(replace(GOOD, **change), DEVICES)


def test_the_source_sends_a_models_other_inputs_to_who_reads_them():
    model = model_of([('x', 'a'), ('ak', 'b'), ('bk', 'y')], 'y', ('x', 'k'))
    plan = compose(model, parse_label('pi:pre-1 cloud:1-2 jetson:2-3', 3), version=1, source='pi', sink='pi')
    assert [(t.tensor, t.to_device) for t in plan.transfers if t.from_stage == SOURCE_STAGE] == [('k', 'cloud'), ('k', 'jetson')]
    assert [stage.inputs for stage in plan.stages] == [(IMAGE,), ('a', 'k'), ('b', 'k')]
    check_plan(plan, DEVICES, {IMAGE, 'k'})
    with pytest.raises(PlanError, match="the source does not make 'k'"):
        check_plan(plan, DEVICES)


def test_what_the_sink_gets_does_not_count_as_sent_to_a_stage_there():
    (early,) = (t for t in GOOD.transfers if t.tensor == 'b')
    with pytest.raises(PlanError, match="stage 2 reads 'b'"):
        check_plan(replace(GOOD, transfers=tuple(replace(t, to_sink=t is early or t.to_sink) for t in GOOD.transfers)), DEVICES)


@repeat
@given(plans(), st.data())
def test_a_composed_plan_without_one_of_its_transfers_between_stages_is_refused(made, data):
    *_, plan = made
    between = [t for t in plan.transfers if not t.to_sink]
    if between:
        missing = data.draw(st.sampled_from(between))
        with pytest.raises(PlanError, match='neither made on'):
            check_plan(replace(plan, transfers=tuple(t for t in plan.transfers if t is not missing)), DEVICES)
