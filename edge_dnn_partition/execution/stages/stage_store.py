# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device's stages, loaded and warm, before the first frame needs them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from numpy.typing import NDArray

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.stages import stage_weights
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan
from edge_dnn_partition.transport.tensor_codec import decode
from edge_dnn_partition.transport.tensors import Coded

from .engine import Engine, give_back
from .stage_cache import has_stage_file, stage_file

Array = NDArray[Any]
_NICER: Final = 10
"""By how much a thread is nicer that prepares than the one that runs stages."""
EngineKey = tuple[tuple[int, int], ...]


class PreparedStage:
    """One stage of a plan, ready to run: the preprocessing, the engine, or both."""

    def __init__(
        self, stage: StagePlan, preprocessing: FramePreprocessing | None, engine: Engine | None
    ) -> None:
        self.stage = stage
        self._preprocessing = preprocessing
        self.engine = engine
        if stage.preprocess and preprocessing is None:
            raise ModelError(
                'the plan begins with the preprocessing; name its file in the fleet file (model.preprocessing)'
            )
        if stage.preprocess:
            import cv2  # noqa: F401  now, and not with the first frame

    def decode(self, inputs: Mapping[str, Array | Coded], encodings: Mapping[str, str]) -> dict[str, Array]:
        """Return the stage's input tensors decoded, images resized and normalised too, and constants.

        :raises WireError: if an image or an encoded tensor is broken.
        """
        values = {name: decode(value) if isinstance(value, Coded) else value for name, value in inputs.items()}
        if self._preprocessing is None:
            return values
        made = self._preprocessing.apply(values, encodings) if self.stage.preprocess else values
        return {**self._preprocessing.constants, **made}

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Run the layers on decoded inputs; return the stage's outputs.

        :raises WireError: if an input does not fit.
        """
        outputs = dict(values)  # a stage may pass on what it is given
        if self.engine is not None:
            names = {tensor.name for tensor in self.engine.inputs}
            outputs.update(self.engine.run({name: value for name, value in values.items() if name in names}))
        return {name: outputs[name] for name in self.stage.outputs}


class StageStore:
    """Loads stages for plans and keeps the engines used last, within a budget. Thread safe.

    :param model: the prepared model.
    :param threads: of one operator; :meth:`use_threads` changes it.
    :param budget_bytes: of weights of engines that no plan holds; may be changed at any time.
    :param cancelled: asked before each stage whether to give up.
    :param fetch: has weights come here, given their bytes by hash, where the model's file is not here.
    """

    def __init__(
        self,
        model: Model,
        preprocessing: FramePreprocessing | None,
        *,
        providers: Sequence[str],
        threads: int,
        budget_bytes: float = 1 << 30,
        cancelled: Callable[[], bool] = lambda: False,
        fetch: Callable[[Mapping[str, int]], None] | None = None,
    ) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self._providers = tuple(providers)
        self._threads = threads
        self.budget_bytes = budget_bytes
        self._cancelled, self._fetch = cancelled, fetch
        self._lock = threading.Lock()
        self._engines: OrderedDict[EngineKey, Engine] = OrderedDict()
        self._plans: dict[int, dict[int, PreparedStage]] = {}

    @property
    def versions(self) -> tuple[int, ...]:
        """The plans that are prepared here."""
        with self._lock:
            return tuple(sorted(self._plans))

    def stage(self, version: int, stage: int) -> PreparedStage | None:
        """Return a prepared stage."""
        with self._lock:
            return self._plans.get(version, {}).get(stage)

    def prepare(self, plan: Plan, device: str) -> None:
        """Load and warm up a device's stages of a plan.

        :raises ModelError: if a stage cannot be loaded or run; the plans prepared before stay.
        """
        prepared: dict[int, PreparedStage] = {}
        for index, stage in enumerate(plan.stages):
            if stage.device == device and not self._cancelled():
                prepared[index] = PreparedStage(stage, self.preprocessing, self._engine(stage))
        # Only with the prepared stages, which hold them: an engine above the budget would be let go before its plan has it.
        with self._lock:
            self._plans[plan.version] = prepared
            for runner in prepared.values():
                if runner.engine is not None:
                    self._engines[runner.stage.layers] = runner.engine
                    self._engines.move_to_end(runner.stage.layers)
            self._shrink()

    def release(self, version: int) -> None:
        """Let a plan's stages go; engines stay cached as far as the budget allows."""
        with self._lock:
            self._plans.pop(version, None)
            self._shrink()

    def use_threads(self, threads: int) -> None:
        """Let the plans that are prepared from now on run with so many threads; those that are prepared go on."""
        with self._lock:
            if threads != self._threads:
                self._threads = threads
                self._engines.clear()

    def terminate(self) -> None:
        """End the runs under way: the process is to end."""
        with self._lock:
            held = (runner.engine for runners in self._plans.values() for runner in runners.values())
            engines = {id(engine): engine for engine in (*self._engines.values(), *held) if engine is not None}
        for engine in engines.values():
            engine.terminate()

    def _engine(self, stage: StagePlan) -> Engine | None:
        if not stage.layers:
            return None
        with self._lock:
            engine, threads = self._engines.get(stage.layers), self._threads
        if engine is not None:
            return engine
        if self._fetch is not None and not has_stage_file(self.model, stage.layer_indices):
            self._fetch(stage_weights(self.model, stage.layer_indices))
        file = stage_file(self.model, stage.layer_indices)
        engine = Engine(file.path, providers=self._providers, threads=threads, optimised_cache=True)
        engine.warm_up(2, self.model.tensors)
        return engine

    def _shrink(self) -> None:
        held = {runner.stage.layers for runners in self._plans.values() for runner in runners.values()}
        spare = [key for key in self._engines if key not in held]
        size = sum(self._weight(key) for key in spare)
        for key in spare:
            if size <= self.budget_bytes:
                break
            size -= self._weight(key)
            del self._engines[key]
            give_back()

    def _weight(self, key: EngineKey) -> int:
        return sum(self.model.layers[i].weight_bytes for start, stop in key for i in range(start, stop))


def lower_priority() -> None:
    """Make the calling thread give way to others, so that preparing a plan does not slow the present one."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _NICER))


def give_way(niceness: int) -> None:
    """Make all threads of this process, and those that they start, as nice as asked, unless they are nicer already."""
    for thread in map(int, os.listdir('/proc/self/task')):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))
