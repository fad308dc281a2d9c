# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A switch of plans: never two active, versions rise, a drop leaves the old plan."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_dnn_partition.planning.plans.plan import Plan, StagePlan
from edge_dnn_partition.runtime.scheduling.switch import Activate, Drop, PlanSwitch

NAMES = ('pi', 'jetson', 'cloud', 'other')
device = st.sampled_from(NAMES)


class Switching(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.switch = PlanSwitch(prepare_seconds=5.0)
        self.now = 0.0
        self.active = self.proposal = None
        self.proposed_at = 0.0
        self.missing = set()
        self.versions = []

    @rule(devices=st.lists(device, min_size=1, max_size=3), step=st.integers(-1, 2))
    def propose(self, devices, step):
        version = self.switch.next_version() + step
        plan = Plan(version, 'm', 'pi', 'pi', tuple(StagePlan(d, False, ()) for d in devices), ())
        if step < 0:
            with pytest.raises(ValueError, match='given out'):
                self.switch.propose(plan, self.now)
            return
        self.switch.propose(plan, self.now)
        self.versions.append(version)
        self.proposal, self.proposed_at, self.missing = plan, self.now, set(devices)

    def concerns(self, name, age):
        return self.proposal is not None and age == 0 and name in self.proposal.devices

    @rule(name=device, age=st.sampled_from([0, 0, 0, 1]))
    def ready(self, name, age):
        answer = self.switch.ready(name, self.switch.last_version - age)
        if self.concerns(name, age):
            self.missing.discard(name)
        if self.concerns(name, age) and not self.missing:
            assert answer == Activate(self.proposal)
            self.active, self.proposal = self.proposal, None
        else:
            assert answer is None

    @rule(name=device, age=st.sampled_from([0, 0, 1]))
    def failed(self, name, age):
        answer = self.switch.failed(name, self.switch.last_version - age, 'no memory')
        self.dropped(answer, self.concerns(name, age), f'{name}: no memory')

    @rule(name=device)
    def lost(self, name):
        self.dropped(self.switch.lost(name), self.concerns(name, 0), f'{name} is gone')

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.9, 5.0]))
    def tick(self, seconds):
        self.now += seconds
        late = self.proposal is not None and self.now - self.proposed_at >= 5.0
        self.dropped(self.switch.tick(self.now), late, 'did not get ready within 5 s', self.missing)

    @rule(ahead=st.integers(-2, 3))
    def heard(self, ahead):
        version = self.switch.last_version + ahead
        answer = self.switch.heard(version)
        self.dropped(answer, ahead > 0 and self.proposal is not None, f'version {version}')
        if ahead > 0:
            self.active = None
            assert self.switch.next_version() == version + 1

    def dropped(self, answer, expected, words, names=()):
        if not expected:
            assert answer is None
            return
        assert isinstance(answer, Drop)
        assert answer.plan is self.proposal
        assert words in answer.reason
        assert all(name in answer.reason for name in names)
        self.proposal = None

    @invariant()
    def agrees(self):
        assert self.switch.active is self.active
        assert self.switch.proposal is self.proposal
        assert self.versions == sorted(set(self.versions))


Switching.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None, derandomize=True)
TestSwitching = Switching.TestCase
