# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the testbed plays against what it was asked for: rates of links, speeds of devices, and where tensors go.

*Rates*: bulk transfers over TCP between two namespaces, each direction in turn. *Speeds*: stages of about 2, 5 and 50 ms on
devices that are to be 4 and 10 times slower than one that is not slowed, in the fleet's real processes, at one frame
after the other and with 0.4 s of rest before each; the devices take turns. *Way*: what the fleet's frames say they sent
over a hop, against what the link's own shaper counted meanwhile. Needs root.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.testbed.namespaces import Namespaces, Shape, why_not
from edge_dnn_partition.testbed.shaping import PACKET_BYTES
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from . import chain_model
from .intervals import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.testbed import Testbed

NEEDS = ('ROS', 'root')
Say = Callable[[str], None]
Rows = list[dict[str, Any]]

RATES: Final = (0.13, 1.1, 5.85, 18.88, 100.0, 1000.0)
"""Mbit/s."""
SLOWDOWNS: Final = {'fast': 1.0, 'four': 4.0, 'ten': 10.0}
STAGE_MILLISECONDS: Final = (2.0, 5.0, 50.0)
_RATE_SECONDS = 2.0
_PAYLOAD_BYTES = 1448
"""Of TCP in a full packet."""
_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 9)) as link:
    data, left = bytes(65536), int(sys.argv[2])
    while left > 0:
        left -= link.send(data[:left])
    link.shutdown(socket.SHUT_WR)
    link.recv(1)
"""
_RECEIVE = """
import socket, sys, time
with socket.create_server(('', 9)) as server:
    print('ready', flush=True)
    link, _ = server.accept()
    with link:
        total = first = 0
        while data := link.recv(1 << 16):
            now = time.monotonic()
            if not total:
                first, head = now, len(data)
            total += len(data)
        print(total - head, now - first, flush=True)
"""


def _measured_bits_per_second(network: Namespaces, sender: str, receiver: str, total: int) -> float:
    """Return the rate of a bulk transfer with headers, as the shaper counts it."""
    pipe: dict[str, Any] = {'stdout': subprocess.PIPE, 'text': True}
    listener = network.popen(receiver, [sys.executable, '-c', _RECEIVE], **pipe)
    if listener.stdout.readline() != 'ready\n':
        raise UserError(f'nobody listens on {receiver}')
    network.popen(sender, [sys.executable, '-c', _SEND, network.address(receiver), str(total)]).wait()
    count, seconds = map(float, listener.stdout.readline().split())
    listener.wait()
    return count * 8 * PACKET_BYTES / _PAYLOAD_BYTES / seconds


def _rates(*, quick: bool, say: Say) -> Iterator[dict[str, Any]]:
    with Namespaces(['a', 'b'], {}) as network:
        for megabits in RATES[2:4] if quick else RATES:
            for sender, receiver in (('a', 'b'), ('b', 'a')):
                network.reshape(sender, receiver, Shape(megabits * 1e6, 0.05))
                network.reshape(receiver, sender, Shape(1e9, 0.05))
                total = max(30_000, round(megabits * 1e6 / 8 * _RATE_SECONDS))
                measured = _measured_bits_per_second(network, sender, receiver, total)
                error = measured / (megabits * 1e6) - 1
                say(f'link {sender} to {receiver}, {megabits:g} Mbit/s: {measured / 1e6:.4g} Mbit/s ({error:+.1%})')
                yield {'case': 'rate', 'from': sender, 'to': receiver, 'megabits': megabits, 'measured_megabits': measured / 1e6,
                       'error': error}  # fmt: skip


def _testbed_file(folder: Path, layers: int) -> TestbedFile:
    """Return a source and three devices of different speeds, on links of 1 Gbit/s."""
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(chain_model.preprocessing()))
    names = ('source', *SLOWDOWNS)
    links = [{'between': ['source', name], 'rate': '1 Gbit/s'} for name in SLOWDOWNS]
    return TestbedFile.parse({
        'fleet': 'proof', 'source': 'source',
        'model': {'path': str(chain_model.build(folder / 'chain.onnx', layers)), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': SLOWDOWNS.get(name, 1.0)}} for name in names}, 'links': links,
        'parameters': {
            'worker': {'profile_runs': 1, 'probing_budget': 0.0},
            'scheduler': {'policy': 'fixed', 'fixed_plan': 'source:pre-end'},
        },
    })  # fmt: skip


def _layer_milliseconds(folder: Path) -> float:
    """Return what one of the chain's layers takes here, in ms of CPU time."""
    from edge_dnn_partition.execution.stages.engine import Engine

    count = 60
    engine = Engine(chain_model.build(folder / 'try.onnx', count))
    engine.warm_up(3)
    seconds = []
    for _ in range(15):
        engine.run(engine.made_up_feeds())
        seconds.append(engine.last_cpu_seconds)
    return 1e3 * statistics.median(seconds) / count


def _image() -> CameraImage:
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    return CameraImage(np.asarray(cv2.imencode('.jpg', pixels)[1], np.uint8).reshape(-1), 'jpeg')


def _speeds(testbed: Testbed, per_layer: float, *, quick: bool, say: Say) -> Iterator[dict[str, Any]]:
    for milliseconds in STAGE_MILLISECONDS[1:2] if quick else STAGE_MILLISECONDS:
        stop = 1 + max(1, round(milliseconds / per_layer))
        found: dict[tuple[str, str], list[float]] = {}
        cpu: dict[tuple[str, str], list[float]] = {}
        for turn in range(1 if quick else 2):
            names = list(SLOWDOWNS)
            for name in names[turn:] + names[:turn]:
                testbed.force(f'source:pre-1 {name}:1-{stop} source:{stop}-end')
                slowest = milliseconds * SLOWDOWNS[name] / 1e3
                streaming = testbed.stream(min(2.5 if quick else 4.0, max(1.5, 25 * slowest)), min(100.0, 1.5 / (slowest + 0.01)))
                idle = testbed.stream(2.5 if quick else 3.5, 1.0 / (0.4 + slowest))
                for kind, frames in (('streaming', streaming[2:]), ('idle', idle[1:])):
                    stages = [stage for frame in frames for stage in frame.stages if stage.device == name]
                    found.setdefault((kind, name), []).extend(stage.run_seconds for stage in stages)
                    cpu.setdefault((kind, name), []).extend(stage.cpu_seconds for stage in stages)
        for (kind, name), seconds in found.items():
            if name == 'fast':
                continue
            base = statistics.median(found[kind, 'fast'])
            ratios = [a / b for a, b in zip(seconds, cpu[kind, name], strict=True)]
            own = statistics.median(ratios)
            ratio = statistics.median(seconds) / base
            # What the slowed device's own runs cost differs a little from what the other's cost: both are shown.
            row = {
                'case': 'speed', 'kind': kind, 'device': name, 'stage_milliseconds': milliseconds, 'asked': SLOWDOWNS[name],
                'over_own_cpu_time': own, 'over_own_cpu_time_interval': interval(ratios),
                'error': own / SLOWDOWNS[name] - 1, 'over_the_fast_device': ratio,
                'error_over_the_fast_device': ratio / SLOWDOWNS[name] - 1, 'fast_milliseconds': 1e3 * base, 'runs': len(seconds),
            }  # fmt: skip
            say(f'stage of {milliseconds:g} ms, {kind}, {SLOWDOWNS[name]:g} times: {own:.2f} of its CPU time '
                f'({row["error"]:+.1%}), {ratio:.2f} of the fast device ({row["error_over_the_fast_device"]:+.1%})')  # fmt: skip
            yield row


def _way(testbed: Testbed, *, say: Say) -> dict[str, Any]:
    """Compare what hops say with what the link's shaper counted."""
    testbed.force('source:pre-1 fast:1-20 source:20-end')
    testbed.stream(2.0, 5.0)
    before = testbed.counters('source', 'fast').sent_bytes
    frames = testbed.stream(5.0, 20.0)
    counted = testbed.counters('source', 'fast').sent_bytes - before
    sent = sum(hop.size for frame in frames for hop in frame.hops if (hop.sender, hop.receiver) == ('source', 'fast'))
    before = testbed.counters('source', 'fast').sent_bytes
    testbed.force('source:pre-end')
    testbed.stream(5.0, 20.0)
    without = testbed.counters('source', 'fast').sent_bytes - before
    say(f'hops: {sent / 1e6:.2f} MB; counted by the shaper: {counted / 1e6:.2f} MB, and {without / 1e6:.2f} MB without hops')
    return {'case': 'way', 'hop_bytes': sent, 'counted_bytes': counted, 'counted_bytes_without_hops': without}


def run(*, quick: bool, progress: Say) -> BenchResult:
    """Run the benchmark; ``quick`` measures two rates, and the stages of one length once.

    :raises UserError: if there are no namespaces here.
    """
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    if reason := why_not():
        raise UserError(f'{reason}; without them the testbed holds links to their rate in the sending processes')
    from edge_dnn_partition.cli.testbed import Testbed

    results: Rows = list(_rates(quick=quick, say=progress))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        per_layer = _layer_milliseconds(folder)
        layers = round(1.1 * max(STAGE_MILLISECONDS) / per_layer)
        with Testbed(_testbed_file(folder, layers), images=[_image()], say=progress) as testbed:
            results += _speeds(testbed, per_layer, quick=quick, say=progress)
            way = _way(testbed, say=progress)
    results.append(way)
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _worst(rows: Rows, key: str = 'error') -> float:
    return max(abs(float(row[key])) for row in rows)


def _targets(results: Rows) -> list[Target]:
    rates = [row for row in results if row['case'] == 'rate']
    way = results[-1]
    targets = [Target('rate of a link, largest error', '<= 10 %', 100 * _worst(rates), '%', _worst(rates) <= 0.1)]
    for kind in ('streaming', 'idle'):
        rows = [row for row in results if row['case'] == 'speed' and row['kind'] == kind]
        for key, what in (('error', 'over its own CPU time'), ('error_over_the_fast_device', 'over a device that is not slowed')):
            worst = _worst(rows, key)
            targets.append(Target(f'{kind}, speed {what}, largest error', '<= 5 %', 100 * worst, '%', worst <= 0.05))
    ratio = way['counted_bytes'] / way['hop_bytes']
    targets.append(Target('counted on the link over what the hops say', '1 to 1.2', ratio, '', 1 <= ratio <= 1.2))
    share = way['counted_bytes_without_hops'] / way['hop_bytes']
    targets.append(Target('counted on the link when nothing is sent, of that', '<= 0.2', share, '', share <= 0.2))
    return targets


def _conclusion(results: Rows) -> str:
    speeds = [row for row in results if row['case'] == 'speed']
    return (
        f'Links keep to their rates within {_worst([row for row in results if row["case"] == "rate"]):.1%}; a slowed stage takes '
        f'what was asked of its own CPU time within {_worst(speeds):.1%}, and against the same stage on a device that is not '
        f'slowed within {_worst(speeds, "error_over_the_fast_device"):.1%}; tensors cross the shaped link.'
    )


def _plot(figure: Figure, results: Rows) -> None:
    left, right = figure.subplots(1, 2)
    rates = [row for row in results if row['case'] == 'rate']
    left.plot([row['megabits'] for row in rates], [100 * row['error'] for row in rates], 'o')
    left.set(xscale='log', xlabel='asked, Mbit/s', ylabel='error of the rate, %', title='links (both directions)')
    for axes, most in ((left, 10), (right, 5)):
        axes.axhline(0, color='grey', linewidth=0.8)
        for sign in (-1, 1):
            axes.axhline(sign * most, color='tab:red', linewidth=0.8, linestyle='--')
    speeds = [row for row in results if row['case'] == 'speed']
    for kind, marker in (('streaming', 'o'), ('idle', 's')):
        for device, colour in (('four', 'tab:blue'), ('ten', 'tab:orange')):
            rows = [row for row in speeds if row['kind'] == kind and row['device'] == device]
            x = [row['stage_milliseconds'] for row in rows]
            for key, filled in (('error', colour), ('error_over_the_fast_device', 'none')):
                label = f'{SLOWDOWNS[device]:g} times, {kind}' if filled != 'none' else None
                right.plot(x, [100 * row[key] for row in rows], marker, color=colour, markerfacecolor=filled, label=label)
    right.set(xscale='log', xlabel='stage, ms', ylabel='error of the speed, %',
              title='devices (filled: over own CPU time;\nhollow: over the fast device)')  # fmt: skip
    right.legend(fontsize=8)
