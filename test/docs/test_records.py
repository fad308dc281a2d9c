# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The records in docs/benchmarks/ are summaries, and scripts/record_benchmark.py makes them of whole runs."""

import json
import sys

import pytest
from command_checks import ROOT

sys.path.insert(0, str(ROOT / 'scripts'))

import record_benchmark

RECORDS = sorted((ROOT / 'docs/benchmarks').glob('*.json'))


def series(value):
    """Return the lists of numbers in a document, of whatever depth."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in series(item)]
    if isinstance(value, list):
        numbers = bool(value) and all(isinstance(item, (int, float)) for item in value)
        return [value] if numbers else [found for item in value for found in series(item)]
    return []


@pytest.mark.parametrize('path', RECORDS, ids=lambda path: path.stem)
def test_a_record_is_what_the_script_makes_of_it(path):
    found = json.loads(path.read_text())
    assert json.loads(record_benchmark.layout(record_benchmark.record(found))) == found
    assert all(len(values) <= record_benchmark.LONGEST for values in series(found))
    assert path.stem == 'demo' or {'name', 'machine', 'versions', 'command', 'results', 'targets'} <= set(found)


def test_records_are_short_enough_to_be_read():
    assert sum(len(path.read_text().splitlines()) for path in RECORDS) < 9000


def test_a_run_is_summarised():
    run = {
        'name': 'grid', 'command': 'bench grid', 'targets': [{'measured': 0.123456789}],
        'results': [{'p50_seconds': 0.123456789, 'oracle': [1], 'gaps': [*range(101)], 'device': ['a'] * 20 + ['b'], 'lost': [None, 2]}],
    }
    (row,) = record_benchmark.record(run)['results']
    assert row['p50_seconds'] == 0.123457
    assert row['gaps'] == {'count': 101, 'mean': 50, 'p5': 5, 'p50': 50, 'p95': 95, 'p99': 99, 'least': 0, 'largest': 100}
    assert row['device'] == {'a': 20, 'b': 1}
    assert row['lost'] == [None, 2]
    assert 'oracle' not in row
    assert record_benchmark.record(run)['targets'] == run['targets']


def test_trials_of_one_case_become_one_row():
    rows = [{'case': 'link', 'fps': 5, 'seconds': 1}, {'case': 'link', 'fps': 5, 'seconds': 2}, {'case': 'worker', 'fps': 5, 'seconds': 3}]
    joined = record_benchmark.together(rows, ('case', 'fps'))
    assert joined == [{'case': 'link', 'fps': 5, 'seconds': [1, 2], 'trials': 2}, {'case': 'worker', 'fps': 5, 'seconds': 3}]


def test_the_layout_is_the_same_document():
    document = {'name': 'x', 'rows': [{'key': 'v' * 60, 'other': [1.5, None, 'w' * 80]}, {}, []], 'none': None}
    text = record_benchmark.layout(document)
    assert json.loads(text) == document
    assert max(map(len, text.splitlines())) <= record_benchmark.WIDTH
