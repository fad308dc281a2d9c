# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A parameter that is set while the scheduler runs reaches the policy in force; the figures of a reason are its percentage's."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.control.decision.policies import learner_of
from edge_dnn_partition.control.decision.policy import Conditions
from edge_dnn_partition.deployment.node_parameters import SCHEDULER
from edge_dnn_partition.nodes.scheduling.policy_controller import PolicyController
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import parse_fleet

FLEET = parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'cloud': {}}})


class Parameters(dict):
    """A scheduler's, at their defaults but for what is given; `set` tells who asked for it."""

    def __init__(self, **given):
        super().__init__({parameter.name: parameter.default for parameter in SCHEDULER} | given)
        self.number = self.whole = self.text = self.get
        self.asked = []

    def on_change(self, call, name):
        self.asked.append((name, call))

    def set(self, name, value):
        self[name] = value
        for asked, call in self.asked:
            if asked == name:
                call(name, value)


def problem(cloud):
    return Problem(
        source='pi', sink='pi', devices=(Device(name='pi'), Device(name='cloud')),
        links=tuple(Link(sender=a, reader=b, bytes_per_second=1e7, latency_seconds=0.0) for a, b in (('pi', 'cloud'), ('cloud', 'pi'))),
        node_names=('a', 'b'),
        tensors=(Tensor(name='in', producer=INPUT, readers=(0,), bytes=1e5), Tensor(name='ab', producer=0, readers=(1,), bytes=1e6)),
        seconds=np.array([[0.05, cloud]] * 2), weight_bytes=np.zeros(2),
    )  # fmt: skip


@pytest.fixture(name='controller_of')
def _controller_of(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path))
    controllers = []

    def make(**given):
        params = Parameters(**given)
        controllers.append(PolicyController(SimpleNamespace(
            params=params, topics=SimpleNamespace(fleet='f', calibration=''), refuse=lambda *_: None,
            advertise=lambda *_, **__: SimpleNamespace(publish=lambda _: None),
        ), FLEET, 'a' * 64))  # fmt: skip
        return controllers[-1], params

    yield make
    for controller in controllers:
        controller.renew()


def decide(controller, cloud):
    """Return a decision; the controller may say that it is not done yet."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        choice = controller.choose(Conditions(time.monotonic(), problem(cloud)), (0, 1, 2))
        if choice is not None and choice.reason != 'no other plan is known':  # a policy that has just begun tends its plans after it
            return choice
    raise AssertionError('no decision')


@pytest.mark.parametrize('name', ['exact', 'q_learning', 'auto'])
def test_a_knob_that_is_set_reaches_the_policy_in_force(controller_of, name):
    controller, params = controller_of(policy=name, dwell_seconds=0.0, confirmations=1, least_gain=0.3)
    controller.in_force(('pi', 'pi'), time.monotonic())
    less = f'{8 if name == "q_learning" else 10} % better, less than the 30 % that is needed'  # what a switch costs is in it
    assert decide(controller, 0.04).reason.removeprefix('learned: ') == less
    params.set('least_gain', 0.05)
    choice = decide(controller, 0.04)
    assert choice.assignment == ('cloud', 'cloud')
    text = choice.reason + controller.gain_in_words(choice)
    share, new, old = map(float, re.search(r'(\d+) % better: ([\d.]+) instead of ([\d.]+) ms', text).groups())
    assert share == round(100 * (1 - new / old)) == int(less.partition(' ')[0])
    params.set('confirmations', 3)
    assert 'to be confirmed (1 of 3 decisions)' in decide(controller, 0.04).reason
    params.set('confirmations', 1)
    params.set('dwell_seconds', 1000.0)
    assert 'waiting out dwell_seconds' in decide(controller, 0.04).reason


def test_knobs_of_learning_reach_the_policy_in_force(controller_of):
    controller, params = controller_of(policy='auto')
    decide(controller, 0.04)
    for knob, value in (('exploration', 0.3), ('takeover_threshold', 0.7), ('takeover_seconds', 9.0)):
        params.set(knob, value)
    decide(controller, 0.04)
    policy = controller.decider._policy.policy
    assert learner_of(policy).budget.share == 0.3
    assert (policy.takeover.settings.threshold, policy.takeover.settings.hold_seconds) == (0.7, 9.0)
