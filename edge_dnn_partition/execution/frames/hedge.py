# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Hedges: a frame is also run on the source itself, because its result from elsewhere is not going to come in time.

`Hedger` decides for the frame source when. The source's worker keeps what its stages of the plan in force make, for the last
frames (`MadeTensors`). A hedge asks with the frame's inputs: where the tensors are here, or are being made, the *tail* of that
plan runs on them; else the whole model does on the inputs.
"""

from __future__ import annotations

import math
import statistics
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan, Transfer, ranges_of
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .pipeline import Array, FramePipeline, FrameState, Job, Tensor

HEDGE_VERSION: Final = 2**32 - 1
"""Stands for the plan of hedges, the whole model on the source, where a plan's version is asked for."""
TAIL_VERSION: Final = HEDGE_VERSION - 1
"""The same for the plan of a hedge that begins with tensors which the source has made for the frame's plan already."""
_WINDOW: Final = 50
_TRIALS: Final = 3
_SPREAD: Final = 3.0
_LEAST_SPREAD: Final = 0.05
_EARLY_SECONDS: Final = 0.05
"""A decision comes every 20 ms or somewhat later, so the last moment is taken to be so long."""
_TURN: Final = 4
_BURST_SECONDS: Final = 5.0
_FORGET_SECONDS: Final = 1.0
_REMEMBER: Final = 1000
_KEPT_FRAMES: Final = 16
_KEPT_BYTES: Final = 64 << 20


def is_hedge(version: int) -> bool:
    """Return whether a plan's version is one of hedges."""
    return version in (HEDGE_VERSION, TAIL_VERSION)


def upper_bound(seconds: Sequence[float]) -> float:
    """Return what times like these hardly ever exceed: the median and three deviations (from the median deviation).

    :param seconds: at least one.
    """
    middle = statistics.median(seconds)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in seconds)
    return middle + _SPREAD * max(deviation, _LEAST_SPREAD * middle)


@dataclass
class Hedger:
    """Decides for each frame under way whether to start its hedge now. Time is passed in; not thread safe.

    A hedge is started at the last moment at which it still makes the age, if the plan's result is later than it hardly
    ever is; or at once, while the plan is expected to miss the age: the last result missed it, or its usual time is too
    long. Then every fourth frame waits for the last moment, so that a plan that has recovered is noticed. The first three
    frames are hedged to measure how long a hedge takes. One hedge is under way at a time. Once three hedges have begun with
    tensors of the plan in force, a hedge is expected to take what those took, else what those of the whole model took.

    :param share: of the source's time that hedges may take, over ten seconds (five may be taken at once).
    """

    share: float = 0.5
    started: int = 0
    won: int = 0
    _remote: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _local: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _tails: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _predicted: float = math.nan
    _missed: bool = False
    _version: int = 0
    _hedged: OrderedDict[int, tuple[float, bool]] = field(default_factory=OrderedDict)
    _under_way: dict[int, float] = field(default_factory=dict)
    _credit: float = _BURST_SECONDS
    _credited_at: float = math.nan

    def follow(self, version: int, predicted_seconds: float) -> None:
        """Begin anew with another plan, of which nothing is known but what is predicted (NaN: not even that)."""
        if version == self._version:
            return
        self._version, self._predicted, self._missed = version, predicted_seconds, False
        self._remote.clear()
        self._tails.clear()

    @property
    def _hedges(self) -> deque[float]:
        """How long hedges like the next one took."""
        return self._tails if len(self._tails) >= _TRIALS or len(self._local) < _TRIALS else self._local

    def due(self, frame_number: int, age: float, now: float, max_age: float) -> bool:
        """Return whether to start a frame's hedge now; `start` says that it was started.

        :param age: of the frame, in seconds.
        """
        self._forget(now)
        if frame_number in self._hedged or self._under_way:
            return False
        if len(self._hedges) < _TRIALS:
            return self.started < _TRIALS or self._may_take(max_age, now)
        local = upper_bound(self._hedges)
        if age + local > max_age or not self._may_take(statistics.median(self._hedges), now):
            return False
        remote = upper_bound(self._remote) if self._remote else 2 * self._predicted
        if (self._missed or remote > max_age) and frame_number % _TURN:
            return True
        return age + local + _EARLY_SECONDS >= max_age and (self._missed or age > remote or remote > max_age)

    def under_way(self, frame_number: int) -> bool:
        """Return whether a frame's hedge has been started and has no result yet."""
        return frame_number in self._under_way

    def start(self, frame_number: int, age: float, now: float, max_age: float) -> None:
        """A frame's hedge has been started."""
        local = upper_bound(self._hedges) if len(self._hedges) >= _TRIALS else math.nan
        self._hedged[frame_number] = (now, age + local + _EARLY_SECONDS >= max_age)
        self._under_way[frame_number] = now
        while len(self._hedged) > _REMEMBER:
            self._hedged.popitem(last=False)
        if self._hedges:
            self._credit -= statistics.median(self._hedges)
        self.started += 1

    def on_result(self, frame_number: int, now: float, *, tail: bool = False) -> None:
        """A hedge's result is here, first or not.

        :param tail: it began with tensors of the plan.
        """
        begun = self._under_way.pop(frame_number, None)
        if begun is not None:
            (self._tails if tail else self._local).append(now - begun)

    def finished(self, frame_number: int, latency: float, max_age: float, *, hedge: bool) -> None:
        """A frame has its result, from its hedge or from its plan."""
        if hedge:
            self.won += 1
            if self._hedged.get(frame_number, (0.0, False))[1]:  # the plan had its time
                self._missed = True
                self._remote.append(max_age)
            return
        self._remote.append(latency)
        self._missed = latency > max_age

    def expired(self, max_age: float) -> None:
        """A frame has no result in time."""
        self._missed = True
        self._remote.append(max_age)

    def _may_take(self, seconds: float, now: float) -> bool:
        if not math.isnan(self._credited_at):
            self._credit = min(_BURST_SECONDS, self._credit + self.share * (now - self._credited_at))
        self._credited_at = now
        return self._credit >= seconds

    def _forget(self, now: float) -> None:
        """Do not wait for ever for a hedge whose worker has died."""
        patience = max(_FORGET_SECONDS, *(4 * seconds for seconds in (*self._local, *self._tails)), 0.0)
        for frame_number in [key for key, begun in self._under_way.items() if now - begun > patience]:
            del self._under_way[frame_number]


def tail_plan(model: Model, plan: Plan, inputs: ModelInputs | None = None) -> Plan | None:
    """Return what is left of the model when the source has run the stages of a plan that need nothing from elsewhere.

    It has one stage, on the source, whose inputs are tensors of the plan and inputs of the frame, and which passes on those of
    them that are results.

    :return: None where the source makes nothing first, or everything.
    """
    inputs = inputs or ModelInputs.of_image(model)
    here = set(inputs.sent)
    done: set[int] = set()
    for stage in plan.stages:
        if stage.device == plan.source and here.issuperset(stage.inputs):
            here.update(stage.outputs)
            done.update(stage.layer_indices)
    rest = [i for i in range(len(model.layers)) if i not in done]
    if here == inputs.sent or not rest:
        return None
    made = {name for i in rest for name in model.layers[i].outputs}
    made |= inputs.kept
    read = dict.fromkeys(name for i in rest for name in model.layers[i].inputs if name not in made)
    reads = tuple(dict.fromkeys((*read, *(name for name in model.outputs if name not in made))))
    if not here.issuperset(reads):  # the preprocessing runs elsewhere
        return None
    stage = StagePlan(plan.source, False, ranges_of(rest), reads, tuple(model.outputs))
    transfers = tuple(Transfer(name, 0, plan.source, plan.source, to_sink=True) for name in model.outputs)
    return Plan(TAIL_VERSION, model.sha256, plan.source, plan.source, (stage,), transfers)


@dataclass
class _Made:
    """What a device has made of one frame."""

    attempt: int
    tensors: dict[str, Array] = field(default_factory=dict)
    stages: tuple[StageTime, ...] = ()

    @property
    def size(self) -> int:
        return sum(array.nbytes for array in self.tensors.values())


@dataclass
class MadeTensors:
    """What one device's stages made of the last frames, within a budget; the oldest go first."""

    frames: int = _KEPT_FRAMES
    budget_bytes: int = _KEPT_BYTES
    _made: OrderedDict[int, _Made] = field(default_factory=OrderedDict)

    def keep(self, address: Address, outputs: Mapping[str, Array], timing: StageTime) -> None:
        """Take in what a stage made; an older sending's tensors make room for a newer one's."""
        made = self._made.get(address.frame_number)
        if made is None or made.attempt < address.attempt:
            made = self._made[address.frame_number] = _Made(address.attempt)
        if made.attempt == address.attempt:
            made.tensors.update(outputs)
            made.stages += (timing,)
        self._made.move_to_end(address.frame_number)
        while self._made and (len(self._made) > self.frames or sum(m.size for m in self._made.values()) > self.budget_bytes):
            self._made.popitem(last=False)

    def take(self, frame_number: int, wanted: tuple[str, ...]) -> tuple[dict[str, Array], tuple[StageTime, ...]] | None:
        """Return tensors of a frame, and what it took to make them; None if one is missing."""
        made = self._made.get(frame_number)
        if made is None or not made.tensors.keys() >= set(wanted):
            return None
        return {name: made.tensors[name] for name in wanted}, made.stages

    def clear(self) -> None:
        """Let all go."""
        self._made.clear()


@dataclass(frozen=True)
class _Asked:
    """A hedge whose tensors are being made."""

    address: Address
    tensors: Mapping[str, Tensor]
    encodings: Mapping[str, str]
    hops: tuple[HopTime, ...]


@dataclass
class HedgePipeline:
    """The hedges that the source's worker runs, beside the frames of plans. Time is passed in; not thread safe.

    :param frames: of plans, on this device.
    """

    frames: FramePipeline
    hedges: FramePipeline = field(init=False)
    made: MadeTensors = field(default_factory=MadeTensors)
    _asked: dict[int, _Asked] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin without hedges."""
        self.hedges = FramePipeline(self.frames.device)

    @property
    def tail(self) -> Plan | None:
        """The tail that is prepared."""
        part = self.hedges.parts.get(TAIL_VERSION)
        return None if part is None else part.plan

    def follow(self, tail: Plan | None) -> None:
        """Run this tail from now on, whose stage is prepared; None: only the whole model. What is kept is for a tail."""
        self.hedges.remove_plan(TAIL_VERSION)
        self.frames.on_made = None
        self.made.clear()
        if tail is not None:
            self.hedges.add_plan(tail)
            self.frames.on_made = self._keep

    def _keep(self, frame: FrameState, outputs: Mapping[str, Array], timing: StageTime) -> None:
        self.made.keep(frame.address, {name: outputs[name] for name in frame.part.plan.stages[timing.stage].outputs}, timing)

    def receive(
        self, address: Address, tensors: Mapping[str, Tensor], encodings: Mapping[str, str], hops: tuple[HopTime, ...], now: float
    ) -> list[Job]:
        """Take a hedge's image in; return the stages that can run now.

        :raises WireError: as `FramePipeline.receive`.
        """
        asked = _Asked(address, tensors, encodings, hops)
        if self.tail is not None and self.frames.running(address.frame_number):
            self._asked[address.frame_number] = asked
            return self.settle(now)
        return self._begin(asked, now)

    def end(self, frame_number: int) -> None:
        """Let a frame's hedge go."""
        self._asked.pop(frame_number, None)
        self.hedges.end(frame_number)

    def settle(self, now: float) -> list[Job]:
        """Begin the hedges whose tensors are there now, or do not come: to be called when a stage has run, or has failed."""
        jobs: list[Job] = []
        for frame_number, asked in list(self._asked.items()):
            tail = self.tail
            ready = tail is not None and self._made(tail, asked) is not None
            if ready or tail is None or not self.frames.running(frame_number):
                del self._asked[frame_number]
                jobs += self._begin(asked, now)
        return jobs

    def _made(self, tail: Plan, asked: _Asked) -> tuple[dict[str, Array], tuple[StageTime, ...]] | None:
        """Return the tail's inputs that do not come with a hedge, and what it took to make them; None if one is missing."""
        return self.made.take(asked.address.frame_number, tuple(n for n in tail.stages[0].inputs if n not in asked.tensors))

    def _begin(self, asked: _Asked, now: float) -> list[Job]:
        tail, address = self.tail, asked.address
        made = None if tail is None else self._made(tail, asked)
        if tail is None or made is None:
            return self.hedges.receive(address, asked.tensors, asked.encodings, (), asked.hops, now)
        where = replace(address, plan_version=TAIL_VERSION)
        given = {name: value for name, value in asked.tensors.items() if name in tail.stages[0].inputs}
        return self.hedges.receive(where, {**given, **made[0]}, asked.encodings, made[1], asked.hops, now)
