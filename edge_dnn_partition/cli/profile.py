# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``profile``: what the layers of a model take on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import UserError

from .model_view import add_layer_arguments, add_model_arguments, load_given_model, print_layers, write_layer_files

if TYPE_CHECKING:
    from edge_dnn_partition.execution.profiling.image_samples import ImageSamples
    from edge_dnn_partition.execution.profiling.layer_costs import LayerCost
    from edge_dnn_partition.graph.model import Model
    from edge_dnn_partition.planning.plans.profile import Profile
    from edge_dnn_partition.sensing.power.model import PowerModel

_EPILOG: Final = """\
The model is timed in segments between at most 20 cuts worth making. A stage is predicted to take the sum
of its segments less the boundary overheads inside it. Some stages are held back and timed as a check; the
largest error is reported. With one thread on the CPU, seconds are CPU time.

--json prints
  {"model", "model_sha256", "device", "provider", "threads", "onnxruntime_version",
   "boundaries": [cut, …],             cut indices, as in `inspect`
   "segment_seconds": [s, …],          between one boundary and the next
   "seam_seconds": [s, …],             what a cut at each inner boundary adds
   "preprocess_seconds": s or null,    with --preprocessing and --image
   "total_seconds": s,                 the whole model as one stage
   "relative_error": e,                the largest of the held-back stages, 0.1 for 10 %
   "held_back": [{"start", "stop", "measured_seconds", "predicted_seconds"}, …],
   "throttled": true or false,         the machine was throttled or disturbed
   "probe_seconds": s,                 median of the speed probe during profiling
   "interval_seconds": s,              idle time before each timed run
   "version": 1}
and with --layers, --energy, --csv or --plot
   "layers": [{"index", "name", "operators", "seconds", "joules", "joules_error", "energy_kind",
               "energy_source", "output_bytes", "weight_bytes", "memory_bytes", "cut", "cut_bytes",
               "cut_tensors", "candidate"}, …]      null: unknown

A layer's seconds are its share of its segment, by onnxruntime's timing of its operators. Joules are
above idle: measured if the device has a power meter (each segment is repeated; keep the device
otherwise idle), else computed from its power model and labelled as such.

examples:
  edge-dnn-partition profile model.onnx --runs 7 --out pi.json
  edge-dnn-partition profile model.onnx --energy --csv layers.csv --plot layers.png
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        'profile', description="Time a model's segments and boundary overheads on this machine.", epilog=_EPILOG
    )  # fmt: skip
    add_model_arguments(parser)
    parser.add_argument('--runs', type=_whole(1, 1000), default=5, metavar='N',
                        help='rounds; each times every segment and pair once (default 5)')
    parser.add_argument('--threads', type=_whole(1, 1024), default=1, metavar='N',
                        help='threads of one operator (default 1)')
    parser.add_argument('--provider', action='append', metavar='NAME',
                        help='execution provider; repeat for fallbacks (default CPUExecutionProvider)')
    parser.add_argument('--interval', default='50 ms', metavar='TIME',
                        help='idle time before each timed run, as between two frames (default 50 ms)')
    parser.add_argument('--device', default='local', metavar='NAME', help='the name in the profile')
    parser.add_argument('--preprocessing', metavar='FILE.yaml', help='time this preprocessing too …')
    parser.add_argument('--image', '--picture', metavar='FILE.jpg', action='append',
                        help='… of this JPEG or PNG; give several for the error of lossy encodings')
    parser.add_argument('--pixels', action='store_true', help='the camera gives pixels, not JPEG or PNG')
    parser.add_argument('--layers', action='store_true', help='report each layer, too')
    parser.add_argument('--energy', action='store_true', help='report joules; measured if there is a meter, else modelled')
    parser.add_argument('--energy-seconds', type=float, default=1.0, metavar='S',
                        help='how long each segment is repeated under a meter (default 1)')
    parser.add_argument('--board', metavar='NAME',
                        help="a shipped power model (docs/energy.md), or cloud; default: this device's calibration or board")
    add_layer_arguments(parser)
    parser.add_argument('--out', metavar='FILE', help='write the JSON to a file')
    parser.add_argument('--json', action='store_true', help='print one JSON document')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Profile the model, and print or write the result."""
    from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, profile_model
    from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, check_providers
    from edge_dnn_partition.units import parse

    if not 0.1 <= args.energy_seconds <= 600:
        raise UserError(f'--energy-seconds: {args.energy_seconds} must be from 0.1 to 600')
    providers = tuple(args.provider or (CPU_PROVIDER,))
    check_providers(providers)
    options = ProfileOptions(device=args.device, providers=providers, threads=args.threads, runs=args.runs,
                             interval_seconds=parse('time', args.interval, what='--interval'),
                             limit_seconds=max(20.0, 4.0 * args.runs))
    power = _power_model(args.board) if args.energy else None
    model = load_given_model(args)
    samples = _samples(args)
    if samples is not None:
        samples.preprocessing.check(model.tensors[model.inputs[0]])
    with _progress() as progress:
        profile = profile_model(model, options, samples=samples, progress=progress)
    document = profile.to_dict() | {'total_seconds': profile.total_seconds}
    rows: Sequence[LayerCost] = ()
    if args.layers or args.energy or args.csv or args.plot:
        rows = _layers(args, model, profile, power)
        document['layers'] = [row.plain() for row in rows]
        write_layer_files(args, f'{model.name}, {profile.provider}, {profile.total_seconds * 1e3:.1f} ms', rows)
    text = json.dumps(document, indent=1)
    if args.out:
        _write(args.out, text)
    if args.json:
        print(text)
    else:
        _print_tables(model, profile)
        if rows:
            print_layers(f'{model.name}, layer by layer', rows)
    return 0


def _power_model(board: str | None) -> PowerModel | None:
    from edge_dnn_partition.sensing.power.boards import device_model, named_model

    return named_model(board) if board else device_model()


def _layers(args: argparse.Namespace, model: Model, profile: Profile, power: PowerModel | None) -> Sequence[LayerCost]:
    from edge_dnn_partition.execution.profiling.layer_costs import layer_costs
    from edge_dnn_partition.execution.profiling.layer_shares import layer_shares
    from edge_dnn_partition.execution.profiling.segment_energy import segment_energy
    from edge_dnn_partition.sensing.host import HostMeter

    shares = layer_shares(model, profile.boundaries, providers=(profile.provider,), threads=profile.threads)
    if not args.energy:
        return layer_costs(model, profile, shares)
    energy = segment_energy(model, profile, HostMeter(only_power=True), power, seconds=args.energy_seconds)
    return layer_costs(model, profile, shares, energy)


def _samples(args: argparse.Namespace) -> ImageSamples | None:
    if args.preprocessing is None and not args.image:
        return None
    if args.preprocessing is None or not args.image:
        raise UserError('--preprocessing and --image belong together; give both or neither')
    from edge_dnn_partition.execution.profiling.image_samples import samples_of_files
    from edge_dnn_partition.inputs.preprocess import Preprocessing, limit_threads

    limit_threads(args.threads)
    return samples_of_files(args.image, Preprocessing.from_yaml(args.preprocessing), raw=args.pixels)


def _print_tables(model: Model, profile: Profile) -> None:
    from rich.table import Table

    from edge_dnn_partition.cli.console import console as open_console

    console = open_console()
    table = Table(title=f'{model.name}: {profile.total_seconds * 1e3:.2f} ms as one stage '
                        f'({profile.provider}, {profile.threads} thread{"s" * (profile.threads > 1)})',
                  title_justify='left')
    for name in ('cuts', 'layers', 'ms', 'boundary overhead at the end, ms'):
        table.add_column(name, justify='left' if name == 'layers' else 'right')
    for index, seconds in enumerate(profile.segment_seconds):
        start, stop = profile.boundaries[index:index + 2]
        first, last = model.layers[start].name, model.layers[stop - 1].name
        overhead = f'{profile.seam_seconds[index] * 1e3:.3f}' if index < len(profile.seam_seconds) else ''
        table.add_row(f'{start}–{stop}', first if first == last else f'{first} … {last}',
                      f'{seconds * 1e3:.3f}', overhead)
    console.print(table)
    if profile.preprocess_seconds is not None:
        console.print(f'preprocessing: {profile.preprocess_seconds * 1e3:.2f} ms')
    if profile.held_back:
        stages = ', '.join(f'{stage.start}–{stage.stop} {stage.relative_error:+.1%}'
                           for stage in profile.held_back)
        console.print(f'held-back stages predicted within {profile.relative_error:.1%}: {stages}')
    else:
        console.print('too few segments to hold a stage back: the prediction is not tested')
    if profile.throttled:
        console.print('throttled or disturbed: this machine ran slower than it can, or unevenly; '
                      'profile again when it is cool and idle', style='bold yellow')


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr where that is a terminal."""
    from rich.progress import Progress

    from edge_dnn_partition.cli.console import console as open_console

    console = open_console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task('profiling', total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text + '\n', encoding='utf-8')
    except OSError as error:
        raise UserError(f'--out {path}: {error.strerror}') from error


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f'{text!r} must be a whole number from {low} to {high}')
        return int(text)

    return read
