# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which models run: the zoo's, and ONNX files in a folder, each inspected, split, given a meaning and streamed.

``split`` cuts near a third and two thirds of the work and compares with the whole file in onnxruntime; ``stream`` sends frames of
random inputs by ``infer`` through a fleet of two devices in real processes, pi - box - pi, and compares each result with the whole
file's. ``kind`` is the kind of result that ``init`` writes. Sub-folders are families, files are NAME.EXPORTER.onnx. A failure is
a row like any other, with the reason. Rows that a run in the same folder has are not made again; streams come last, a model of each
family in turn, so that a run may end before all are done.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.graph import zoo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS', 'torch', 'transformers')
OPTIONS = ('models', 'rows', 'seconds')
COLUMNS: Final = ('inspect', 'split', 'stream')
_QUICK: Final = ('digits', 'mobilenetv2_small', 'bert_small')


def run(
    *, quick: bool, progress: Callable[[str], None], rows: Path, models: Path | None = None, seconds: float = math.inf
) -> BenchResult:
    """Make the rows that are not there yet, then the streams that are not.

    :param rows: a file that keeps them, one a line.
    :param models: a folder of further ONNX files.
    :param seconds: after so long no further stream begins.
    """
    from edge_dnn_partition.benchmarks.model_rows import row_of, stream_of
    from edge_dnn_partition.benchmarks.processes import prepare

    prepare()
    paths = {('zoo', name, ''): zoo.model_path(name) for name in (_QUICK if quick else zoo.names())}
    for path in sorted(models.rglob('*.onnx')) if models is not None else ():
        name, _, exporter = path.stem.partition('.')
        paths[path.parent.name, name, exporter] = path
    kept = [] if quick or not rows.exists() else [json.loads(line) for line in rows.read_text(encoding='utf-8').splitlines()]
    known = {(row['family'], row['model'], row['exporter']): row for row in kept}

    def say(key: tuple[str, str, str]) -> None:
        rows.write_text(''.join(json.dumps(row) + '\n' for row in known.values()), encoding='utf-8')
        progress(f'{" ".join(key)}: {", ".join(f"{column} {outcome(known[key], column)}" for column in COLUMNS)}')

    for key, path in paths.items():
        if key not in known:
            known[key] = row_of(*key, path)
            say(key)
    begin = time.monotonic()
    for number, key in enumerate(_by_turns(paths)):
        if 'stream' not in known[key] and outcome(known[key], 'split') in ('exact', 'equal') and time.monotonic() - begin < seconds:
            os.environ['ROS_DOMAIN_ID'] = str(100 + (os.getpid() + number) % 100)  # what an earlier fleet leaves is not heard
            known[key]['stream'] = stream_of(paths[key])
            say(key)
    return summary([known[key] for key in paths])


def _by_turns(paths: dict[tuple[str, str, str], Path]) -> list[tuple[str, str, str]]:
    """Return the models, one of each family after the other, small ones first."""
    families: dict[str, list[tuple[str, str, str]]] = {}
    for key in sorted(paths, key=lambda key: paths[key].stat().st_size):
        families.setdefault(key[0], []).append(key)
    return [key for turn in itertools.zip_longest(*families.values()) for key in turn if key is not None]


def outcome(row: dict[str, Any], column: str) -> str:
    """Return a column of a row in a word: exact, equal, fails; a dash where it was not tried, or an earlier column failed."""
    found = row.get(column)
    if found is None:
        return '-'
    if 'error' in found:
        return 'fails'
    if column == 'inspect':
        return 'ok'
    if column == 'split':
        return 'exact' if found['bit_exact'] else 'equal'
    if found['equal'] < found['frames']:
        return 'differs'
    return 'exact' if found['bit_exact'] == found['frames'] else 'equal'


def summary(results: list[dict[str, Any]]) -> BenchResult:
    """Return the rows with a target for each column."""
    targets = []
    for column in COLUMNS:
        tried = [outcome(row, column) for row in results if outcome(row, column) != '-']
        good = sum(word in ('ok', 'exact', 'equal') for word in tried)
        targets.append(Target(f'{column}: models of {len(tried)} tried', f'>= {len(tried)}', good, '', good == len(tried)))
    words = ', '.join(f'{target.name.partition(":")[0]} {target.measured:g} of {target.asked[3:]}' for target in targets)
    return BenchResult(results=results, targets=targets, plot=lambda figure: _plot(figure, results),
                       conclusion=f'{len(results)} files, right of those tried: {words}.')  # fmt: skip


def _plot(figure: Figure, results: list[dict[str, Any]]) -> None:
    axes = figure.subplots()
    families = list(dict.fromkeys(row['family'] for row in results))
    for shift, column in enumerate(COLUMNS):
        good = [sum(row['family'] == family and outcome(row, column) in ('ok', 'exact', 'equal') for row in results)
                for family in families]  # fmt: skip
        axes.bar([number + 0.22 * (shift - 1) for number in range(len(families))], good, 0.2, label=column)
    axes.plot(range(len(families)), [sum(row['family'] == family for row in results) for family in families], 'k_', markersize=40,
              label='files')  # fmt: skip
    axes.set_xticks(range(len(families)), families)
    axes.set_ylabel('models')
    axes.legend()
