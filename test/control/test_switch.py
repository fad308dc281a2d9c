# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A switch of plans: never two active, versions rise, a drop leaves the old plan."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_dnn_partition.control.scheduling.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.plan_registry import PlanRegistry, PlanStatus
from edge_dnn_partition.planning.plans.plan import LARGEST_VERSION, Plan, StagePlan

NAMES = ('pi', 'jetson', 'cloud', 'other')
device = st.sampled_from(NAMES)


class Switching(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.switch = PlanSwitch(7, prepare_seconds=5.0)
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
            with pytest.raises(ValueError, match='in use already'):
                self.switch.propose(plan, self.now)
            return
        plan = self.switch.propose(plan, self.now)
        assert plan.scheduler == 7
        self.versions.append(version)
        self.proposal, self.proposed_at, self.missing = plan, self.now, set(devices)

    def concerns(self, name, age):
        return self.proposal is not None and age == 0 and name in self.proposal.devices

    @rule(name=device, age=st.sampled_from([0, 0, 0, 1]), scheduler=st.sampled_from([7, 7, 7, 8]))
    def ready(self, name, age, scheduler):
        answer = self.switch.ready(name, self.switch.last_version - age, scheduler)
        age += scheduler != 7
        if self.concerns(name, age):
            self.missing.discard(name)
        if self.concerns(name, age) and not self.missing:
            assert answer == Activate(self.proposal)
            self.active, self.proposal = self.proposal, None
        else:
            assert answer is None

    @rule(name=device, age=st.sampled_from([0, 0, 1]))
    def failed(self, name, age):
        answer = self.switch.failed(name, self.switch.last_version - age, 7, 'no memory')
        self.dropped(answer, self.concerns(name, age), f'{name}: no memory')

    @rule(name=device)
    def lost(self, name):
        self.dropped(self.switch.lost(name), self.concerns(name, 0), f'{name} is gone')

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.9, 5.0]))
    def tick(self, seconds):
        self.now += seconds
        late = self.proposal is not None and self.now - self.proposed_at >= 5.0
        self.dropped(self.switch.tick(self.now), late, 'not ready within 5 s', self.missing)

    @rule(ahead=st.integers(-2, 3))
    def heard(self, ahead):
        version = self.switch.last_version + ahead
        answer = self.switch.on_versions(version)
        self.dropped(answer, ahead > 0 and self.proposal is not None, f'version {version}')
        if ahead > 0:
            self.active = None
            assert self.switch.next_version() == version + 1

    @rule(version=st.integers(0, 2**32 - 1))
    def forged(self, version):
        if version > self.switch.last_version + 100_000:
            assert self.switch.on_versions(version) is None

    @rule()
    def followed_by_another(self):
        """Somebody follows another scheduler's plan of the same version."""
        if self.active is not None:
            answer = self.switch.on_versions(self.active.version, self.active.version, 8)
            self.dropped(answer, self.proposal is not None, f'version {self.active.version}')
            self.active = None

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
        assert set(self.switch.unprepared) == (self.missing if self.proposal is not None else set())
        assert self.versions == sorted(set(self.versions))


Switching.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None, derandomize=True)
TestSwitching = Switching.TestCase


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=8), st.lists(st.integers(1, LARGEST_VERSION), min_size=1, max_size=3))
def test_whatever_versions_are_made_up_a_plan_is_followed_in_the_end(forged, followed):
    """Heartbeats are forged at the scheduler, plans at the nodes: a few proposals later all follow the scheduler again."""
    switch, books = PlanSwitch(7), [PlanRegistry() for _ in followed]
    for version in forged:
        switch.on_versions(version)
    for book, version in zip(books, followed, strict=True):
        book.on_plan(Plan(version, 'm', 'pi', 'pi', (), (), scheduler=1), PlanStatus.ACTIVE)
    for _ in range(len(books) + 2):
        for book in books:
            switch.on_versions(book.last_version, book.active_version, book.active_scheduler)
        if switch.active is None:
            plan = Plan(switch.next_version(), 'm', 'pi', 'pi', (StagePlan('pi', True, ()),), ())
            switch.ready('pi', plan.version, switch.propose(plan, 0.0).scheduler)
        for book in books:
            if (plan := switch.to_repeat(book.active_version)) is not None:
                book.on_plan(plan, PlanStatus.ACTIVE)
    assert all(book.active == switch.active for book in books)


def test_versions_begin_anew_where_there_are_no_more():
    switch, book = PlanSwitch(7, last_version=LARGEST_VERSION - 1), PlanRegistry()
    for expected in (LARGEST_VERSION, 1, 2):
        plan = Plan(switch.next_version(), 'm', 'pi', 'pi', (StagePlan('pi', True, ()),), ())
        assert plan.version == expected
        switch.propose(plan, 0.0)
        activated = switch.ready('pi', plan.version, 7).plan
        assert book.on_plan(activated, PlanStatus.ACTIVE)
    for version in (0, LARGEST_VERSION + 1, 2**32 - 1):
        with pytest.raises(PlanError, match='versions go from 1'):
            book.on_plan(Plan(version, 'm', 'pi', 'pi', (), ()), PlanStatus.ACTIVE)
    assert book.active_version == 2
