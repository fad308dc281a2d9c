# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What encodings of tensors cost and gain: accuracy of a trained network, bytes and speed, predicted latency over link rates.

The trained network is the zoo's ``digits``, judged on the images that it was not trained on. All tensors that cross a cut
are encoded; then those of five cuts, one after the other. Bytes, speed and latency are those of MobileNetV2 with seeded
weights, on crops of scikit-learn's photographs: a Raspberry Pi of an eighth of this machine's speed and a server of this
machine's, a camera that gives JPEG and one that gives pixels.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.execution.profiling.image_samples import samples_of
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.planning.fleet.inputs import Camera
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.coding import Pixels, with_encodings
from edge_dnn_partition.planning.plans.compose import compose, placement_of
from edge_dnn_partition.planning.plans.encodings import LOSSLESS, NAMES, REDUCTIONS, TENSOR_ENCODINGS, Permitted
from edge_dnn_partition.planning.plans.plan import IMAGE
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.planning.solvers.solve import solve
from edge_dnn_partition.sensing.link import LinkEstimate
from edge_dnn_partition.transport.tensor_codec import decode, encode
from edge_dnn_partition.transport.tensors import Array, Coded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('sklearn', 'torch')
_SLOWDOWN: Final = 8.0
_IMAGE_BYTES: Final = 100_000.0
_DELAY_SECONDS: Final = 0.002
_SETS: Final = {'raw': ('raw',), 'lossless': LOSSLESS, 'lossy too': NAMES}


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` takes every fifth image and a smaller network."""
    accuracy = _accuracy(quick=quick, progress=progress)
    model = load_model(zoo.model_path('mobilenetv2_small' if quick else 'mobilenetv2'))
    progress(f'{model.name}: profiling with encodings')
    _, _, height, width = model.tensors[model.inputs[0]].shape
    preprocessing = Preprocessing(width, height, resize='center_crop')
    options = ProfileOptions(device='host', runs=2 if quick else 5, coding_seconds=10.0 if quick else 60.0)
    samples = samples_of(Camera(topic='image'), preprocessing, raw=True)
    profile = load_or_profile(model, options, samples=samples)
    speeds = []
    for encoding in TENSOR_ENCODINGS[1:]:
        rows = [c for c in profile.codings if c.encoding == encoding and c.tensor != IMAGE]
        raw = sum(model.tensors[c.tensor].bytes for c in rows)
        if rows:
            speeds.append({
                'kind': 'speed', 'model': model.name, 'encoding': encoding, 'tensors': len(rows),
                'bytes_of_raw': sum(c.size for c in rows) / raw,
                'encode_megabytes_per_second': raw / sum(c.encode_seconds for c in rows) / 1e6,
                'decode_megabytes_per_second': raw / sum(c.decode_seconds for c in rows) / 1e6,
                'largest_error': max(c.error for c in rows), 'median_error': float(np.median([c.error for c in rows])),
            })  # fmt: skip
    images = [
        {'kind': 'image', 'encoding': c.encoding, 'images': len(samples.images), 'mean_raw_bytes': profile.image_bytes,
         'bytes_of_raw': c.size / profile.image_bytes,
         'encode_megabytes_per_second': profile.image_bytes / c.encode_seconds / 1e6,
         'decode_megabytes_per_second': profile.image_bytes / c.decode_seconds / 1e6 if c.decode_seconds > 0 else None,
         'decode_milliseconds': c.decode_seconds * 1e3, 'largest_error': c.error, 'class_changed': c.top_changed}
        for c in profile.codings if c.tensor == IMAGE
    ]  # fmt: skip
    rates = (2, 10, 50, 200) if quick else (1, 2, 5, 10, 20, 50, 100, 200, 500)
    latency = _latency(model, dataclasses.replace(profile, preprocess_seconds=0.0), rates, _IMAGE_BYTES, None)
    pixels = _latency(model, profile, rates, profile.image_bytes, Pixels())
    targets = []
    for reduction in REDUCTIONS:
        rows = [r for r in accuracy if r['encoding'] == reduction]
        single = max(r['points_lost'] for r in rows if r['cuts'] == 1)
        together = max(r['points_lost'] for r in rows if r['cuts'] > 1)
        for name, lost in (('the worst single cut', single), ('five cuts together', together)):
            targets.append(Target(f'digits, {reduction}: accuracy lost at {name}', '<= 0.5', lost, 'points', lost <= 0.5))
    best = max(latency, key=lambda r: float(r['raw'] / r['lossy too']))
    text = (
        f'{model.name}: at {best["megabits_per_second"]} Mbit/s the best plan takes {best["raw"] * 1e3:.0f} ms raw, '
        f'{best["lossless"] * 1e3:.0f} ms lossless, {best["lossy too"] * 1e3:.0f} ms with lossy encodings (predicted).'
    )
    rows = [*accuracy, *speeds, *images, *latency, *pixels]
    return BenchResult(rows, targets, lambda figure: _plot(figure, accuracy, [*speeds, *images], latency, pixels), text)


class _Segments:
    """A network cut at its boundaries, run image by image."""

    def __init__(self, model: Model, boundaries: Sequence[int]) -> None:
        self.model = model
        self.boundaries = boundaries
        self.engines = [Engine(stage_file(model, range(a, b)).path) for a, b in itertools.pairwise(boundaries)]
        reads = [{tensor.name for tensor in engine.inputs} for engine in self.engines]
        made = [set(model.inputs), *({tensor.name for tensor in engine.outputs} for engine in self.engines)]
        self.crossing = [
            set().union(*made[: i + 1]) & (set().union(*reads[i:]) | (set(model.outputs) if i == len(self.engines) else set()))
            for i in range(len(boundaries))
        ]
        """The tensors that cross each boundary; at the last one the results."""

    def scores(self, image: Array, coded: Mapping[int, str]) -> Array:
        """Return the classes' scores of an image with the tensors that cross some boundaries encoded, by boundary."""
        values: dict[str, Array] = {self.model.inputs[0]: image}
        done: set[str] = set()
        for i in range(len(self.boundaries)):
            for name in (self.crossing[i] - done) if i in coded else ():
                sent = encode(values[name], coded[i])
                values[name] = decode(sent) if isinstance(sent, Coded) else sent
                done.add(name)
            if i < len(self.engines):
                engine = self.engines[i]
                values.update(engine.run({tensor.name: values[tensor.name] for tensor in engine.inputs}))
        return values[self.model.outputs[0]].reshape(-1)


def _accuracy(*, quick: bool, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    from edge_dnn_partition.graph.zoo.digits import data

    model = load_model(zoo.model_path('digits'))
    _, _, images, labels = data()
    if quick:
        images, labels = images[::5], labels[::5]
    segments = _Segments(model, candidate_boundaries(model, limit=20))
    places = list(range(len(segments.boundaries)))
    five = [places[round(k)] for k in np.linspace(0, len(places) - 2, 5)]

    def judge(coded: Mapping[int, str]) -> tuple[float, Array]:
        scores = np.stack([segments.scores(p[None], coded) for p in images])
        return float(np.mean(scores.argmax(axis=1) == labels)), scores

    exact, whole = judge({})
    span = np.ptp(whole, axis=1, keepdims=True)
    rows = []
    for reduction in REDUCTIONS:
        rows += [(reduction, cuts, *judge(dict.fromkeys(cuts, reduction))) for cuts in (*([p] for p in places), five)]
        progress(f'digits, {reduction}: {rows[-1][2]:.2%} with five cuts, {exact:.2%} as float32')
    return [
        {'kind': 'accuracy', 'model': 'digits', 'encoding': reduction, 'cuts': len(cuts),
         'boundaries': [segments.boundaries[c] for c in cuts], 'accuracy': got, 'float32_accuracy': exact,
         'points_lost': (exact - got) * 100, 'images': len(labels),
         'largest_error': float((np.abs(scores - whole) / span).max()),
         'classes_changed': int((scores.argmax(1) != whole.argmax(1)).sum())}
        for reduction, cuts, got, scores in rows
    ]  # fmt: skip


def _latency(
    model: Model, profile: Profile, rates: Sequence[float], image_bytes: float, pixels: Pixels | None
) -> list[dict[str, Any]]:
    document = {
        'fleet': 'bench', 'source': 'pi', 'devices': {'pi': {}, 'server': {}},
        'links': [{'between': ['pi', 'server'], 'rate': '10 Mbit/s', 'delay': '2 ms'}],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'fleet.yaml'
        path.write_text(yaml.safe_dump(document))
        fleet = load_fleet(path)
    pipeline = Pipeline(model, {'pi': profile.scaled(_SLOWDOWN), 'server': profile}, fleet)
    rows = []
    for rate in rates:
        row: dict[str, Any] = {
            'kind': 'latency' if pixels is None else 'latency from pixels', 'model': model.name, 'megabits_per_second': rate,
        }  # fmt: skip
        link = LinkEstimate(rate * 1e6 / 8, _DELAY_SECONDS, measured=True)
        for label, names in _SETS.items():
            problem = pipeline.problem(
                devices=['pi', 'server'], factors={}, links={('pi', 'server'): link, ('server', 'pi'): link},
                input_bytes=image_bytes, permitted=Permitted(names), pixels=pixels,
            )  # fmt: skip
            solution = solve(problem)
            assert solution.assignment is not None
            plan = compose(model, placement_of(solution.assignment, pipeline.boundaries), version=0, source='pi', sink='pi')
            coded = with_encodings(plan, problem.coding.encodings if problem.coding else {})
            row[label] = solution.latency_seconds
            row[f'{label}: plan'] = coded.label()
            row[f'{label}: encodings'] = [t.encoding for t in coded.transfers if t.from_device != t.to_device]
        rows.append(row)
    return rows


def _plot(
    figure: Figure, accuracy: list[dict[str, Any]], speeds: list[dict[str, Any]], latency: list[dict[str, Any]],
    pixels: list[dict[str, Any]],
) -> None:  # fmt: skip
    figure.set_size_inches(9, 8)
    first, second, third, fourth = figure.subplots(2, 2).ravel()
    for reduction, colour in zip(REDUCTIONS, ('tab:purple', 'tab:brown'), strict=True):
        rows = [r for r in accuracy if r['encoding'] == reduction and r['cuts'] == 1]
        first.plot([r['boundaries'][0] for r in rows], [r['points_lost'] for r in rows], marker='o', color=colour,
                   label=reduction)  # fmt: skip
    first.axhline(0.5, color='grey', linestyle='--')
    first.set(title='digits', xlabel='cut', ylabel='accuracy lost, points')
    first.legend()
    names = [f'image: {r["encoding"]}' if r['kind'] == 'image' else r['encoding'] for r in speeds]
    second.barh(names, [r['bytes_of_raw'] * 100 for r in speeds], color='tab:grey')
    second.set(title='bytes sent', xlabel='% of raw')
    for axes, rows, camera in ((third, latency, 'JPEG of 100 kB'), (fourth, pixels, 'pixels')):
        for label in _SETS:
            axes.plot([r['megabits_per_second'] for r in rows], [r[label] * 1e3 for r in rows], marker='o', label=label)
        title = f'best plan, predicted; camera: {camera}'
        axes.set(title=title, xlabel='link, Mbit/s', ylabel='latency, ms', xscale='log', yscale='log')
        axes.legend()
