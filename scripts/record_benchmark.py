# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Keep the summary of a benchmark's run as its record: ``scripts/record_benchmark.py build/bench/NAME.json [NAME.json ...]``.

``edge-dnn-partition bench NAME --out DIR`` writes a whole run, with every frame and event. The record in docs/benchmarks/ keeps the
machine, versions, command and targets as they are and, of the results, what pages quote: one row per case, with each series of
numbers replaced by its summary. The plot is copied unchanged. Run ``scripts/write_benchmarks_page.py`` afterwards.
"""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

RECORDS: Final = Path(__file__).resolve().parent.parent / 'docs' / 'benchmarks'
WIDTH: Final = 132  # columns of a line
DIGITS: Final = 6  # significant digits of a measurement
LONGEST: Final = 12  # a list of more numbers than this is a series
# What a run keeps for its own plot and targets alone, by benchmark (patterns of keys); _CELL is of a cell of a grid.
_CELL: Final = (
    'oracle', 'seconds', 'device_seconds', 'p50_interval', 'raw', 'repeated', 'hops', 'bytes', 'joules', 'fps', 'composed',
    'predicted_seconds', 'front', 'slowdowns',
)  # fmt: skip
DROPPED: Final[Mapping[str, tuple[str, ...]]] = {
    'chaos': ('at', 'up', 'until', 'descriptors', 'threads', 'each_second'),
    'corners': _CELL,
    'cuts': ('stage_seconds', 'ratio_quartiles', 'tensors_at_cuts', 'bytes_at_cuts'),
    'energy': ('deadline *', '* in 95% of the frames'),
    'footprint': ('threads', 'proportional_bytes'),
    'grid': _CELL,
    'hop': ('peak_bytes', 'whole_bytes_per_second', 'longest_publish_*', 'control_*', 'p95_over_ideal'),
    'models': ('file_bytes', 'cuts', 'plan'),
    'policies': ('regret_course_seconds', 'mean_latency_of_draws', 'near_share*'),
    'policy_arm': ('results', 'parts', 'plans'),
    'trace': (
        'baselines_lost', 'better_than', 'whole_seconds', 'frame_mean_seconds', 'policy', 'synthetic', 'informed_over_1_5',
        'informed_ratio_to_bound',
    ),
}  # fmt: skip
# Rows of repeated trials: those that agree in these keys become one row with a list for each other key.
TRIALS: Final[Mapping[str, tuple[str, ...]]] = {
    'chaos': ('case', 'kind'),
    'recovery': ('case', 'megabits', 'fps', 'gap_seconds'),
}


def record(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run: a benchmark's document, or the report of ``demo --report``, which has no rows of cases."""
    if 'results' not in run:
        return {key: summary(value, ()) for key, value in run.items()}
    name = run['name']
    rows = together(run['results'], TRIALS[name]) if name in TRIALS else run['results']
    return {**run, 'results': [summary(row, DROPPED.get(name, ())) for row in rows]}


def together(rows: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Join rows that have the same keys, and the same values of those given, into one with a list for every other key."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((tuple(row.get(key) for key in keys), tuple(sorted(row))), []).append(row)
    joined = []
    for group in groups.values():
        first, *more = group
        columns = {key: first[key] if key in keys else [row[key] for row in group] for key in first}
        joined.append({**columns, 'trials': len(group)} if more else dict(first))
    return joined


def summary(value: Any, dropped: Sequence[str]) -> Any:
    """Return a value with its series summarised, its measurements rounded and the keys given left out."""
    if isinstance(value, dict):
        kept = (key for key in value if not any(fnmatchcase(key, pattern) for pattern in dropped))
        return {key: summary(value[key], dropped) for key in kept}
    if isinstance(value, list):
        numbers = [item for item in value if isinstance(item, (int, float))]
        words = [', '.join(item) if _words(item) else item for item in value if isinstance(item, str) or _words(item)]
        if len(numbers) > LONGEST:
            return summary(of_series(numbers), dropped)
        if len(words) > LONGEST:
            return dict(Counter(words).most_common())
        return [summary(item, dropped) for item in value]
    return float(f'{value:.{DIGITS}g}') if isinstance(value, float) else value


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def of_series(values: Sequence[float]) -> dict[str, float]:
    """Return what is kept of a series of numbers; percentiles are interpolated as numpy does by default."""
    cuts = statistics.quantiles(values, n=100, method='inclusive')
    percentiles = {f'p{share}': cuts[share - 1] for share in (5, 50, 95, 99)}
    return {'count': len(values), 'mean': statistics.fmean(values), **percentiles, 'least': min(values), 'largest': max(values)}


def layout(value: Any, depth: int = 0, key: str = '') -> str:
    """Return indented JSON, after a key or without one, in which whatever fits on one line stands on one."""
    label = f'{json.dumps(key, ensure_ascii=False)}: ' if key else ''
    line = label + json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, (dict, list)) or len(line) + 2 * depth < WIDTH:
        return line
    indent = '  ' * (depth + 1)
    if isinstance(value, dict):
        parts = [layout(item, depth + 1, name) for name, item in value.items()]
    else:
        parts = [layout(item, depth + 1) for item in value]
    lines = [indent + parts[0]]
    for before, part in itertools.pairwise(parts):
        if '\n' not in before + part and len(lines[-1]) + len(part) + 3 <= WIDTH:
            lines[-1] += f', {part}'
        else:
            lines[-1] += ','
            lines.append(indent + part)
    opening, closing = '{}' if isinstance(value, dict) else '[]'
    return '\n'.join([label + opening, *lines, f'{"  " * depth}{closing}'])


def main(paths: Sequence[str]) -> None:
    """Write the record of each run."""
    for path in map(Path, paths):
        run = json.loads(path.read_text(encoding='utf-8'))
        (RECORDS / path.name).write_text(f'{layout(record(run))}\n', encoding='utf-8')
        plot = path.with_suffix('.png')
        if plot.exists() and plot.resolve() != (RECORDS / plot.name).resolve():
            shutil.copyfile(plot, RECORDS / plot.name)


if __name__ == '__main__':
    main(sys.argv[1:])
