# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Hedges that begin with what the source has made: the same numbers, from the tail or the whole model, once."""

import random

import numpy as np
import pytest

from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, TAIL_VERSION, HedgePipeline, Hedger, MadeTensors, tail_plan
from edge_dnn_partition.execution.frames.pipeline import FramePipeline
from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, Engine
from edge_dnn_partition.execution.stages.stage_store import StageStore
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, parse_label
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import StageTime


@pytest.fixture(scope='module')
def model():
    return load_model(demo_model.cached('tiny'))


def planned(model, label, version=1):
    return compose(model, parse_label(label, len(model.layers)), version=version, source='pi', sink='pi')


class Device:
    """The source's worker without its threads: plans prepared, stages run when asked for."""

    def __init__(self, model, plan):
        self.model, self.plan = model, plan
        preprocessing = Preprocessing.from_dict(demo_model.preprocessing('tiny'))
        self.store = StageStore(model, FramePreprocessing.of_image('image', preprocessing), providers=(CPU_PROVIDER,), threads=1)
        self.pipeline = FramePipeline('pi')
        self.hedges = HedgePipeline(self.pipeline)
        self.whole = planned(model, 'pi:pre-end', HEDGE_VERSION)
        for one, frames in ((plan, self.pipeline), (self.whole, self.hedges.hedges)):
            self.store.prepare(one, 'pi')
            frames.add_plan(one)
        tail = tail_plan(model, plan)
        if tail is not None:
            self.store.prepare(tail, 'pi')
        self.hedges.follow(tail)
        self.jobs, self.ran, self.results = [], [], []

    def image(self, plan, image, number, attempt=0):
        address = Address(self.model.sha256, plan.version, number, attempt, SOURCE_STAGE)
        arrived = (address, {IMAGE: image.data}, {IMAGE: image.encoding})
        self.jobs += self.hedges.receive(*arrived, (), 0.0) if plan is self.whole else self.pipeline.receive(*arrived, (), (), 0.0)

    def run(self, *, fails=False):
        job = self.jobs.pop(0)
        version = job.frame.address.plan_version
        frames = self.pipeline if version == self.plan.version else self.hedges.hedges
        if fails:
            frames.failed(job)
        else:
            runner = self.store.stage(version, job.stage)
            outputs = runner.run(runner.decode(job.inputs, job.frame.encodings))
            self.ran.append((version, job.stage))
            sends, jobs = frames.finished(job, outputs, StageTime('pi', job.stage, 0.0, 0.0, 0.0, 0.0), 0.0)
            self.jobs += jobs
            self.results += [(version, job.frame.address.frame_number, arrays) for (_, to_sink), arrays, _ in sends if to_sink]
        self.jobs += self.hedges.settle(0.0)

    def settle(self):
        while self.jobs:
            self.run()


def expected(model, image):
    preprocessing = Preprocessing.from_dict(demo_model.preprocessing('tiny'))
    return Engine(demo_model.cached('tiny')).run({model.inputs[0]: preprocessing.apply(image.data, image.encoding)})


def images(count):
    from edge_dnn_partition.inputs.images import made_up

    return [made_up(seed) for seed in range(count)]


@pytest.mark.parametrize('label', ['pi:pre cloud:0-end', 'pi:pre-9 cloud:9-end', 'pi:pre-7 cloud:7-13 pi:13-end', 'pi:pre-20 cloud:20-end'])
def test_the_tail_gives_the_whole_models_numbers(model, label):
    device = Device(model, planned(model, label))
    assert device.hedges.tail is not None
    for number, image in enumerate(images(2), 1):
        device.image(device.plan, image, number)
        device.settle()
        before = len(device.ran)
        device.image(device.whole, image, number)
        device.settle()
        assert device.ran[before:] == [(TAIL_VERSION, 0)], 'only the rest runs'
        (version, frame, arrays) = device.results[-1]
        assert (version, frame) == (TAIL_VERSION, number)
        whole = expected(model, image)
        assert arrays.keys() == whole.keys()
        for name, value in whole.items():
            np.testing.assert_allclose(arrays[name], value, rtol=1e-4, atol=1e-5)


def test_a_hedge_that_comes_while_its_tensors_are_being_made_waits_for_them(model):
    device = Device(model, planned(model, 'pi:pre-9 cloud:9-end'))
    image = images(1)[0]
    device.image(device.plan, image, 1)
    device.image(device.whole, image, 1)
    assert len(device.jobs) == 1
    device.settle()
    assert [version for version, _ in device.ran] == [1, TAIL_VERSION]
    device.image(device.plan, image, 2)
    device.image(device.whole, image, 2)
    device.run(fails=True)
    device.settle()
    assert [version for version, _ in device.ran[2:]] == [HEDGE_VERSION], 'the stage has failed: from the image'


@pytest.mark.parametrize('label', ['cloud:pre-end', 'cloud:pre-9 pi:9-end', 'pi:pre-end'])
def test_where_nothing_is_there_the_whole_model_runs(model, label):
    device = Device(model, planned(model, label))
    assert device.hedges.tail is None
    device.image(device.whole, images(1)[0], 1)
    device.settle()
    assert device.ran == [(HEDGE_VERSION, 0)]
    assert tail_plan(model, planned(model, 'pi:pre-9 cloud:9-end')) is not None


def test_frames_that_were_not_here_or_long_ago_are_hedged_from_their_images(model):
    device = Device(model, planned(model, 'pi:pre-9 cloud:9-end'))
    device.hedges.made = MadeTensors(frames=2)
    image = images(1)[0]
    for number in (1, 2, 3):
        device.image(device.plan, image, number)
    device.settle()
    for number, version in ((1, HEDGE_VERSION), (2, TAIL_VERSION), (3, TAIL_VERSION), (4, HEDGE_VERSION)):
        device.image(device.whole, image, number)
        device.settle()
        assert device.results[-1][:2] == (version, number)
    device.hedges.follow(None)
    device.image(device.whole, image, 5)
    device.settle()
    assert device.results[-1][:2] == (HEDGE_VERSION, 5)


def test_any_order_of_frames_hedges_and_failures_gives_each_hedge_one_result(model):
    plan, (image,) = planned(model, 'pi:pre-9 cloud:9-end'), images(1)
    device, chance = Device(model, plan), random.Random(3)
    hedged = set()
    for number in range(1, 60):
        device.image(plan, image, number, 0)
        for hedge in {max(1, number - chance.randrange(4))} - hedged if chance.random() < 0.7 else ():
            hedged.add(hedge)
            device.image(device.whole, image, hedge)
        while device.jobs and chance.random() < 0.7:
            device.run(fails=device.jobs[0].frame.address.plan_version == 1 and chance.random() < 0.2)
    device.settle()
    assert sorted(frame for _, frame, _ in device.results) == sorted(hedged)
    assert {version for version, *_ in device.results} == {HEDGE_VERSION, TAIL_VERSION}


def test_kept_tensors_stay_within_their_budget():
    made = MadeTensors(frames=100, budget_bytes=1000)
    for number in range(20):
        made.keep(Address('', 1, number, 0, 0), {'a': np.zeros(300, np.uint8)}, StageTime('pi', 0, 0.0, 0.0, 0.0, 0.0))
    assert [n for n in range(20) if made.take(n, ('a',)) is not None] == [17, 18, 19]
    made.keep(Address('', 1, 19, 1, 0), {'b': np.zeros(3, np.uint8)}, StageTime('pi', 0, 0.0, 0.0, 0.0, 0.0))
    assert made.take(19, ('a',)) is None, 'a newer sending begins anew'
    made.keep(Address('', 1, 19, 0, 0), {'a': np.zeros(3, np.uint8)}, StageTime('pi', 0, 0.0, 0.0, 0.0, 0.0))
    assert made.take(19, ('a',)) is None and made.take(19, ('b',)) is not None


def test_hedges_are_expected_to_take_what_those_that_begin_alike_took():
    def due(hedger, age):
        return hedger.due(99, age, 10.0, 0.5)

    hedger = Hedger()
    hedger.follow(1, 0.1)
    for number in range(3):
        hedger.start(number, 0.0, 0.0, 0.5)
        hedger.on_result(number, 0.2)
    assert due(hedger, 0.23) and not due(hedger, 0.4), 'a whole model takes 0.2 s, and up to 0.23 s'
    for number in range(10, 13):
        hedger.start(number, 0.0, 1.0, 0.5)
        hedger.on_result(number, 1.05, tail=True)
    assert due(hedger, 0.4) and not due(hedger, 0.23), 'a tail takes 0.05 s'
    hedger.follow(2, 0.1)
    assert due(hedger, 0.23), 'of another plan it is not known yet'


def test_hedges_of_a_frame_that_has_ended_do_not_begin(model):
    device = Device(model, planned(model, 'pi:pre-9 cloud:9-end'))
    image = images(1)[0]
    device.image(device.plan, image, 1)
    device.image(device.whole, image, 1)
    device.hedges.end(1)
    device.settle()
    device.image(device.whole, image, 2)
    device.hedges.end(2)
    (job,) = device.jobs
    assert [version for version, _ in device.ran] == [1]
    assert not device.hedges.hedges.current(job)
