# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Testbed files: what they say, what the nodes are told of it, traces, and errors that say what to do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.testbed.testbed_file import TestbedFile
from edge_dnn_partition.testbed.traces import Event, Trace, rate_events, read_trace, timeline

CONFIG = Path(__file__).resolve().parents[2] / 'config'
GOOD: dict[str, Any] = {
    'source': 'pi', 'model': {'path': 'm.onnx'},
    'devices': {
        'pi': {'emulate': {'slowdown': 9}, 'cores': 0.5, 'memory_limit': '1 GiB', 'board': 'raspberry_pi_4', 'threads': 2},
        'cloud': {'power': {'active': '60 W'}},
    },
    'links': [{'between': ['pi', 'cloud'], 'rate': '8 Mbit/s', 'delay': '15 ms', 'queue': '100 ms'}],
    'faults': [{'at': '2 s', 'cut': ['pi', 'cloud']}, {'at': '3 s', 'heal': ['cloud', 'pi']}, {'at': '4 s', 'kill': 'cloud'}],
}  # fmt: skip


def test_what_the_nodes_are_told() -> None:
    file = TestbedFile.parse(GOOD)
    fleet = parse_fleet(file.fleet_document(user_space=False))
    assert (fleet.network_kind, fleet.links[0].emulate, fleet.links[0].rate) == ('lan', 'delay', 1e6)
    assert (fleet.devices['pi'].emulate.slowdown, fleet.devices['cloud'].emulate.slowdown) == (9, 1)
    power = fleet.devices['pi'].power
    assert (power.idle, power.active, power.radio) == pytest.approx((2.7, 2.7 + 2 * (6.4 - 2.7) / 4, 0.5))
    assert fleet.devices['cloud'].power.active == 60
    assert parse_fleet(file.fleet_document(user_space=False, delayed=True)).links[0].emulate is False
    in_user_space = parse_fleet(file.fleet_document(user_space=True))
    assert (in_user_space.network_kind, in_user_space.links[0].emulate) == ('machine', True)


def test_a_link_without_a_delay_is_the_kernels_alone() -> None:
    document = copy.deepcopy(GOOD)
    del document['links'][0]['delay']
    assert parse_fleet(TestbedFile.parse(document).fleet_document(user_space=False)).links[0].emulate is False


@pytest.mark.parametrize(('change', 'words'), [
    (lambda d: d['devices']['pi'].update(core=1), "did you mean 'cores'"),
    (lambda d: d['links'][0].update(que='1 ms'), "did you mean 'queue'"),
    (lambda d: d.update(fault=[]), "did you mean 'faults'"),
    (lambda d: d['faults'][0].update(kil='pi'), "did you mean 'kill'"),
    (lambda d: d['faults'][0].update(kill='pi'), 'give one of kill'),
    (lambda d: d['faults'][2].update(kill='clout'), "did you mean 'cloud'"),
    (lambda d: d['faults'][0].update(at='9 s'), 'in order of time'),
    (lambda d: d['faults'][0].update(cut=['pi', 'pie']), 'no link between pi and pie'),
    (lambda d: d.update(traces=[{'file': 'a.csv'}]), 'give link'),
    (lambda d: d.update(traces=[{'file': 'a.csv', 'device': 'pie'}]), "did you mean 'pi'"),
    (lambda d: d.update(scheduler='clud'), "did you mean 'cloud'"),
    (lambda d: d['links'][0].update(channel='wifi'), 'rates of their own'),
    (lambda d: d.update(network={'kind': 'lan'}), 'remove the key'),
    (lambda d: d['devices']['cloud'].pop('power') and d['devices']['cloud'].update(board='pi_9'), 'no power model of a board'),
    (lambda d: d['devices']['pi'].update(cores=0), 'greater than or equal to 0.1'),
])  # fmt: skip
def test_refusals(change: Any, words: str) -> None:
    document = copy.deepcopy(GOOD)
    change(document)
    with pytest.raises(PlanError, match=words):
        TestbedFile.parse(document)


def test_the_timeline(tmp_path: Path) -> None:
    (tmp_path / 'rate.csv').write_text('seconds,bits_per_second\n0,8e6\n2.5,1e6\n30,2e6\n')
    (tmp_path / 'load.csv').write_text('seconds,load\n0,1\n2,3\n')
    traces = [{'file': 'rate.csv', 'link': ['pi', 'cloud']}, {'file': 'load.csv', 'device': 'pi'}]
    path = tmp_path / 'testbed.yaml'
    path.write_text(yaml.safe_dump({**GOOD, 'traces': traces}))
    found = [(event.at, event.action, event.subject) for event in timeline(TestbedFile.read(path), 10.0)]
    assert found == [
        (0, 'load', ('pi',)), (0, 'rate', ('pi', 'cloud')), (2, 'cut', ('pi', 'cloud')), (2, 'load', ('pi',)),
        (2.5, 'rate', ('pi', 'cloud')), (3, 'heal', ('cloud', 'pi')), (4, 'kill', ('cloud',)),
    ]  # fmt: skip
    assert Event(2.5, 'rate', ('pi', 'cloud'), 1e6) in timeline(TestbedFile.read(path), 10.0)


def test_a_value_holds_until_the_next() -> None:
    trace = Trace((1.0, 2.0), (5.0, 6.0))
    assert [trace.at(t) for t in (0.0, 1.0, 1.9, 2.0, 99.0)] == [5, 5, 5, 6, 6]


@pytest.mark.parametrize(('text', 'words'), [
    ('', 'has no row'), ('seconds,load\n0,1\n', 'not a trace with the columns'), ('seconds,bits_per_second\n0,x\n', 'not a trace'),
    ('seconds,bits_per_second\n1,9e6\n1,8e6\n', 'times must increase'), ('seconds,bits_per_second\n0,-1\n', 'at least 0'),
])  # fmt: skip
def test_bad_traces(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / 't.csv').write_text(text)
    with pytest.raises(UserError, match=words):
        read_trace(tmp_path / 't.csv', 'bits_per_second')


def test_the_shipped_file_and_its_traces() -> None:
    file = TestbedFile.read(CONFIG / 'testbed.yaml')
    assert {event.action for event in timeline(file, 60.0)} == {'rate', 'load', 'cut', 'heal', 'kill', 'start'}
    for path in (CONFIG / 'traces').glob('*.csv'):
        trace = read_trace(path, 'load' if path.name.startswith('load') else 'bits_per_second')
        assert len(trace.values) >= 3


def test_a_link_is_cut_while_a_recording_says_nothing():
    trace = Trace((0.0, 1.0, 2.0, 3.0), (9e6, 0.0, 100.0, 8e6))
    events = [(event.at, event.action) for event in rate_events(trace, ('pi', 'cloud'))]
    assert events == [(0.0, 'rate'), (1.0, 'cut'), (3.0, 'heal'), (3.0, 'rate')]
