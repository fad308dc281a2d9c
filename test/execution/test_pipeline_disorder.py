# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Frames over several devices whatever the order: messages come late, twice, mixed with those of other attempts and plans."""

import collections
import dataclasses
import functools
import random
import zlib
from pathlib import Path

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.execution.frames.pipeline import FramePipeline, Part, deliveries
from edge_dnn_partition.graph.model import Layer, Model
from edge_dnn_partition.planning.plans.compose import compose, placement_of
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime

DEVICES = ('pi', 'jetson', 'cloud')


def value(name, inputs):
    """Return an array that tells from which inputs a tensor was made."""
    return np.array([functools.reduce(lambda crc, array: zlib.crc32(array.tobytes(), crc), inputs, zlib.crc32(name.encode()))])


def run_layers(model, layers, tensors):
    made = dict(tensors)
    for layer in (model.layers[i] for i in layers):
        made.update({name: value(name, [made[read] for read in layer.inputs]) for name in layer.outputs})
    return made


@st.composite
def models(draw):
    layers, made, read = [], ['x'], set()
    for i in range(draw(st.integers(1, 6))):
        reads = tuple(draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True)))
        makes = tuple(f't{i}{end}' for end in 'ab'[: draw(st.integers(1, 2))])
        layers.append(Layer(i, f'layer{i}', ('Op',), reads, makes, 0, 0))
        read.update(reads)
        made += makes
    also = draw(st.sets(st.sampled_from(made[1:]), max_size=2))
    outputs = tuple(name for name in made[1:] if name not in read or name in also)
    return Model('net', 'a' * 64, 'key', Path(), Path(), tuple(layers), {}, ('x',), outputs, onnx.ModelProto(), ())


def plans_of(model, version):
    nodes = len(model.layers) + 1
    assignments = st.lists(st.sampled_from(DEVICES), min_size=nodes, max_size=nodes)
    return assignments.map(
        lambda chosen: compose(model, placement_of(chosen, range(nodes)), version=version, source='pi', sink='pi')
    )


@dataclasses.dataclass
class World:
    """Devices, what is on its way between them, and the runs under way; chance picks what happens next.

    Like a worker it asks before a run whether the frame is still current, and not after.
    """

    model: Model
    plans: dict
    chance: random.Random
    loss: float = 0.0

    def __post_init__(self):
        self.pipelines = {device: FramePipeline(device, keep_seconds=10.0) for device in DEVICES}
        for pipeline in self.pipelines.values():
            for plan in self.plans.values():
                pipeline.add_plan(plan)
        self.air, self.jobs, self.running = [], [], []
        self.runs, self.results, self.timings = collections.Counter(), collections.defaultdict(list), {}
        self.newest = {}

    def begin(self, frame, attempt, version):
        """Send an image as the frame source does."""
        self.newest[frame] = (attempt, version)
        address = Address(self.model.sha256, version, frame, attempt, SOURCE_STAGE)
        (device,) = deliveries(self.plans[version])
        self.send(device, address, {IMAGE: np.array([frame])}, (), ())

    def send(self, target, address, tensors, stages, hops):
        newest = self.newest[address.frame_number] == (address.attempt, address.plan_version)
        if newest or self.chance.random() >= self.loss:
            self.air += [(target, address, tensors, stages, hops)] * self.chance.choice([1, 1, 2, 3])

    def step(self):
        """Let one thing happen; return False if there is nothing left to happen."""
        choices = [bunch for bunch in (self.air, self.jobs, self.running) if bunch]
        if not choices:
            return False
        bunch = self.chance.choice(choices)
        item = bunch.pop(self.chance.randrange(len(bunch)))
        if bunch is self.air:
            target, address, tensors, stages, hops = item
            hop = HopTime('', target, address.from_stage, len(tensors), 0.0, 0.0, 0)
            made = self.pipelines[target].receive(address, tensors, {}, stages, (*hops, hop), 0.0)
            self.jobs += [(target, job) for job in made]
        elif bunch is self.jobs:
            if self.pipelines[item[0]].current(item[1]):
                self.running.append(item)
        else:
            self.finish(*item)
        return True

    def finish(self, device, job):
        address, stage = job.frame.address, job.frame.part.plan.stages[job.stage]
        self.runs[address.frame_number, address.attempt, address.plan_version, job.stage] += 1
        inputs = dict(job.inputs)
        if stage.preprocess:
            inputs['x'] = value('x', [inputs[IMAGE]])
        made = run_layers(self.model, stage.layer_indices, inputs)
        timing = StageTime(device, job.stage, 0.0, 0.0, 0.0, 0.0)
        sends, jobs = self.pipelines[device].finished(job, {name: made[name] for name in stage.outputs}, timing, 0.0)
        self.jobs += [(device, following) for following in jobs]
        where = dataclasses.replace(address, from_stage=job.stage)
        for (target, to_sink), tensors, _ in sends:
            if to_sink:
                key = (address.frame_number, address.attempt, address.plan_version)
                self.results[key] += tensors.items()
                self.timings.setdefault(key, []).extend(job.frame.stages)
            else:
                self.send(target, where, tensors, job.frame.stages, job.frame.hops)

    @property
    def frames(self):
        return sum(pipeline.frames for pipeline in self.pipelines.values())

    def check_newest(self):
        """Each stage of a frame's newest attempt ran once, and its results are right and came once."""
        for frame, (attempt, version) in self.newest.items():
            stages = range(len(self.plans[version].stages))
            assert [self.runs[frame, attempt, version, stage] for stage in stages] == [1 for _ in stages]
            results = self.results[frame, attempt, version]
            assert sorted(name for name, _ in results) == sorted(self.model.outputs)
            true = run_layers(self.model, range(len(self.model.layers)), {'x': value('x', [np.array([frame])])})
            assert all(np.array_equal(array, true[name]) for name, array in results), 'frames were mixed up'
            assert {timing.stage for timing in self.timings[frame, attempt, version]} == set(stages)
        assert set(self.runs.values()) <= {1}, 'a stage ran twice in one attempt'


often = settings(max_examples=60, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@often
@given(st.data(), seeds, st.integers(1, 4))
def test_in_any_order_each_stage_runs_once_and_nothing_is_left(data, seed, frames):
    model = data.draw(models())
    world = World(model, {1: data.draw(plans_of(model, 1))}, random.Random(seed))
    for frame in range(1, frames + 1):
        world.begin(frame, 0, 1)
    while world.step():
        pass
    world.check_newest()
    assert world.frames == 0
    assert all(pipeline.drained(1) and pipeline.superseded == 0 for pipeline in world.pipelines.values())


@often
@given(st.data(), seeds)
def test_a_frame_that_is_sent_anew_amid_the_old_one_comes_out_once_whole(data, seed):
    """Attempts under changing plans overlap; what is lost of the older ones does not matter."""
    model = data.draw(models())
    plans = {version: data.draw(plans_of(model, version)) for version in (1, 2)}
    world = World(model, plans, random.Random(seed), loss=0.3)
    for attempt, version in enumerate(data.draw(st.lists(st.integers(1, 2), min_size=2, max_size=4).map(sorted))):
        for frame in (1, 2):
            world.begin(frame, attempt, version)
        for _ in range(data.draw(st.integers(0, 15))):
            world.step()
    while world.step():
        pass
    world.check_newest()
    reached = {device for device in DEVICES if Part(plans[world.newest[1][1]], device).stages}
    assert all(world.pipelines[device].frames == 0 for device in reached), 'an old attempt stays where the newest has been'
    left = world.frames
    assert (sum(pipeline.expire(10.1) for pipeline in world.pipelines.values()), world.frames) == (left, 0)
