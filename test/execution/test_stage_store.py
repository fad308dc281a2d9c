# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Stages are loaded for plans, shared between them, let go within a budget, and give what the whole model gives."""

import cv2
import numpy as np
import pytest

from edge_dnn_partition.errors import ModelError, UserError, WireError
from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, Engine
from edge_dnn_partition.execution.stages.stage_store import PreparedStage, StageStore
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.plan import IMAGE, Plan, StagePlan, parse_label
from edge_dnn_partition.testbed import demo_model

PREPROCESSING = Preprocessing.from_dict(demo_model.preprocessing('tiny'))
PIXELS = np.random.default_rng(2).integers(0, 256, (48, 64, 3)).astype(np.uint8)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp('preparation')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        yield load_model(demo_model.build(folder / 'tiny.onnx', size='tiny'))


@pytest.fixture
def ended(monkeypatch):
    """Return the engines that are told to end their runs."""
    engines = []

    def terminate(engine):
        engines.append(engine)

    monkeypatch.setattr(Engine, 'terminate', terminate)
    return engines


def store(model, preprocessing=FramePreprocessing.of_image('image', PREPROCESSING), **options):  # noqa: B008
    return StageStore(model, preprocessing, providers=[CPU_PROVIDER], threads=1, **options)


def plan(model, label, version=1):
    return compose(model, parse_label(label, len(model.layers)), version=version, source='pi', sink='pi')


def weight(model, start, stop):
    return sum(layer.weight_bytes for layer in model.layers[start:stop])


@pytest.mark.parametrize('label', ['pi:pre-end', 'pi:pre cloud:0-end', 'pi:pre-7 cloud:7-15,16-17 pi:15-16 cloud:17-end'])
def test_the_stages_of_a_plan_give_what_the_whole_model_gives(model, label):
    followed = plan(model, label)
    stores = {device: store(model) for device in followed.devices}
    for device, made in stores.items():
        made.prepare(followed, device)
    values = {IMAGE: PIXELS}
    for index, stage in enumerate(followed.stages):
        runner = stores[stage.device].stage(1, index)
        decoded = runner.decode({name: values[name] for name in stage.inputs}, {IMAGE: 'bgr8'})
        made = runner.run(decoded)
        assert tuple(made) == stage.outputs
        values |= made
    whole = Engine(model.source_path).run({'image': PREPROCESSING.apply(PIXELS, 'bgr8')})
    for name, expected in whole.items():
        np.testing.assert_allclose(values[name], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert np.ptp(whole['map']) > 0


def test_only_a_devices_own_stages_are_there_and_only_while_they_are_prepared(model):
    made = store(model)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-20 pi:20-end', 3), 'cloud')
    assert [made.stage(3, stage) is not None for stage in range(3)] == [False, True, False]
    made.prepare(plan(model, 'cloud:pre pi:0-end', 5), 'cloud')
    assert made.versions == (3, 5)
    assert made.stage(5, 0).engine is None
    assert made.stage(4, 0) is None
    made.release(3)
    made.release(3)
    assert (made.versions, made.stage(3, 1)) == ((5,), None)


def test_plans_that_share_a_stage_share_its_engine_while_one_holds_it_and_after(model):
    made = store(model)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 1), 'pi')
    engine = made.stage(1, 0).engine
    made.prepare(plan(model, 'pi:pre-9 cloud:9-20 pi:20-end', 2), 'pi')
    assert made.stage(2, 0).engine is engine
    made.release(1)
    assert made.stage(2, 0).engine is engine
    made.release(2)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 3), 'pi')
    assert made.stage(3, 0).engine is engine


def test_of_what_no_plan_holds_the_engines_used_last_stay_within_the_budget(model):
    labels = {'a': 'pi:pre-8 cloud:8-end', 'b': 'pi:pre-9 cloud:9-end', 'c': 'pi:pre-10 cloud:10-end'}
    made = store(model, budget_bytes=weight(model, 0, 9) + weight(model, 0, 10))
    engines = {}
    for version, name in enumerate('abc'):
        made.prepare(plan(model, labels[name], version), 'pi')
        engines[name] = made.stage(version, 0).engine
    for version in (1, 0, 2):
        made.release(version)

    def kept(name):
        """Tell whether the engine of a plan is still there; it counts as used now."""
        made.prepare(plan(model, labels[name], 9), 'pi')
        found = made.stage(9, 0).engine is engines[name]
        made.release(9)
        return found

    assert kept('c')
    assert kept('b'), 'the newest two fit'
    assert not kept('a')
    assert kept('b'), 'c was to go for a: it was used before b'
    assert not kept('c')


def test_what_a_plan_holds_is_not_let_go_for_the_budget(model):
    made = store(model, budget_bytes=weight(model, 0, 10))
    made.prepare(plan(model, 'pi:pre-10 cloud:10-end', 1), 'pi')
    engine = made.stage(1, 0).engine
    for version, label in enumerate(('pi:pre-9 cloud:9-end', 'pi:pre-8 cloud:8-end', 'cloud:pre-20 pi:20-end'), 2):
        made.prepare(plan(model, label, version), 'pi')
        made.release(version)
    made.prepare(plan(model, 'pi:pre-10 cloud:10-end', 9), 'pi')
    assert made.stage(9, 0).engine is engine


def test_a_plan_above_the_budget_keeps_its_engines_shared_and_within_reach(model, ended):
    made = store(model, budget_bytes=0, cancelled=lambda: made.release(99))
    label = 'pi:pre-9 cloud:9-20 pi:20-end'
    made.prepare(plan(model, label, 1), 'pi')
    engines = [made.stage(1, stage).engine for stage in (0, 2)]
    made.prepare(plan(model, label, 2), 'pi')
    assert [made.stage(2, stage).engine for stage in (0, 2)] == engines, 'a second copy was loaded'
    made.release(1)
    made.terminate()
    assert ended == engines
    made.release(2)
    made.terminate()
    assert ended == engines, 'nothing is held, so nothing may stay'


def test_of_a_plan_that_fails_nothing_stays_above_the_budget(model, ended):
    made = store(model, budget_bytes=weight(model, 0, 9))
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 1), 'pi')
    kept = made.stage(1, 0).engine
    made.release(1)
    hole = StagePlan('pi', False, ((8, 9), (10, 11)))
    with pytest.raises(ModelError, match='cannot be one stage'):
        made.prepare(Plan(2, model.sha256, 'pi', 'pi', (StagePlan('pi', True, ((0, 10),)), hole), ()), 'pi')
    made.terminate()
    assert ended == [kept]


def test_a_stage_that_cannot_be_loaded_is_told_and_leaves_the_plans_before(model):
    made = store(model)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 1), 'pi')
    hole = StagePlan('pi', False, ((8, 9), (10, 11)), ('trunk.entry.relu',), ('trunk.block0.relu',))
    with pytest.raises(ModelError, match='cannot be one stage'):
        made.prepare(Plan(2, model.sha256, 'pi', 'pi', (hole,), ()), 'pi')
    assert (made.versions, made.stage(2, 0)) == ((1,), None)
    assert made.stage(1, 0) is not None
    with pytest.raises(UserError, match="'NoneSuch'"):
        StageStore(model, None, providers=['NoneSuch'], threads=1).prepare(plan(model, 'cloud:pre pi:0-end'), 'pi')


def test_without_its_file_the_preprocessing_is_refused_and_said_where_to_name_it(model):
    with pytest.raises(ModelError, match=r'model\.preprocessing'):
        store(model, None).prepare(plan(model, 'pi:pre-9 cloud:9-end'), 'pi')
    made = store(model, None)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end'), 'cloud')
    assert made.stage(1, 1) is not None


def test_when_the_process_is_to_end_nothing_more_is_loaded(model):
    ending = []
    made = store(model, cancelled=lambda: bool(ending))
    ending.append(True)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end'), 'pi')
    assert made.stage(1, 0) is None
    made.terminate()


def test_a_image_is_taken_for_a_jpeg_unless_it_says_otherwise_and_a_broken_one_is_refused():
    runner = PreparedStage(StagePlan('pi', True, (), (IMAGE,), ('image',)), FramePreprocessing.of_image('image', PREPROCESSING), None)
    jpeg = cv2.imencode('.jpg', PIXELS)[1].reshape(-1)
    np.testing.assert_array_equal(runner.decode({IMAGE: jpeg}, {})['image'], PREPROCESSING.apply(jpeg, 'jpeg'))
    values = runner.decode({IMAGE: PIXELS}, {IMAGE: 'rgb8'})
    assert list(runner.run(values)) == ['image']
    np.testing.assert_array_equal(values['image'], PREPROCESSING.apply(PIXELS, 'rgb8'))
    with pytest.raises(WireError):
        runner.decode({IMAGE: jpeg[:40]}, {})


def test_other_threads_are_for_plans_that_are_prepared_from_then_on(model, ended):
    made = store(model)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 1), 'pi')
    first = made.stage(1, 0).engine
    made.use_threads(1)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 2), 'pi')
    assert made.stage(2, 0).engine is first
    made.use_threads(2)
    assert made.stage(1, 0).engine is first
    made.prepare(plan(model, 'pi:pre-9 cloud:9-20 pi:20-end', 3), 'pi')
    second = made.stage(3, 0).engine
    assert second is not first
    assert (first.threads, second.threads) == (1, 2)
    made.terminate()
    assert {id(first), id(second)} < {id(engine) for engine in ended}


def test_a_smaller_budget_lets_engines_go(model):
    made = store(model)
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 1), 'pi')
    engine = made.stage(1, 0).engine
    made.release(1)
    made.budget_bytes = 0
    made.prepare(plan(model, 'pi:pre cloud:0-end', 2), 'pi')
    made.prepare(plan(model, 'pi:pre-9 cloud:9-end', 3), 'pi')
    assert made.stage(3, 0).engine is not engine
