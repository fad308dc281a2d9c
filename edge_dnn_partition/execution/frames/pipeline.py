# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device's part in each frame: which stage can run, what it sends where, when a frame is done with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edge_dnn_partition.errors import NotReadyError, WireError
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import SOURCE_STAGE, Plan
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.tensors import Coded
from edge_dnn_partition.transport.timing import HopTime, StageTime, merged

from .kept_states import KeptStates, without_values

Array = NDArray[Any]
Tensor = Array | Coded


@dataclass(frozen=True)
class Part:
    """What one device does in a plan."""

    plan: Plan
    device: str

    @property
    def stages(self) -> tuple[int, ...]:
        """The indices of this device's stages, in order."""
        return tuple(i for i, stage in enumerate(self.plan.stages) if stage.device == self.device)

    def sends(self, stage: int) -> dict[tuple[str, bool], tuple[tuple[str, str], ...]]:
        """Return what a stage (or ``SOURCE_STAGE``) sends: ``(tensor, encoding)`` by ``(device, to the sink)``."""
        table: dict[tuple[str, bool], list[tuple[str, str]]] = {}
        for t in self.plan.transfers:
            if t.from_stage == stage and t.from_device == self.device:
                table.setdefault((t.to_device, t.to_sink), []).append((t.tensor, t.encoding))
        return {key: tuple(tensors) for key, tensors in table.items()}


@dataclass
class FrameState:
    """One frame under one plan on one device: the tensors that are here and the stages that have run."""

    address: Address
    part: Part
    tensors: dict[str, Tensor] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    ran: set[int] = field(default_factory=set)
    started: set[int] = field(default_factory=set)
    stages: tuple[StageTime, ...] = ()
    hops: tuple[HopTime, ...] = ()
    touched: float = 0.0
    held_bytes: int = 0
    """Of the tensors received."""


@dataclass(frozen=True)
class Job:
    """A stage that can run: its inputs, and since when they are all here (seconds)."""

    frame: FrameState
    stage: int
    inputs: Mapping[str, Tensor]
    ready_at: float


@dataclass
class FramePipeline:
    """The frames that one device works on. Time is passed in; not thread safe.

    :param keep_seconds: a frame that has received nothing for so long is dropped
        (the source sends it again if it is still under way).
    """

    device: str
    keep_seconds: float = 60.0
    parts: dict[int, Part] = field(default_factory=dict)
    _frames: OrderedDict[tuple[int, int, int], FrameState] = field(default_factory=OrderedDict)
    _latest: OrderedDict[int, tuple[int, int]] = field(default_factory=OrderedDict)
    superseded: int = 0
    max_bytes: int = 1 << 30
    """Of tensors received for unfinished frames; the frame that has waited longest for others makes room."""
    crowded: int = 0
    """How many frames were dropped to make room."""
    _held_bytes: int = 0
    on_made: Callable[[FrameState, Mapping[str, Array], StageTime], None] | None = None
    """Called with what each stage makes."""
    states: KeptStates | None = None
    """Of a model that carries state from frame to frame."""

    def add_plan(self, plan: Plan) -> None:
        """Make frames of a plan acceptable; its stages are prepared."""
        self.parts[plan.version] = Part(plan, self.device)

    def remove_plan(self, version: int) -> None:
        """Forget a plan and its frames."""
        self.parts.pop(version, None)
        for key in [k for k in self._frames if k[2] == version]:
            self._pop(key)
        if self.states is not None and not any(self._state_of(part) for part in self.parts.values()):
            self.states.clear()

    def drained(self, version: int) -> bool:
        """True if no frame of that plan is here."""
        return not any(key[2] == version for key in self._frames)

    @property
    def frames(self) -> int:
        """How many frames are being worked on."""
        return len(self._frames)

    def check(self, address: Address, names: Iterable[str]) -> Part:
        """Return this device's part in a frame, if it waits for tensors of these names.

        :raises NotReadyError: if the plan is unknown.
        :raises WireError: if the model is a foreign one, or a tensor none that this device waits for under that plan.
        """
        part = self.parts.get(address.plan_version)
        if part is None:
            known = ', '.join(map(str, sorted(self.parts))) or 'none'
            raise NotReadyError(f'frame {address.frame_number}: plan {address.plan_version} is not known here (known: {known})')
        if address.model_sha256 != part.plan.model_sha256:
            raise WireError(f'frame {address.frame_number}: it belongs to another model; copy one model to all devices')
        wanted = {name for i in part.stages for name in part.plan.stages[i].inputs}
        foreign = sorted(set(names) - wanted)
        if foreign:
            raise WireError(
                f'frame {address.frame_number}: {self.device} needs no tensor {foreign[0][:80]!r} in plan {part.plan.version}'
            )
        return part

    def receive(
        self,
        address: Address,
        tensors: Mapping[str, Tensor],
        encodings: Mapping[str, str],
        stages: tuple[StageTime, ...],
        hops: tuple[HopTime, ...],
        now: float,
    ) -> list[Job]:
        """Take tensors in; return the stages that can run now.

        :raises NotReadyError: if the plan is unknown, the state that the frame begins with is not here, or the frames whose stages
            wait for their turn leave no room.
        :raises WireError: as `check`.
        """
        part = self.check(address, tensors)
        latest = self._latest.get(address.frame_number)
        if latest is not None and latest > (address.attempt, address.plan_version):
            self.superseded += 1
            return []
        if latest != (address.attempt, address.plan_version):
            self._supersede(address)
        key = (address.frame_number, address.attempt, address.plan_version)
        frame = self._frames.get(key)
        if frame is None:
            if latest == (address.attempt, address.plan_version):
                return []  # finished here already: a repetition
            frame = FrameState(address, part)
            self._begin_state(frame, now)
        new = sum(_bytes_of(array) for name, array in tensors.items() if name not in frame.tensors)
        self._make_room(new, key)
        self._frames[key] = frame
        self._held_bytes += new
        frame.held_bytes += new
        self._latest[address.frame_number] = (address.attempt, address.plan_version)
        while len(self._latest) > 4096:
            self._latest.popitem(last=False)
        frame.touched = now
        for name, array in tensors.items():
            frame.tensors.setdefault(name, array)
            frame.encodings.setdefault(name, encodings.get(name, 'raw'))
            frame.arrived.setdefault(name, now)
        frame.stages = merged(frame.stages, stages)
        frame.hops = merged(frame.hops, hops)
        return self._ready(frame)

    def finished(
        self, job: Job, outputs: Mapping[str, Array], timing: StageTime, now: float
    ) -> tuple[list[tuple[tuple[str, bool], dict[str, Tensor], dict[str, str]]], list[Job]]:
        """Take a stage's outputs in.

        :return: what to send, as ``((device, to the sink), tensors, encodings)``, and the stages that can run now.
        """
        frame = job.frame
        frame.ran.add(job.stage)
        frame.touched = now
        frame.stages = merged(frame.stages, (timing,))
        if self.on_made is not None:
            self.on_made(frame, outputs, timing)
        for name in frame.part.plan.stages[job.stage].outputs:
            frame.tensors[name] = outputs[name]
            frame.arrived[name] = now
        if self.states is not None:
            self.states.keep(frame.address, outputs)
        sends = []
        for target, wanted in frame.part.sends(job.stage).items():
            arrays = {name: self._sent(frame, name, to_sink=target[1]) for name, _ in wanted}
            carried = frozenset() if self.states is None or not target[1] else self.states.outputs  # they are not to change
            sends.append((target, arrays, {name: RAW if name in carried else encoding for name, encoding in wanted}))
        jobs = self._ready(frame)
        if len(frame.ran) == len(frame.part.stages):
            self._pop((frame.address.frame_number, frame.address.attempt, frame.address.plan_version))
        return sends, jobs

    def _state_of(self, part: Part) -> tuple[str, ...]:
        """Return the states that this device holds under a plan."""
        names = (name for index in part.stages for name in part.plan.stages[index].inputs)
        return () if self.states is None else self.states.among(names)

    def _begin_state(self, frame: FrameState, now: float) -> None:
        """Give a frame the state that it begins with, unless its messages bring that."""
        if self.states is None or not frame.address.after:
            return
        wanted = self._state_of(frame.part)
        frame.tensors.update(self.states.after(frame.address.after, wanted))
        frame.encodings.update(dict.fromkeys(wanted, RAW))
        frame.arrived.update(dict.fromkeys(wanted, now))

    def _sent(self, frame: FrameState, name: str, *, to_sink: bool) -> Tensor:
        """Return a tensor as it is sent: state stays here, but for snapshots; that it was made is said in any case."""
        tensor = frame.tensors[name]
        kept = to_sink and self.states is not None and name in self.states.outputs and not frame.address.snapshot
        return without_values(tensor) if kept and not isinstance(tensor, Coded) else tensor

    def running(self, frame_number: int) -> bool:
        """True if a stage of a frame runs, or waits for nothing but its turn."""
        return any(frame.started != frame.ran for key, frame in self._frames.items() if key[0] == frame_number)

    def current(self, job: Job) -> bool:
        """False if the job's frame has been sent anew or let go since."""
        address = job.frame.address
        return (address.frame_number, address.attempt, address.plan_version) in self._frames

    def failed(self, job: Job) -> None:
        """Let a frame go whose stage failed to run; the source sends it again."""
        address = job.frame.address
        self._pop((address.frame_number, address.attempt, address.plan_version))

    def end(self, frame_number: int) -> None:
        """Let a frame go that has its result, or needs none any more, in all its attempts."""
        for key in [k for k in self._frames if k[0] == frame_number]:
            self._pop(key)

    def expire(self, now: float) -> int:
        """Drop frames that have received nothing for long; return how many."""
        old = [key for key, frame in self._frames.items() if now - frame.touched > self.keep_seconds]
        for key in old:
            self._pop(key)
        return len(old)

    def _supersede(self, address: Address) -> None:
        self.superseded += sum(key[0] == address.frame_number for key in self._frames)
        self.end(address.frame_number)

    def _make_room(self, size: int, for_key: tuple[int, int, int]) -> None:
        while self._held_bytes + size > self.max_bytes and self._frames.keys() - {for_key}:
            waits = next((key for key, frame in self._frames.items() if not frame.started and key != for_key), None)
            if waits is None:
                raise NotReadyError(f'{self.device} holds {self._held_bytes} bytes of waiting frames already, its limit')
            self._pop(waits)
            self.crowded += 1

    def _pop(self, key: tuple[int, int, int]) -> None:
        frame = self._frames.pop(key, None)
        if frame is not None:
            self._held_bytes -= frame.held_bytes

    def _ready(self, frame: FrameState) -> list[Job]:
        jobs = []
        for index in frame.part.stages:
            inputs = frame.part.plan.stages[index].inputs
            if index not in frame.started and all(name in frame.tensors for name in inputs):
                frame.started.add(index)
                arrived = max((frame.arrived[name] for name in inputs), default=frame.touched)
                jobs.append(Job(frame, index, {name: frame.tensors[name] for name in inputs}, arrived))
        return jobs


def _bytes_of(tensor: Tensor) -> int:
    return tensor.data.nbytes if isinstance(tensor, Coded) else tensor.nbytes


def deliveries(plan: Plan, given: Collection[str] | None = None) -> dict[str, dict[str, str]]:
    """Return which inputs of a frame the source sends to which device, and how: encodings by input, by device.

    :param given: those that the frame has; None: all that it can have. One that brings no state has fewer.
    """
    made = {name for stage in plan.stages for name in stage.outputs}
    encodings = {(t.tensor, t.to_device): t.encoding for t in plan.transfers if t.from_stage == SOURCE_STAGE}
    found: dict[str, dict[str, str]] = {}
    for stage in plan.stages:
        for name in stage.inputs:
            if name not in made and (given is None or name in given):
                found.setdefault(stage.device, {})[name] = encodings.get((name, stage.device), RAW)
    return found
