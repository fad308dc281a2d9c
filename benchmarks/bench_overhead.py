# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the whole ROS path costs against onnxruntime called directly, and what the nodes take of processor and memory.

*Latency*: one device, one stage; from an image's acceptance to its result against decoding, resizing and running the same
image in one process, in turns, at the same cadence. *CPU*: the device monitor at 2 Hz, and the scheduler of eight
devices under a stream. *Memory*: two devices with half of a model each: peaks against the weights of their stages, and a search of
each worker's memory for the weights of both halves (needs root, as the testbed does). A profile is there already: a worker that
has to measure its device's own loads every part of the model once.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.inputs.images import sample_image
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from . import process_memory
from .intervals import difference_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.graph.model import Model
    from edge_dnn_partition.inputs.frame import CameraImage

NEEDS = ('ROS', 'torch', 'transformers')
Say = Callable[[str], None]
Row = dict[str, Any]

FPS: Final = {'demo': 5.0, 'resnet50': 5.0, 'vit_b16': 2.5}
HALVED: Final = 'vit_b16'
DEVICES: Final = 8
_NEEDLE_BYTES = 48
_NEEDLES = 12
_SMALL_BYTES = 2048


def _testbed_file(folder: Path, model: str, names: Sequence[str], **more: Any) -> TestbedFile:
    """Return devices that are not slowed, with links of 1 Gbit/s between all of them."""
    path = demo_model.cached() if model == 'demo' else zoo.model_path(model)
    described = demo_model.preprocessing() if model == 'demo' else {**demo_model.preprocessing(), 'size': [224, 224]}
    settings = folder / f'{model}.yaml'
    settings.write_text(yaml.safe_dump(described))
    return TestbedFile.parse({
        'fleet': 'overhead', 'processes': 'each', 'source': names[0], 'model': {'path': str(path), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': 1}} for name in names},
        'links': [{'between': list(pair), 'rate': '1 Gbit/s'} for pair in itertools.combinations(names, 2)], **more,
    })  # fmt: skip


def _fixed(label: str) -> dict[str, Any]:
    return {'parameters': {'worker': {'profile_runs': 1}, 'scheduler': {'policy': 'fixed', 'fixed_plan': label}}}


def _direct(file: TestbedFile, model: Model, image: CameraImage) -> Callable[[float, float], list[float]]:
    """Return a function that runs the image in this process for some seconds, at a cadence, and gives the latencies."""
    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    assert file.model is not None
    assert file.model.preprocessing is not None
    engine, preprocessing = Engine(file.model.path), Preprocessing.from_yaml(file.model.preprocessing)
    entry = model.inputs[0]

    def measure(seconds: float, fps: float) -> list[float]:
        found = []
        for _ in range(round(seconds * fps)):
            begin = time.perf_counter()
            engine.run({entry: preprocessing.apply(image.data, image.encoding)})
            found.append(time.perf_counter() - begin)
            time.sleep(max(0.0, 1 / fps - found[-1]))
        return found

    measure(2.0, fps=5.0)
    return measure


def _latency(folder: Path, model: str, *, quick: bool, say: Say) -> Row:
    from edge_dnn_partition.cli.testbed import Testbed

    file, fps = _testbed_file(folder, model, ['pi'], **_fixed('pi:pre-end')), FPS[model]
    image = sample_image(file.camera)
    direct: list[float] = []
    path: list[float] = []
    with Testbed(file, images=[image], say=say) as testbed:
        measure = _direct(file, testbed.model, image)
        testbed.stream(2.0, fps)
        for _ in range(1 if quick else 3):
            path += [frame.latency_seconds for frame in testbed.stream(4.0, fps) if frame.delivered]
            direct += measure(4.0, fps)
    ours, base = statistics.median(path), statistics.median(direct)
    say(f'{model}: {1e3 * ours:.2f} ms through the fleet, {1e3 * base:.2f} ms directly')
    return {
        'case': 'latency', 'model': model, 'frames': len(path), 'p50_seconds': ours, 'direct_p50_seconds': base,
        'p95_seconds': float(np.quantile(path, 0.95)), 'direct_p95_seconds': float(np.quantile(direct, 0.95)),
        'over_seconds': ours - base, 'over_interval': difference_interval(path, direct), 'allowed_seconds': 0.05 * base + 0.002,
    }  # fmt: skip


def _cpu_share(pid: int, seconds: float, meanwhile: Callable[[float], object] = time.sleep) -> float:
    """Return what a process, with its children that have ended, takes of a core."""
    process = psutil.Process(pid)
    before, begin = sum(process.cpu_times()[:4]), time.monotonic()
    meanwhile(seconds)
    return float((sum(process.cpu_times()[:4]) - before) / (time.monotonic() - begin))


def _shares(folder: Path, *, quick: bool, say: Say) -> list[Row]:
    from edge_dnn_partition.cli.testbed import Testbed

    seconds = 4.0 if quick else 15.0
    names = [f'd{number}' for number in range(1, DEVICES + 1)]
    with Testbed(_testbed_file(folder, 'demo', names, parameters={'worker': {'profile_runs': 1}}), say=say) as testbed:
        testbed.stream(5.0, 5.0)
        monitor = _cpu_share(testbed.pid('d2/device_monitor'), seconds)
        idle = _cpu_share(testbed.pid('scheduler'), seconds)
        busy = _cpu_share(testbed.pid('scheduler'), seconds, lambda passing: testbed.stream(passing, 5.0))
    say(f'of a core: device monitor {monitor:.2%}; scheduler of {DEVICES} devices {idle:.1%} without frames, {busy:.1%} at 5 fps')
    return [
        {'case': 'device_monitor', 'share_of_a_core': monitor},
        {'case': 'scheduler', 'devices': DEVICES, 'share_of_a_core': busy, 'share_without_frames': idle},
    ]  # fmt: skip


def _half(model: Model) -> int:
    """Return the layer at which half of the weights are behind."""
    total = sum(layer.weight_bytes for layer in model.layers)
    sums = itertools.accumulate(layer.weight_bytes for layer in model.layers)
    return next(i for i, before in enumerate(sums, 1) if before >= total / 2)


def _weights(model: Model, start: int, stop: int) -> float:
    return float(sum(layer.weight_bytes for layer in model.layers[start:stop]))


def _needles(model: Model, start: int, stop: int) -> dict[str, bytes]:
    """Return a few bytes out of the middle of each of the largest weights of some layers, and of small ones.

    onnxruntime keeps many large ones in another order than they came in.
    """
    import onnx
    from onnx import numpy_helper

    from edge_dnn_partition.execution.stages.stage_cache import stage_file

    proto = onnx.load(stage_file(model, range(start, stop)).path)
    arrays = sorted(((tensor.name, numpy_helper.to_array(tensor)) for tensor in proto.graph.initializer),
                    key=lambda pair: -pair[1].nbytes)  # fmt: skip
    needles = {}
    small = [pair for pair in arrays if pair[1].nbytes >= _SMALL_BYTES]
    for name, array in {**dict(arrays[: _NEEDLES // 2]), **dict(small[-_NEEDLES // 2 :])}.items():
        content = array.tobytes()
        middle = len(content) // 2 // 64 * 64
        needles[name] = content[middle : middle + _NEEDLE_BYTES]
    return needles


def _memory(folder: Path, *, say: Say) -> list[Row]:
    from edge_dnn_partition.cli.testbed import Testbed
    from edge_dnn_partition.graph.model import load_model

    model = load_model(zoo.model_path(HALVED))
    layers, half = len(model.layers), _half(model)
    later = half + (layers - half) // 4
    spans = {'pi': (0, half), 'cloud': (half, layers)}
    rows: list[Row] = []
    with Testbed(_testbed_file(folder, HALVED, ['pi', 'cloud'], **_fixed(f'pi:pre-{half} cloud:{half}-end')), say=say) as testbed:
        pids = {name: testbed.pid(f'{name}/worker') for name in spans}
        testbed.stream(4.0, 2.0)
        # Before the search, which brings what the worker has only mapped into its memory: the peaks while switching have that.
        peaks = {name: process_memory.peak_bytes(pid) for name, pid in pids.items()}
        for name, (start, stop) in spans.items():
            other = next(span for other, span in spans.items() if other != name)
            own, others = (process_memory.found(pids[name], _needles(model, *span)) for span in ((start, stop), other))
            weights = _weights(model, start, stop)
            row = {
                'case': 'half', 'device': name, 'weight_bytes': weights, 'whole_weight_bytes': _weights(model, 0, layers),
                'peak_bytes': peaks[name], 'allowed_bytes': 2 * weights + 200e6,
                'own_weights_found': len(own), 'other_weights_found': len(others), 'weights_looked_for': _NEEDLES,
            }  # fmt: skip
            say(f'{name} holds {weights / 1e6:.0f} of {row["whole_weight_bytes"] / 1e6:.0f} MB: peak '
                f'{row["peak_bytes"] / 1e6:.0f} MB, found {len(own)} weights of its own and {len(others)} of others')  # fmt: skip
            rows.append(row)
        for pid in pids.values():
            process_memory.forget_peak(pid)
        testbed.force(f'pi:pre-{later} cloud:{later}-end')
        testbed.stream(2.0, 2.0)
        for name, (start, stop) in {'pi': (0, later), 'cloud': (later, layers)}.items():
            old, new = _weights(model, *spans[name]), _weights(model, start, stop)
            peak = process_memory.peak_bytes(pids[name])
            say(f'{name} while switching from {old / 1e6:.0f} to {new / 1e6:.0f} MB: peak {peak / 1e6:.0f} MB')
            rows.append({'case': 'switching', 'device': name, 'weight_bytes': old, 'new_weight_bytes': new, 'peak_bytes': peak,
                         'allowed_bytes': 2 * (old + new) + 200e6})  # fmt: skip
    return rows


def run(*, quick: bool, progress: Say) -> BenchResult:
    """Run the benchmark; ``quick`` leaves out all models but the demo's, and the memory."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [_latency(folder, model, quick=quick, say=progress) for model in (['demo'] if quick else FPS)]
        results += _shares(folder, quick=quick, say=progress)
        if not quick:
            results += _memory(folder, say=progress)
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _rows(results: list[Row], *cases: str) -> list[Row]:
    return [row for row in results if row['case'] in cases]


def _targets(results: list[Row]) -> list[Target]:
    targets = []
    for row in _rows(results, 'latency'):
        over, allowed = 1e3 * row['over_seconds'], 1e3 * row['allowed_seconds']
        asked = f'<= {allowed:.2f} (5 % + 2 ms)'
        targets.append(Target(f'{row["model"]}: added to onnxruntime, p50', asked, over, 'ms', over <= allowed))
    monitor, scheduler = _rows(results, 'device_monitor', 'scheduler')
    share = 100 * monitor['share_of_a_core']
    targets.append(Target('device_monitor at 2 Hz', '<= 0.5 % of a core', share, '%', share <= 0.5))
    targets.append(Target(f'scheduler of {DEVICES} devices at 5 fps', 'said', 100 * scheduler['share_of_a_core'], '%', True))
    for row in _rows(results, 'half', 'switching'):
        what = f'peak memory of {row["device"]}, {"half of " + HALVED if row["case"] == "half" else "while switching"}'
        allowed = row['allowed_bytes'] / 1e6
        targets.append(Target(what, f'<= {allowed:.0f}', row['peak_bytes'] / 1e6, 'MB', row['peak_bytes'] / 1e6 <= allowed))
    if halves := _rows(results, 'half'):
        others = sum(row['other_weights_found'] for row in halves)
        seen = min(row['own_weights_found'] for row in halves)
        targets.append(Target("the other half's weights found in a worker's memory", 0, others, '', others == 0 and seen > 0))
    return targets


def _conclusion(results: list[Row]) -> str:
    added = [row['over_seconds'] for row in _rows(results, 'latency')]
    monitor, scheduler = _rows(results, 'device_monitor', 'scheduler')
    return (
        f'The way through ROS adds {1e3 * min(added):.1f} to {1e3 * max(added):.1f} ms to a frame; the device monitor takes '
        f'{monitor["share_of_a_core"]:.2%} of a core and the scheduler of {DEVICES} devices {scheduler["share_of_a_core"]:.1%}.'
    )


def _plot(figure: Figure, results: list[Row]) -> None:
    left, right = figure.subplots(1, 2)
    rows = _rows(results, 'latency')
    places = np.arange(len(rows))
    left.bar(places - 0.2, [1e3 * row['direct_p50_seconds'] for row in rows], 0.4, label='onnxruntime directly')
    left.bar(places + 0.2, [1e3 * row['p50_seconds'] for row in rows], 0.4, label='through the fleet')
    left.set_xticks(places, [row['model'] for row in rows], rotation=20)
    left.set(ylabel='latency, p50, ms', title='one device, one stage')
    left.legend()
    rows = _rows(results, 'half', 'switching')
    places = np.arange(len(rows))
    right.bar(places, [row['peak_bytes'] / 1e6 for row in rows], 0.5, color='tab:grey', label='peak of the worker')
    right.plot(places, [row['allowed_bytes'] / 1e6 for row in rows], 'r_', markersize=40, label='allowed')
    right.bar(places, [row['weight_bytes'] / 1e6 for row in rows], 0.25, color='tab:purple', label='weights of its stages')
    right.set_xticks(places, [f'{row["device"]},\n{row["case"]}' for row in rows])
    right.set(ylabel='MB', title=f'{HALVED} on two devices')
    if rows:
        right.legend()
