# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark chaos: how its figures come from what was seen."""

import random
from types import SimpleNamespace

import pytest

from edge_dnn_partition.cli import bench

bench.load('chaos', bench.find()['chaos'])

from edge_dnn_partition.benchmarks import chaos_watch  # noqa: E402
from edge_dnn_partition.benchmarks.chaos_disturbances import Kill  # noqa: E402


def event(at, until, up=None):
    return {'kind': 'SIGKILL', 'victim': 'pi/worker', 'at': at, 'until': until, 'up': up}


def test_a_pause_counts_from_when_the_process_is_up_again():
    times = [0.0, 0.1, 0.2, 9.2, 9.3, 20.0, 20.1]
    found = list(chaos_watch.silences(times, [event(0.2, 7.0, 7.0), event(12.0, 14.0)], least_seconds=0.25))
    assert [silence.seconds for silence in found] == pytest.approx([9.0, 10.7])
    assert [silence.after_up_seconds for silence in found] == [pytest.approx(2.2), None]


def test_a_pause_that_ended_before_the_process_was_up_is_not_excused():
    (found,) = chaos_watch.silences([0.0, 4.0], [event(0.1, 7.0, 7.0)], least_seconds=0.25)
    assert found.seconds == 4.0
    assert found.after_up_seconds is None


def frames(*numbers):
    return [SimpleNamespace(frame_number=number, at=float(number), status=0, latency_seconds=0.01) for number in numbers]


def test_frames_without_a_result_and_with_two():
    seen = frames(1, 2, 4, 4, 5, 1_000_000, 1_000_002)
    assert chaos_watch.missing(seen) == 2
    assert chaos_watch.doubled(seen) == 1


def test_growth_is_that_of_a_process_since_its_last_start():
    def samples(pid, sizes, frames):
        return [{'label': 'pi/worker', 'pid': pid, 'rss_bytes': size, 'frames': frames + i} for i, size in enumerate(sizes)]

    seen = samples(1, [500] * 20, 0) + samples(2, [100, 100, 100, 100, 100, 103, 105, 107, 109, 110, 110], 20)
    assert chaos_watch.growth(seen) == {'pi/worker': pytest.approx(0.1)}
    assert chaos_watch.growth(seen[:1]) == {}


def test_columns_are_bounded():
    seen = [{'label': 'a', 'at': float(i), 'pss_bytes': 1e6 * i, 'descriptors': 1, 'threads': 2} for i in range(1000)]
    found = chaos_watch.columns(seen, 0.0)['a']
    assert len(found['at']) == 200
    assert found['pss_mb'] == found['at']


def test_a_seed_chooses_the_same_victims():
    testbed = SimpleNamespace(processes=['pi/worker', 'pi/frame_source', 'pi/device_monitor', 'cloud/worker', 'scheduler'])
    first, second = ([Kill(testbed, random.Random(3)).victims()] for _ in range(2))
    assert first == second
    assert 'pi/device_monitor' not in first[0]
