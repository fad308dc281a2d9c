# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the verbs that take a model have in common."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.cache import write_atomic
from edge_dnn_partition.cli.legends import legends_below
from edge_dnn_partition.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.execution.profiling.layer_costs import LayerCost
    from edge_dnn_partition.planning.fleet.fleet import Fleet

_ZOO: Final = 'zoo:'
_ROUGH: Final = 0.5


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, ``--shape`` and ``--fleet``."""
    parser.add_argument('model', metavar='MODEL.onnx', help='the ONNX file, or zoo:NAME for one of the zoo, such as zoo:vit_b16')
    parser.add_argument('--shape', action='append', default=[], metavar='NAME=1x3x224x224',
                        help='the shape of an input whose size the file leaves open; repeat for each (a batch is 1 without)')
    parser.add_argument('--fleet', metavar='FLEET.yaml',
                        help='take shapes that are not given from a fleet file and its preprocessing')


def load_given_model(args: argparse.Namespace, fleet: Fleet | None = None) -> Any:
    """Load the model that was named on the command line.

    :param fleet: settles sizes that the model leaves open and ``--shape`` does not give; None: that of ``--fleet``, if any.
    :raises ModelError: the model cannot be used, or a shape is malformed or missing.
    """
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.graph.shapes import parse_shapes

    path = args.model
    if path.startswith(_ZOO):
        from edge_dnn_partition.graph.zoo import model_path

        path = model_path(path.removeprefix(_ZOO))
    shapes = parse_shapes(args.shape)
    if fleet is None and args.fleet is None:
        return load_model(path, shapes=shapes)
    from edge_dnn_partition.deployment.start_checks import model_of
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    fleet = fleet or load_fleet(args.fleet)
    return model_of(fleet, path, shapes)


def readable_bytes(count: int) -> str:
    """Return a size for people, in binary units."""
    size = float(count)
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if size < 1024 or unit == 'GiB':
            return f'{size:.0f} {unit}' if unit == 'B' else f'{size:.1f} {unit}'
        size /= 1024
    raise AssertionError


def add_layer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--csv`` and ``--plot``."""
    parser.add_argument('--csv', metavar='FILE', help='write the layers as CSV; unknown values are empty')
    parser.add_argument('--plot', metavar='FILE.png',
                        help='draw where time and energy go and where cuts are cheap (.png, .svg or .pdf)')


def write_layer_files(args: argparse.Namespace, title: str, rows: Sequence[LayerCost]) -> None:
    """Write what ``--csv`` and ``--plot`` ask for.

    :raises UserError: if a file cannot be written, or a plot has another ending.
    """
    if args.csv:
        _write('--csv', args.csv, csv_text(rows).encode())
    if args.plot:
        _write('--plot', args.plot, plot_bytes(title, rows, Path(args.plot).suffix.lower().removeprefix('.')))


def csv_text(rows: Sequence[LayerCost]) -> str:
    """Return the rows as CSV with a heading; several operators are parted by spaces."""
    plain = [row.plain() for row in rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(plain[0]), lineterminator='\n')
    writer.writeheader()
    for row in plain:
        writer.writerow(row | {'operators': ' '.join(row['operators']), 'candidate': int(row['candidate'])})
    return stream.getvalue()


def print_layers(title: str, rows: Sequence[LayerCost]) -> None:
    """Print one line for each layer; bold where plans may cut after it."""
    from rich.markup import escape
    from rich.table import Table

    from edge_dnn_partition.cli.console import console as open_console

    timed = any(math.isfinite(row.seconds) for row in rows)
    console = open_console()
    table = Table(title=escape(title), title_justify='left')
    joules = 'mJ, roughly' if is_rough(rows) else 'mJ'
    headings = ['layer', 'name', 'operators', *(['ms', joules] if timed else []), 'weights', 'memory', 'cut after it',
                'tensors', 'sent there']  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify='left' if heading in ('name', 'operators') else 'right', overflow='fold')
    for row in rows:
        costs = [_number(row.seconds * 1e3), _number(row.joules * 1e3)] if timed else []
        table.add_row(
            str(row.index), escape(row.name), escape(' '.join(row.operators)), *costs, readable_bytes(row.weight_bytes),
            readable_bytes(row.memory_bytes), str(row.cut), str(row.cut_tensors), readable_bytes(row.cut_bytes),
            style='bold' if row.candidate else None)  # fmt: skip
    console.print(table)
    console.print(f'{len(rows)} layers, {readable_bytes(sum(row.weight_bytes for row in rows))} of weights. '
                  'Bold: the cuts that plans choose from.', highlight=False)  # fmt: skip
    if timed:
        console.print(energy_words(rows), highlight=False, markup=False)


def energy_words(rows: Sequence[LayerCost]) -> str:
    """Say in a line how much energy it is and where the figures are from."""
    known = [row for row in rows if math.isfinite(row.joules)]
    source = rows[0].energy_source
    if not known:
        return f'energy: unknown{": " + source if source else " (profile --energy)"}'
    joules = math.fsum(row.joules for row in known)
    error = math.fsum(row.joules_error for row in known)  # one error, of idleness or the model, is in all of them
    where = f'{known[0].energy_kind}: {source}'
    if is_rough(rows):
        low, high = max(0.0, joules - error) * 1e3, (joules + error) * 1e3
        return f'energy: between {low:.3g} and {high:.3g} mJ above idleness, too rough to compare layers or devices by; {where}'
    return f'energy: {joules * 1e3:.1f} ± {error * 1e3:.1f} mJ above idleness, {where}'


def is_rough(rows: Sequence[LayerCost]) -> bool:
    """Return whether the joules may be wrong by half of what they are, or more."""
    known = [row for row in rows if math.isfinite(row.joules)]
    return bool(known) and math.fsum(row.joules_error for row in known) >= _ROUGH * math.fsum(row.joules for row in known)


def plot_bytes(title: str, rows: Sequence[LayerCost], kind: str) -> bytes:
    """Return the plot as a file's content.

    :raises UserError: if the kind is none of png, svg and pdf, or matplotlib is missing.
    """
    if kind not in ('png', 'svg', 'pdf'):
        raise UserError('--plot: the name must end with .png, .svg or .pdf')
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f'--plot needs matplotlib ({error.name}): pip install "edge_dnn_partition[bench]"') from None
    figure = Figure(figsize=(11, 8.5), layout='constrained')
    FigureCanvasAgg(figure)
    draw(figure, title, rows)
    legends_below(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=110)
    return stream.getvalue()


def draw(figure: Figure, title: str, rows: Sequence[LayerCost]) -> None:
    """Draw time, energy, what a cut sends and memory over the layers, on an empty figure."""
    axes = figure.subplots(4, 1, sharex=True)
    places = [row.index for row in rows]
    time = [row.seconds * 1e3 for row in rows]
    energy = [row.joules * 1e3 for row in rows]
    _costs(axes[0], places, time, 'ms', 'tab:blue', 'no profile: seconds are unknown')
    _costs(axes[1], places, energy, 'mJ', 'tab:orange', energy_words(rows), rough=is_rough(rows))
    if any(map(math.isfinite, energy)):
        axes[1].set_title(energy_words(rows), fontsize='small', loc='left')
    sent = [row.cut_bytes / 1e3 for row in rows]
    axes[2].step(places, sent, where='mid', color='tab:gray', label='a cut after the layer')
    for many, colour, words in ((False, 'tab:green', 'plans choose it, one tensor'),
                                (True, 'tab:red', 'plans choose it, several tensors')):  # fmt: skip
        chosen = [row for row in rows[:-1] if row.candidate and (row.cut_tensors > 1) == many]
        if chosen:
            axes[2].plot([row.index for row in chosen], [row.cut_bytes / 1e3 for row in chosen], 'o', color=colour,
                         markersize=4, label=words)  # fmt: skip
    axes[2].set_yscale('log')
    axes[2].set_ylabel('sent, kB')
    axes[2].legend(fontsize='small', ncols=3)
    weights = [row.weight_bytes / 1e6 for row in rows]
    alive = [(row.memory_bytes - row.weight_bytes) / 1e6 for row in rows]
    axes[3].bar(places, weights, width=1.0, color='tab:purple', label='weights')
    axes[3].bar(places, alive, width=1.0, bottom=weights, color='tab:cyan', label='tensors alive')
    axes[3].set_ylabel('memory, MB')
    axes[3].legend(fontsize='small')
    axes[3].set_xlabel('layer')
    figure.suptitle(title)


def _costs(
    axes: Any, places: Sequence[int], values: Sequence[float], unit: str, colour: str, unknown: str, *, rough: bool = False
) -> None:
    """Draw bars and, on a second axis, their running sum as a share; if they are rough, in pale bars without a sum."""
    axes.set_ylabel(f'{unit} a layer')
    total = math.fsum(value for value in values if math.isfinite(value))
    if not any(map(math.isfinite, values)) or total <= 0:
        axes.text(0.5, 0.5, unknown, transform=axes.transAxes, ha='center', fontsize='small', wrap=True)
        axes.set_yticks([])
        return
    if rough:
        axes.bar(places, values, width=1.0, color='none', edgecolor=colour, hatch='////', alpha=0.4)
        return
    axes.bar(places, values, width=1.0, color=colour)
    share, done = [], 0.0
    for value in values:
        done += value if math.isfinite(value) else 0.0
        share.append(100 * done / total)
    twin = axes.twinx()
    twin.plot(places, share, color='black', linewidth=1)
    twin.set_ylim(0, 105)
    twin.set_ylabel(f'so far, % of {total:.3g} {unit}', fontsize='small')


def _number(value: float) -> str:
    return f'{value:.3f}' if math.isfinite(value) else '–'


def _write(option: str, path: str, content: bytes) -> None:
    try:
        write_atomic(Path(path), content)
    except OSError as error:
        raise UserError(f'{option} {path}: {error.strerror}') from error
