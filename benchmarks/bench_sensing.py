# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What sampling a host costs: CPU time of this process and its children, at 2 and at 10 samples a second.

This machine is sampled at the real rate, so that caches are as cold as in the device monitor. In a checkout the trees
of six devices, on which the tests replay them, are sampled too: what reading and parsing costs, without what their
drivers take. psutil, asked for the same of this machine, is beside it.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import edge_dnn_partition
from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.sensing.host import HostMeter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES: Final = {2.0: 1.0, 10.0: 4.0}
"""Samples a second, and the percent of a core that they may take."""


def process_seconds() -> float:
    """Return the CPU time of this process and of children that have ended, theirs in clock ticks."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def paced(sample: Callable[[float], object], rate_hz: float, count: int) -> float:
    """Return the CPU seconds of a sample at a real rate, less what the waiting itself takes."""
    begin, start = process_seconds(), time.monotonic()
    for i in range(count):
        sample(time.monotonic())
        time.sleep(max(0.0, start + (i + 1) / rate_hz - time.monotonic()))
    used = process_seconds() - begin
    begin = process_seconds()
    for _ in range(count):
        time.sleep(0.001)
    return max(0.0, used - (process_seconds() - begin)) / count


def replayed(sample: Callable[[float], object], rate_hz: float, count: int) -> float:
    """Return the CPU seconds of a sample while time is passed in: as fast as it goes."""
    begin = process_seconds()
    for i in range(count):
        sample(10.0 + i / rate_hz)
    return (process_seconds() - begin) / count


def device_trees() -> dict[str, dict[str, str]]:
    """Return the tests' trees of devices, nothing where this is not run in a checkout."""
    places = (Path(edge_dnn_partition.__file__).resolve().parents[1], Path.cwd())
    path = next((p for p in (place / 'test/sensing/trees.py' for place in places) if p.exists()), None)
    spec = importlib.util.spec_from_file_location('trees', path) if path is not None else None
    if spec is None or spec.loader is None:
        return {}
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.DEVICES)


def with_psutil(_now: float) -> None:
    """Ask psutil for what it knows of the same."""
    import psutil

    psutil.cpu_times(percpu=True)
    psutil.net_io_counters(pernic=True)
    psutil.getloadavg()
    psutil.virtual_memory()
    psutil.swap_memory()
    psutil.cpu_freq()
    psutil.sensors_temperatures()
    psutil.Process().memory_info()


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Measure all; the first sample, which probes, is not counted."""
    results: list[dict[str, Any]] = []

    def record(subject: str, rate_hz: float, seconds: float) -> None:
        percent = 100 * seconds * rate_hz
        results.append({'subject': subject, 'rate_hz': rate_hz, 'cpu_ms_per_sample': 1e3 * seconds, 'percent_of_a_core': percent})
        progress(f'{subject:<16} {rate_hz:>4g} Hz  {1e3 * seconds:.2f} ms a sample, {percent:.2f} % of a core')

    for rate_hz in RATES:
        seconds = 2.0 if quick else 20.0
        meter = HostMeter()
        meter.sample(time.monotonic())
        record('this machine', rate_hz, paced(meter.sample, rate_hz, max(2, round(rate_hz * seconds))))
        record('psutil', rate_hz, paced(with_psutil, rate_hz, max(2, round(rate_hz * seconds))))
    with tempfile.TemporaryDirectory() as folder:
        for name, tree in device_trees().items():
            for path, content in tree.items():
                file = Path(folder, name, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
            for rate_hz in RATES:
                meter = HostMeter(str(Path(folder, name)))
                meter.sample(0.0)
                record(name, rate_hz, replayed(meter.sample, rate_hz, 20 if quick else 200))
    targets = [
        Target(f'CPU at {rate:g} Hz, {what}', f'<= {most:g} % of a core', worst, '%', worst <= most)
        for rate, most in RATES.items()
        for what, chosen in (('this machine', True), ('the costliest replayed tree', False))
        for worst in [_worst(results, rate, this_machine=chosen)]
        if worst is not None
    ]
    asked = ', '.join(f'{t.measured:.2f} % ({t.name})' for t in targets)
    return BenchResult(results, targets, lambda figure: _plot(figure, results), f'Sampling takes of one core: {asked}.')


def _worst(results: list[dict[str, Any]], rate_hz: float, *, this_machine: bool) -> float | None:
    values = [
        float(r['percent_of_a_core'])
        for r in results
        if r['rate_hz'] == rate_hz and r['subject'] != 'psutil' and (r['subject'] == 'this machine') == this_machine
    ]
    return max(values, default=None)


def _plot(figure: Figure, results: list[dict[str, Any]]) -> None:
    axes = figure.subplots()
    subjects = list(dict.fromkeys(r['subject'] for r in results))
    for k, (rate_hz, most) in enumerate(RATES.items()):
        values = [next(r['percent_of_a_core'] for r in results if r['subject'] == s and r['rate_hz'] == rate_hz) for s in subjects]
        places = [i + 0.4 * (k - 0.5) for i in range(len(subjects))]
        bars = axes.bar(places, values, width=0.38, label=f'{rate_hz:g} Hz')
        axes.axhline(most, linestyle='--', color=bars.patches[0].get_facecolor(), label=f'asked at {rate_hz:g} Hz: {most:g} %')
    axes.set_xticks(range(len(subjects)), subjects, rotation=20)
    axes.set_ylabel('CPU, percent of one core')
    axes.set_title('What sampling costs')
    axes.set_yscale('log')
    axes.legend()
