# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The words for a plan, and the next best plan held against all there are."""

import itertools
import math

import numpy as np
import pytest

from edge_dnn_partition.control.decision.explain import explain, plan_words
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.plan import parse_label
from edge_dnn_partition.planning.solvers.solve import solve


def three_devices(rate=0.725e6):
    """Preprocessing and two segments; what the first one makes has 98 kB, the image and the result are as large."""
    names = ('pi', 'jetson', 'cloud')
    seconds = np.array([[0.01, 0.002, 0.001], [0.10, 0.02, 0.02], [0.50, 0.10, 0.01]])
    sizes = [('image', INPUT, (0,), 600e3, False), ('input', 0, (1,), 600e3, False), ('middle', 1, (2,), 98e3, False),
             ('result', 2, (), 100.0, True)]  # fmt: skip
    return Problem(
        source='pi', sink='pi', devices=tuple(Device(name=n, active_watts=w) for n, w in zip(names, (4.0, 10.0, 50.0))),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=rate, latency_seconds=0.002) for a in names for b in names if a != b),
        node_names=('preprocessing', 'first', 'second'),
        tensors=tuple(Tensor(name=n, producer=p, readers=r, bytes=b, at_sink=s) for n, p, r, b, s in sizes),
        seconds=seconds, weight_bytes=np.zeros(3), seam_seconds=np.zeros((2, 3)),
    )  # fmt: skip


BOUNDARIES = (0, 32, 60)
SPLIT = ('pi', 'pi', 'cloud')


def test_a_plan_is_explained_in_words():
    found = explain(three_devices(), SPLIT, BOUNDARIES, Goal(), reason='23 % better: 259 instead of 337 ms', moved=True)
    assert found.text == (
        'cut after layer 31 (pi to cloud): 98.0 kB over a link of 5.8 Mbit/s; 259 ms predicted; '
        'next best: cut after layer 31 (pi to jetson), 35 % slower; '
        'moved here: 23 % better: 259 instead of 337 ms'
    )
    assert (found.objective, found.unit) == ('latency', 's')
    assert found.value == pytest.approx(0.2594, abs=1e-4) == found.best_latency_seconds
    assert parse_label(found.next_best, 60) == (('pi', True, ((0, 32),)), ('jetson', False, ((32, 60),)))
    assert found.next_best_value == pytest.approx(found.value + 0.09)


def test_a_plan_that_is_not_the_best_one_says_by_how_much_and_why_it_stays():
    found = explain(three_devices(), ('pi',) * 3, BOUNDARIES, Goal(), reason='57 % better, waiting for confirmation (1 of 2 decisions)')
    assert found.text == (
        'all on pi; 610 ms predicted; predicted to be better: cut after layer 31 (pi to cloud), 57 % faster; '
        'stays: 57 % better, waiting for confirmation (1 of 2 decisions)'
    )
    assert found.best_latency_seconds < found.value


def test_where_only_the_cut_would_move_the_best_plan_without_a_device_is_told_too():
    problem = three_devices(rate=20e6).constrained(exclude=['jetson'])
    problem.seconds[0, 2] = 0.1  # decoding is slow on the cloud
    text = explain(problem, ('pi', 'cloud', 'cloud'), BOUNDARIES, Goal(), reason='-').text
    assert 'cut after the preprocessing (pi to cloud): 600.0 kB over a link of 160 Mbit/s' in text
    assert 'next best: cut after layer 31 (pi to cloud), 74 % slower; without pi: all on cloud, 122 % slower' in text


@pytest.mark.parametrize(
    ('goal', 'words'),
    [
        (Goal('energy'), ' J predicted'), (Goal('throughput'), ' ms between frames predicted'),
        (Goal('balanced'), ' times what the source alone takes predicted'), (Goal('deadline', deadline_seconds=0.3), ' J predicted'),
    ],
)  # fmt: skip
def test_every_objective_has_its_words(goal, words):
    problem = three_devices()
    found = explain(problem, tuple(solve(problem, goal).assignment), BOUNDARIES, goal, reason='-')
    assert words in found.text
    assert math.isfinite(found.next_best_value)


def test_a_next_best_plan_that_misses_the_deadline_says_so():
    found = explain(three_devices(), SPLIT, BOUNDARIES, Goal('deadline', deadline_seconds=0.27), reason='-')
    assert 'next best: cut after layer 31 (pi to jetson), 79.3 ms over the deadline' in found.text


def test_what_cannot_go_on_or_has_no_rival_is_said():
    problem = three_devices()
    gone = explain(problem, ('pi', 'pi', 'tpu'), BOUNDARIES, Goal(), reason='-')
    assert gone.text == 'cut after layer 31 (pi to tpu), which cannot go on now; stays: -'
    assert math.isnan(gone.value)
    alone = problem.constrained(exclude=['jetson', 'cloud'])
    assert explain(alone, ('pi',) * 3, BOUNDARIES, Goal(), reason='-').text.startswith('all on pi; 610 ms predicted; no other plan')


def test_cuts_are_named_with_their_direction():
    assert plan_words(('a', 'a', 'b', 'c'), (0, 3, 8, 9)) == 'cut after layer 2 (a to b) and layer 7 (b to c)'
    assert plan_words(('a', 'b', 'b', 'b'), (0, 3, 8, 9)) == 'cut after the preprocessing (a to b)'


@pytest.mark.parametrize('seed', range(12))
@pytest.mark.parametrize('objective', ['latency', 'energy'])
def test_the_next_best_plan_is_the_second_of_all(reference, seed, objective):
    document = reference.random_document(seed, nodes=5, devices=3 if seed % 2 else 2, chain=bool(seed % 2))
    problem = from_costs_json(document)
    best = solve(problem, objective).assignment
    if best is None:
        return
    values = sorted(
        costs[objective] for chosen in itertools.product(problem.names, repeat=5)
        if (costs := reference.plain_costs(document, chosen)) is not None
    )  # fmt: skip
    found = explain(problem, tuple(best), range(5), Goal(objective), reason='-')
    assert found.value == pytest.approx(values[0])
    assert found.next_best_value == pytest.approx(values[1])
