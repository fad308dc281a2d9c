# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A reduced program has the same optimum as the whole one, and its solution fits the whole one."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from edge_dnn_partition.planning.solvers.reduction import Reduction


def random_program(seed):
    rng = np.random.default_rng(seed)
    columns, rows = rng.integers(1, 9), rng.integers(0, 12)
    matrix = np.where(rng.random((rows, columns)) < rng.choice([0.2, 0.5]), rng.integers(-3, 4, (rows, columns)), 0)
    matrix = matrix.astype(float)
    low = np.where(rng.random(rows) < 0.5, -np.inf, rng.integers(-4, 4, rows))
    high = np.where(np.isinf(low) | (rng.random(rows) < 0.3), np.maximum(low, rng.integers(-2, 6, rows)), np.inf)
    upper = rng.choice([1.0, 1.0, 4.0, 0.0], columns)
    return {
        'cost': rng.integers(-2, 4, columns).astype(float), 'lower': np.zeros(columns), 'upper': upper,
        'integral': rng.random(columns) < 0.6, 'matrix': csr_matrix(matrix), 'low': low, 'high': high,
    }  # fmt: skip


def solve(program):
    constraints = LinearConstraint(program['matrix'], program['low'], program['high']) if len(program['low']) else ()
    return milp(program['cost'], integrality=program['integral'].astype(int),
                bounds=Bounds(program['lower'], program['upper']), constraints=constraints)


def reduced(program):
    small = Reduction(**{name: value.copy() for name, value in program.items()})
    left = {name: getattr(small, name) for name in program}
    return small, left


@pytest.mark.parametrize('block', range(4))
def test_the_optimum_stays(block):
    feasible = smaller = 0
    for seed in range(150 * block, 150 * (block + 1)):
        program = random_program(seed)
        whole = solve(program)
        small, left = reduced(program)
        if whole.status == 2:
            assert not small.feasible or (len(small.cost) and solve(left).status == 2)
            continue
        feasible += 1
        assert small.feasible
        smaller += len(small.cost) < len(program['cost'])
        part = solve(left) if len(small.cost) else None
        found = small.restore(np.zeros(0) if part is None else part.x)
        value = small.constant + (0.0 if part is None else part.fun)
        assert value == pytest.approx(whole.fun, abs=1e-6)
        assert program['cost'] @ found == pytest.approx(whole.fun, abs=1e-6)
        assert (found >= program['lower'] - 1e-6).all() and (found <= program['upper'] + 1e-6).all()
        rows = program['matrix'] @ found
        assert (rows >= program['low'] - 1e-6).all() and (rows <= program['high'] + 1e-6).all()
    assert feasible > 30 and smaller > 20


def test_a_chain_of_consequences_leaves_nothing():
    # x0 = 1, x1 >= x0, x2 >= 2 x1, at least cost
    program = {
        'cost': np.array([0.0, 1.0, 1.0]), 'lower': np.zeros(3), 'upper': np.array([1.0, np.inf, np.inf]),
        'integral': np.array([True, False, False]),
        'matrix': csr_matrix([[1.0, 0, 0], [-1.0, 1.0, 0], [0, -2.0, 1.0]]),
        'low': np.array([1.0, 0.0, 0.0]), 'high': np.array([1.0, np.inf, np.inf]),
    }  # fmt: skip
    small, _ = reduced(program)
    assert small.feasible and len(small.cost) == 0
    assert small.restore(np.zeros(0)).tolist() == [1.0, 1.0, 2.0]
    assert small.constant == 3.0


def test_a_contradiction_is_found():
    program = {
        'cost': np.zeros(1), 'lower': np.zeros(1), 'upper': np.ones(1), 'integral': np.array([True]),
        'matrix': csr_matrix([[2.0]]), 'low': np.array([0.5]), 'high': np.array([1.5]),
    }  # fmt: skip
    assert not reduced(program)[0].feasible
