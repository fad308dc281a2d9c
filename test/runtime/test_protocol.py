# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The whole protocol of plans and frames, made of its real parts, over messages that come late, twice, in any order.

Beside the plans' frames there are hedges, which begin with the picture or with tensors that the source has made, and shadow
frames under plans that never come into force.

What DDS promises is kept to: plans and answers are reliable while both ends live, a node that starts gets the living
scheduler's last plans, and what a scheduler that is gone had said is not heard by who starts later. Tensors are lost at will.
"""

import dataclasses
import random
from pathlib import Path

import numpy as np
import onnx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_dnn_partition.graph.model import Layer, Model
from edge_dnn_partition.planning.compose import compose
from edge_dnn_partition.planning.plan import PICTURE, SOURCE_STAGE, parse_label
from edge_dnn_partition.runtime.hedge import HEDGE_VERSION, TAIL_VERSION, is_hedge
from edge_dnn_partition.runtime.hedge_tail import HedgePipeline, tail_plan
from edge_dnn_partition.runtime.ledger import DELIVERED, LOST, FrameLedger, Picture
from edge_dnn_partition.runtime.pieces import Address
from edge_dnn_partition.runtime.pipeline import FramePipeline, first_device
from edge_dnn_partition.runtime.plan_book import PlanStatus, Prepare, WorkerPlans
from edge_dnn_partition.runtime.shadow_run import FIRST_NUMBER, ShadowRun
from edge_dnn_partition.runtime.source_plans import Patience, SourcePlans
from edge_dnn_partition.runtime.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.runtime.timing import StageTime

DEVICES = ('pi', 'jetson', 'cloud')
HISTORY = 8
PATIENCE = Patience()


def layer(index, reads, makes):
    return Layer(index, f'layer{index}', ('Op',), reads, makes, 0, 0)


LAYERS = (layer(0, ('x',), ('a',)), layer(1, ('a',), ('b',)), layer(2, ('a', 'b'), ('c',)))
MODEL = Model('net', 'a' * 64, 'key', Path(), Path(), LAYERS, {}, ('x',), ('b', 'c'), onnx.ModelProto(), ())
LABELS = (
    'pi:pre-3', 'cloud:pre-3', 'pi:pre-1 cloud:1-3', 'jetson:pre-1 pi:1-2 cloud:2-3', 'cloud:pre-2 jetson:2-3',
    'pi:pre-1 jetson:1-2 pi:2-3',
)  # fmt: skip


def plan_of(label, version):
    return compose(MODEL, parse_label(label, len(LAYERS)), version=version, source='pi', sink='pi')


WHOLE = plan_of('pi:pre-3', HEDGE_VERSION)


class Scheduler:
    """`PlanSwitch` with what nodes/scheduler.py keeps around it: a record, the workers heard of, the topic's history."""

    def __init__(self, record, now):
        self.switch = PlanSwitch(last_version=record['last_version'])
        self.earlier = record['plan']
        self.heard = {}
        self.history = []
        self.now = now


class Worker:
    """`WorkerPlans`, a `FramePipeline` and hedges; preparing and running take a step of their own."""

    def __init__(self, device, incarnation, now, kept_version):
        self.incarnation = incarnation
        self.plans, self.pipeline = WorkerPlans(device=device), FramePipeline(device)
        self.plans.begin(now, kept_version)
        self.prepared, self.tasks, self.jobs = {}, [], []
        self.hedges = HedgePipeline(self.pipeline)
        self.hedges.hedges.add_plan(WHOLE)

    def frames(self, version):
        return self.hedges.hedges if is_hedge(version) else self.pipeline


class Protocol(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now, self.air, self.incarnations = 0.0, [], 0
        self.record = {'last_version': 0, 'plan': None}
        self.disk = {}
        self.scheduler = Scheduler(self.record, self.now)
        self.workers = {}
        for device in DEVICES:
            self.start_worker(device)
        self.start_source(1)
        self.given_out, self.used, self.ended, self.said_ready = {}, [], [], set()
        self.pictures_of, self.runs, self.shadows, self.picture, self.lost = {}, {}, {}, None, 0
        self.sign_of_life('all')
        self.propose_to(LABELS[0])
        self.quiesce()

    # What nodes do ------------------------------------------------------------------------------------------

    def kept_version(self, who):
        return self.disk[who].version if who in self.disk else 0

    def start_source(self, first_id):
        self.plans, self.ledger = SourcePlans(), FrameLedger(waiting=1000, attempts=1000, first_id=first_id)
        self.plans.begin(self.now, self.kept_version('source'))
        self.shadow = ShadowRun(len(MODEL.outputs))
        self.heard_by_source, self.sent_to = {}, {}
        if self.scheduler is not None:
            self.air = [m for m in self.air if m[:2] != ('source', 'plan')]
            self.air += [('source', 'plan', message) for message in self.scheduler.history]

    def start_worker(self, device):
        self.incarnations += 1
        self.workers[device] = Worker(device, self.incarnations, self.now, self.kept_version(device))
        self.air = [m for m in self.air if m[0] != device]
        if self.scheduler is not None:
            self.air += [(device, 'plan', message) for message in self.scheduler.history]

    def publish(self, plan, status):
        self.scheduler.history = [*self.scheduler.history, (plan, status)][-HISTORY:]
        self.air += [(who, 'plan', (plan, status)) for who in ('source', *DEVICES)]

    def apply(self, outcome):
        if isinstance(outcome, Activate):
            assert {(device, outcome.plan.version) for device in outcome.plan.devices} <= self.said_ready
            self.record['plan'] = outcome.plan
            self.publish(outcome.plan, PlanStatus.ACTIVE)
        elif isinstance(outcome, Drop):
            self.publish(outcome.plan, PlanStatus.DROPPED)

    def propose_to(self, label):
        plan = plan_of(label, self.scheduler.switch.next_version())
        if self.shadows.pop(plan.version, None) is not None:  # one that nobody had heard of when its scheduler lost its record
            assert all(plan.version not in worker.prepared for worker in self.workers.values())
        self.scheduler.switch.propose(plan, self.now)
        self.record['last_version'] = plan.version
        self.given_out.setdefault(plan.version, []).append(plan)
        self.publish(plan, PlanStatus.PROPOSED)

    def beat(self, device):
        """A worker's sign of life, or the source's, reaches who listens."""
        if device == 'source':
            incarnation, last, prepared = 0, self.plans.last_version, frozenset()
        elif device in self.workers:
            worker = self.workers[device]
            incarnation, last, prepared = worker.incarnation, worker.plans.last_version, frozenset(worker.prepared)
            self.plans.heartbeat(device, incarnation, self.now)
            self.heard_by_source[device] = incarnation
        else:
            return
        if self.scheduler is None:
            return
        self.apply(self.scheduler.switch.heard(last))
        plans = self.plans if device == 'source' else self.workers[device].plans
        unheard = self.scheduler.switch.unheard(plans.active_version)
        if unheard is not None:
            self.publish(unheard, PlanStatus.ACTIVE)
        known = self.scheduler.heard.get(device)
        if known is not None and known[0] != incarnation:
            self.apply(self.scheduler.switch.lost(device))
        if device != 'source':
            self.scheduler.heard[device] = (incarnation, prepared)

    def take_up(self):
        """Go on with the plan in force when the scheduler before ended, if all its devices still have it."""
        plan, scheduler = self.scheduler.earlier, self.scheduler
        if plan is None or not set(plan.devices) <= set(scheduler.heard):
            return
        has_it = all(plan.version in scheduler.heard[device][1] for device in plan.devices)
        if has_it and plan.version >= scheduler.switch.last_version and scheduler.switch.active is None:
            scheduler.switch.adopt(plan)
            self.publish(plan, PlanStatus.ACTIVE)
        scheduler.earlier = None

    def hear_plan(self, who, plan, status):
        if who == 'source':
            if self.plans.hear(plan, status):
                self.disk['source'] = plan
                self.plans.tidy({frame.plan_version for frame in self.ledger.unfinished})
                self.repeat_overdue()
            return
        worker = self.workers[who]
        if worker.plans.hear(plan, status):
            self.disk[who] = plan
        task = worker.plans.task(plan, status, worker.prepared)
        if task is not None:
            worker.tasks.append(task)

    def work(self, device, fails=False):
        """Do a worker's next task."""
        worker = self.workers[device]
        task = worker.tasks.pop(0)
        if not isinstance(task, Prepare):
            worker.pipeline.remove_plan(task.version)
            worker.prepared.pop(task.version, None)
        elif fails and task.plan.version not in worker.prepared:
            self.air.append(('scheduler', 'failed', (device, worker.incarnation, task.plan.version)))
        else:
            if task.plan.version not in worker.prepared:
                worker.prepared[task.plan.version] = task.plan
                worker.pipeline.add_plan(task.plan)
            self.said_ready.add((device, task.plan.version))
            self.air.append(('scheduler', 'ready', (device, worker.incarnation, task.plan.version)))

    def run(self, device, index):
        """Run one of a worker's stages."""
        worker = self.workers[device]
        job = worker.jobs.pop(index % len(worker.jobs))
        pipeline, address = worker.frames(job.frame.address.plan_version), job.frame.address
        if not pipeline.current(job):
            return
        stage = job.frame.part.plan.stages[job.stage]
        made = {name: int(array[0]) for name, array in job.inputs.items()}
        if stage.preprocess:
            made['x'] = made[PICTURE]
        for i in stage.layer_indices:
            made.update({name: 31 * sum(made[n] for n in LAYERS[i].inputs) + i for name in LAYERS[i].outputs})
        timing = StageTime(device, job.stage, float(address.attempt), float(address.plan_version), 0.0, 0.0)
        outputs = {name: np.array([made[name]]) for name in stage.outputs}
        sends, jobs = pipeline.finished(job, outputs, timing, self.now)
        worker.jobs += jobs + worker.hedges.settle(self.now)
        where = dataclasses.replace(address, from_stage=job.stage)
        for (target, to_sink), tensors, _ in sends:
            self.air.append(('source' if to_sink else target, 'tensors', (where, tensors, job.frame.stages)))

    def send(self, frame):
        plan = self.plans.active
        self.plans.sent(frame.frame_id, plan)
        self.sent_to[frame.frame_id] = {device: self.heard_by_source.get(device) for device in plan.devices}
        self.send_picture(frame.picture, plan, frame.frame_id, frame.attempt)

    def send_picture(self, picture, plan, number, attempt):
        address = Address(MODEL.sha256, plan.version, number, attempt, SOURCE_STAGE)
        self.air.append((first_device(plan), 'tensors', (address, {PICTURE: picture.data}, ())))

    def repeat_overdue(self):
        if self.plans.active is None:
            return
        for frame in self.ledger.unfinished:
            if self.plans.overdue(frame, self.now, PATIENCE):
                self.send(self.ledger.repeat(frame.frame_id, self.now, self.plans.active.version))
        for frame in self.ledger.unfinished:
            for device, incarnation in self.sent_to[frame.frame_id].items():
                assert incarnation in (None, self.heard_by_source.get(device)), 'a frame waits for a worker that was started anew'

    def receive(self, who, address, tensors, stages):
        if who != 'source':
            worker = self.workers[who]
            if address.plan_version == HEDGE_VERSION:
                worker.jobs += worker.hedges.receive(address, tensors, {}, (), self.now)
            elif address.plan_version in worker.pipeline.parts:  # else it is refused
                worker.jobs += worker.pipeline.receive(address, tensors, {}, stages, (), self.now)
            return
        if address.frame_id >= FIRST_NUMBER:
            self.shadow.result(address.frame_id, tensors, stages, (), self.now)
            return
        outputs = {name: array for name, array in tensors.items() if name in MODEL.outputs}
        self.ledger.result(
            address.frame_id, address.attempt, address.plan_version, outputs, stages, (), len(MODEL.outputs), self.now)
        self.release()

    def release(self):
        for frame in self.ledger.release():
            self.plans.done(frame.frame_id)
            self.check(frame)

    def deliver(self, message):
        who, kind, payload = message
        if who in DEVICES and who not in self.workers:
            return
        if kind == 'plan':
            self.hear_plan(who, *payload)
        elif kind == 'tensors':
            self.receive(who, *payload)
        elif self.scheduler is not None:
            device, incarnation, version = payload
            if self.scheduler.heard.get(device, (incarnation,))[0] == incarnation:
                switch = self.scheduler.switch
                self.apply(switch.ready(device, version) if kind == 'ready' else switch.failed(device, version, 'no memory'))

    # What must hold -----------------------------------------------------------------------------------------

    def check(self, frame):
        self.ended.append(frame.frame_id)
        if frame.status == LOST:
            self.lost += 1
            return
        assert frame.status == DELIVERED
        self.picture = frame.picture
        assert frame.picture is self.pictures_of.pop(frame.frame_id)
        x = int(frame.picture.data[0])
        a = 31 * x
        b = 31 * a + 1
        assert {name: int(v[0]) for name, v in frame.outputs.items()} == {'b': b, 'c': 31 * (a + b) + 2}
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
        assert counts.accepted == counts.delivered + counts.lost + self.ledger.in_flight

    # What may happen ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.plans.active is not None)
    @rule(count=st.integers(1, 3), most=st.integers(1, 4))
    def pictures(self, count, most):
        for _ in range(count):
            self.ledger.offer(Picture(np.array([self.ledger.counts.offered % 200 + 1], np.uint8), 'jpeg'))
            frame = self.ledger.accept(self.now, self.plans.active.version, most)
            if frame is not None:
                self.pictures_of[frame.frame_id] = frame.picture
                self.send(frame)

    @precondition(lambda self: self.ledger.unfinished and 'pi' in self.workers)
    @rule(index=st.integers(0, 10))
    def hedge(self, index):
        frame = self.ledger.unfinished[index % len(self.ledger.unfinished)]
        self.ledger.hedged(frame.frame_id)
        self.send_picture(frame.picture, WHOLE, frame.frame_id, frame.attempt)

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

    @precondition(lambda self: self.shadows and self.picture is not None and not self.ledger.in_flight)
    @rule(index=st.integers(0, 10), drop=st.sampled_from([False, False, True]))
    def shadow_frame(self, index, drop):
        plan = list(self.shadows.values())[index % len(self.shadows)]
        if drop:
            self.air += [(who, 'plan', (plan, PlanStatus.DROPPED)) for who in DEVICES]
            return
        self.shadow.ask(plan, self.now)
        shadow = self.shadow.begin(self.now)
        if shadow is not None:
            self.send_picture(self.picture, plan, shadow.number, 0)

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
                self.run(chance.choice(jobs), chance.randrange(10))
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
    @rule(data=st.data(), index=st.integers(0, 10))
    def run_stage(self, data, index):
        self.run(data.draw(st.sampled_from([d for d, w in self.workers.items() if w.jobs])), index)

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
        for frame in sorted((*left, *done), key=lambda frame: frame.frame_id):
            runs = self.runs[frame.frame_id] = self.runs.get(frame.frame_id, 0) + 1
            self.ledger.restore(frame.frame_id, frame.picture, self.now, runs)
            self.sent_to[frame.frame_id] = {}
            if not journal:
                self.ledger.lose(frame.frame_id, self.now)
        self.release()

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
        self.take_up()
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
        self.scheduler = Scheduler(self.record, self.now)

    @rule(device=st.sampled_from(DEVICES), again=st.booleans())
    def worker_dies_or_comes(self, device, again):
        if self.workers.pop(device, None) is None or again:
            self.start_worker(device)

    def teardown(self):
        """The faults end: every accepted frame comes out, under one plan that all agree on."""
        if self.scheduler is None:
            self.scheduler = Scheduler(self.record, self.now)
        for device in DEVICES:
            if device not in self.workers:
                self.start_worker(device)
        for _ in range(200):
            for device in (*DEVICES, 'source'):
                self.beat(device)
            if self.scheduler.switch.proposal is None:
                self.take_up()
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

    def quiesce(self):
        """Let everything happen that can without time passing."""
        while True:
            if self.air:
                self.deliver(self.air.pop(0))
            elif busy := [d for d, w in self.workers.items() if w.tasks]:
                self.work(busy[0])
            elif busy := [d for d, w in self.workers.items() if w.jobs]:
                self.run(busy[0], 0)
            else:
                return


Protocol.TestCase.settings = settings(max_examples=250, stateful_step_count=60, deadline=None, derandomize=True)
TestProtocol = Protocol.TestCase


def test_the_numbers_of_a_plans_status_are_those_of_the_message():
    text = (Path(__file__).parents[2] / 'msg' / 'Plan.msg').read_text()
    assert all(f'uint8 {status.name}={status.value}\n' in text or f'uint8 {status.name}={status.value} ' in text for status in PlanStatus)
