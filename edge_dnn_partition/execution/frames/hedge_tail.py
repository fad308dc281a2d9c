# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Hedges that begin with tensors which the source has made already for the frame's plan, and run only the rest of the model.

The source's worker keeps what its stages of the plan in force make, for the last frames. A hedge asks with the image: where
the tensors are here, or are being made, the *tail* of that plan runs on them; else the whole model does on the image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.plan import IMAGE, Plan, StagePlan, Transfer, ranges_of
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .hedge import TAIL_VERSION
from .pipeline import Array, FramePipeline, FrameState, Job, Tensor

_KEPT_FRAMES: Final = 16
_KEPT_BYTES: Final = 64 << 20


def tail_plan(model: Model, plan: Plan) -> Plan | None:
    """Return what is left of the model when the source has run the stages of a plan that need nothing from elsewhere.

    It has one stage, on the source, whose inputs are tensors of the plan and inputs of the frame, and which passes on those of
    them that are results.

    :return: None where the source makes nothing first, or everything.
    """
    given = {IMAGE, *model.inputs[1:]}
    here = set(given)
    done: set[int] = set()
    for stage in plan.stages:
        if stage.device == plan.source and here.issuperset(stage.inputs):
            here.update(stage.outputs)
            done.update(stage.layer_indices)
    rest = [i for i in range(len(model.layers)) if i not in done]
    if here == given or not rest:
        return None
    made = {name for i in rest for name in model.layers[i].outputs}
    read = dict.fromkeys(name for i in rest for name in model.layers[i].inputs if name not in made)
    inputs = tuple(dict.fromkeys((*read, *(name for name in model.outputs if name not in made))))
    if not here.issuperset(inputs):  # the preprocessing runs elsewhere
        return None
    stage = StagePlan(plan.source, False, ranges_of(rest), inputs, tuple(model.outputs))
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
        made = self._made.get(address.frame_id)
        if made is None or made.attempt < address.attempt:
            made = self._made[address.frame_id] = _Made(address.attempt)
        if made.attempt == address.attempt:
            made.tensors.update(outputs)
            made.stages += (timing,)
        self._made.move_to_end(address.frame_id)
        while self._made and (len(self._made) > self.frames or sum(m.size for m in self._made.values()) > self.budget_bytes):
            self._made.popitem(last=False)

    def take(self, frame_id: int, wanted: tuple[str, ...]) -> tuple[dict[str, Array], tuple[StageTime, ...]] | None:
        """Return tensors of a frame, and what it took to make them; None if one is missing."""
        made = self._made.get(frame_id)
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
        if self.tail is not None and self.frames.running(address.frame_id):
            self._asked[address.frame_id] = asked
            return self.settle(now)
        return self._begin(asked, now)

    def settle(self, now: float) -> list[Job]:
        """Begin the hedges whose tensors are there now, or do not come: to be called when a stage has run, or has failed."""
        jobs: list[Job] = []
        for frame_id, asked in list(self._asked.items()):
            tail = self.tail
            ready = tail is not None and self._made(tail, asked) is not None
            if ready or tail is None or not self.frames.running(frame_id):
                del self._asked[frame_id]
                jobs += self._begin(asked, now)
        return jobs

    def _made(self, tail: Plan, asked: _Asked) -> tuple[dict[str, Array], tuple[StageTime, ...]] | None:
        """Return the tail's inputs that do not come with a hedge, and what it took to make them; None if one is missing."""
        return self.made.take(asked.address.frame_id, tuple(n for n in tail.stages[0].inputs if n not in asked.tensors))

    def _begin(self, asked: _Asked, now: float) -> list[Job]:
        tail, address = self.tail, asked.address
        made = None if tail is None else self._made(tail, asked)
        if tail is None or made is None:
            return self.hedges.receive(address, asked.tensors, asked.encodings, (), asked.hops, now)
        where = replace(address, plan_version=TAIL_VERSION)
        given = {name: value for name, value in asked.tensors.items() if name in tail.stages[0].inputs}
        return self.hedges.receive(where, {**given, **made[0]}, asked.encodings, made[1], asked.hops, now)
