# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verb ``calibrate``: fits this device's power model to a meter."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.host import HostMeter, HostSample
from edge_dnn_partition.sensing.power.model import Activity, activity
from edge_dnn_partition.sensing.power.reading import PowerReading, measured_for

if TYPE_CHECKING:
    from edge_dnn_partition.sensing.power.fit import Fit

_EPILOG: Final = """\
Matrix products keep more and more cores busy while the meter is read. If the device has no meter, put one
between it and its supply: --typed asks for its watts after each step, --watts takes values noted before. What
the steps do not vary (GPU, radio, often the clock) is taken from the board's published figures. The model is
written to where all nodes on this device look for it.

--json prints
  {"model": {"idle_watts", "core_watts", "clock_exponent", "gpu_watts", "joules_per_byte",
             "relative_error", "source"},
   "standard_errors": {coefficient: W}, null: no sample to spare
   "rms_watts", "predicted_rms_watts",  of the fit; of predicting each sample from the others
   "largest_watts", "fixed": [..],      coefficients that were not fitted
   "samples": [{"busy_cores", "clock_ratio", "gpu_share", "radio_bytes_per_second", "watts"}, …],
   "path"}

examples:
  edge-dnn-partition calibrate
  edge-dnn-partition calibrate --typed
  edge-dnn-partition calibrate --watts idle=2.7 --watts 2=4.6 --watts 4=6.4
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser(
        'calibrate', description="Fits this device's power model to a meter, and reports its error.", epilog=_EPILOG
    )  # fmt: skip
    way = parser.add_mutually_exclusive_group()
    way.add_argument('--meter', default='auto', metavar='NAME', help='ina3221, rapl, pi_pmic, nvml, battery; default: the best')
    way.add_argument('--typed', action='store_true', help="ask for a wall meter's watts after each step")
    way.add_argument('--watts', action='append', metavar='CORES=WATTS', help='a value noted before; repeat for each')
    way.add_argument('--samples', type=Path, metavar='FILE', help='samples of an earlier run (its --json document)')
    parser.add_argument('--seconds', type=float, default=20.0, metavar='S', help='seconds per step (default: 20)')
    parser.add_argument('--board', metavar='NAME', help='board whose published figures fill in the rest; default: this one')
    parser.add_argument('--out', type=Path, metavar='FILE', help="default: the cache's power_model.json")
    parser.add_argument('--json', action='store_true', help='print one JSON document')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Take samples, fit, write the model and print it."""
    from edge_dnn_partition.sensing.power import boards, fit, model

    if not 1 <= args.seconds <= 3600:
        raise UserError(f'--seconds {args.seconds:g}: must be between 1 and 3600')
    prior = boards.named_model(args.board) if args.board else boards.shipped_model(model.board_name())
    samples, source = _samples(args)
    found = fit.fit(samples, prior=prior, source=source)
    path = args.out or model.default_path()
    document = _document(found, samples, path)
    try:
        model.save_model(found.model, path, {key: value for key, value in document.items() if key not in ('model', 'path')})
    except OSError as error:
        raise UserError(f'--out {path}: {error.strerror}') from error
    if args.json:
        print(json.dumps(document, indent=2))
    else:
        _print(found, path)
    return 0


def _samples(args: argparse.Namespace) -> tuple[Samples, str]:
    if args.watts:
        return noted_samples(args.watts), 'calibrate --watts'
    if args.samples:
        return _read_samples(args.samples), f'calibrate --samples {args.samples.name}'
    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    cores = steps(usable)
    if args.typed:
        return typed_samples(HostMeter(), cores, args.seconds, ask=_ask), 'calibrate --typed'
    samples, meter = measured_samples(HostMeter(), cores, args.seconds, args.meter, say=_say)
    return samples, f'calibrate against {meter}'


def _read_samples(path: Path) -> Samples:
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
        rows = [dict(row) for row in document['samples']]
        return [(Activity(**{k: float(v) for k, v in row.items() if k != 'watts'}), float(row['watts'])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'--samples {path}: not what `calibrate --json` writes ({type(error).__name__}: {error})') from None


def _document(found: Fit, samples: Samples, path: Path) -> dict[str, Any]:
    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    document = asdict(found) | {
        'fixed': list(found.fixed),
        'samples': [finite({**vars(a), 'watts': watts}) for a, watts in samples if math.isfinite(watts)],
        'path': str(path),
    }
    return {key: finite(value) for key, value in document.items()}


def _print(found: Fit, path: Path) -> None:
    model = found.model
    units = {'idle_watts': 'W', 'core_watts': 'W', 'gpu_watts': 'W', 'joules_per_byte': 'J', 'clock_exponent': ''}
    for name, unit in units.items():
        error = found.standard_errors.get(name, math.nan)
        spread = f' ± {error:.2g}' if math.isfinite(error) else ''
        fixed = '   (not varied: taken from the board or a default)' if name in found.fixed else ''
        print(f'{name:<16} {getattr(model, name):.4g}{spread} {unit}{fixed}')
    print(f'residuals        {found.rms_watts:.2g} W (root mean square), {found.largest_watts:.2g} W at most')
    if math.isfinite(found.predicted_rms_watts):
        share = f'{100 * model.relative_error:.1f} %'
        print(f'prediction       {found.predicted_rms_watts:.2g} W, {share} of the mean, of samples that were left out')
    else:
        print('prediction       unknown: no sample to spare; measure more steps')
    print(f'wrote {path}')


def _ask(question: str) -> str:
    print(question, end='', file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise UserError('the input ended before every step had its watts; type one value per step')
    return answer


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


Samples = list[tuple[Activity, float]]

_MOST_STEPS: Final = 6
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


def steps(cores: int) -> list[int]:
    """Return how many cores to keep busy, one step after another, from none to all."""
    if cores < _MOST_STEPS:
        return list(range(cores + 1))
    return sorted({round(i * cores / (_MOST_STEPS - 1)) for i in range(_MOST_STEPS)} | {1})


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
    load: Callable[[int], AbstractContextManager[object]] = busy_cores,
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
        with load(count):
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
                'no power meter here measures the cores (see `edge-dnn-partition doctor`): '
                'use --typed with a wall meter, or --watts with values noted before'
            )
    return samples, name


def typed_samples(
    host: Host,
    cores: Sequence[int],
    seconds: float,
    *,
    ask: Callable[[str], str],
    load: Callable[[int], AbstractContextManager[object]] = busy_cores,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Samples:
    """Return one activity for each step, with the watts that someone reads off a meter.

    :param ask: shows a question and returns the answer.
    :raises UserError: if an answer is no number of watts.
    """
    samples = []
    for count in cores:
        with load(count):
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
        raise UserError(f'{text.strip()!r} is not a number of watts above 0')
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
