# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a run of each segment of a model takes in joules above idleness: by a meter, else by a power model."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, Engine, StageInputs, processor_of
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.attribution import Energy, EnergyTrace, attribute
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.reading import Processor, measured_for

_SAMPLE_SECONDS: Final = 0.1
_SETTLE_SECONDS: Final = 0.3
"""After a change of the load, before a window begins: clocks and a meter's averaging follow."""


@dataclass(frozen=True)
class SegmentEnergy:
    """Joules of one run of each segment, and where they are from.

    :param source: the meter or the model, or why there is neither.
    :param energies: above idleness; NaN: unknown.
    """

    source: str
    energies: tuple[Energy, ...]


class Host(Protocol):
    """What is sampled, such as `HostMeter` with ``only_power``."""

    def sample(self, now_seconds: float) -> HostSample:
        """Return the present state."""


def measure_segments(
    runs: Sequence[Callable[[], object]],
    host: Host,
    *,
    seconds: float,
    processor: Processor = 'cpu',
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> SegmentEnergy | None:
    """Return each run's joules by the device's meter, None if no meter tells what the processor draws.

    The device is left idle for twice ``seconds`` first; then each run is repeated for ``seconds``. Errors are those of
    the meter's steps and of idleness; what other processes take meanwhile is not told apart.

    :param runs: run a segment once each, in their order.
    :param processor: that they run on.
    """
    trace = EnergyTrace(keep_seconds=math.inf)
    sources: list[str] = []

    def sample() -> float:
        now = clock()
        found = measured_for(host.sample(now).power, processor)
        if found is not None:
            trace.add(now, found)
            sources.append(found.source)
        return now

    def window(length: float, body: Callable[[], object]) -> tuple[float, float, int]:
        """Do something again and again between two samples; the meter is read in between for the integral."""
        begin = settled = sample()
        count = 0
        sampled = begin
        while (now := clock()) - begin < _SETTLE_SECONDS + length or not count:
            if now - sampled >= _SAMPLE_SECONDS:
                sampled = sample()
            if settled == begin and now - begin >= _SETTLE_SECONDS:
                settled, count = sample(), 0
                sampled = settled
            body()
            count += settled != begin
        return settled, sample(), count

    sample()
    sleep(_SAMPLE_SECONDS)
    sample()
    if len(sources) < 2:
        return None
    idle_start, idle_end, _ = window(2 * seconds, lambda: sleep(_SAMPLE_SECONDS))
    idle = trace.between(idle_start, idle_end)
    idle_watts, idle_error = (value / (idle_end - idle_start) for value in idle)
    energies = []
    for run in runs:
        start, end, count = window(seconds, run)
        shared = attribute(trace.between(start, end), end - start, idle_watts=idle_watts, idle_error_watts=idle_error,
                           busy={'segment': end - start})  # fmt: skip
        found = shared.stages['segment']
        energies.append(Energy(found.joules / count, found.error_joules / count, 'measured'))
    return SegmentEnergy(sources[-1], tuple(energies))


def modelled_segments(profile: Profile, model: PowerModel) -> SegmentEnergy:
    """Return each segment's joules by a power model: its CPU time at the highest clock.

    Of several threads all count as busy for the segment's wall time. A GPU's share is not known: such a segment is NaN.
    """
    energies = []
    for seconds in profile.segment_seconds:
        joules, error = model.stage_joules(seconds * profile.threads)
        known = profile.provider == CPU_PROVIDER
        energies.append(Energy(joules if known else math.nan, error if known else math.nan, 'modelled'))
    return SegmentEnergy(model.source, tuple(energies))


def segment_energy(model: Model, profile: Profile, host: Host, power: PowerModel | None, *,
                   seconds: float = 1.0) -> SegmentEnergy:  # fmt: skip
    """Return each segment's joules: measured where a meter tells what the processor draws, else modelled, else unknown.

    :param host: has the meters.
    :param power: of this device; None: not known.
    :param seconds: that each segment is repeated under a meter.
    :raises ModelError: if a segment cannot be run.
    """
    measured, processor = None, processor_of(profile.provider)
    if measured_for(host.sample(time.monotonic()).power, processor) is not None:
        inputs = StageInputs(model)
        runs: list[Callable[[], object]] = []
        for start, stop in zip(profile.boundaries, profile.boundaries[1:], strict=False):
            path = stage_file(model, range(start, stop)).path
            engine = Engine(path, providers=(profile.provider,), threads=profile.threads)
            feeds = inputs.feeds(engine)
            inputs.compute(engine)
            runs.append(functools.partial(engine.run, feeds))
        measured = measure_segments(runs, host, seconds=seconds, processor=processor)
    if measured is not None:
        return measured
    if power is not None:
        return modelled_segments(profile, power)
    reason = 'no meter and no power model of this device (edge-dnn-partition calibrate makes one)'
    nothing = Energy(math.nan, math.nan, 'modelled')
    return SegmentEnergy(reason, (nothing,) * len(profile.segment_seconds))
