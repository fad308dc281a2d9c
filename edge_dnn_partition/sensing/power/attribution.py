# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Whose energy it was: a window's joules, idleness and the radio taken off, shared by the time that each stage was busy.

Pure functions. The shares, idleness, the radio and what belongs to no stage add up to the meter's total, always.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .model import PowerModel
from .reading import Kind
from .trace import Window

Stage = TypeVar('Stage', bound=Hashable)


@dataclass(frozen=True)
class Energy:
    """Joules with their standard error."""

    joules: float
    error_joules: float
    kind: Kind = 'measured'


@dataclass(frozen=True)
class Attribution(Generic[Stage]):
    """Where a window's energy went; ``idle``, ``radio``, ``other`` and the stages add up to ``total``.

    :param idle: what the device would have drawn anyway.
    :param radio: what the hops' bytes took, which is modelled always and has no error; 0 joules where no hop is known.
    :param other: what was drawn above that and belongs to no stage.
    :param seconds: how long the window was.
    :param busy: core-seconds of each stage in it.
    """

    total: Energy
    idle: Energy
    other: Energy
    stages: Mapping[Stage, Energy]
    seconds: float = math.nan
    busy: Mapping[Stage, float] = field(default_factory=dict)
    radio: Energy = Energy(0.0, math.nan, 'modelled')


@dataclass(frozen=True)
class Run(Generic[Stage]):
    """One run of a stage, on the clock of the meter's readings.

    :param cores: how many cores it kept busy on average; weighs its time against others'.
    :param seen: how many of them show in what is known of the device's use; None: all. A GPU's do not.
    """

    stage: Stage
    start: float
    end: float
    cores: float = 1.0
    seen: float | None = None


def seen_seconds(runs: Iterable[Run[Stage]], start: float, end: float) -> float:
    """Return the core-seconds of all runs within a window that show in what is known of the device's use."""
    parts = (Run('', r.start, r.end, r.cores if r.seen is None else r.seen) for r in runs)
    return math.fsum(busy_seconds(parts, start, end).values())


def busy_seconds(runs: Iterable[Run[Stage]], start: float, end: float) -> dict[Stage, float]:
    """Return the core-seconds that each stage was busy within a window; runs may overlap and reach beyond it."""
    busy: dict[Stage, float] = {}
    for run in runs:
        seconds = min(run.end, end) - max(run.start, start)
        if seconds > 0:
            busy[run.stage] = busy.get(run.stage, 0.0) + seconds * run.cores
    return busy


def attribute(
    window: Window,
    seconds: float,
    *,
    idle_watts: float,
    idle_error_watts: float = 0.0,
    busy: Mapping[Stage, float],
    other_busy: float = 0.0,
    radio_joules: float = 0.0,
) -> Attribution[Stage]:
    """Share a window's energy.

    Idleness takes at most what there is, and then the radio. The rest goes to the stages and to other work by their busy
    core-seconds; with no busy time at all it is other. A share's error is that of the rest, and the shares'
    errors go together: they are not independent.

    :param window: of the meter.
    :param seconds: how long it was.
    :param idle_watts: of the device, on the same meter.
    :param idle_error_watts: standard error of that.
    :param busy: core-seconds by stage.
    :param other_busy: core-seconds of everything else on the device.
    :param radio_joules: of the hops' bytes in the window, by a model.
    """
    total, error = window
    idle = min(total, idle_watts * seconds) if math.isfinite(total) else math.nan
    idle_error = idle_error_watts * seconds
    radio = min(total - idle, radio_joules) if math.isfinite(total) else math.nan
    rest, rest_error = total - idle - radio, math.hypot(error, idle_error)
    whole = math.fsum(busy.values()) + other_busy
    shares = {stage: (core_seconds / whole if whole > 0 else 0.0) for stage, core_seconds in busy.items()}
    stages = {stage: Energy(rest * share, rest_error * share) for stage, share in shares.items()}
    remaining = max(0.0, 1.0 - math.fsum(shares.values())) if whole > 0 else 1.0
    other = rest * remaining
    return Attribution(
        total=Energy(total, error), idle=Energy(idle, idle_error), other=Energy(other, rest_error * remaining), stages=stages,
        seconds=seconds, busy=busy, radio=Energy(radio, math.nan, 'modelled'),
    )  # fmt: skip


def modelled(model: PowerModel, seconds: float, *, busy: Mapping[Stage, float], other_busy: float = 0.0,
             clock_ratio: float = 1.0, radio_joules: float = 0.0) -> Attribution[Stage]:  # fmt: skip
    """Return the same from a power model, for a device without a meter: the total is the sum of its parts."""

    def energy(joules: float) -> Energy:
        return Energy(joules, joules * model.relative_error, 'modelled')

    stages = {stage: energy(model.stage_joules(core_seconds, clock_ratio=clock_ratio)[0]) for stage, core_seconds in busy.items()}
    idle = model.idle_watts * seconds
    other = model.stage_joules(other_busy, clock_ratio=clock_ratio)[0]
    total = idle + other + radio_joules + math.fsum(share.joules for share in stages.values())
    return Attribution(total=energy(total), idle=energy(idle), other=energy(other), stages=stages, seconds=seconds,
                       radio=Energy(radio_joules, math.nan, 'modelled'))  # fmt: skip


def add_up(parts: Sequence[Attribution[Stage]]) -> Attribution[Stage]:
    """Return several windows' attributions as one; errors of different windows are independent of each other.

    Those of idleness are not (it was measured once), so they are added.
    """

    def together(energies: Sequence[Energy], *, independent: bool = True) -> Energy:
        errors = [energy.error_joules for energy in energies]
        kind: Kind = 'measured' if all(energy.kind == 'measured' for energy in energies) else 'modelled'
        error = math.hypot(*errors) if independent else math.fsum(errors)
        return Energy(math.fsum(energy.joules for energy in energies), error, kind)

    names = dict.fromkeys(stage for part in parts for stage in part.stages)
    return Attribution(
        total=together([part.total for part in parts]),
        idle=together([part.idle for part in parts], independent=False),
        other=together([part.other for part in parts]),
        stages={n: together([part.stages[n] for part in parts if n in part.stages]) for n in names},
        seconds=math.fsum(part.seconds for part in parts),
        radio=together([part.radio for part in parts], independent=False),
    )
