# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A whole testbed in real namespaces: one fleet, which all tests here share, with real processes and shaped links."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.cli.testbed import Testbed
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.images import encode
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.cgroups import ROOT
from edge_dnn_partition.testbed.namespaces import why_not
from edge_dnn_partition.testbed.testbed_file import TestbedFile
from edge_dnn_partition.testbed.traces import Event

SPLIT = 'pi:pre-3 cloud:3-end'


def traces() -> list[str]:
    """Return what bears this process's name: namespaces, shared memory, cgroups."""
    places = (Path('/var/run/netns'), Path('/dev/shm'), ROOT, ROOT / 'cpu', ROOT / 'memory')
    return [str(path) for place in places if place.is_dir() for path in place.glob(f'ednp-{os.getpid()}-*')]


@pytest.fixture(scope='module')
def testbed(ros_domain, tmp_path_factory):
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp('testbed')
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    file = TestbedFile.parse({
        'fleet': 'testbed', 'source': 'pi', 'model': {'path': str(demo_model.cached('tiny')), 'preprocessing': str(settings)},
        'devices': {'pi': {'emulate': {'slowdown': 4}, 'cores': 0.9}, 'cloud': {}},
        'links': [{'between': ['pi', 'cloud'], 'rate': '60 Mbit/s', 'delay': '5 ms'}],
        'parameters': {'worker': {'profile_runs': 1}, 'scheduler': {'decision_period': 0.05}},
    })  # fmt: skip
    small = np.random.default_rng(1).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    with Testbed(file, images=[encode(small)], keep_outputs=True) as made:
        yield made
    assert traces() == []


def test_each_device_is_apart(testbed):
    nets = {name: os.readlink(f'/proc/{testbed.pid(name)}/ns/net') for name in ('pi/worker', 'cloud/worker', 'scheduler')}
    assert nets['pi/worker'] == nets['scheduler'] != nets['cloud/worker']
    assert all(f'/ednp-{os.getpid()}-' in Path(f'/proc/{testbed.pid(name)}/mountinfo').read_text() for name in nets)
    assert 'ednp-' in Path(f'/proc/{testbed.pid("pi/worker")}/cgroup').read_text()
    assert len(traces()) >= 6


def test_tensors_cross_the_shaped_link(testbed):
    testbed.force(SPLIT)
    before = testbed.counters('pi', 'cloud').sent_bytes
    frames = testbed.stream(1.5, 10)
    counted = testbed.counters('pi', 'cloud').sent_bytes - before
    sent = sum(hop.size for frame in frames for hop in frame.hops if hop.receiver == 'cloud')
    assert frames and all(frame.delivered for frame in frames)
    assert sent <= counted < 2 * sent + 100_000
    assert {stage.device for frame in frames for stage in frame.stages} == {'pi', 'cloud'}
    assert all(testbed.shown[frame.stamp_ns] == 0 and frame.outputs for frame in frames)


def test_a_load_slows_a_device(testbed):
    def times(factor: float) -> float:
        testbed.set_load('cloud', factor)
        stages = [stage for frame in testbed.stream(1.0, 10) for stage in frame.stages if stage.device == 'cloud']
        return statistics.median(stage.run_seconds / stage.cpu_seconds for stage in stages)

    testbed.force(SPLIT)
    assert times(6.0) > 4 > times(1.0)
    with pytest.raises(UserError, match='faster than this machine'):
        testbed.set_load('cloud', 0.5)


def test_a_cut_holds_frames_and_a_heal_lets_them_go(testbed):
    testbed.force('cloud:pre-end')
    with testbed.camera(10) as frames:
        testbed.wait_for(lambda: len(frames()) >= 3, 20, 'frames')
        testbed.apply(Event(0.0, 'cut', ('pi', 'cloud')))
        testbed.wait_for(lambda: testbed.news.status.in_flight > 0, 20, 'a frame that waits')
        testbed.apply(Event(0.0, 'heal', ('pi', 'cloud')))
    assert all(frame.delivered for frame in frames())


def test_what_was_killed_comes_again(testbed):
    testbed.free()
    old = testbed.pid('cloud/worker')
    testbed.kill('cloud')
    with pytest.raises(UserError, match='cloud/worker is not running'):
        testbed.pid('cloud/worker')
    testbed.start('cloud')
    assert testbed.pid('cloud/worker') != old
    testbed.set_parameter('cloud/worker', 'probe_period', 0.5)
    testbed.force('pi:pre-4 cloud:4-end')
    assert any(stage.device == 'cloud' for stage in testbed.stream(0.5, 10)[-1].stages)


def test_names_that_are_not_there(testbed):
    for call in (lambda: testbed.kill('clout'), lambda: testbed.set_rate('pi', 'pie', 1e6), lambda: testbed.set_load('clout', 2)):
        with pytest.raises(UserError):
            call()
