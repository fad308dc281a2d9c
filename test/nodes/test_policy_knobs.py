# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A parameter that is set while the scheduler runs reaches the policy in force; the figures of a reason are its percentage's."""

import re
import time

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


from edge_dnn_partition.control.decision.policies import learner_of
from edge_dnn_partition.control.decision.policy import Conditions
from edge_dnn_partition.control.scheduling.background import Background
from edge_dnn_partition.control.scheduling.policy_runner import PolicyRunner
from edge_dnn_partition.deployment.node_parameters import SCHEDULER
from edge_dnn_partition.nodes.scheduler import settings_of
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import parse_fleet

FLEET = parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'cloud': {}}})


def problem(cloud):
    return Problem(
        source='pi', sink='pi', devices=(Device(name='pi'), Device(name='cloud')),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=1e7, latency_seconds=0.0) for a, b in (('pi', 'cloud'), ('cloud', 'pi'))),
        node_names=('a', 'b'),
        tensors=(Tensor(name='in', producer=INPUT, readers=(0,), bytes=1e5), Tensor(name='ab', producer=0, readers=(1,), bytes=1e6)),
        seconds=np.array([[0.05, cloud]] * 2), weight_bytes=np.zeros(2),
    )  # fmt: skip


class Knobs:
    """A runner whose scheduler's parameters can be set."""

    def __init__(self, tmp_path, given):
        self.params = {parameter.name: parameter.default for parameter in SCHEDULER} | given
        self.runner = PolicyRunner(
            FLEET, 'a' * 64, settings_of(self.params, FLEET), files=tmp_path / 'f', warn=lambda *_: None, refuse=lambda *_: None,
            background=Background(),
        )

    def set(self, name, value):
        self.params[name] = value
        self.runner.configure(settings_of(self.params, FLEET))

    def decide(self, cloud):
        """Return a decision; the policy may not be done with it yet."""
        until = time.monotonic() + 30.0
        while time.monotonic() < until:
            choice = self.runner.choose(Conditions(time.monotonic(), problem(cloud)), (0, 1, 2))
            if choice is not None and choice.reason != 'no other plan is known':  # a new policy makes its candidates after it
                return choice
        raise AssertionError('no decision')


@pytest.fixture
def knobs_of(tmp_path):
    made = []

    def make(**given):
        made.append(Knobs(tmp_path, given))
        return made[-1]

    yield make
    for knobs in made:
        knobs.runner.renew()


@pytest.mark.parametrize('name', ['exact', 'q_learning', 'auto'])
def test_a_knob_that_is_set_reaches_the_policy_in_force(knobs_of, name):
    knobs = knobs_of(policy=name, dwell_seconds=0.0, confirmations=1, least_gain=0.3)
    knobs.runner.on_plan(('pi', 'pi'), time.monotonic())
    less = f'{8 if name == "q_learning" else 10} % better, less than the 30 % needed'  # what a switch costs is in it
    assert knobs.decide(0.04).reason.removeprefix('learned: ') == less
    knobs.set('least_gain', 0.05)
    choice = knobs.decide(0.04)
    assert choice.assignment == ('cloud', 'cloud')
    text = choice.reason + knobs.runner.gain_in_words(choice)
    share, new, old = map(float, re.search(r'(\d+) % better: ([\d.]+) instead of ([\d.]+) ms', text).groups())
    assert share == round(100 * (1 - new / old)) == int(less.partition(' ')[0])
    knobs.set('confirmations', 3)
    assert 'waiting for confirmation (1 of 3 decisions)' in knobs.decide(0.04).reason
    knobs.set('confirmations', 1)
    knobs.set('dwell_seconds', 1000.0)
    assert 'waiting out dwell_seconds' in knobs.decide(0.04).reason


def test_knobs_of_learning_reach_the_policy_in_force(knobs_of):
    knobs = knobs_of(policy='auto')
    knobs.decide(0.04)
    for knob, value in (('exploration', 0.3), ('takeover_threshold', 0.7), ('takeover_seconds', 9.0)):
        knobs.set(knob, value)
    knobs.decide(0.04)
    policy = knobs.runner.worker._policy.policy
    assert learner_of(policy).budget.share == 0.3
    assert (policy.takeover.settings.threshold, policy.takeover.settings.hold_seconds) == (0.7, 9.0)
