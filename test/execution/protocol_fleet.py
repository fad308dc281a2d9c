# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet for test_protocol.py: the real parts of scheduler, workers and frame source, and the messages between them.

What DDS promises is kept to: plans and answers are reliable while both ends live, a node that starts gets the living
scheduler's last plans, and what a scheduler that is gone had said is not heard by who starts later.

A frame has two inputs, an image and the tensor ``k``, which layer 1 reads.
"""

import dataclasses
from pathlib import Path

import numpy as np
import onnx

from edge_dnn_partition.control.scheduling.switch import Activate, Drop, PlanSwitch
from edge_dnn_partition.errors import NotReadyError, WireError
from edge_dnn_partition.execution.frames.actions import Accepted, Ended, Send
from edge_dnn_partition.execution.frames.dispatcher import FrameDispatcher
from edge_dnn_partition.execution.frames.failure import Failure, kind_of
from edge_dnn_partition.execution.frames.hedge import HEDGE_VERSION, HedgePipeline, is_hedge
from edge_dnn_partition.execution.frames.kept_states import KeptStates
from edge_dnn_partition.execution.frames.ledger import FrameLedger
from edge_dnn_partition.execution.frames.pipeline import FramePipeline, deliveries
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus, Prepare, WorkerPlans
from edge_dnn_partition.execution.frames.repetition import Patience
from edge_dnn_partition.execution.frames.settings import Settings
from edge_dnn_partition.execution.frames.shadow_run import FIRST_NUMBER
from edge_dnn_partition.graph.model import Layer, Model
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.plan import IMAGE, parse_label
from edge_dnn_partition.transport.timing import StageTime

DEVICES = ('pi', 'jetson', 'cloud')
HISTORY = 8
LARGEST = 1_000_003
PATIENCE = Patience()


def layer(index, reads, makes):
    return Layer(index, f'layer{index}', ('Op',), reads, makes, 0, 0)


LAYERS = (layer(0, ('x',), ('a',)), layer(1, ('a', 'k'), ('b',)), layer(2, ('a', 'b'), ('c',)))
MODEL = Model('net', 'a' * 64, 'key', Path(), Path(), LAYERS, {}, ('x', 'k'), ('b', 'c'), onnx.ModelProto(), ())
LABELS = (
    'pi:pre-3', 'cloud:pre-3', 'pi:pre-1 cloud:1-3', 'jetson:pre-1 pi:1-2 cloud:2-3', 'cloud:pre-2 jetson:2-3',
    'pi:pre-1 jetson:1-2 pi:2-3',
)  # fmt: skip


def plan_of(label, version, model=MODEL):
    label += ' pi:3-4' * (len(model.layers) - len(LAYERS))
    return compose(model, parse_label(label, len(model.layers)), version=version, source='pi', sink='pi')


WHOLE = plan_of('pi:pre-3', HEDGE_VERSION)


class Scheduler:
    """`PlanSwitch` with what nodes/scheduler.py keeps around it: a record, the workers heard of, the topic's history."""

    def __init__(self, record, now, incarnation):
        self.switch = PlanSwitch(incarnation, last_version=record['last_version'])
        self.earlier = record['plan']
        self.heard = {}
        self.history = []
        self.now = now


class Worker:
    """`WorkerPlans`, a `FramePipeline` and hedges; preparing and running take a step of their own."""

    def __init__(self, device, incarnation, now, kept_version, model):
        self.incarnation = incarnation
        states = KeptStates(model) if model.states else None
        self.plans, self.pipeline = WorkerPlans(device=device), FramePipeline(device, states=states)
        self.plans.begin(now, kept_version)
        self.prepared, self.tasks, self.jobs = {}, [], []
        self.hedges = HedgePipeline(self.pipeline)
        self.hedges.hedges.add_plan(WHOLE)

    def frames(self, version):
        return self.hedges.hedges if is_hedge(version) else self.pipeline


class ProtocolFleet:
    """What is in the air arrives when it is told to; ``check`` looks at every frame that comes out."""

    model = MODEL

    def __init__(self):
        super().__init__()
        self.now, self.air, self.incarnations = 0.0, [], 0
        self.record = {'last_version': 0, 'plan': None}
        self.disk = {}
        self.scheduler = Scheduler(self.record, self.now, 1)
        self.schedulers = 1
        self.workers, self.most = {}, 1
        for device in DEVICES:
            self.start_worker(device)
        self.start_source(1)
        self.given_out, self.used, self.ended, self.said_ready = {}, [], [], set()
        self.blamed = {}
        self.inputs_of, self.runs, self.shadows, self.not_kept, self.lost = {}, {}, {}, set(), 0
        self.failed = self.deaths = 0
        self.sign_of_life('all')
        self.propose_to(LABELS[0])
        self.quiesce()

    def kept_version(self, who):
        return self.disk[who].version if who in self.disk else 0

    def start_source(self, first_id):
        ledger = FrameLedger(waiting=1000, attempts=1000, first_id=first_id)
        settings = lambda: Settings(self.most, patience=PATIENCE)  # noqa: E731
        self.dispatcher = FrameDispatcher(self.model, 'pi', ledger, self, settings, states=self.tracker())
        self.plans, self.ledger = self.dispatcher.plans, ledger
        self.plans.begin(self.now, self.kept_version('source'))
        self.dispatcher.begin(self.now)
        self.heard_by_source, self.sent_to = {}, {}
        if self.scheduler is not None:
            self.air = [m for m in self.air if m[:2] != ('source', 'plan')]
            self.air += [('source', 'plan', message) for message in self.scheduler.history]

    def tracker(self):
        """Return what follows the model's state."""

    def start_worker(self, device):
        self.incarnations += 1
        self.workers[device] = Worker(device, self.incarnations, self.now, self.kept_version(device), self.model)
        self.air = [m for m in self.air if m[0] != device]
        if device in self.disk and (task := self.workers[device].plans.task(self.disk[device], PlanStatus.PROPOSED, ())) is not None:
            self.workers[device].tasks.append(task)
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
        plan = plan_of(label, self.scheduler.switch.next_version(), self.model)
        if self.shadows.pop(plan.version, None) is not None:  # one that nobody had heard of when its scheduler lost its record
            assert all(plan.version not in worker.prepared for worker in self.workers.values())
        plan = self.scheduler.switch.propose(plan, self.now)
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
            self.dispatcher.on_heartbeat(device, incarnation, worker.pipeline.parts, self.now)
            self.heard_by_source[device] = incarnation
            self.repeat_overdue()
        else:
            return
        if self.scheduler is None:
            return
        plans = self.plans if device == 'source' else self.workers[device].plans
        self.apply(self.scheduler.switch.on_versions(last, plans.active_version, plans.active_scheduler))
        unheard = self.scheduler.switch.to_repeat(plans.active_version)
        if unheard is not None:
            self.publish(unheard, PlanStatus.ACTIVE)
        known = self.scheduler.heard.get(device)
        if known is not None and known[0] != incarnation:
            self.apply(self.scheduler.switch.lost(device))
        if device != 'source':
            self.scheduler.heard[device] = (incarnation, prepared)

    def resume(self):
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
            if self.dispatcher.on_plan(plan, status):
                self.disk['source'] = plan
                self.repeat_overdue()
            return
        worker = self.workers[who]
        if worker.plans.on_plan(plan, status):
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
            self.air.append(('scheduler', 'failed', (device, worker.incarnation, task.plan.version, task.plan.scheduler)))
        else:
            known = worker.prepared.get(task.plan.version)
            if known is not None and known.scheduler != task.plan.scheduler:
                worker.pipeline.remove_plan(task.plan.version)
                known = None
            if known is None:
                worker.prepared[task.plan.version] = task.plan
                worker.pipeline.add_plan(task.plan)
            self.said_ready.add((device, task.plan.version))
            self.air.append(('scheduler', 'ready', (device, worker.incarnation, task.plan.version, task.plan.scheduler)))

    def run(self, device, index, error=None):
        """Run one of a worker's stages.

        :param error: what it raises.
        """
        worker = self.workers[device]
        job = worker.jobs.pop(index % len(worker.jobs))
        pipeline, address = worker.frames(job.frame.address.plan_version), job.frame.address
        if not pipeline.current(job):
            return
        if error is not None:
            pipeline.failed(job)
            self.blamed.setdefault(address.frame_number, []).append(error)
            self.fail(device, address, job.stage, error)
            worker.jobs += worker.hedges.settle(self.now)
            return
        stage = job.frame.part.plan.stages[job.stage]
        made = {name: int(array[0]) for name, array in job.inputs.items()}
        if stage.preprocess:
            made['x'] = made[IMAGE]
        for i in stage.layer_indices:
            one = self.model.layers[i]
            made.update({name: 31 * sum(made[n] for n in one.inputs) % LARGEST + i for name in one.outputs})
        timing = StageTime(device, job.stage, float(address.attempt), float(address.plan_version), 0.0, 0.0)
        outputs = {name: np.array([made[name]]) for name in stage.outputs}
        sends, jobs = pipeline.finished(job, outputs, timing, self.now)
        worker.jobs += jobs + worker.hedges.settle(self.now)
        where = dataclasses.replace(address, from_stage=job.stage)
        for (target, to_sink), tensors, _ in sends:
            self.air.append(('source' if to_sink else target, 'tensors', (where, tensors, job.frame.stages)))

    def accepts(self):
        """Return whether the source accepts images."""
        active = self.plans.active
        suspects = [frame for frame in self.ledger.unfinished if self.plans.suspect(frame.frame_number)]
        return active is not None and self.plans.prepared(active) and not suspects

    def waits(self, frame):
        """Return whether there is a reason why a lost frame is not sent: no plan is prepared, or an earlier one may kill workers."""
        active, suspects = self.plans.active, [f for f in self.ledger.unfinished if self.plans.suspect(f.frame_number)]
        return active is None or not self.plans.prepared(active) or frame in suspects[1:]

    def reaches(self, plan):
        return True

    def seconds_left(self, frame_number):
        return 0.0

    def carry_out(self):
        """Do what the source's dispatcher has decided."""
        for action in self.dispatcher.take():
            match action:
                case Accepted(frame):
                    self.inputs_of[frame.frame_number] = frame.inputs
                case Send(inputs, plan, number, _):
                    if number < FIRST_NUMBER:
                        self.sent_to[number] = {device: self.heard_by_source.get(device) for device in plan.devices}
                    self.send_inputs(inputs, plan, action.address)
                case Ended(frame, _):
                    self.check(frame)

    def send_inputs(self, inputs, plan, address):
        for device, encodings in deliveries(plan, inputs.values).items():
            tensors = {name: inputs.image.data if name == IMAGE else inputs.values[name] for name in encodings}
            self.air.append((device, 'tensors', (address, tensors, ())))

    def repeat_overdue(self):
        self.dispatcher.tick(self.now)
        self.carry_out()
        for frame in self.ledger.unfinished:
            for device, incarnation in self.sent_to[frame.frame_number].items():
                same = incarnation == self.heard_by_source.get(device)
                assert same or self.waits(frame), 'a frame waits for a worker that was started anew'

    def receive(self, who, address, tensors, stages):
        if who != 'source':
            worker = self.workers[who]
            if address.plan_version == HEDGE_VERSION:
                worker.jobs += worker.hedges.receive(address, tensors, {}, (), self.now)
                return
            try:
                worker.jobs += worker.pipeline.receive(address, tensors, {}, stages, (), self.now)
            except NotReadyError as error:
                self.fail(who, address, -1, error)
            except WireError as error:
                # A scheduler without a record may give a plan the version of a shadow plan that no device had heard of.
                assert address.frame_number >= FIRST_NUMBER
                self.fail(who, address, -1, error)
            return
        outputs = {name: array for name, array in tensors.items() if name in self.model.outputs}
        self.dispatcher.on_outputs(address, outputs, stages, (), self.now)
        self.carry_out()

    def fail(self, device, address, stage, error):
        """A worker says that it cannot process a frame."""
        incarnation = self.workers[device].incarnation
        failure = Failure(
            kind_of(error), device, incarnation, address.frame_number, address.plan_version, address.attempt, stage, str(error))
        self.air.append(('source', 'failure', failure))

    def deliver(self, message):
        who, kind, payload = message
        if who in DEVICES and who not in self.workers:
            return
        if kind == 'plan':
            self.hear_plan(who, *payload)
        elif kind == 'tensors':
            self.receive(who, *payload)
        elif kind == 'failure':
            self.dispatcher.on_failure(payload, self.now)
            self.repeat_overdue()
        elif self.scheduler is not None:
            device, incarnation, *which = payload
            if self.scheduler.heard.get(device, (incarnation,))[0] == incarnation:
                switch = self.scheduler.switch
                self.apply(switch.ready(device, *which) if kind == 'ready' else switch.failed(device, *which, 'no memory'))

    def check(self, frame):
        raise NotImplementedError

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
