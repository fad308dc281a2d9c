# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cost files: what is refused, and with which words; and the verb that reads them."""

import copy
import json
import math
import re
import subprocess
import sys

import pytest

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json, load

NOISY_PLAN = """
import ctypes, os, sys
from edge_dnn_partition.cli.main import main
import scipy.optimize
solver = scipy.optimize.milp
def noisy(*args, **options):  # C's buffered output, as HiGHS's warnings are
    ctypes.CDLL(None).puts(b'noise of a library')
    os.write(1, b'more noise')
    sys.stderr.write('milp was called')
    return solver(*args, **options)
scipy.optimize.milp = noisy
sys.exit(main(sys.argv[1:]))
"""

GOOD = {
    'source': 'pi', 'sink': 'pi', 'input_bytes': 1000,
    'devices': {'pi': {'active_watts': 4.0}, 'jetson': {}},
    'links': [{'from': 'pi', 'to': 'jetson', 'bytes_per_second': 1e6}, {'from': 'jetson', 'to': 'pi', 'bytes_per_second': 1e6}],
    'layers': [
        {'name': 'conv', 'inputs': [-1], 'output_bytes': 10, 'seconds': {'pi': 1.0, 'jetson': 0.1}},
        {'name': 'fc', 'inputs': [0], 'output_bytes': 10, 'seconds': {'pi': 1.0, 'jetson': 0.1}},
    ],
}  # fmt: skip


def put(path, value):
    document = copy.deepcopy(GOOD)
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ('path', 'value', 'words'),
    [
        (('source',), KeyError, 'source is missing; add it'),
        (('source',), 'pj', "source: unknown device 'pj'; did you mean 'pi'?"),
        (('sink',), 'cloud', "sink: unknown device 'cloud'"),
        (('sink',), 3, 'sink must be a text'),
        (('input_bytes',), KeyError, 'input_bytes is missing; add it'),
        (('input_bytes',), -1, 'input_bytes must be greater than or equal to 0, not -1'),
        (('input_bytes',), math.nan, 'input_bytes must be a finite number'),
        (('input_bytes',), True, 'input_bytes must be a number, not True'),
        (('input_bytes',), 10**400, 'input_bytes must be a number'),
        (('devices',), {}, 'devices is empty'),
        (('devices',), [], 'devices must be a table, not []'),
        (('devices', 'pi', 'active_wats'), 1, "unknown key 'devices.pi.active_wats'; did you mean 'active_watts'?"),
        (('devices', 'pi', 'memory_bytes'), -5, 'devices.pi.memory_bytes must be greater than or equal to 0, not -5'),
        (('devices', 'pi', 'energy_weight'), 'much', "devices.pi.energy_weight must be a number, not 'much'"),
        (('links', 0, 'to'), 'jetsen', "links.0.to: unknown device 'jetsen'; did you mean 'jetson'?"),
        (('links', 0, 'to'), 'pi', "links.0 goes from 'pi' to itself"),
        (('links', 0, 'bytes_per_second'), 0, 'links.0.bytes_per_second must be greater than 0, not 0'),
        (('links', 0, 'latency_seconds'), math.inf, 'links.0.latency_seconds must be a finite number, not inf'),
        (('links', 1), GOOD['links'][0], 'links.1 repeats links.0'),
        (('links', 0, 'channel'), 4, 'links.0.channel must be a text'),
        (('layers',), [], 'layers is empty'),
        (('layers', 0, 'inputs'), [1], 'layers.0 (conv): inputs has 1; give earlier layers, below 0, or -1'),
        (('layers', 1, 'inputs'), [1], 'layers.1 (fc): inputs has 1; give earlier layers, below 1'),
        (('layers', 1, 'inputs'), [-2], 'layers.1 (fc): inputs has -2'),
        (('layers', 1, 'inputs'), [0.0], 'layers.1.inputs.0 must be a whole number, not 0.0'),
        (('layers', 1, 'inputs'), KeyError, 'layers.1.inputs is missing; add it'),
        (('layers', 1, 'seconds', 'cloud'), 1.0, "seconds: unknown device 'cloud'"),
        (('layers', 1, 'seconds', 'pi'), None, 'layers.1.seconds.pi is empty'),
        (('layers', 1, 'output_bytes'), KeyError, 'layers.1.output_bytes is missing'),
        (('layers', 1, 'weights'), 1, "unknown key 'layers.1.weights'; did you mean 'weight_bytes'?"),
        (('outputs',), [2], 'outputs has 2; the layers are 0 to 1'),
        (('outputs',), 1, 'outputs must be a list, not 1'),
        (('layer',), [], "unknown key 'layer'; did you mean 'layers'?"),
        (('constraints',), {'pin': {'cnv': 'pi'}}, "pin: unknown layer 'cnv'; did you mean 'conv'?"),
        (('constraints',), {'exclude': ['pie']}, "exclude: unknown device 'pie'; did you mean 'pi'?"),
        (('constraints',), {'private_until': 'x'}, "private_until: unknown layer 'x'"),
    ],
)
def test_bad_costs_are_refused_in_one_line(path, value, words):
    with pytest.raises(PlanError) as error:
        from_costs_json(put(path, value))
    assert words in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['', '[', '[]', '3', '{"source": 1, "source": 2}', '[' * 100_000, '\ud800'])
def test_files_that_are_no_costs(tmp_path, text):
    path = tmp_path / 'costs.json'
    path.write_bytes(text.encode('utf-8', 'surrogatepass'))
    with pytest.raises(PlanError):
        load(path)
    with pytest.raises(PlanError, match='cannot read'):
        load(tmp_path / 'missing.json')


def plan(capsys, tmp_path, document, *arguments):
    path = tmp_path / 'costs.json'
    path.write_text(json.dumps(document))
    code = main(['plan', '--costs', str(path), *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize('objective', ['latency', 'energy', 'throughput', 'balanced'])
@pytest.mark.parametrize('space', ['any', 'each_device_once'])
def test_the_verb_prints_one_document(capsys, tmp_path, objective, space):
    code, out, _ = plan(capsys, tmp_path, GOOD, '--objective', objective, '--space', space, '--json')
    answer = json.loads(out)
    assert code == 0
    assert list(answer) == [
        'feasible', 'optimal', 'objective', 'objective_value', 'latency_seconds', 'energy_joules',
        'bottleneck_seconds', 'assignment', 'planning_seconds',
    ]  # fmt: skip
    assert answer['feasible'] is True and answer['optimal'] is True and answer['objective'] == objective
    assert set(answer['assignment']) <= {'pi', 'jetson'} and len(answer['assignment']) == 2


def test_what_highs_prints_by_itself_does_not_reach_standard_output(tmp_path, reference):
    path = tmp_path / 'costs.json'
    path.write_text(json.dumps(reference.random_document(2, nodes=12, devices=3)))
    done = subprocess.run(
        [sys.executable, '-c', NOISY_PLAN, 'plan', '--costs', str(path), '--objective', 'throughput', '--json'],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert json.loads(done.stdout)['feasible'] is True
    assert done.stdout.count('\n') == 1
    assert 'milp was called' in done.stderr


def test_the_verb_prints_tables(capsys, tmp_path):
    code, out, _ = plan(capsys, tmp_path, GOOD)
    assert code == 0
    assert 'all on jetson' in out and re.search(r'^latency: [\d.]+ ms, proven best; ', out, re.MULTILINE)


def test_nothing_can_run(capsys, tmp_path):
    document = put(('layers', 1, 'seconds'), {})
    code, out, _ = plan(capsys, tmp_path, document, '--json')
    answer = json.loads(out)
    assert code == 0
    assert answer['feasible'] is False and answer['assignment'] is None and answer['latency_seconds'] is None
    assert answer['optimal'] is True and "'fc' cannot run on any device" in answer['reason']
    code, out, _ = plan(capsys, tmp_path, document)
    assert code == 1 and 'no plan' in out


def test_errors_are_one_line_and_code_2(capsys, tmp_path):
    code, out, err = plan(capsys, tmp_path, put(('sink',), 'nowhere'), '--json')
    assert code == 2 and out == '' and err.startswith('error: ') and err.count('\n') == 1
    assert main(['plan', '--json']) == 2
    assert main(['plan', 'm.onnx', '--costs', 'c.json']) == 2


@pytest.mark.parametrize(
    ('constraints', 'assignment'),
    [
        ({}, ['jetson', 'jetson']),
        ({'pin': {'fc': 'pi'}}, ['jetson', 'pi']),
        ({'exclude': ['jetson']}, ['pi', 'pi']),
        ({'private_until': 'conv'}, ['pi', 'jetson']),
        ({'private_until': 'fc'}, ['pi', 'pi']),
    ],
)
def test_constraints(capsys, tmp_path, constraints, assignment):
    _, out, _ = plan(capsys, tmp_path, put(('constraints',), constraints), '--json')
    assert json.loads(out)['assignment'] == assignment


def test_private_tensors_hold_their_later_readers_at_the_source(capsys, tmp_path):
    document = copy.deepcopy(GOOD)
    document['layers'] += [{'name': 'add', 'inputs': [1, -1], 'output_bytes': 1, 'seconds': {'pi': 9.0, 'jetson': 0.1}}]
    document['constraints'] = {'private_until': 'conv'}
    _, out, _ = plan(capsys, tmp_path, document, '--json')
    assert json.loads(out)['assignment'][2] == 'pi'
    document |= {'outputs': [0], 'sink': 'jetson', 'constraints': {'private_until': 'fc'}}
    code, _, err = plan(capsys, tmp_path, document, '--json')
    assert code == 2 and "'conv' may not leave the source" in err


def test_a_deadline_and_weights(tmp_path, capsys):
    latency = json.loads(plan(capsys, tmp_path, GOOD, '--json')[1])['latency_seconds']
    for given in (str(latency * 2), f'{latency * 2e3} ms'):
        _, out, _ = plan(capsys, tmp_path, GOOD, '--objective', 'deadline', '--deadline', given, '--json')
        answer = json.loads(out)
        assert answer['deadline_met'] and answer['latency_seconds'] <= latency * 2 and 'reason' not in answer
        assert answer['objective_value'] == answer['energy_joules']
    code, out, _ = plan(capsys, tmp_path, GOOD, '--objective', 'deadline', '--deadline', '1us', '--json')
    answer = json.loads(out)
    assert (code, answer['deadline_met'], answer['latency_seconds']) == (0, False, latency)
    assert 'no plan keeps to the deadline' in answer['reason']
    assert 'no plan keeps' in ' '.join(plan(capsys, tmp_path, GOOD, '--objective', 'deadline', '--deadline', '1us')[1].split())
    _, out, _ = plan(capsys, tmp_path, GOOD, '--objective', 'balanced', '--weights', '1,0', '--json')
    assert json.loads(out)['latency_seconds'] == latency


@pytest.mark.parametrize(('arguments', 'words'), [
    (('--objective', 'deadline'), 'needs a deadline'),
    (('--objective', 'deadline', '--deadline', '5 J'), 'is not a time'),
    (('--objective', 'deadline', '--deadline', '0'), 'above 0'),
    (('--deadline', '1'), 'is for --objective deadline'),
    (('--weights', '1,1'), 'are for --objective balanced'),
    (('--objective', 'balanced', '--weights', '1'), 'write two numbers'),
    (('--objective', 'balanced', '--weights', '0,0'), 'not both 0'),
])  # fmt: skip
def test_goals_that_are_refused(tmp_path, capsys, arguments, words):
    code, _, err = plan(capsys, tmp_path, GOOD, *arguments)
    assert code == 2 and err.startswith('error: ') and words in err and err.count('\n') == 1
