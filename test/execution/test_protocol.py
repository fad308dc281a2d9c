# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The whole protocol of plans and frames, made of its real parts, over messages that come late, twice, in any order.

Beside the plans' frames there are hedges, which begin with the image or with tensors that the source has made, and shadow
frames under plans that never come into force. Tensors are lost at will.
"""

import random
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from protocol_fleet import DEVICES, LABELS, LARGEST, LAYERS, MODEL, WHOLE, ProtocolFleet, Scheduler, plan_of

from edge_dnn_partition.errors import DeviceError, ModelError, WireError
from edge_dnn_partition.execution.frames.actions import Send
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, TAIL_VERSION, is_hedge, tail_plan
from edge_dnn_partition.execution.frames.ledger import DELIVERED, FAILED, LOST
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.execution.frames.repetition import MOST_DEATHS
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.planning.plans.plan import IMAGE, parse_label

ERRORS = [ModelError('no detections'), WireError('the image is cut off'), DeviceError('no memory'), OSError('who knows')]


class Protocol(ProtocolFleet, RuleBasedStateMachine):
    # What must hold -----------------------------------------------------------------------------------------

    def check(self, frame):
        self.ended.append(frame.frame_number)
        blamed = self.blamed.get(frame.frame_number, [])
        if frame.status == FAILED:
            self.failed += 1
            assert blamed or self.deaths >= MOST_DEATHS, frame.reason
            return
        if frame.status != DELIVERED:
            assert frame.status == LOST and frame.frame_number in self.not_kept
            self.lost += 1
            return
        inputs = self.inputs_of.pop(frame.frame_number)
        assert frame.inputs is inputs or frame.frame_number in self.not_kept
        x = int(inputs.image.data[0])
        a = 31 * x % LARGEST
        b = 31 * (a + int(inputs.values['k'][0])) % LARGEST + 1
        assert {name: int(v[0]) for name, v in frame.outputs.items()} == {'b': b, 'c': 31 * (a + b) % LARGEST + 2}
        ran = {(timing.device, timing.stage) for timing in frame.stages}
        if is_hedge(frame.plan_version):
            assert {device for device, _ in ran} == {'pi'}
            assert len(frame.stages) == 1 if frame.plan_version == HEDGE_VERSION else len(frame.stages) > 1
            return
        sendings = {(timing.queue_seconds, timing.decode_seconds) for timing in frame.stages}
        assert sendings == {(frame.attempt, frame.plan_version)}, 'two sendings are mixed'
        assert frame.plan_version not in self.shadows
        plans = self.given_out[frame.plan_version]
        assert any(ran == {(s.device, i) for i, s in enumerate(plan.stages)} for plan in plans), 'two plans are mixed'

    @invariant()
    def one_plan_or_none(self):
        if self.plans.active is not None and (not self.used or self.used[-1] != self.plans.active):
            assert not self.used or self.plans.active.version > self.used[-1].version
            self.used.append(self.plans.active)
        known = [self.plans.active, *(worker.plans.active for worker in self.workers.values())]
        assert not {plan.version for plan in known if plan is not None} & self.shadows.keys(), 'a shadow plan is in force'
        active = self.scheduler.switch.active if self.scheduler else None
        if active is not None and active.version == self.plans.active_version:
            assert active == self.plans.active, 'scheduler and source mean two plans by one version'
        for worker in self.workers.values():
            known = worker.plans.active
            if known is not None and known.version == self.plans.active_version:
                assert known == self.plans.active

    @invariant()
    def in_order_and_once(self):
        assert self.ended == list(range(1, len(self.ended) + 1))
        counts = self.ledger.counts
        assert counts.accepted == counts.delivered + counts.lost + counts.failed + self.ledger.in_flight

    # What may happen ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.accepts())
    @rule(count=st.integers(1, 3), most=st.integers(1, 4))
    def images(self, count, most):
        self.most = most
        for _ in range(count):
            number = self.ledger.counts.offered % 200 + 1
            image = CameraImage(np.array([number], np.uint8), 'jpeg')
            self.dispatcher.offer(FrameInputs({IMAGE: image, 'k': np.array([7 * number % 100])}), self.now)
            self.carry_out()

    @precondition(lambda self: self.ledger.unfinished and 'pi' in self.workers)
    @rule(index=st.integers(0, 10))
    def hedge(self, index):
        frame = self.ledger.unfinished[index % len(self.ledger.unfinished)]
        if not frame.inputs.values:  # an earlier run kept none
            return
        self.ledger.hedged(frame.frame_number)
        self.send_inputs(frame.inputs, WHOLE, Send(frame.inputs, WHOLE, frame.frame_number, frame.attempt).address)

    @precondition(lambda self: 'pi' in self.workers)
    @rule()
    def tail_follows(self):
        worker = self.workers['pi']
        tail = tail_plan(MODEL, worker.plans.active) if worker.plans.active is not None else None
        if tail != worker.hedges.tail and worker.hedges.hedges.drained(TAIL_VERSION):
            worker.hedges.follow(tail)

    @precondition(lambda self: self.scheduler is not None and self.scheduler.switch.proposal is None)
    @rule(label=st.sampled_from(LABELS))
    def shadow_plan(self, label):
        self.sign_of_life('all')
        plan = plan_of(label, self.scheduler.switch.reserve())
        self.record['last_version'] = plan.version
        self.shadows[plan.version] = plan
        self.air += [(who, 'plan', (plan, PlanStatus.PROPOSED)) for who in DEVICES]

    @precondition(lambda self: self.shadows)
    @rule(index=st.integers(0, 10), drop=st.sampled_from([False, False, True]))
    def shadow_frame(self, index, drop):
        plan = list(self.shadows.values())[index % len(self.shadows)]
        if drop:
            self.air += [(who, 'plan', (plan, PlanStatus.DROPPED)) for who in DEVICES]
            return
        self.dispatcher.shadows.ask(plan, self.now)
        self.repeat_overdue()

    @precondition(lambda self: self.air)
    @rule(index=st.integers(0, 1000), copies=st.sampled_from([0, 0, 0, 1]))
    def something_arrives(self, index, copies):
        message = self.air.pop(index % len(self.air))
        self.air += [message] * copies
        self.deliver(message)

    @rule(seed=st.integers(0, 2**16), steps=st.integers(1, 40))
    def much_happens(self, seed, steps):
        chance = random.Random(seed)
        for _ in range(steps):
            tasks = [device for device, worker in self.workers.items() if worker.tasks]
            jobs = [device for device, worker in self.workers.items() if worker.jobs]
            kind = chance.choice([kind for kind in (self.air, tasks, jobs) if kind] or [None])
            if kind is None:
                return
            if kind is self.air:
                self.deliver(self.air.pop(chance.randrange(len(self.air))))
            elif kind is tasks:
                self.work(chance.choice(tasks))
            else:
                error = chance.choice(ERRORS) if chance.random() < 0.1 else None
                self.run(chance.choice(jobs), chance.randrange(10), error)
            self.one_plan_or_none()

    @precondition(lambda self: any(m[1] == 'tensors' for m in self.air))
    @rule(index=st.integers(0, 1000))
    def tensors_are_lost(self, index):
        lost = [i for i, m in enumerate(self.air) if m[1] == 'tensors']
        del self.air[lost[index % len(lost)]]

    @precondition(lambda self: any(m[:2] == ('source', 'tensors') for m in self.air))
    @rule(index=st.integers(0, 1000))
    def results_come_when_their_frame_was_sent_again(self, index):
        late = [i for i, m in enumerate(self.air) if m[:2] == ('source', 'tensors')]
        message = self.air.pop(late[index % len(late)])
        self.time_passes(25.0)
        self.deliver(message)

    @precondition(lambda self: any(worker.tasks for worker in self.workers.values()))
    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    def prepare(self, data, fails):
        self.work(data.draw(st.sampled_from([d for d, w in self.workers.items() if w.tasks])), fails)

    @precondition(lambda self: any(worker.jobs for worker in self.workers.values()))
    @rule(data=st.data(), index=st.integers(0, 10), error=st.sampled_from([None] * 4 + ERRORS))
    def run_stage(self, data, index, error):
        self.run(data.draw(st.sampled_from([d for d, w in self.workers.items() if w.jobs])), index, error)

    @rule(device=st.sampled_from((*DEVICES, 'source', 'all', 'all', 'all')))
    def sign_of_life(self, device):
        for one in (*DEVICES, 'source') if device == 'all' else (device,):
            self.beat(one)

    @rule(journal=st.booleans())
    def source_is_killed_and_started(self, journal):
        left = self.ledger.unfinished
        done = [frame for frame in self.ledger._frames.values() if frame.status]  # whole, behind one that is not
        self.start_source(self.ledger._next_id)
        self.used = []  # it takes up the plan that it finds, and what comes after that is newer
        for frame in sorted((*left, *done), key=lambda frame: frame.frame_number):
            runs = self.runs[frame.frame_number] = self.runs.get(frame.frame_number, 0) + 1
            self.not_kept |= set() if journal else {frame.frame_number}
            self.dispatcher.restore(frame.frame_number, None if frame.frame_number in self.not_kept else frame.inputs, runs, self.now)
            self.sent_to[frame.frame_number] = {}

    @rule(seconds=st.sampled_from([0.2, 1.5, 4.0, 25.0]))
    def time_passes(self, seconds):
        self.now += seconds
        if self.plans.recall_due(self.now) and 'source' in self.disk:
            self.hear_plan('source', self.disk['source'], PlanStatus.ACTIVE)
        if self.scheduler is not None:
            self.apply(self.scheduler.switch.tick(self.now))
        self.repeat_overdue()
        for device, worker in self.workers.items():
            if worker.plans.recall_due(self.now) and device in self.disk:
                self.hear_plan(device, self.disk[device], PlanStatus.ACTIVE)
            worker.pipeline.expire(self.now)
            worker.hedges.hedges.expire(self.now)
            for version in worker.plans.idle(worker.prepared, worker.pipeline.drained, self.now):
                self.hear_plan(device, worker.prepared[version], PlanStatus.DROPPED)

    @precondition(lambda self: self.scheduler is not None and self.scheduler.switch.proposal is None)
    @rule(label=st.sampled_from(LABELS), seed=st.integers(0, 2**16), steps=st.integers(0, 30))
    def propose(self, label, seed, steps):
        self.sign_of_life('all')
        self.resume()
        devices = {device for device, _, _ in parse_label(label, len(LAYERS))}
        if self.scheduler.earlier is None and {'pi'} | devices <= set(self.scheduler.heard):
            self.propose_to(label)
            self.much_happens(seed, steps)

    @precondition(lambda self: self.scheduler is not None)
    @rule()
    def scheduler_dies(self):
        self.scheduler = None

    @precondition(lambda self: self.scheduler is None)
    @rule(record=st.booleans())
    def scheduler_comes_back(self, record):
        if not record:
            self.record = {'last_version': 0, 'plan': None}
            self.air = [m for m in self.air if m[1] != 'plan']  # what the one before said is not heard any more
        self.new_scheduler()

    def new_scheduler(self):
        self.schedulers += 1
        self.scheduler = Scheduler(self.record, self.now, self.schedulers)

    @precondition(lambda self: self.scheduler is not None)
    @rule(ahead=st.sampled_from([1, 100, 200_000, 2**31 - 1, 2**32 - 1]))
    def a_heartbeat_is_forged(self, ahead):
        self.apply(self.scheduler.switch.on_versions(min(self.scheduler.switch.last_version + ahead, 2**32 - 1)))

    @rule(device=st.sampled_from(DEVICES), again=st.booleans())
    def worker_dies_or_comes(self, device, again):
        if self.workers.pop(device, None) is None or again:
            self.start_worker(device)
            self.deaths += 1

    def teardown(self):
        """The faults end: every accepted frame comes out, under one plan that all agree on."""
        if self.scheduler is None:
            self.new_scheduler()
        for device in DEVICES:
            if device not in self.workers:
                self.start_worker(device)
        for _ in range(200):
            for device in (*DEVICES, 'source'):
                self.beat(device)
            if self.scheduler.switch.proposal is None:
                self.resume()
                if self.scheduler.switch.active is None:
                    self.propose_to(LABELS[3])
            self.quiesce()
            if not self.ledger.in_flight and self.scheduler.switch.active is not None:
                break
            self.time_passes(1.0)
        self.in_order_and_once()
        self.one_plan_or_none()
        assert self.ledger.in_flight == 0, 'a frame has no result'
        assert self.plans.active == self.scheduler.switch.active, 'the source follows another plan than the scheduler thinks'


Protocol.TestCase.settings = settings(max_examples=250, stateful_step_count=60, deadline=None, derandomize=True)
TestProtocol = Protocol.TestCase


def test_the_numbers_of_a_plans_status_are_those_of_the_message():
    text = (Path(__file__).parents[2] / 'msg' / 'Plan.msg').read_text()
    assert all(f'uint8 {status.name}={status.value}\n' in text or f'uint8 {status.name}={status.value} ' in text for status in PlanStatus)
