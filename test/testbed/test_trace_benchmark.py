# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark trace: simulated time, the clairvoyant bound, what is refused, what an image counts as."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.cli import bench
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.control.decision.policy import FixedPolicy
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.testbed.shaping import PACKET_BYTES
from edge_dnn_partition.testbed.traces import Capacity, Trace
from edge_dnn_partition.transport.timing import StageTime

trace = bench.load('trace', bench.find()['trace'])

from edge_dnn_partition.benchmarks import chain_model, trace_models, trace_play, trace_processes, trace_rivals  # noqa: E402
from edge_dnn_partition.benchmarks.simulated_transport import Wire  # noqa: E402

SECONDS = {'pi': 0.030, 'jetson': 0.012, 'cloud': 0.002}
IMAGE_BYTES = 60_000


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    model = load_model(chain_model.build(tmp_path_factory.mktemp('chain') / 'chain.onnx', 6))
    boundaries = tuple(range(len(model.layers) + 1))
    profiles = {
        name: Profile(model.sha256, name, 'modelled', 1, boundaries, (seconds,) * len(model.layers), (0.0,) * (len(model.layers) - 1), 0.01)
        for name, seconds in SECONDS.items()
    }  # fmt: skip
    return trace_play.Setting(Pipeline(model, profiles, trace_models.fleet()), IMAGE_BYTES)


def recording(*rows, seconds=20.0):
    """A recording of (second, Mbit/s)."""
    return trace_play.Recording('made up', Trace(tuple(at for at, _ in rows), tuple(rate * 1e6 for _, rate in rows)), seconds)


def test_a_constant_link_takes_what_the_cost_model_says(setting):
    nodes = len(setting.pipeline.names)
    for plan in (('pi',) * nodes, ('jetson',) * nodes, ('cloud',) * nodes, ('pi', *('cloud',) * (nodes - 1))):
        played = setting.play(recording((0.0, 8.0)), FixedPolicy(plan), 2.0)
        problem = trace_rivals.problem_at(setting.pipeline, 1e6, setting.links, IMAGE_BYTES)
        median = float(np.median([took for _, took in played.frames]))
        said = evaluate(problem, plan).latency_seconds
        assert said - 0.01 <= median <= 1.2 * said + 0.02, plan
        assert not played.lost
        assert len(played.frames) > 30


@pytest.mark.parametrize('cut', [0, 1, 2, 3])
def test_nobody_is_quicker_than_the_clairvoyant_bound(setting, cut):
    nodes = len(setting.pipeline.names)
    plan = ('pi',) * cut + ('cloud',) * (nodes - cut)
    rows = [(float(at), rate) for at, rate in enumerate(np.random.default_rng(cut).lognormal(1.0, 1.0, 20))]
    made = recording(*rows)
    played = setting.play(made, FixedPolicy(plan), 2.0)
    at, took = map(np.array, zip(*played.frames, strict=True))
    noise = 0.9  # devices take a little less time than their profile says, too
    assert np.all(took >= noise * setting.bound(made, at))


def test_the_bound_is_the_best_plan_where_nothing_changes(setting):
    problem = trace_rivals.problem_at(setting.pipeline, 1e6, setting.links, IMAGE_BYTES)
    best = evaluate(problem, trace_rivals.planned(problem)).latency_seconds
    at_once = 0.002 + PACKET_BYTES / 1e6  # what the shaper lets pass of a transfer after a pause
    for bound in setting.bound(recording((0.0, 8.0)), np.array([0.0, 3.3])):
        assert best - 2 * at_once <= bound <= best


def test_the_bound_knows_what_the_link_will_carry(setting):
    falls, stays = recording((0.0, 8.0), (5.0, 0.0)), recording((0.0, 8.0))
    at = np.array([1.0, 4.99])
    assert setting.bound(falls, at)[0] == pytest.approx(setting.bound(stays, at)[0])
    assert setting.bound(falls, at)[1] > setting.bound(stays, at)[1]


def test_the_same_seed_gives_the_same_run_and_an_outage_loses_nothing(setting):
    made = recording((0.0, 40.0), (4.0, 0.0), (9.0, 40.0), seconds=14.0)
    runs = [setting.play(made, trace_rivals.product('exact'), 5.0) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].lost == 0
    assert any('cloud' in label for at, label, _ in runs[0].moves if at < 4)
    assert any('cloud' not in label for at, label, _ in runs[0].moves if 4 < at < 9), 'it moves away in the outage'


def test_a_twin_is_as_quick_as_the_frames_of_the_run_were(setting):
    pipeline, half = setting.pipeline, len(setting.pipeline.names) // 2
    plan = pipeline.plan(('pi',) * half + ('cloud',) * (len(pipeline.names) - half), 7)
    known = [pipeline.profiles[stage.device].known_seconds(stage.layers) for stage in plan.stages]
    frames = [
        SimpleNamespace(plan_version=7, stages=[
            StageTime('pi', 0, 0.0, 0.005, 2.0 * known[0], 0.0), StageTime('cloud', 1, 0.0, 0.0, slower * known[1], 0.0),
        ])
        for slower in (3.0, 3.0, 50.0)
    ]  # fmt: skip
    frames.append(SimpleNamespace(plan_version=1, stages=[StageTime('jetson', 0, 0.0, 0.0, 9.0, 0.0)]))
    twin = trace_processes.as_quick(pipeline, {7: plan}, frames).profiles
    slower = {name: sum(twin[name].segment_seconds) / sum(pipeline.profiles[name].segment_seconds) for name in twin}
    assert slower == pytest.approx({'pi': 2.0, 'cloud': 3.0, 'jetson': 1.0})
    assert twin['pi'].preprocess_seconds == 0.005


def test_a_image_that_was_dropped_counts_as_the_frame_in_its_way():
    at, took = trace_play.per_image([(0.0, 0.1), (1.0, 2.0), (3.0, 0.1)], 4.0, 2.0)
    assert took.tolist() == [0.1, 0.1, 2.0, 2.0, 2.0, 2.0, 0.1, 0.1]
    assert at.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0]


def test_capacity_and_its_inverse():
    capacity = Capacity(Trace((0.0, 2.0, 3.0), (8e3, 0.0, 16e3)))
    assert [capacity.bytes_at(t) for t in (0.0, 2.0, 4.0)] == pytest.approx([0.0, 2000.0, 4001.0])
    assert [capacity.when(capacity.bytes_at(t)) for t in (0.5, 2.5, 9.0)] == pytest.approx([0.5, 2.5, 9.0])
    assert capacity.after(np.array([1.0, 2.5]), 1000.0) == pytest.approx([1.0, 3.49975], abs=1e-3)
    assert capacity.after(np.array([1.0]), 1000.0 + 2.0 + PACKET_BYTES) == pytest.approx([2.0], abs=1e-3)


def test_a_link_pays_for_packets_as_a_token_bucket_and_drops_what_its_queue_does_not_hold():
    wire = Wire(Capacity(Trace((0.0,), (8e6,))), 0.01, 0.05)
    sent = [wire.send(1.0, 1400) for _ in range(200)]
    there = [at for at in sent if at is not None]
    packet = 1434 / 1e6
    assert there[:2] == pytest.approx([1.01, 1.01]), 'the burst'
    assert np.diff(there[3:]) == pytest.approx(packet)
    assert there[-1] == pytest.approx(1.01 + 0.05, abs=2 * packet), 'and no more than the queue'
    assert len(there) < 40
    assert wire.send(9.0, 1400) == pytest.approx(9.01)
    assert wire.send(9.5, 3 * (PACKET_BYTES - 34)) == pytest.approx(9.51 + (2 * PACKET_BYTES - 2000) / 1e6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 24e3, 1e6, 8e6, 60e6]), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(0.0, 0.05), st.integers(1, 6_000)), min_size=40, max_size=80),
)
def test_a_link_delivers_in_order_and_never_more_than_it_carries(rates, sends):
    capacity = Capacity(Trace(tuple(map(float, range(len(rates)))), tuple(rates)))
    wire, now, there, size = Wire(capacity, 0.01), 0.0, [], 0
    for pause, bytes_ in sends:
        now += pause
        if (at := wire.send(now, bytes_)) is not None:
            assert at >= max([now + 0.01, *there])
            there.append(at)
            size += bytes_
            at_once = 0.002 * max(rates) / 8 + 2 * PACKET_BYTES  # the burst, and the packet that is paid for later
            stepped = sum(rate > 0 for rate in rates) * PACKET_BYTES  # each paid for at the rate at which it left
            assert size <= capacity.bytes_at(at - 0.01) + at_once + stepped


def test_a_cut_link_carries_nothing_and_what_waited_is_lost():
    wire = Wire(Capacity(Trace((0.0, 1.0, 2.0), (24e3, 0.0, 8e6))), 0.0, 10.0)
    assert [wire.send(0.0, 1480) for _ in range(4)] == [0.0, pytest.approx(1514 / 3000 - 0.002), None, None]
    assert wire.send(1.5, 100) is None
    assert wire.send(2.5, 100) == 2.5


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('seconds,bits_per_second\n0,-1\n', 'must be at least'),
        ('seconds,bits_per_second\n0,1\n0,2\n', 'times must increase'),
        ('seconds,rate\n0,1\n', 'is not a trace'),
        ('seconds,bits_per_second\n0,fast\n', 'is not a trace'),
        ('', 'has no row'),
        (None, 'no CSV file'),
    ],
)
def test_recordings_that_are_none_are_refused_in_one_line(tmp_path, capsys, text, words):
    if text is not None:
        (tmp_path / 'one.csv').write_text(text)
    assert main(['bench', 'trace', '--quick', '--traces', str(tmp_path), '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('error: ') and words in error and '\n' not in error


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(['bench', 'trace', '--traces', str(tmp_path / 'none')]) == 2
    assert 'there is no such folder' in capsys.readouterr().err
    assert main(['bench', 'planner', '--traces', str(tmp_path)]) == 2
    assert 'takes no --traces' in capsys.readouterr().err
    assert main(['bench', 'trace', '--seconds', '0']) == 2
    assert 'must be more than 0' in capsys.readouterr().err


def test_the_synthetic_traces_are_called_so():
    found = trace_play.recordings(None)
    assert found
    assert all(one.synthetic for one in found)


def test_the_targets_count_what_is_missed():
    row = {'trace': 'a', 'form': 'simulated', 'synthetic': False, 'ratio_to_informed': 1.2, 'ratio_to_bound': 1.1, 'over_1_5': 0.1,
           'baselines': {'x': 1.0}, 'better_than': [], 'lost': 0, 'images_per_cpu_second': 300.0}  # fmt: skip
    assert [target.met for target in trace.targets_of([row])] == [False, True, False, False, False, True]
    assert trace.targets_of([row])[0].measured == 1.2


def test_the_conclusion_says_each_recordings_means_who_is_quicker_and_whether_the_forms_agree():
    row = {
        'trace': 'drive', 'form': 'simulated', 'synthetic': False, 'seconds': 60.0, 'whole_seconds': 900.0, 'mean_seconds': 0.24,
        'informed_seconds': 0.2, 'bound_seconds': 0.16, 'ratio_to_bound': 1.5,
        'baselines': {'fixed a': 1.2, 'fixed b': 1.4, 'bandit': 1.6, 'split once': 1.35},
    }  # fmt: skip
    lived = {'trace': 'drive', 'form': 'processes', 'seconds': 120.0, 'mean_seconds': 0.2, 'simulated_mean_seconds': 0.19,
             'simulated_over_lived': -0.05, 'load_5min': 1.2}  # fmt: skip
    said = trace._conclusion([row, row | {'mean_seconds': 0.26, 'ratio_to_bound': 1.1}, lived])
    assert 'drive, its first 60 s: mean latency 250 ms, informed 200, clairvoyant 160 (means of 2 cases, at worst 1.50 x' in said
    assert 'quicker are a fixed plan in 1 (by 20 %), split once in 1 (by 10 %)' in said
    assert "real processes for 120 s: 200 ms, simulated 190 (-5 %), the machine's load average 1.2" in said
