# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of every cut of every network in full size give what the whole network gives."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import candidate_boundaries, linear_cuts
from edge_dnn_partition.graph.difference import TOLERANCE, compare
from edge_dnn_partition.graph.feeds import random_feeds
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.stages import extract_stages
from edge_dnn_partition.graph.verify import run_chain, run_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('torch', 'transformers')


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Check every linear cut of every network; ``quick`` checks the candidate boundaries only."""
    results = []
    for name in zoo.names():
        started = time.monotonic()
        model = load_model(zoo.model_path(name))
        indices = candidate_boundaries(model)[1:-1] if quick else range(1, len(model.layers))
        results.append(check(model, indices))
        found = results[-1]
        progress(f'{name}: {found["cuts"]} cuts, {found["bit_exact_cuts"]} bit-exact, largest relative difference '
                 f'{found["largest_relative"]:.1e} ({time.monotonic() - started:.0f} s)')
    worst = max(results, key=lambda result: result['largest_relative'])
    exact = sum(result['bit_exact_cuts'] for result in results)
    total = sum(result['cuts'] for result in results)
    targets = [Target(f'{result["model"]}: largest relative difference over {result["cuts"]} cuts',
                      f'<= {TOLERANCE:g}', result['largest_relative'], 'of the largest value',
                      result['largest_relative'] <= TOLERANCE) for result in results]
    return BenchResult(
        results=results, targets=targets, plot=lambda figure: _plot(figure, results),
        conclusion=(
            f'{exact} of {total} cuts give the whole model bit for bit. The rest part what onnxruntime fuses (a '
            'convolution and its residual sum, the halves of SiLU, the scale and Softmax of attention), and a fused '
            f'kernel rounds at other places; the largest difference, {worst["largest_relative"]:.1e}, is in '
            f'{worst["model"]}.'))


def check(model: Model, indices: Sequence[int]) -> dict[str, Any]:
    """Compare the two stages at each of some cuts with the original file on one seeded input."""
    feeds = random_feeds(model.tensors[name] for name in model.inputs)
    expected = run_file(model.source_path, model.outputs, feeds)
    tensors = [len(cut.tensors) for cut in linear_cuts(model)]
    inexact = []
    with tempfile.TemporaryDirectory(prefix='bench_exactness_') as folder:
        for index in indices:
            stages = extract_stages(model, [index], Path(folder))
            found = compare(expected, run_chain(stages, model.outputs, feeds))
            if not found.exact:
                before = model.layers[index - 1]
                inexact.append({'cut': index, 'relative': found.relative, 'tensors': tensors[index],
                                'after': list(before.operators), 'before': list(model.layers[index].operators)})
    return {
        'model': model.name, 'cuts': len(indices), 'bit_exact_cuts': len(indices) - len(inexact),
        'largest_relative': max((cut['relative'] for cut in inexact), default=0.0), 'inexact': inexact,
    }


def _plot(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    axes = figure.subplots()
    names = [result['model'] for result in results]
    for number, result in enumerate(results):
        values = [cut['relative'] for cut in result['inexact']]
        axes.scatter([number] * len(values), values, color='tab:blue', s=12)
        axes.annotate(f'{result["bit_exact_cuts"]}/{result["cuts"]}', (number, TOLERANCE * 2), ha='center', fontsize=8)
    axes.axhline(TOLERANCE, color='tab:red', label='allowed')
    axes.set_yscale('log')
    axes.set(ylim=(1e-9, TOLERANCE * 10), xlim=(-0.6, len(names) - 0.4))
    axes.set_xticks(range(len(names)), names, rotation=30)
    axes.set_ylabel('relative difference of cuts that are not bit-exact')
    axes.set_title('Stages against the whole (above: cuts that are bit-exact)')
    axes.legend()
