# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Times a model's segments on this device and keeps the result: a ``Profile``."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import onnxruntime

from edge_dnn_partition import heap
from edge_dnn_partition.cache import cache_dir, keep
from edge_dnn_partition.cache_limit import limit_cache
from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.execution.profiling.image_samples import Samples
from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, Engine, StageInputs, give_back
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.tensor_info import QUANTILE
from edge_dnn_partition.planning.plans.encodings import TensorCoding
from edge_dnn_partition.planning.plans.profile import HeldBack, Profile
from edge_dnn_partition.sensing.sources.limits import Halts, memory_now
from edge_dnn_partition.transport.tensor_codec import available
from edge_dnn_partition.transport.tensors import Array

from .coding_profile import Segments, measure_codings
from .first_guess import first_guess
from .spans import Bench, ProfilingCancelledError, Span, fit_spans, in_groups, spans_to_fit, spans_to_hold_back, time_spans
from .speed_probe import Reading, SpeedProbe, is_throttled, remember_best

__all__ = ['ProfileOptions', 'ProfilingCancelledError', 'load_or_profile', 'profile_model']

#: A loaded stage holds its weights twice: as they were in the file, and packed for the processor.
_WEIGHT_COPIES: Final = 2
_SHARE_OF_FREE_MEMORY: Final = 0.4
#: Of a run's wall time is its own at least, whatever it was halted for.
_LEAST_SHARE: Final = 0.05
_UNDISTURBED_TRIES: Final = 3
_PATIENCE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.001
#: Raised when the method changes, so that profiles of the old one are not taken for new ones.
_METHOD_VERSION: Final = 6


@dataclass(frozen=True)
class ProfileOptions:
    """How a device is profiled.

    :param device: the device's name, for the profile and its place in the cache.
    :param providers: execution providers, the preferred one first.
    :param threads: of one operator.
    :param runs: rounds; each times every segment and pair once.
    :param interval_seconds: idleness before each timed run; that of the stream's frames.
    :param boundaries: at most so many boundaries.
    :param held_back: stages that are timed only to test the prediction.
    :param limit_seconds: no further round begins after that.
    :param coding_seconds: for so long encodings of tensors are measured.
    :raises UserError: if a number is out of its range.
    """

    device: str = 'local'
    providers: tuple[str, ...] = (CPU_PROVIDER,)
    threads: int = 1
    runs: int = 5
    interval_seconds: float = 0.05
    boundaries: int = 20
    held_back: int = 6
    limit_seconds: float = 20.0
    coding_seconds: float = 6.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (('threads', 1), ('runs', 1), ('boundaries', 2), ('held_back', 0)):
            if getattr(self, name) < least:
                raise UserError(f'{name}: {getattr(self, name)} must be at least {least}')
        if not (0 <= self.interval_seconds <= 10 and self.limit_seconds > 0):
            raise UserError('interval must be from 0 to 10 s, and the time limit above 0')


def profile_model(model: Model, options: ProfileOptions, *,
                  samples: Samples | None = None,
                  progress: Callable[[float], None] = lambda share: None,
                  cancel: threading.Event | None = None, turns: Callable[[], int] = lambda: 0) -> Profile:
    """Time a model's segments, their boundary overheads and some held-back stages on this device.

    With one thread on the CPU a run's seconds are its thread's CPU time, so that other
    processes and a CPU quota do not count; else wall time, less what the quota halted it for. The calling thread does the work.

    :param samples: preparing one is timed with the rest, and encodings are measured on all; None: all inputs are made up.
    :param progress: is given the share that is done, 0 to 1.
    :param cancel: gives up when it is set.
    :param turns: how often something else, a frame's stage, has begun or ended to compute on the device: odd while it does.
        A run whose wall time counts waits for its end, and is repeated if it has been disturbed, a few times.
    :raises ProfilingCancelledError: if it was.
    :raises ModelError: if a stage cannot be extracted or run.
    """
    cancelled = cancel or threading.Event()
    boundaries = tuple(candidate_boundaries(model, limit=options.boundaries))
    segments = len(boundaries) - 1
    probe = SpeedProbe()
    readings: list[Reading] = []
    shares: list[float] = []
    stages = _Stages(model, boundaries, options, shares, turns)
    preparing: list[float] = []

    def between_rounds() -> None:
        readings.append(probe.read())
        if samples is not None:
            samples.prepare()
            cancelled.wait(options.interval_seconds)
            begin = time.thread_time()
            samples.prepare()
            preparing.append(time.thread_time() - begin)

    free, halts = _free_bytes(), Halts()
    fitted = spans_to_fit(segments)
    if samples is not None and stages.memory_bytes((0, segments)) <= free:
        stages.run_on(_typical(model, boundaries, options, samples))
    held_back = spans_to_hold_back(segments, fitted, options.held_back, model.sha256)
    groups = in_groups([*fitted, *held_back], stages.memory_bytes, free)
    bench = Bench(open_spans=stages.open, idle=lambda seconds: _wait(cancelled, seconds),
                  between_rounds=between_rounds, clock=time.monotonic, cancelled=cancelled.is_set,
                  progress=progress)
    times = time_spans(groups, bench, rounds=options.runs, interval_seconds=options.interval_seconds,
                       limit_seconds=options.limit_seconds, seed=model.sha256)
    seconds, overheads = fit_spans({span: times[span] for span in fitted}, segments)
    codings: tuple[TensorCoding, ...] = ()
    if stages.memory_bytes((0, segments)) <= free and not model.made_up:
        loaded = Segments(model, boundaries, providers=options.providers, threads=options.threads)
        codings = () if samples is None else samples.codings(loaded)
        codings += measure_codings(loaded, () if samples is None else samples.prepared(),
                                   limit_seconds=options.coding_seconds, cancelled=cancelled.is_set)
    limit_cache()
    probe_seconds = median(reading.busy_seconds for reading in readings)
    best = remember_best(probe_seconds)
    robbed = median(shares) > 1.25 if shares else False
    if halts.seconds() > 0:  # nothing that is kept has them in it
        robbed, readings = False, [Reading(reading.busy_seconds, reading.busy_seconds) for reading in readings]
    profile = Profile(
        model_sha256=model.sha256, model=model.name, device=options.device, provider=options.providers[0],
        threads=options.threads, onnxruntime_version=onnxruntime.__version__, boundaries=boundaries,
        segment_seconds=seconds, seam_seconds=overheads, preprocess_seconds=median(preparing) if preparing else None,
        throttled=is_throttled(readings, best) or robbed, probe_seconds=probe_seconds,
        interval_seconds=options.interval_seconds, codings=codings,
        image_bytes=0.0 if samples is None else samples.bytes)
    return with_held_back(profile, {span: median(times[span]) for span in held_back})


def try_segments(model: Model, options: ProfileOptions, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Run each segment once, as profiling does, and return the model's outputs.

    :param given: of the model's inputs; the others are made up.
    :raises ModelError: if one cannot be extracted or run.
    """
    inputs = StageInputs(model, given)
    for start, stop in itertools.pairwise(candidate_boundaries(model, limit=options.boundaries)):
        engine = Engine(stage_file(model, range(start, stop)).path, providers=options.providers, threads=options.threads)
        inputs.compute(engine)
    return inputs.computed(model.outputs)


def _typical(model: Model, boundaries: Sequence[int], options: ProfileOptions, samples: Samples) -> Mapping[str, Array]:
    """Return the sample on which the tensors whose sizes depend on the data have a size that counts; nothing if there is none.

    It is the one at the quantile that sizes are taken at, among those on which the tensors are not empty.
    """
    varying = [name for name, tensor in model.tensors.items() if tensor.observed]
    if not varying:
        return {}
    loaded = Segments(model, boundaries, providers=options.providers, threads=options.threads)
    given = samples.prepared()
    found = [loaded.run(loaded.inputs(inputs)) for inputs in given]
    sizes = [(sum(tensors[name].nbytes for name in varying if name in tensors), number) for number, tensors in enumerate(found)]
    telling = sorted(size for size in sizes if size[0])
    return given[telling[math.ceil(QUANTILE * (len(telling) - 1))][1]] if telling else {}


def with_held_back(profile: Profile, times: Mapping[Span, float]) -> Profile:
    """Return the profile with its prediction tested on stages that it does not rest on.

    :param times: seconds of stages, as positions in the profile's boundaries.
    """
    tested = tuple(
        HeldBack(start, stop, seconds, profile.stage_seconds(start, stop))
        for start, stop, seconds in ((profile.boundaries[first], profile.boundaries[last], seconds)
                                     for (first, last), seconds in times.items()))
    error = max((abs(stage.relative_error) for stage in tested), default=0.0)
    return dataclasses.replace(profile, held_back=tested, relative_error=error)


def load_or_profile(model: Model, options: ProfileOptions, *, accept_throttled: bool = False,
                    refresh: bool = False, samples: Samples | None = None,
                    progress: Callable[[float], None] = lambda share: None,
                    cancel: threading.Event | None = None, turns: Callable[[], int] = lambda: 0,
                    guessed: Callable[[Profile], None] | None = None) -> Profile:
    """Return the profile from the cache, or make it and put it there.

    It belongs to the model as it was prepared (its hash and shapes), the device's name, the
    provider, the threads, onnxruntime's version, the boundaries and interval asked for, and the images.

    :param accept_throttled: take a profile from the cache too that was made while the device
        was throttled; otherwise it is made again.
    :param refresh: make it again in any case.
    :param guessed: is given a first guess of a profile that is not in the cache, before it is made; None: nobody waits for it.
    :raises ProfilingCancelledError: if ``cancel`` was set.
    :raises ModelError: if a stage cannot be extracted or run.
    """
    key = (model.key, options.device, options.providers, options.threads, onnxruntime.__version__,
           options.boundaries, options.interval_seconds, options.runs, options.held_back, available(), _METHOD_VERSION,
           '' if samples is None else samples.key)
    path = cache_dir('profiles') / f'{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.json'
    if not refresh:
        try:
            profile = Profile.from_json(path.read_bytes())
        except (OSError, PlanError):
            pass  # not there, or of an older version: it is made again
        else:
            if accept_throttled or not profile.throttled:
                return profile
    if guessed is not None and not refresh and (guess := _guess(model, options, samples)) is not None:
        guessed(guess)
    profile = profile_model(model, options, samples=samples, progress=progress, cancel=cancel, turns=turns)
    give_back()
    SpeedProbe().read(1)  # the run that gives back
    heap.give_back()
    keep(path, profile.to_json().encode())
    return profile


def _memory_bytes(model: Model, start: int, stop: int) -> int:
    return sum(layer.weight_bytes * _WEIGHT_COPIES + layer.output_bytes for layer in model.layers[start:stop])


def _free_bytes() -> int:
    """Return what loaded stages may take of the memory while profiling."""
    return int(max(0, memory_now().available_bytes) * _SHARE_OF_FREE_MEMORY)


def _guess(model: Model, options: ProfileOptions, samples: Samples | None) -> Profile | None:
    if _memory_bytes(model, 0, len(model.layers)) > _free_bytes():
        return None
    boundaries = tuple(candidate_boundaries(model, limit=options.boundaries))
    return first_guess(
        model, boundaries, device=options.device, providers=options.providers, threads=options.threads,
        prepare=None if samples is None else samples.prepare,
    )  # fmt: skip


class _Stages:
    """Opens spans as engines, with inputs that were computed by the segments before them."""

    def __init__(self, model: Model, boundaries: Sequence[int], options: ProfileOptions,
                 shares: list[float], turns: Callable[[], int]) -> None:
        self._model, self._turns = model, turns
        self._boundaries = boundaries
        self._options = options
        self._shares = shares  # of each run, wall time over busy time
        self._inputs = StageInputs(model)
        self._halts = Halts()
        self._computed = 0  # segments whose outputs are among the inputs

    def run_on(self, given: Mapping[str, Array]) -> None:
        """Run from now on with those inputs of the model."""
        self._inputs = StageInputs(self._model, given)

    def memory_bytes(self, span: Span) -> int:
        return _memory_bytes(self._model, self._boundaries[span[0]], self._boundaries[span[1]])

    def open(self, spans: Sequence[Span]) -> dict[Span, Callable[[], float]]:
        engines = {span: self._engine(span) for span in spans}
        for span, engine in engines.items():
            self._compute_until(span[0], engines)
            self._inputs.feeds(engine)
        return {span: self._runner(engine) for span, engine in engines.items()}

    def _undisturbed(self) -> int:
        """Wait until nothing else computes, for a time; return how often it has begun or ended."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while (turns := self._turns()) % 2 and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return turns

    def _engine(self, span: Span) -> Engine:
        layers = range(self._boundaries[span[0]], self._boundaries[span[1]])
        return Engine(stage_file(self._model, layers).path, providers=self._options.providers,
                      threads=self._options.threads)

    def _compute_until(self, position: int, engines: Mapping[Span, Engine]) -> None:
        while self._computed < position:
            span = (self._computed, self._computed + 1)
            self._inputs.compute(engines.get(span) or self._engine(span))
            self._computed += 1

    def _runner(self, engine: Engine) -> Callable[[], float]:
        feeds = self._inputs.feeds(engine)

        def run() -> float:
            for _ in range(1 if engine.measures_cpu_time else _UNDISTURBED_TRIES):
                before = self._undisturbed() if not engine.measures_cpu_time else 0
                self._halts.seconds()
                engine.try_out(feeds)
                if engine.measures_cpu_time or self._turns() == before:
                    break
            if engine.last_busy_seconds > 0:
                self._shares.append(engine.last_seconds / engine.last_busy_seconds)
            if engine.measures_cpu_time:
                return engine.last_busy_seconds
            # The kernel adds up what each core was halted for; a run's threads are halted together, or nearly.
            halted = self._halts.seconds() / min(engine.threads, os.cpu_count() or 1)
            return max(engine.last_busy_seconds - halted, _LEAST_SHARE * engine.last_busy_seconds)

        return run


def _wait(cancelled: threading.Event, seconds: float) -> None:
    if seconds > 0:
        cancelled.wait(seconds)
