# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The ablation leaves out what it says, and nothing else."""

import dataclasses

import numpy as np

from edge_dnn_partition.cli import bench
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers import solve as table

ablation = bench.load('ablation', bench.find()['ablation'])


def test_each_name_stands_for_one_method_or_part_that_exists():
    names = [row.name for row in table.METHODS] + [part.name for part in ablation.PARTS]
    assert len(set(names)) == len(names)
    for part in ablation.PARTS:
        owner, name = ablation._place(part.place)
        assert callable(getattr(owner, name))


def test_without_a_method_its_problems_are_solved_by_those_that_follow():
    before = table.METHODS
    problem = ablation.random_chain(8, 3, np.random.default_rng(0))
    rows = {row['without']: row for row in ablation.ablate(ablation.Case('chain', problem, 'latency', 'any', Goal('latency')))}
    assert list(rows) == ['', 'exact'], 'an exact answer asks nobody else'
    assert rows['exact']['loss'] == 0 and not rows['exact']['proof_lost'], 'the frontier of a chain is narrow'
    assert table.METHODS is before

    limited = dataclasses.replace(
        problem, weight_bytes=np.ones(8), devices=tuple(dataclasses.replace(d, memory_bytes=3.0) for d in problem.devices))
    found = ablation.ablate(ablation.Case('memory', limited, 'latency', 'any', Goal('latency')))
    summary = {row['without']: row for row in ablation.summary(found)}
    assert 'all plans' in summary and '| all plans | 1 |' in ablation.as_table(ablation.summary(found))
