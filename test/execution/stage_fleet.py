# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Two devices and a source in one process, with real engines: what the source's dispatcher says is carried out at once."""

import dataclasses
import itertools

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.frames.actions import Ended, Send
from edge_dnn_partition.execution.frames.dispatcher import FrameDispatcher
from edge_dnn_partition.execution.frames.failure import Failure, kind_of
from edge_dnn_partition.execution.frames.kept_states import KeptStates
from edge_dnn_partition.execution.frames.ledger import FrameLedger
from edge_dnn_partition.execution.frames.pipeline import FramePipeline, deliveries
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.execution.frames.settings import Settings
from edge_dnn_partition.execution.frames.state_tracker import StateTracker
from edge_dnn_partition.execution.stages.stage_store import StageStore
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.planning.plans.compose import compose
from edge_dnn_partition.planning.plans.plan import parse_label
from edge_dnn_partition.transport.timing import StageTime


class StageFleet:
    def __init__(self, model, inputs, initial, interval=10):
        self.model, self.inputs, self.now = model, inputs, 0.0
        self.versions, self.incarnations = itertools.count(1), itertools.count(1)
        self.tracker = StateTracker(model, initial, lambda: interval)
        ledger = FrameLedger(waiting=100)
        self.dispatcher = FrameDispatcher(model, 'pi', ledger, self, Settings, inputs, self.tracker)
        self.devices, self.plans, self.air, self.ended = {}, [], [], []
        self.begin('pi')
        self.begin('cloud')

    def begin(self, device):
        """Start a device's worker, or start it anew."""
        store = StageStore(
            self.model, FramePreprocessing(self.inputs), providers=('CPUExecutionProvider',), threads=1, budget_bytes=1 << 30
        )
        self.devices[device] = (next(self.incarnations), FramePipeline(device, states=KeptStates(self.model)), store)
        for plan in self.plans:
            self.prepare(plan, device)
        self.beat()

    def beat(self):
        for name, (incarnation, pipeline, _) in self.devices.items():
            self.dispatcher.on_heartbeat(name, incarnation, pipeline.parts, self.now)

    def prepare(self, plan, device):
        _, pipeline, store = self.devices[device]
        store.prepare(plan, device)
        pipeline.add_plan(plan)

    def follow(self, label, *, moving=False):
        """Put a plan into force; `moving` only proposes it."""
        placement = parse_label(label, len(self.model.layers))
        plan = compose(self.model, placement, version=next(self.versions), source='pi', sink='pi', inputs=self.inputs)
        self.plans.append(plan)
        for device in self.devices:
            self.prepare(plan, device)
        self.beat()
        self.dispatcher.on_plan(plan, PlanStatus.PROPOSED)
        if not moving:
            self.dispatcher.on_plan(plan, PlanStatus.ACTIVE)
        return plan

    def run(self, values, *, reset_state=False):
        """Return the outputs of a frame, or why it has none."""
        self.dispatcher.offer(FrameInputs(values, reset_state=reset_state), self.now)
        for _ in range(100):
            self.settle()
            if self.ended:
                frame = self.ended.pop()
                return frame.outputs or frame.reason
            self.now += 0.5
            self.beat()
            self.dispatcher.tick(self.now)
        raise AssertionError('a frame has no result')

    def settle(self):
        while True:
            actions = self.dispatcher.take()
            for action in actions:
                match action:
                    case Send():
                        for device, wanted in deliveries(action.plan, action.inputs.values).items():
                            self.air.append((device, action.address, {name: action.inputs.values[name] for name in wanted}))
                    case Ended(frame, _):
                        self.ended.append(frame)
            if not actions and not self.air:
                return
            if self.air:
                self.deliver(*self.air.pop(0))

    def deliver(self, device, address, tensors):
        if device == 'source':
            self.dispatcher.on_outputs(address, tensors, (), (), self.now)
            return
        incarnation, pipeline, store = self.devices[device]
        job = None
        try:
            jobs = pipeline.receive(address, tensors, {}, (), (), self.now)
            while jobs:
                job = jobs.pop()
                stage = store.stage(address.plan_version, job.stage)
                outputs = stage.run(stage.decode(job.inputs, job.frame.encodings))
                sends, more = pipeline.finished(job, outputs, StageTime(device, job.stage, 0, 0, 0, 0), self.now)
                jobs += more
                where = dataclasses.replace(address, from_stage=job.stage)
                self.air += [('source' if to_sink else target, where, arrays) for (target, to_sink), arrays, _ in sends]
        except UserError as error:
            if job is not None:
                pipeline.failed(job)
            where = address.frame_number, address.plan_version, address.attempt, -1 if job is None else job.stage
            self.dispatcher.on_failure(Failure(kind_of(error), device, incarnation, *where, str(error)), self.now)

    def reaches(self, plan):
        return True

    def seconds_left(self, frame_number):
        return 0.0
