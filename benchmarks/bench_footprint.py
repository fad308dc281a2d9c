# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the package takes of a computer by itself: processor, wake-ups and memory, at rest, by frame and by message; its start.

Real processes on this machine, measured by the kernel's own counters; what measures does not run in them. *idle*: nothing streams
and nobody listens; three devices (also with each node in a process of its own), eight, and fifty, of which 47 are only heard.
Wake-ups are voluntary context switches. *frame*: the tiny network at 30 fps on two devices with a link of 1 Gbit/s, less what the
same processes take at rest, beside decoding, resizing and running the same images in one process without ROS. *rate*: as many
frames as go, which the frame source reads from a folder and one consumer counts. *message*: 1 kB a hundred times a second between
two devices (network namespaces where the system permits), both ends, less their rest; TCP, ZeroMQ, Zenoh and rclpy beside it.
*start*: three devices, from the start of the first process to the first result, with an empty cache folder (cold) and with what
that left (warm). CPU times grow with the load of the machine: what needs no ROS is the yardstick.
"""

from __future__ import annotations

import importlib.util
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed import demo_model

from . import footprint_fleet as fleets
from . import process_usage
from .hop_pair import Pair
from .processes import prepare, small_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS',)
OPTIONS = ('only',)
Row = dict[str, Any]
Say = Callable[[str], None]

FPS: Final = 30.0
MESSAGE_BYTES: Final = 1000
IN_FLIGHT: Final = 32
"""A stream does not wait for the answer to each message."""
MESSAGES_PER_SECOND: Final = 100
PATHS: Final = ('own', 'tcp', 'zmq', 'zenoh', 'rclpy')
SETTLE_SECONDS: Final = 5.0
"""After the last client has left and the first plan has come, before a fleet is taken to be at rest."""
_OFFERED_FPS: Final = 500.0
_START_FPS: Final = 10.0


# At rest ---------------------------------------------------------------------------------------------------------


def _idle(*, quick: bool, say: Say) -> Iterator[Row]:
    for devices, processes in ((3, ''),) if quick else ((3, ''), (3, 'each'), (8, ''), (50, '')):
        yield from _idle_fleet(devices, processes, 6.0 if quick else 20.0, say)


def _idle_fleet(devices: int, processes: str, seconds: float, say: Say) -> Iterator[Row]:
    ghosts = devices - fleets.REAL if devices > 8 else 0
    with tempfile.TemporaryDirectory() as name:
        file = fleets.fleet_file(Path(name), devices, 'demo', ghosts=ghosts, processes=processes)
        with fleets.started(file, tools=('dashboard',), ghosts=ghosts) as running:
            with fleets.client_of(running) as client:
                fleets.wait_until_planned(running, client)
            time.sleep(SETTLE_SECONDS)
            usage = process_usage.measure(running.pids(), seconds)
            memory = {label: process_usage.memory(pid) for label, pid in running.pids().items()}
            running.check()
    for label, used in usage.items():
        threads = {thread: {'share_of_a_core': cpu / used.seconds, 'wakeups_per_second': wakeups / used.seconds}
                   for thread, (cpu, wakeups) in sorted(used.threads.items(), key=lambda item: -item[1][0])}  # fmt: skip
        brief = used.cpu_seconds - sum(cpu for cpu, _ in used.threads.values())
        yield {
            'case': 'idle process', 'devices': devices, 'form': processes, 'process': label,
            'share_of_a_core': used.cpu_seconds / used.seconds,
            'wakeups_per_second': used.wakeups / used.seconds, **memory[label], 'threads': threads,
            'brief_threads_share_of_a_core': max(0.0, brief / used.seconds),
        }  # fmt: skip
    for place, labels in fleets.by_place(usage, list(running.fleet.devices)).items():
        row = {
            'case': 'idle', 'devices': devices, 'form': processes, 'processes': labels,
            'place': 'source' if place == running.fleet.source else place,
            'share_of_a_core': sum(usage[label].cpu_seconds / usage[label].seconds for label in labels),
            'wakeups_per_second': sum(usage[label].wakeups / usage[label].seconds for label in labels),
            **{key: sum(memory[label][key] for label in labels) for key in memory[labels[0]]},
        }  # fmt: skip
        say(f'{devices} devices at rest, {row["place"]} ({len(labels)} processes): {row["share_of_a_core"]:.2%} of a core, '
            f'{row["wakeups_per_second"]:.0f} wake-ups/s, {row["resident_bytes"] / 1e6:.0f} MB')  # fmt: skip
        yield row


# A frame ---------------------------------------------------------------------------------------------------------


def _labels(layers: int) -> dict[str, str]:
    """Return the plans that are measured: cut at a third and at two thirds of the layers."""
    first, second = layers // 3, 2 * layers // 3
    return {
        'on the source': 'd0:pre-end', 'split over two': f'd0:pre-{first} d1:{first}-end',
        'there and back': f'd0:pre-{first} d1:{first}-{second} d0:{second}-end',
    }  # fmt: skip


def _layers(running: fleets.Started) -> int:
    from edge_dnn_partition.deployment.start_checks import model_of

    return len(model_of(running.fleet).layers)


def _frame(*, quick: bool, say: Say) -> Iterator[Row]:
    seconds = 4.0 if quick else 15.0
    images = small_images()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(fleets.started(fleets.fleet_file(folder, 2, 'tiny')))
        client = stack.enter_context(fleets.client_of(running))
        fleets.wait_until_planned(running, client)
        time.sleep(SETTLE_SECONDS)
        layers, rest = _layers(running), process_usage.measure(running.pids(), seconds)
        direct = _direct(images, seconds)
        say(f'one process without ROS: {1e3 * direct:.2f} ms of CPU a frame')
        yield {'case': 'frame', 'plan': 'without ROS', 'cpu_seconds': direct}
        for name, label in _labels(layers).items():
            client.follow(label, layers, 30.0)
            with fleets.camera(running, client, images, FPS):
                time.sleep(1.0)
                begin, first = time.monotonic(), len(client.news.frames)
                usage = process_usage.measure(running.pids(), seconds)
                frames, passed = len(client.news.frames) - first, time.monotonic() - begin
            running.check()
            more = {place: sum(_more(usage[label], rest[label]) for label in labels) / max(frames, 1)
                    for place, labels in fleets.by_place(usage, list(running.fleet.devices)).items()}  # fmt: skip
            nodes = sum(cpu for place, cpu in more.items() if place in running.fleet.devices)
            gross = sum(used.cpu_seconds for label, used in usage.items() if label != 'scheduler') / max(frames, 1)
            latency = statistics.median(frame.latency_seconds for frame in client.news.frames[first:])
            say(f'{name}: {1e3 * nodes:.2f} ms of CPU a frame ({1e3 * gross:.2f} with what the devices take at rest), scheduler '
                f'{1e3 * more["scheduler"]:.2f}, {frames / passed:.1f} fps')  # fmt: skip
            yield {
                'case': 'frame', 'plan': name, 'cpu_seconds': nodes, 'cpu_seconds_with_rest': gross, 'places': more,
                'fps': frames / passed, 'p50_seconds': latency,
                'threads': {f'{label} {thread}': cpu / max(frames, 1) for label, used in usage.items()
                            for thread, (cpu, _) in used.threads.items() if cpu > 0.02 * used.cpu_seconds},
            }  # fmt: skip


def _more(used: process_usage.Usage, rest: process_usage.Usage) -> float:
    """Return the CPU seconds beyond those of a process at rest."""
    return used.cpu_seconds - rest.cpu_seconds / rest.seconds * used.seconds


def _direct(images: Sequence[Any], seconds: float) -> float:
    """Return the CPU seconds of a frame in one thread that decodes, resizes and runs it, at the same pace."""
    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    path = demo_model.cached('tiny')
    engine, preprocessing = Engine(path), Preprocessing.from_dict(demo_model.preprocessing('tiny'))
    entry = load_model(path).inputs[0]
    spent = []
    for image in itertools.islice(itertools.cycle(images), round(seconds * FPS)):
        begin = time.thread_time()
        engine.run({entry: preprocessing.apply(image.data, image.encoding)})
        spent.append(time.thread_time() - begin)
        time.sleep(max(0.0, 1 / FPS - spent[-1]))
    return statistics.fmean(spent[len(spent) // 10 :])


def _rate(*, quick: bool, say: Say) -> Iterator[Row]:
    seconds = 5.0 if quick else 15.0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shown = folder / 'images'
        shown.mkdir()
        for number, image in enumerate(small_images()):
            (shown / f'{number}.jpg').write_bytes(bytes(image.data))
        file = fleets.fleet_file(folder, 2, 'tiny', camera={'images': str(shown), 'rate': _OFFERED_FPS})
        running = stack.enter_context(fleets.started(file))
        for name in ('on the source', 'split over two'):
            with fleets.client_of(running) as client:
                fleets.wait_until_planned(running, client)
                layers = _layers(running)
                client.follow(_labels(layers)[name], layers, 30.0)
            with fleets.results_counted(running) as count:
                time.sleep(3.0)
                begin, first = time.monotonic(), count()
                usage = process_usage.measure(running.pids(), seconds)
                rate = (count() - first) / (time.monotonic() - begin)
            busy = sum(used.cpu_seconds / used.seconds for used in usage.values())
            say(f'{name}: {rate:.0f} frames/s at most, {busy:.2f} cores busy with them')
            yield {'case': 'rate', 'plan': name, 'fps': rate, 'busy_cores': busy,
                   'share_of_a_core': {label: used.cpu_seconds / used.seconds for label, used in usage.items()}}  # fmt: skip


# A message -------------------------------------------------------------------------------------------------------


def _message(*, quick: bool, say: Say) -> Iterator[Row]:
    from edge_dnn_partition.testbed.namespaces import Namespaces, Shape, why_not

    seconds = 3.0 if quick else 10.0
    reason = why_not()
    if reason is not None:
        say(f'{reason}: both devices of a message are in one network')
    shape = Shape(1e9, 0.01)
    for path in PATHS:
        if path in ('zmq', 'zenoh') and importlib.util.find_spec(path) is None:
            say(f'{path} is left out: pip install "edge_dnn_partition[bench]"')
            continue
        with ExitStack() as stack:
            network = None
            if reason is None:
                network = stack.enter_context(Namespaces(['a', 'b'], {('a', 'b'): shape, ('b', 'a'): shape}))
            try:
                pair = stack.enter_context(Pair(path, network=network, apart=True))
            except RuntimeError as error:  # once in a while rclpy's does not start; the other figures are worth keeping
                say(f'{path} is left out: {error}')
                continue
            pair.stream(MESSAGE_BYTES, 50, gap=1 / MESSAGES_PER_SECOND, in_flight=IN_FLIGHT)
            before = pair.cpu_seconds()
            time.sleep(seconds)
            rest = (pair.cpu_seconds() - before) / seconds
            begin = time.monotonic()
            count = round(seconds * MESSAGES_PER_SECOND)
            found = pair.stream(MESSAGE_BYTES, count, gap=1 / MESSAGES_PER_SECOND, in_flight=IN_FLIGHT)
            passed = time.monotonic() - begin
        if 'failed' in found:
            raise UserError(f'{path}: {found["failed"]}')
        cpu = (found['cpu_seconds'] - rest * passed) / found['arrived']
        say(f'{path}: {1e3 * cpu:.3f} ms of CPU a message of 1 kB, one way {1e3 * found["p50_seconds"]:.2f} ms')
        yield {
            'case': 'message', 'path': path, 'cpu_seconds': cpu, 'rest_share_of_a_core': rest, 'p50_seconds': found['p50_seconds'],
            'messages': found['arrived'], 'namespaces': reason is None,
        }  # fmt: skip


# A start ---------------------------------------------------------------------------------------------------------


def _start(*, quick: bool, say: Say) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        for temperature in ('cold', *(['warm'] if quick else ['warm'] * 3)):
            yield _first_result(Path(name), temperature, say)


def _first_result(folder: Path, temperature: str, say: Say) -> Row:
    from edge_dnn_partition.cli.running_fleet import CameraThread, cycle, join_network
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    file = fleets.fleet_file(folder, 3, 'demo')
    fleet = load_fleet(file)
    topic, cache = f'/{fleet.fleet}/{fleet.source}/{fleet.camera.topic}', {'EDGE_DNN_PARTITION_CACHE': str(folder / 'cache')}
    join_network(fleet)
    with FleetClient(fleet, name='footprint') as client:
        camera = CameraThread(client.camera(topic), cycle(small_images()), _START_FPS)
        camera.start()
        with fleets.started(file, profiled=False, environment=cache) as running:
            try:
                client.wait_for(lambda: any(frame.delivered for frame in client.news.frames), fleets.PATIENT_SECONDS, 'a result')
                first = time.monotonic() - running.begin
                cpu = sum(process_usage.cpu_seconds(pid) for pid in running.pids().values())
            finally:
                camera.stop()
            fleets.wait_until_planned(running, client)
            whole = time.monotonic() - running.begin
    say(f'{temperature} start: first result after {first:.1f} s ({cpu:.1f} s of CPU), all profiled after {whole:.1f} s')
    return {
        'case': 'start', 'temperature': temperature, 'first_result_seconds': first, 'cpu_seconds': cpu, 'profiled_seconds': whole,
    }  # fmt: skip


PARTS: Final[dict[str, Callable[..., Iterator[Row]]]] = {
    'idle': _idle, 'frame': _frame, 'rate': _rate, 'message': _message, 'start': _start,
}  # fmt: skip


def run(*, quick: bool, progress: Say, only: str = '') -> BenchResult:
    """Run the benchmark; ``quick`` measures for shorter, and one size of fleet.

    :param only: names of parts with commas between; empty: all.
    :raises UserError: if there is no such part.
    """
    chosen = only.split(',') if only else list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        raise UserError(f'--only {only}: bench footprint has no part {", ".join(sorted(unknown))}; it has {", ".join(PARTS)}')
    prepare()
    results = [row for part in chosen for row in PARTS[part](quick=quick, say=progress)]
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


# What came out ---------------------------------------------------------------------------------------------------


def _targets(results: list[Row]) -> list[Target]:
    targets: list[Target] = []

    def ask(name: str, limit: float, measured: float, unit: str, *, least: bool = False) -> None:
        met = measured >= limit if least else measured <= limit
        targets.append(Target(name, f'{">=" if least else "<="} {limit:g}', measured, unit, met))

    for plan, limit in (('on the source', 1.5), ('split over two', 2.5), ('there and back', 3.0)):
        for row in _rows(results, 'frame', plan=plan):
            ask(f'CPU of a frame, {plan}', limit, 1e3 * row['cpu_seconds'], 'ms')
    for devices, share in ((3, 1.5), (8, 3.0), (50, 8.0)):
        idle = {row['place']: row for row in _rows(results, 'idle', devices=devices, form='')}
        if not idle:
            continue
        ask(f"{devices} devices at rest: the source's nodes", 2.0, 100 * idle['source']['share_of_a_core'], '% of a core')
        ask(f'{devices} devices at rest: scheduler', share, 100 * idle['scheduler']['share_of_a_core'], '% of a core')
        if devices == 3:
            ask("wake-ups of the source's nodes", 60, idle['source']['wakeups_per_second'], '1/s')
            ask("resident memory of the source's nodes", 280, idle['source']['resident_bytes'] / 1e6, 'MB')
            ask('resident memory of the scheduler', 110, idle['scheduler']['resident_bytes'] / 1e6, 'MB')
    for row in _rows(results, 'message', path='own'):
        ask('CPU of a message of 1 kB between devices', 0.35, 1e3 * row['cpu_seconds'], 'ms')
    for temperature, limit in (('cold', 6.0), ('warm', 2.0)):
        if rows := _rows(results, 'start', temperature=temperature):
            first = statistics.median(row['first_result_seconds'] for row in rows)
            ask(f'first result, {temperature}', limit, first, 's')
    for row in _rows(results, 'rate', plan='on the source'):
        ask('frames a second', 300, row['fps'], '1/s', least=True)
    return targets


def _rows(results: list[Row], case: str, **wanted: Any) -> list[Row]:
    return [row for row in results if row['case'] == case and all(row[key] == value for key, value in wanted.items())]


def _conclusion(results: list[Row]) -> str:
    parts = [
        f"At rest the source's nodes take {row['share_of_a_core']:.1%} of a core, wake {row['wakeups_per_second']:.0f} times "
        f'a second and have {row["resident_bytes"] / 1e6:.0f} MB'
        for row in _rows(results, 'idle', devices=3, form='', place='source')
    ]  # fmt: skip
    frames = {row['plan']: 1e3 * row['cpu_seconds'] for row in _rows(results, 'frame')}
    if frames:
        parts.append('a frame takes ' + ', '.join(f'{cpu:.1f} ms {plan}' for plan, cpu in frames.items()))
    messages = {row['path']: 1e3 * row['cpu_seconds'] for row in _rows(results, 'message')}
    if messages:
        parts.append('a message of 1 kB ' + ', '.join(f'{cpu:.2f} ms ({path})' for path, cpu in messages.items()))
    parts += [f'{row["fps"]:.0f} frames a second go at most, {row["plan"]}' for row in _rows(results, 'rate')]
    parts += [f'the first result comes after {row["first_result_seconds"]:.1f} s ({row["temperature"]})'
              for row in _rows(results, 'start')[:2]]  # fmt: skip
    return '; '.join(parts) + '.'


def _plot(figure: Figure, results: list[Row]) -> None:
    left, middle, right = figure.subplots(1, 3)
    idle = _rows(results, 'idle process', devices=3, form='')
    places = np.arange(len(idle))
    left.barh(places, [100 * row['share_of_a_core'] for row in idle])
    left.set_yticks(places, [row['process'] for row in idle], fontsize=7)
    left.set(xlabel='% of a core', title='three devices at rest')
    middle.barh(places, [row['resident_bytes'] / 1e6 for row in idle], color='tab:gray', label='resident')
    middle.barh(places, [row['private_bytes'] / 1e6 for row in idle], color='tab:blue', label='private')
    middle.set_yticks(places, [''] * len(idle))
    middle.set(xlabel='MB', title='memory')
    middle.legend(fontsize=7)
    bars = {row['plan']: row['cpu_seconds'] for row in _rows(results, 'frame')}
    bars |= {f'1 kB, {row["path"]}': row['cpu_seconds'] for row in _rows(results, 'message')}
    right.barh(np.arange(len(bars)), [1e3 * cpu for cpu in bars.values()], color='tab:orange')
    right.set_yticks(np.arange(len(bars)), list(bars), fontsize=7)
    right.set(xlabel='ms of CPU', title='a frame, a message')
