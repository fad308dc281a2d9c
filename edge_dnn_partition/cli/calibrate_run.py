# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Loads the cores step by step and takes what the meter and the host say of each step."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.model import Activity, activity
from edge_dnn_partition.sensing.power.reading import PowerReading, measured_for

Samples = list[tuple[Activity, float]]

SETTLE_SECONDS: Final = 3.0
"""Clocks, fans and a meter's averaging follow a change of the load."""

BLOCK_SECONDS: Final = 2.0
"""A sample's length: the meter's joules over this time, with the mean activity."""

# Products of matrices on one thread: what a convolution does to the cores.
_LOAD: Final = 'import numpy; a = numpy.ones((192, 192), numpy.float32)\nwhile True: a @ a'
_ONE_THREAD: Final = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')


class Host(Protocol):
    """What is sampled, such as `HostMeter`."""

    def sample(self, now_seconds: float) -> HostSample:
        """Return the present state."""


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep some cores busy."""
    command = [sys.executable, '-c', _LOAD]
    processes = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen(command, env={**os.environ, **_ONE_THREAD}))  # noqa: PERF401 (stopped below)
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def steps(cores: int, most: int = 6) -> list[int]:
    """Return how many cores to keep busy, one step after another, from none to all."""
    if cores < most:
        return list(range(cores + 1))
    return sorted({round(i * cores / (most - 1)) for i in range(most)} | {1})


def chosen(sample: HostSample, meter: str) -> PowerReading | None:
    """Return the reading that a calibration is made against: measured, with the cores in it, of the whole board if that is there.

    :param meter: the beginning of a source's name, or ``auto``.
    """
    measured = [r for r in sample.power if r.kind == 'measured' and (meter == 'auto' or r.source.startswith(meter))]
    return measured_for(measured, 'cpu')


def measured_samples(
    host: Host,
    cores: Sequence[int],
    seconds: float,
    meter: str,
    *,
    say: Callable[[str], None],
    load: Callable[[int], object] = busy_cores,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Samples, str]:
    """Return activities with watts, and the meter's name.

    :param cores: how many are kept busy, one step after another.
    :param seconds: of each step, after `SETTLE_SECONDS`.
    :param meter: see `chosen`.
    :raises UserError: if no meter tells anything.
    """
    samples: Samples = []
    name = ''
    for count in cores:
        say(f'{count} of {cores[-1]} cores busy')
        with load(count):  # type: ignore[attr-defined]
            sleep(SETTLE_SECONDS)
            before, at = chosen(host.sample(clock()), meter), clock()
            for _ in range(max(1, round(seconds / BLOCK_SECONDS))):
                sleep(BLOCK_SECONDS)
                sample, now = host.sample(clock()), clock()
                after = chosen(sample, meter)
                if before is not None and after is not None and after.source == before.source:
                    covered = after.covered_seconds - before.covered_seconds
                    watts = (after.joules - before.joules) / covered if covered > 0.5 * (now - at) else math.nan
                    samples.append((activity(sample.cpu, sample.clock, sample.gpus, sample.interfaces), watts))
                    name = after.source
                before, at = after, now
        if not any(math.isfinite(watts) for _, watts in samples):
            raise UserError(
                'no power meter here tells what the cores draw (see `edge-dnn-partition doctor`): '
                'use --typed with a wall meter, or --watts with values that you have noted'
            )
    return samples, name


def typed_samples(
    host: Host,
    cores: Sequence[int],
    seconds: float,
    *,
    ask: Callable[[str], str],
    load: Callable[[int], object] = busy_cores,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Samples:
    """Return one activity for each step, with the watts that someone reads off a meter.

    :param ask: shows a question and returns the answer.
    :raises UserError: if an answer is no number of watts.
    """
    samples = []
    for count in cores:
        with load(count):  # type: ignore[attr-defined]
            sleep(SETTLE_SECONDS)
            host.sample(clock())
            sleep(seconds)
            sample = host.sample(clock())
            answer = ask(f'{count} of {cores[-1]} cores busy; watts on the meter: ')
        samples.append((activity(sample.cpu, sample.clock, sample.gpus, sample.interfaces), parse_watts(answer)))
    return samples


def parse_watts(text: str) -> float:
    """Return a number of watts.

    :raises UserError: if it is none.
    """
    try:
        watts = float(text.strip().removesuffix('W').strip().replace(',', '.'))
    except ValueError:
        watts = math.nan
    if not 0 < watts < 1e5:
        raise UserError(f'{text.strip()!r} is no number of watts above 0')
    return watts


def noted_samples(pairs: Sequence[str]) -> Samples:
    """Return the samples of ``CORES=WATTS``, at the highest clock.

    :raises UserError: if a pair is malformed.
    """
    samples = []
    for pair in pairs:
        cores, separator, watts = pair.partition('=')
        try:
            count = 0.0 if cores == 'idle' else float(cores)
        except ValueError:
            count = math.nan
        if not separator or not 0 <= count < 1e4:
            raise UserError(f'--watts {pair}: write busy cores and watts, as in idle=2.7 or 4=6.4')
        samples.append((Activity(count), parse_watts(watts)))
    return samples
