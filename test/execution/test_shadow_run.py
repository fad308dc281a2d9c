# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Shadow frames at the source: one at a time, each answered, or let go, once."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_dnn_partition.execution.frames.shadow_run import ASKED_SECONDS, FACTOR, FIRST_NUMBER, LEAST_SECONDS, ShadowRun
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan
from edge_dnn_partition.transport.timing import StageTime

PLAN = Plan(3, 'm', 'pi', 'pi', (StagePlan('pi', False, ()),), (), latency_seconds=0.5)
STAGE = StageTime('pi', 0, 0.0, 0.0, 0.1, 0.1)


def test_a_shadow_frame_is_whole_when_its_last_output_is_there():
    run = ShadowRun(outputs=2)
    assert run.begin(0.0) is None
    run.ask(PLAN, 1.0)
    shadow = run.begin(1.5)
    assert (shadow.number, shadow.plan, run.current) == (FIRST_NUMBER, PLAN, shadow)
    assert run.result(shadow.number, ['a'], (STAGE,), (), 1.7) is None
    assert run.result(shadow.number, ['a'], (STAGE,), (), 1.8) is None, 'a repetition'
    assert run.result(7, ['b'], (), (), 1.9) is None, 'another frame'
    whole = run.result(shadow.number, ['b'], (STAGE,), (), 2.0)
    assert (whole.taken_seconds, whole.stages) == (0.5, (STAGE,))
    assert run.result(shadow.number, ['b'], (), (), 2.1) is None
    assert (run.run, run.unanswered, run.current) == (1, 0, None)


def test_old_requests_and_slow_frames_are_let_go():
    run = ShadowRun(outputs=1)
    run.ask(PLAN, 0.0)
    assert run.begin(ASKED_SECONDS + 0.1) is None
    run.ask(PLAN, 10.0)
    shadow = run.begin(10.0)
    assert not run.let_go(10.0 + FACTOR * 0.5 - 0.01)
    assert run.let_go(10.0 + FACTOR * 0.5)
    assert run.result(shadow.number, ['a'], (), (), 13.0) is None
    assert (run.run, run.unanswered) == (0, 1)


class Shadows(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.run = ShadowRun(outputs=1)
        self.now = 0.0
        self.begun = []
        self.finished = set()

    @rule(latency=st.sampled_from([0.0, 0.2, 2.0]))
    def ask(self, latency):
        self.run.ask(Plan(3, 'm', 'pi', 'pi', (), (), latency_seconds=latency), self.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.6, 6.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def begin(self):
        self.run.let_go(self.now)
        busy = self.run.current is not None
        shadow = self.run.begin(self.now)
        assert shadow is None or not busy
        if shadow is not None:
            assert shadow.deadline >= self.now + LEAST_SECONDS
            self.begun.append(shadow.number)

    @rule(data=st.data())
    def answer(self, data):
        if self.begun:
            number = data.draw(st.sampled_from(self.begun))
            whole = self.run.result(number, ['a'], (), (), self.now)
            if whole is not None:
                assert whole.number == self.begun[-1]
                assert number not in self.finished
                self.finished.add(number)

    @rule()
    def forget(self):
        self.run.forget()

    @invariant()
    def counted(self):
        assert self.begun == sorted(set(self.begun))
        assert self.run.run == len(self.finished)
        assert self.run.run + self.run.unanswered <= len(self.begun)


Shadows.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestShadows = Shadows.TestCase
