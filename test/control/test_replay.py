# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A record of a fleet that kept to one plan, replayed: what would have been decided, and when."""

import math
from types import SimpleNamespace as Message

import pytest

from edge_dnn_partition.cli import replay
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.scheduling.replay import Replay
from edge_dnn_partition.control.scheduling.settings import SchedulerSettings
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.plan import parse_label
from edge_dnn_partition.testbed import demo_model

FLEET = Fleet.model_validate({
    'fleet': 'lab', 'source': 'pi', 'devices': {'pi': {}, 'cloud': {}}, 'links': [{'between': ['pi', 'cloud'], 'rate': '8 Mbit/s'}],
})  # fmt: skip


@pytest.fixture(scope='module')
def model():
    return load_model(demo_model.cached('tiny'))


def heartbeat(model, device, rate, **changes):
    peer = {'pi': 'cloud', 'cloud': 'pi'}[device]
    fields = {
        'device': device, 'node': 'worker', 'incarnation': 7, 'model_sha256': model.sha256, 'process_cpu_percent': 10.0, 'resident_bytes': 150_000_000,
        'speed_factor': 1.0, 'stage_factor': 0.0, 'peers': [peer], 'bytes_per_second': [rate], 'latency_seconds': [0.001], 'age_seconds': [0.0],
    }  # fmt: skip
    return Message(**(fields | changes))


def profile(model, device, seconds):
    count = len(model.layers)
    return Message(
        device=device, model_sha256=model.sha256, provider='CPUExecutionProvider', threads=1, boundaries=[0, count // 2, count],
        segment_seconds=[seconds / 2, seconds / 2], seam_seconds=[0.0], preprocess_seconds=0.001, relative_error=0.0,
        throttled=False, probe_seconds=0.001, codings=[], image_bytes=0.0,
    )  # fmt: skip


def plan(model, label):
    made = compose(model, parse_label(label, len(model.layers)), version=4, source='pi', sink='pi')
    stages = [Message(device=s.device, preprocess=s.preprocess, layer_ranges=[e for pair in s.layers for e in pair], inputs=s.inputs,
                      outputs=s.outputs) for s in made.stages]  # fmt: skip
    return Message(
        status=1, version=4, model_sha256=model.sha256, source='pi', sink='pi', stages=stages, transfers=[], objective='latency',
        max_in_flight=1, latency_seconds=0.5, latency_deviation=0.0, energy_joules=1.0, bottleneck_seconds=0.5, reason='fixed',
    )  # fmt: skip


def replayed(model, **decide):
    """Ten seconds: a fast link, from 4 s on a slow one, and from 7 s on no cloud; the fleet stays on the Pi all the time."""
    player = Replay(model, FLEET, SchedulerSettings(policy='exact', decide=Settings(**decide)))
    for device, seconds in (('pi', 0.5), ('cloud', 0.01)):
        player.on_record('profile', profile(model, device, seconds), 100.0)
    player.on_record('plan', plan(model, 'pi:pre-end'), 100.0)
    for tick in range(101):
        now = 100.0 + tick / 10
        rate = 20e6 if tick < 40 else 1e4
        player.on_record('heartbeat', heartbeat(model, 'pi', rate), now)
        if tick < 70:
            player.on_record('heartbeat', heartbeat(model, 'cloud', rate), now)
    return player.result


@pytest.fixture(scope='module')
def outcome(model):
    return replayed(model)


def test_it_moves_when_it_pays_and_says_why(model, outcome):
    assert [(step.plan.split(':')[0], step.version) for step in outcome.then] == [('pi', 4)]
    plans = [step.plan for step in outcome.now]
    count = len(model.layers)
    assert plans == [f'cloud:pre-{count}', f'pi:pre-{count}']
    assert 0.25 < outcome.now[0].seconds < 4.0 < outcome.now[1].seconds < 6.0
    assert outcome.now[0].text.startswith('all on cloud: 150.0 kB over a link of 160 Mbit/s')
    assert 'moved here: ' in outcome.now[1].text
    assert outcome.seconds == pytest.approx(10.0)
    assert 0 < outcome.same < outcome.decisions
    assert outcome.mean_loss > 0
    assert outcome.refused == []
    assert outcome.to_json()['then'][0]['version'] == 4


def test_the_table_has_what_was_and_what_would_be_decided_with_a_line_for_each_in_a_pipe(outcome, capsys, monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    replay._show(outcome)
    rows = capsys.readouterr().out.splitlines()
    who = [words[2] for row in rows[1:-1] if len(words := row.split()) > 3 and words[1] == 's' and words[2] in ('then', 'now')]
    assert who == ['then', 'now', 'now']
    assert 'all on cloud: 150.0 kB over a link of 160 Mbit/s' in rows[2]
    assert rows[-1].endswith('% worse on average')


def test_other_settings_lead_elsewhere(model):
    assert [step.plan.split(':')[0] for step in replayed(model, confirmations=99).now] == []


def test_a_cpu_quota_that_telemetry_tells_counts_and_bags_without_one_are_read(model):
    player = Replay(model, FLEET, SchedulerSettings(policy='exact'))
    player.on_record('profile', profile(model, 'pi', 0.5), 1.0)
    player.on_record('heartbeat', heartbeat(model, 'pi', 1e6), 1.0)
    told = {
        'device': 'pi', 'cpu_percent': 22.0, 'cpu_percent_per_core': [22.0], 'clock_limit_hertz': math.nan, 'clock_max_hertz': math.nan,
        'memory_pressure_percent': 0.0, 'memory_available_bytes': 1e9, 'memory_total_bytes': 2e9, 'temperature_celsius': 50.0,
        'battery_percent': math.nan, 'battery_discharge_watts': math.nan, 'throttling': [],
    }  # fmt: skip
    quota = {'quota_cores': 0.5, 'quota_period_seconds': 0.1, 'quota_used_cores': 0.1}
    view = player._estimator.view
    for more, least, most in (({}, 1.0, 1.0), (quota, 1.8, 2.0), (quota | {'quota_cores': math.nan}, 1.0, 1.0)):
        player.on_record('telemetry', Message(**told, **more), 1.1)
        assert least <= view.factors(1.1)['pi'] <= most
    assert view.memory_bytes()['pi'] == 2e9 - 150e6


def test_records_that_do_not_fit_are_left_out_with_the_reason(model):
    player = Replay(model, FLEET, SchedulerSettings(policy='exact'))
    player.on_record('heartbeat', heartbeat(model, 'pi', 1e6, model_sha256='other'), 1.0)
    stranger = heartbeat(model, 'pi', 1e6)
    stranger.device = 'tpu'
    player.on_record('heartbeat', stranger, 1.1)
    player.on_record('heartbeat', stranger, 1.2)
    other, unknown = player.result.refused
    assert 'a different model file' in other
    assert 'which is not in the fleet file' in unknown
    assert not player.result.decisions
    assert math.isnan(player.result.mean_loss)


def test_a_bag_that_is_none_is_refused_in_one_line(tmp_path, capsys):
    pytest.importorskip('rosbags')
    fleet = tmp_path / 'fleet.yaml'
    fleet.write_text(f'fleet: lab\nsource: pi\ndevices: {{pi: {{}}}}\nmodel: {{path: {demo_model.cached("tiny")}}}\n')
    for bag, words in (('none', 'does not exist'), ('fleet.yaml', 'cannot be read as a bag')):
        assert main(['replay', str(tmp_path / bag), '--fleet', str(fleet)]) == 2
        said = capsys.readouterr().err
        assert said.startswith('error: ') and words in said and said.count('\n') == 1


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    import sys

    fleet = tmp_path / 'fleet.yaml'
    fleet.write_text(f'fleet: lab\nsource: pi\ndevices: {{pi: {{}}}}\nmodel: {{path: {demo_model.cached("tiny")}}}\n')
    monkeypatch.setitem(sys.modules, 'rosbags.highlevel', None)
    assert main(['replay', str(tmp_path), '--fleet', str(fleet)]) == 2
    assert capsys.readouterr().err.rstrip().endswith('pip install rosbags')
