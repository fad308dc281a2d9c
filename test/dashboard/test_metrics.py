# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics: what a strict reader of OpenMetrics makes of them, what they are called, and what leaves no trace."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('prometheus_client', reason='the extra `dashboard` is not installed')

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edge_dnn_partition.dashboard.board import STALE_SECONDS, Board, FrameParts
from edge_dnn_partition.dashboard.metrics import METRICS, exposition
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan

ROOT = Path(__file__).resolve().parents[2]
DEVICE = {
    'alive': True, 'speed_factor': 1.5, 'cpu_percent': 34.0, 'memory_available_bytes': 2e9, 'temperature_celsius': math.nan,
    'watts': 2.7, 'energy_kind': 'modelled', 'derating': '', 'memory_total_bytes': 4e9, 'gpu_temperature_celsius': 41.0,
    'process_cpu_percent': 120.0, 'process_resident_bytes': 3e8, 'throttling': ['undervoltage'],
}  # fmt: skip


def full_board(name='demo'):
    """Return a board that knows something of everything."""
    board = Board(name)
    stages = (StagePlan('pi', True, ((0, 3),)), StagePlan('cloud "x"', False, ((3, 9),)))
    board.plan(1.0, Plan(7, 'sha', 'pi', 'pi', stages, (), latency_seconds=0.1, reason='why'))
    link = {'sender': 'pi', 'receiver': 'cloud', 'measured': True, 'bytes_per_second': 1e6, 'latency_seconds': 0.015}
    board.state(1.0, [{'name': 'pi', **DEVICE}, {'name': 'cloud', **DEVICE, 'alive': False}], [link])
    board.counters({'offered': 9, 'accepted': 8, 'delivered': 5, 'expired': 1, 'lost': 0, 'failed': 1, 'dropped': 1, 'in_flight': 1,
                    'repeated': 2, 'hedged': 0, 'duplicated': 0, 'late': 0, 'last_failure': 'why'})  # fmt: skip
    for latency in (0.004, 0.09, 0.1, 60.0):
        board.frame(1.0, 7, FrameParts(latency, latency / 2, 0.0), 0.5, measured=False)
    board.hop('pi', 'cloud', 4000)
    board.energy('pi', 'modelled', 1, 12.5)
    board.health(1.0, [{'subject': 'pi', 'level': 1, 'message': 'hot', 'refused': 3}, {'subject': 'pipeline', 'level': 0, 'message': ''}])
    return board


def samples(*boards, now=2.0):
    """Return every sample by name and labels, as a strict parser reads them."""
    body, _ = exposition(boards, now)
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = sample.name, *sorted(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def test_a_full_board_is_read_back():
    found = samples(full_board())
    fleet = ('fleet', 'demo')

    def value(name, **labels):
        return found[('edge_dnn_partition_' + name, *sorted([fleet, *labels.items()]))]

    assert value('fleet_up') == 1
    assert value('frame_latency_seconds_bucket', le='0.005') == 1
    assert value('frame_latency_seconds_bucket', le='0.1') == 3  # an upper end belongs to its bucket
    assert value('frame_latency_seconds_bucket', le='+Inf') == value('frame_latency_seconds_count') == 4
    assert value('frame_latency_seconds_sum') == pytest.approx(60.194)
    assert value('frames_total', status='delivered') == 5 and value('frames_total', status='dropped') == 1
    assert value('plan_info', plan='pi:pre-3 cloud "x":3-9', objective='latency') == 1
    assert value('plan_layers', device='cloud "x"') == 6
    assert value('device_cpu_ratio', device='pi') == 0.34 and value('process_cpu_ratio', device='pi') == 1.2
    assert value('device_throttled', device='pi') == 1
    assert value('device_power_watts', device='pi', kind='modelled') == 2.7
    assert value('device_up', device='cloud') == 0
    assert value('device_refused_messages_total', device='pi') == 3
    assert value('link_tensor_bytes_total', sender='pi', receiver='cloud') == 4000
    assert not any(key[0].endswith('device_temperature_celsius') for key in found), 'unknown is left out, not NaN'
    assert not any('cloud' in dict(key[1:]).values() and 'cpu' in key[0] for key in found), 'a device that is gone has no load'


def test_a_device_that_leaves_and_a_fleet_that_ends_leave_no_figures():
    """As exporters do that set gauges and never take them back: a device that left went on with its last temperature."""
    board = full_board()
    board.state(3.0, [{'name': 'cloud', **DEVICE}], [])
    now = {dict(key[1:]).get('device') for key in samples(board, now=3.0) if key[0].startswith('edge_dnn_partition_device_cpu')}
    assert now == {'cloud'}
    ended = samples(board, now=4.0 + STALE_SECONDS)
    assert ended['edge_dnn_partition_fleet_up', ('fleet', 'demo')] == 0
    assert {key[0] for key in ended if 'device_' in key[0]} == {'edge_dnn_partition_device_energy_joules_total'}


def test_fleets_are_told_apart():
    found = samples(full_board('r1'), full_board('r2'), Board('r3'))
    assert {dict(key[1:])['fleet'] for key in found} == {'r1', 'r2', 'r3'}


TEXT = st.text(st.characters(exclude_categories=['Cs']), max_size=12)
NUMBER = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=40)
@given(st.lists(st.tuples(TEXT, NUMBER, NUMBER), max_size=4))
def test_whatever_devices_say_it_can_be_read(devices):
    board = Board('demo')
    looks = [{**DEVICE, 'name': name, 'cpu_percent': a, 'watts': b, 'energy_kind': name} for name, a, b in devices]
    links = [{'sender': name, 'receiver': name, 'measured': False, 'bytes_per_second': a, 'latency_seconds': b} for name, a, b in devices]
    board.state(1.0, looks, links)
    for name, a, b in devices:
        board.frame(1.0, 1, FrameParts(a, b, a), b, measured=True)
        board.energy(name, name, 1, a)
    assert all(math.isfinite(value) for value in samples(board).values())


def test_every_metric_is_given_out_and_documented():
    given_out = {key[0] for key in samples(full_board())}
    page = (ROOT / 'docs' / 'metrics.md').read_text()
    board = full_board()
    board.state(1.0, [{'name': 'pi', **DEVICE, 'temperature_celsius': 60.0}], [])
    given_out |= {key[0] for key in samples(board)}
    for metric in METRICS:
        names = {metric.sample + end for end in (('_bucket', '_sum', '_count') if metric.kind == 'histogram' else ('',))}
        assert names <= given_out, metric
        assert f'`{metric.sample}`' in page and f'| {metric.meaning} |' in page, metric
    assert set(re.findall(r'`(edge_dnn_partition_\w+)`', page)) == {metric.sample for metric in METRICS}


def test_grafana_asks_for_metrics_that_there_are():
    """Names and labels of every query of config/grafana.json, and its panels do not overlap."""
    document = json.loads((ROOT / 'config' / 'grafana.json').read_text())
    labels = {metric.sample: {'fleet', 'le', *metric.labels} for metric in METRICS}
    known = labels | {f'{m.sample}_{end}': labels[m.sample] for m in METRICS if m.kind == 'histogram' for end in ('bucket', 'sum', 'count')}
    known = {name: them for name, them in known.items() if name + '_bucket' not in known}
    asked, places = set(), set()
    queries = [target['expr'] for panel in document['panels'] for target in panel.get('targets', ())]
    queries += [variable['definition'] for variable in document['templating']['list'] if variable['type'] == 'query']
    for query in queries:
        for name, inside in re.findall(r'(edge_dnn_partition_\w+)(?:\{([^}]*)\})?', query):
            assert name in known, (name, query)
            assert set(re.findall(r'(\w+)\s*[=!]~?', inside)) <= known[name], query
            asked.add(name)
    assert {metric.sample for metric in METRICS} - {re.sub('_(bucket|sum|count)$', '', name) for name in asked} == set(), 'shown nowhere'
    for panel in document['panels']:
        at = panel['gridPos']
        cells = {(x, y) for x in range(at['x'], at['x'] + at['w']) for y in range(at['y'], at['y'] + at['h'])}
        assert at['x'] + at['w'] <= 24 and not cells & places, panel['title']
        places |= cells
    assert len({panel['id'] for panel in document['panels']}) == len(document['panels'])
