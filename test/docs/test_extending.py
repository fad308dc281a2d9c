# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/extending.md work."""

import re
from pathlib import Path

import numpy as np
import pytest

from edge_dnn_partition.control.decision.policy import Conditions
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import OBJECTIVES, Goal
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.host import HostMeter
from edge_dnn_partition.sensing.power.reading import total
from edge_dnn_partition.sensing.source import Unavailable

PAGE = Path(__file__).resolve().parents[2] / 'docs/extending.md'


@pytest.fixture(scope='module')
def example():
    names = {}
    for text in re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL):
        exec(compile(text, str(PAGE), 'exec'), names)
    return names


def test_the_meter(example, tmp_path):
    meter = example['ShuntMeter'](str(tmp_path))
    with pytest.raises(Unavailable, match='no shunt'):
        meter.probe()
    file = tmp_path / 'sys/class/shunt/power_mw'
    file.parent.mkdir(parents=True)
    file.write_text('4200\n')
    host = HostMeter(str(tmp_path), [meter])
    host.sample(0.0)
    reading = total(host.sample(2.0).power)
    assert (reading.source, reading.watts, reading.joules, reading.scope) == ('shunt', 4.2, pytest.approx(8.4), 'board')


def problem(fast):
    """One node, on a pi of 0.4 s or a fast device behind a link that hardly counts."""
    return Problem(
        source='pi', sink='pi', devices=(Device(name='pi'), Device(name='fog')),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=1e9, latency_seconds=1e-3) for a, b in (('pi', 'fog'), ('fog', 'pi'))),
        node_names=('a',), tensors=(Tensor(name='in', producer=INPUT, readers=(0,), bytes=1e3),
                                    Tensor(name='out', producer=0, readers=(), bytes=1e3, at_sink=True)),
        seconds=np.array([[0.4, fast]]), weight_bytes=np.zeros(1),
    )  # fmt: skip


def test_the_policy(example):
    policy = example['Patient']()
    first = policy.choose(Conditions(0.0, problem(9.0)))
    assert first.assignment == ('pi',)
    policy.moved(0.0, first.assignment)
    moves = [policy.choose(Conditions(now, problem(0.1))).assignment for now in (1.0, 5.0, 10.9, 11.0)]
    assert moves == [None, None, None, ('fog',)]
    assert policy.choose(Conditions(12.0, problem(0.3))).reason == 'nothing is twice as quick'
    assert policy.prefetch_candidates() == ()


def test_the_objective(example):
    try:
        goal = Goal('running_cost')
        found = solve(problem(0.1), goal)
        assert found.objective_value == pytest.approx(0.4 * found.latency_seconds + 0.03 * found.energy_joules)
        assert goal.objective.in_words(2.0) == '2 ct'
    finally:
        del OBJECTIVES['running_cost']


def test_what_the_pages_name_is_there():
    root = PAGE.parents[1]
    text = PAGE.read_text() + (root / 'CONTRIBUTING.md').read_text()
    paths = {path for path in re.findall(r'`((?:\w+/)+[\w.]+\.(?:py|cfg|txt|toml|md))`', text) if 'DIR' not in path}
    assert len(paths) > 15
    for path in paths:
        assert (root / path).is_file() or (root / 'edge_dnn_partition' / path).is_file(), path
    sources = ''.join(p.read_text() for room in ('planning', 'control', 'transport', 'sensing', 'inputs')
                      for p in (root / 'edge_dnn_partition' / room).rglob('*.py'))  # fmt: skip
    for name in re.findall(r'`(_?[A-Z]{4,}(?:_[A-Z]+)*|_\w+|policy_of|power_meters|InputKind|InputValue|Criterion)`', PAGE.read_text()):
        assert name in sources, name
