# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How well a profile predicts stages that it does not rest on.

Each network is profiled as a worker profiles it: segments and pairs of neighbours at the cadence of a stream, one
thread, thread CPU time. The held-back stages (the whole network and random ones of three segments or more) are
timed in the same rounds. The baseline, from the same runs, is the sum of the segments without their boundary overheads.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.execution.profiling.first_guess import first_guess
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, profile_model
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.plans.profile import HeldBack, Profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('torch', 'transformers')
MODELS = ('resnet50', 'mobilenetv2', 'vit_b16')
LARGEST_ERROR = 0.10


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Profile the three networks and test each prediction on 12 stages (``quick``: 6, and fewer rounds)."""
    options = ProfileOptions(device='bench', runs=4 if quick else 9, held_back=6 if quick else 12,
                             limit_seconds=20.0 if quick else 90.0)
    results: list[dict[str, Any]] = []
    for name in MODELS:
        progress(f'{name}: exporting and preparing')
        model = load_model(zoo.model_path(name))
        progress(f'{name}: profiling, up to {options.limit_seconds:.0f} s')
        load = os.getloadavg()[0]
        guess = first_guess(model, tuple(candidate_boundaries(model, limit=options.boundaries)), device=options.device,
                            providers=options.providers, threads=options.threads)  # fmt: skip
        results.append(_result(profile_model(model, options), guess, load))
    targets = [
        Target(f'{result["model"]}: largest error of {len(result["held_back"])} held-back stages',
               f'<= {LARGEST_ERROR * 100:.0f}', result['largest_error'] * 100, '%',
               result['largest_error'] <= LARGEST_ERROR)
        for result in results]
    disturbed = [result['model'] for result in results if result['throttled']]
    return BenchResult(results=results, targets=targets, plot=lambda figure: _plot(figure, results),
                       conclusion=_conclusion(results, disturbed))


def _result(profile: Profile, guess: Profile, load: float) -> dict[str, Any]:
    stages = [_stage(profile, guess, stage) for stage in profile.held_back]
    return {
        'model': profile.model, 'total_seconds': profile.total_seconds, 'segments': len(profile.segment_seconds),
        'segment_seconds': list(profile.segment_seconds), 'seam_seconds': list(profile.seam_seconds),
        'largest_error': profile.relative_error,
        'median_error': statistics.median(abs(stage['error']) for stage in stages),
        'largest_error_of_sums': max(abs(stage['error_of_sum']) for stage in stages),
        'median_error_of_sums': statistics.median(abs(stage['error_of_sum']) for stage in stages),
        'largest_error_of_guess': max(abs(stage['error_of_guess']) for stage in stages),
        'median_error_of_guess': statistics.median(abs(stage['error_of_guess']) for stage in stages),
        'throttled': profile.throttled, 'probe_seconds': profile.probe_seconds, 'load_average_before': load,
        'held_back': stages,
    }


def _stage(profile: Profile, guess: Profile, stage: HeldBack) -> dict[str, Any]:
    first, last = profile.boundaries.index(stage.start), profile.boundaries.index(stage.stop)
    plain = sum(profile.segment_seconds[first:last])
    return {'start': stage.start, 'stop': stage.stop, 'segments': last - first,
            'measured_seconds': stage.measured_seconds, 'predicted_seconds': stage.predicted_seconds,
            'error': stage.relative_error, 'error_of_sum': plain / stage.measured_seconds - 1.0,
            'error_of_guess': guess.stage_seconds(stage.start, stage.stop) / stage.measured_seconds - 1.0}


def _conclusion(results: Sequence[dict[str, Any]], disturbed: Sequence[str]) -> str:
    errors = ', '.join(f'{r["model"]} {r["median_error"]:.1%} / {r["largest_error"]:.1%} '
                       f'(sums of segments {r["median_error_of_sums"]:.1%} / {r["largest_error_of_sums"]:.1%}, '
                       f'the first guess {r["median_error_of_guess"]:.1%} / {r["largest_error_of_guess"]:.1%})'
                       for r in results)
    noted = f' The profile itself says that the machine was throttled or disturbed for {", ".join(disturbed)}.'
    return f'Median / largest error of held-back stages: {errors}.{noted if disturbed else ""}'


def _plot(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    axes = figure.subplots()
    for number, result in enumerate(results):
        for key, shift, colour, label in (('error', -0.12, 'tab:blue', 'segments less boundary overheads'),
                                          ('error_of_sum', 0.12, 'tab:gray', 'sum of segments')):
            errors = [stage[key] * 100 for stage in result['held_back']]
            axes.plot([number + shift] * len(errors), errors, 'o', color=colour, alpha=0.7,
                      label=None if number else label)
    for limit in (-LARGEST_ERROR * 100, LARGEST_ERROR * 100):
        axes.axhline(limit, color='tab:red', linewidth=0.8)
    axes.axhline(0.0, color='black', linewidth=0.8)
    axes.set_xticks(range(len(results)), [result['model'] for result in results])
    axes.set_ylabel('error of predicted seconds, %')
    axes.set_title('Stages that the profile does not rest on')
    axes.legend()
