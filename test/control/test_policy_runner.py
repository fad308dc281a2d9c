# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy on its thread: asked in order, its failures told, what it learned kept."""

import threading

import pytest

from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.decision.policies import LEARNING, learner_of, policy_of
from edge_dnn_partition.control.decision.policy import Choice, Conditions, Frame, StillPolicy
from edge_dnn_partition.control.scheduling.policy_runner import PolicyWorker
from edge_dnn_partition.planning.cost_model.costs_json import from_costs_json

DEVICES = ['pi', 'cloud']


def problem(cloud=0.001):
    return from_costs_json({
        'source': 'pi', 'sink': 'pi', 'input_bytes': 1000, 'devices': {name: {} for name in DEVICES},
        'links': [{'from': a, 'to': b, 'bytes_per_second': 1e6, 'latency_seconds': 0.001}
                  for a, b in (('pi', 'cloud'), ('cloud', 'pi'))],
        'layers': [{'name': f'l{i}', 'inputs': [i - 1], 'output_bytes': 1000, 'weight_bytes': 0,
                    'seconds': {'pi': 0.02, 'cloud': cloud}} for i in range(4)],
    })  # fmt: skip


@pytest.mark.parametrize('name', ['exact', *LEARNING])
def test_it_chooses_on_its_own_thread_and_keeps_what_it_learned(tmp_path, name):
    file, complaints = tmp_path / 'learned.json', []
    decider = PolicyWorker(policy_of(name, Settings()), file, 'key', complaints.append)
    plan, now = None, 0.0
    for step in range(40):
        now = step / 4
        choice = decider.choose(Conditions(now, problem())).result(10)
        if choice.assignment is not None:
            plan = choice.assignment
            decider.moved(now, plan)
        assert 0 < decider.thought_seconds < 5
        decider.learn(Frame(now, plan, 0.01))
    assert plan == ('cloud',) * 4
    decider.close(10)
    assert file.exists() == (name in LEARNING)
    policy = policy_of(name, Settings())
    again = PolicyWorker(policy, file, 'key', complaints.append)
    assert again.choose(Conditions(now + 1, problem())).result(10).assignment == plan
    again.close(10)
    if name in LEARNING:
        assert plan in learner_of(policy).candidates.plans
    assert complaints == []


def test_a_damaged_file_is_told_and_does_no_harm(tmp_path):
    file, complaints = tmp_path / 'learned.json', []
    file.write_text('{')
    decider = PolicyWorker(policy_of('q_learning', Settings()), file, 'key', complaints.append)
    assert decider.choose(Conditions(0.0, problem())).result(10).assignment is not None
    assert len(complaints) == 1
    assert 'delete the file' in complaints[0]
    decider.close(10)


class Failing(StillPolicy):
    def __init__(self):
        self.threads = set()

    def choose(self, conditions):
        self.threads.add(threading.current_thread())
        if conditions.now < 1:
            raise ZeroDivisionError
        return Choice(None, 'fine')

    def moved(self, now, plan):
        raise ZeroDivisionError


def test_a_failure_reaches_who_asked_and_the_thread_goes_on():
    policy, complaints = Failing(), []
    decider = PolicyWorker(policy, None, '', complaints.append)
    with pytest.raises(ZeroDivisionError):
        decider.choose(Conditions(0.0, None)).result(10)
    decider.moved(0.5, ('pi',))
    assert decider.choose(Conditions(1.0, None)).result(10).reason == 'fine'
    decider.close(10)
    assert len(policy.threads) == 1
    assert threading.current_thread() not in policy.threads
    assert len(complaints) == 1
    assert 'ZeroDivisionError' in complaints[0]


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match='greedy'):
        policy_of('greedy', Settings())
