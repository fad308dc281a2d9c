# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a cut costs: the original file at ORT_ENABLE_ALL against the sum of its stages.

Every stage runs in an Engine as a worker runs it, one thread, thread CPU time. Each run of a chain of stages
is paired with a run of the original right before or after it (the order by lot), the chains take turns, and the
figure is the median of the pairs' ratios: what other processes on the machine take away hits both of a pair.

``balanced`` cuts at the five of the planner's candidate boundaries that come closest to equal times, ``random``
at five of the candidates by lot. ``any`` draws from all cuts, also those that no plan uses; it has no target.

``bytes`` holds what the candidates carry against the least that any closed set of layers carries (benchmarks/cut_bounds.py), near
each of twenty shares of the work: of the zoo, and of ONNX files in a folder (its sub-folders are families).
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edge_dnn_partition.benchmarks.cut_bounds import offered

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import candidate_boundaries, linear_cuts
from edge_dnn_partition.graph.difference import compare
from edge_dnn_partition.graph.feeds import random_feeds
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.stages import extract_stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('torch', 'transformers')
OPTIONS = ('models',)
CUTS = 5
#: What the sum of the stages may be above the original: a fixed share and one per cut.
ALLOWED = {'resnet50': (0.02, 0.015), 'vit_b16': (0.02, 0.015), 'mobilenetv2': (0.0, 0.025)}
MORE_MODELS = ('resnet18', 'efficientnet_b0', 'inception', 'yolo')
_SECONDS_PER_CHAIN = 6.0
_SEED = 5


class Chain:
    """Stages in a row, or the original alone."""

    def __init__(self, kind: str, cuts: Sequence[int], paths: Sequence[Path]) -> None:
        self.kind, self.cuts = kind, tuple(cuts)
        self.engines = [Engine(path) for path in paths]
        self.stage_seconds: list[list[float]] = [[] for _ in paths]
        self.ratios: list[float] = []
        self.values: dict[str, np.ndarray[Any, Any]] = {}

    def run(self, feeds: dict[str, np.ndarray[Any, Any]]) -> float:
        """Run all stages and return the sum of their thread CPU seconds."""
        values, total = dict(feeds), 0.0
        for engine, kept in zip(self.engines, self.stage_seconds, strict=True):
            values.update(engine.run({tensor.name: values[tensor.name] for tensor in engine.inputs}))
            kept.append(engine.last_cpu_seconds)
            total += engine.last_cpu_seconds
        self.values = values
        return total


def run(*, quick: bool, progress: Callable[[str], None], models: Path | None = None) -> BenchResult:
    """Measure the three networks that have targets and, unless ``quick``, four more; count the bytes of these, or of all.

    :param models: a folder of further ONNX files to count.
    """
    names = tuple(ALLOWED) if quick else (*ALLOWED, *MORE_MODELS)
    results: list[dict[str, Any]] = _bytes(tuple(ALLOWED) if quick else zoo.names(), models, progress)
    counted = len(results)
    for name in names:
        progress(f'{name}: exporting and preparing')
        model = load_model(zoo.model_path(name))
        with tempfile.TemporaryDirectory(prefix='bench_cuts_') as folder:
            results += measure(model, Path(folder), quick=quick, progress=progress)
    counts, results = results[:counted], results[counted:]
    targets = [target for name in ALLOWED for target in _targets(name, results)]
    points = sum(count['points'] for count in counts)
    within = points - sum(len(count['above']) for count in counts)
    targets.append(Target(f'candidates within 5 % of the least bytes, of {points} shares of {len(counts)} models', f'>= {points}',
                          within, 'shares', within == points))  # fmt: skip
    met = sum(target.met for target in targets)
    worst = max(results, key=lambda result: result['overhead_per_cut'] if result['kind'] != 'any' else -1.0)
    dearest = max((result for result in results if result['kind'] == 'any'),
                  key=lambda result: result['overhead_per_cut'])
    return BenchResult(
        results=[*counts, *results], targets=targets, plot=lambda figure: _plot(figure, results),
        conclusion=(
            f'{met} of {len(targets)} targets are met. Among the cuts that plans use the dearest places are those of '
            f'{worst["model"]} ({worst["kind"]}), at {worst["overhead_per_cut"]:.1%} per cut. Cuts anywhere, which no '
            f'plan uses, cost up to {dearest["overhead_per_cut"]:.1%} per cut ({dearest["model"]}).'))


def _bytes(names: Sequence[str], folder: Path | None, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Count the bytes at the candidates of the zoo's models and of the files in a folder; what cannot be used is left out."""
    paths = [('zoo', zoo.model_path(name)) for name in names]
    if folder is not None:
        paths += [(path.parent.name, path) for path in sorted(folder.rglob('*.onnx'))]
    counts = []
    for family, path in paths:
        try:
            counts.append(offered(load_model(path), family))
        except ModelError as error:
            progress(f'{path.stem}: left out ({error})')
            continue
        count = counts[-1]
        progress(f'{family} {path.stem}: {count["points"] - len(count["above"])} of {count["points"]} shares')
    return counts


def measure(model: Model, folder: Path, *, quick: bool, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure one network at balanced, random and unrestricted cuts."""
    lot = random.Random(_SEED)
    feeds = random_feeds(model.tensors[name] for name in model.inputs)
    bounds = candidate_boundaries(model)
    choices: list[tuple[str, Sequence[int]]] = [('balanced', _balanced(model, bounds, folder, feeds))]
    choices += [('random', sorted(lot.sample(bounds[1:-1], CUTS))) for _ in range(2 if quick else 4)]
    choices += [('any', sorted(lot.sample(range(1, len(model.layers)), CUTS))) for _ in range(1 if quick else 2)]
    original = Chain('original', (), [model.source_path])
    chains = [
        Chain(kind, cuts, [stage.path for stage in extract_stages(model, cuts, folder / f'{number}')])
        for number, (kind, cuts) in enumerate(choices)]
    once = max(original.run(feeds) for _ in range(3))
    rounds = max(12 if quick else 25, min(400, int(_SECONDS_PER_CHAIN / (3 if quick else 1) / (2 * once))))
    progress(f'{model.name}: {rounds} rounds of {len(chains)} chains against the original')
    for chain in chains:
        chain.run(feeds)
        chain.run(feeds)
    for _ in range(rounds):
        for chain in lot.sample(chains, len(chains)):
            if lot.random() < 0.5:
                whole = original.run(feeds)
                chain.ratios.append(chain.run(feeds) / whole)
            else:
                parts = chain.run(feeds)
                chain.ratios.append(parts / original.run(feeds))
    expected = {name: original.values[name] for name in model.outputs}
    return [_result(model, chain, original, expected, rounds) for chain in chains]


def _balanced(
    model: Model, bounds: Sequence[int], folder: Path, feeds: dict[str, np.ndarray[Any, Any]],
) -> list[int]:
    """Return the inner boundaries nearest to equal shares of the time, which is measured per segment."""
    stages = extract_stages(model, bounds[1:-1], folder / 'segments')
    chain = Chain('segments', bounds[1:-1], [stage.path for stage in stages])
    for _ in range(6):
        chain.run(feeds)
    ends = list(accumulate(statistics.median(seconds[1:]) for seconds in chain.stage_seconds))
    chosen: list[int] = []
    for part in range(1, CUTS + 1):
        wanted = ends[-1] * part / (CUTS + 1)
        free = [number for number in range(1, len(bounds) - 1) if bounds[number] not in chosen]
        chosen.append(bounds[min(free, key=lambda number: abs(ends[number - 1] - wanted))])
    return sorted(chosen)


def _result(
    model: Model, chain: Chain, original: Chain, expected: dict[str, np.ndarray[Any, Any]], rounds: int,
) -> dict[str, Any]:
    quarter, _, three_quarters = statistics.quantiles(chain.ratios, n=4)
    ratio = statistics.median(chain.ratios)
    cuts = linear_cuts(model)
    found = compare(expected, {name: chain.values[name] for name in expected})
    return {
        'model': model.name, 'kind': chain.kind, 'cuts': list(chain.cuts),
        'tensors_at_cuts': [len(cuts[index].tensors) for index in chain.cuts],
        'bytes_at_cuts': [cuts[index].bytes for index in chain.cuts],
        'ratio': ratio, 'ratio_quartiles': [quarter, three_quarters],
        'overhead': ratio - 1.0, 'overhead_per_cut': (ratio - 1.0) / len(chain.cuts), 'rounds': rounds,
        'original_seconds': statistics.median(original.stage_seconds[0]),
        'stage_seconds': [statistics.median(seconds) for seconds in chain.stage_seconds],
        'bit_exact': found.exact, 'relative_difference': found.relative,
    }


def _targets(name: str, results: Sequence[dict[str, Any]]) -> list[Target]:
    fixed, per_cut = ALLOWED[name]
    limit = fixed + per_cut * CUTS
    targets = []
    for kind, words in (('balanced', 'five balanced cuts'), ('random', 'five random candidates, the worst draw')):
        measured = max(result['overhead'] for result in results if result['model'] == name and result['kind'] == kind)
        targets.append(Target(f'{name}: {words}', f'<= {limit * 100:.1f}', measured * 100, '%', measured <= limit))
    return targets


def _plot(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    axes = figure.subplots()
    names = list(dict.fromkeys(result['model'] for result in results))
    for kind, colour, shift in (('balanced', 'tab:blue', -0.2), ('random', 'tab:green', 0.0), ('any', 'tab:gray', 0.2)):
        chosen = [result for result in results if result['kind'] == kind]
        places = [names.index(result['model']) + shift for result in chosen]
        middles = [result['overhead'] * 100 for result in chosen]
        below = [(result['ratio'] - result['ratio_quartiles'][0]) * 100 for result in chosen]
        above = [(result['ratio_quartiles'][1] - result['ratio']) * 100 for result in chosen]
        axes.errorbar(places, middles, yerr=[below, above], fmt='o', color=colour, capsize=2, label=kind)
    for number, name in enumerate(names):
        if name in ALLOWED:
            limit = (ALLOWED[name][0] + ALLOWED[name][1] * CUTS) * 100
            axes.hlines(limit, number - 0.35, number + 0.35, color='tab:red', label=None if number else 'target')
    axes.axhline(0.0, color='black', linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(f'CPU time of {CUTS + 1} stages above the original, %\n(median and quartiles of paired runs)')
    axes.set_title(f'What {CUTS} cuts cost')
    axes.legend()
