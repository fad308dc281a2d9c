# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fleet files: what they say, and errors that say what to do."""

import copy

import pytest

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet import parse_fleet

GOOD = {'source': 'pi', 'devices': {'pi': {'memory': '1 GiB'}, 'cloud': {}},
        'links': [{'between': ['pi', 'cloud'], 'rate': '40 Mbit/s', 'delay': '2 ms'}]}  # fmt: skip


def test_units_and_defaults(tmp_path):
    fleet = parse_fleet({**GOOD, 'model': {'path': 'm.onnx'}}, base=tmp_path)
    assert (fleet.links[0].rate, fleet.links[0].delay, fleet.devices['pi'].memory) == (5e6, 0.002, 2**30)
    assert (fleet.sink_device, fleet.emulated, fleet.model.path) == ('pi', False, tmp_path / 'm.onnx')


@pytest.mark.parametrize(('change', 'words'), [
    (lambda d: d['devices']['pi'].update(thread=2), "did you mean 'threads'"),
    (lambda d: d.update(sorce='pi'), "did you mean 'source'"),
    (lambda d: d.update(source='clowd'), "did you mean 'cloud'"),
    (lambda d: d['links'][0].update(rate='40 ms'), 'is no rate'),
    (lambda d: d['links'][0].update(rate=0), 'greater than 0'),
    (lambda d: d['devices'].update({'my pi': {}}), 'no ROS name'),
    (lambda d: d['links'].append({'between': ['cloud', 'pi'], 'rate': 1}), 'two links'),
    (lambda d: d['links'].append({'between': ['pi', 'pi'], 'rate': 1}), 'to itself'),
    (lambda d: d.pop('source'), 'source is missing'),
    (lambda d: d.update(camera={'topic': 'a', 'camera': 0}), 'give one of'),
    (lambda d: d.update(constraints={'exclude': ['pie']}), "did you mean 'pi'"),
])  # fmt: skip
def test_refusals(change, words):
    document = copy.deepcopy(GOOD)
    change(document)
    with pytest.raises(PlanError, match=words):
        parse_fleet(document)
