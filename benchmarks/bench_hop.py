# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors from one process to another: this package's path, plain typed rclpy, a TCP socket and ZeroMQ.

``machine``: two processes of one device. ``link``: two network namespaces with a shaped link in a router between
them, at several rates, with queues of 10 and of 400 ms (needs root); ``far``: with delay or loss as well (TUN devices, nftables).
The paths ``zenoh_…`` are this package's between sites, over TCP, TLS and QUIC. The paths take turns. One-way latencies are
exact, since both ends read one clock; the ideal is the message's bytes over the link's rate, and the link's latency:
what a message of 1 kB takes over a TCP socket there, its own bytes taken off.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.testbed.namespaces import Namespaces, Shape, why_not

from .hop_far import far_links
from .hop_pair import ZENOH, Pair

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS',)
Results = list[dict[str, Any]]
Say = Callable[[str], None]

PATHS = ('own', 'rclpy', 'tcp', 'zmq')
SIZES = (1_000, 64_000, 600_000, 3_200_000, 12_000_000)
LINK_SIZES = (64_000, 600_000, 3_200_000)
RATES = (1, 6, 19, 40, 100, 1000)
QUEUES = (0.01, 0.4)
_MOST_SECONDS = 4.0


def _machine(*, quick: bool, say: Say) -> Iterator[dict[str, Any]]:
    rounds, count = (1, 30) if quick else (2, 60)
    paths = PATHS
    if importlib.util.find_spec('zmq') is None:
        say('ZeroMQ is left out: pip install "edge_dnn_partition[bench]"')
        paths = tuple(path for path in PATHS if path != 'zmq')
    for size in SIZES:
        runs: dict[str, Results] = {path: [] for path in paths}
        for number in range(rounds):
            for path in paths[number:] + paths[:number]:
                with Pair(path) as pair:
                    pair.stream(size, 5, gap=0.002)
                    paced = pair.stream(size, count, gap=0.002)
                    piped = pair.stream(size, count, in_flight=4)
                if 'failed' not in paced and 'failed' not in piped:
                    paced['bytes_per_second'] = piped['bytes_per_second']
                    runs[path].append(paced)
        for path, found in runs.items():
            row = {'case': 'machine', 'path': path, 'bytes': size, 'runs': len(found)}
            for key in ('p50_seconds', 'p95_seconds', 'bytes_per_second', 'cpu_seconds_per_gigabyte', 'peak_bytes'):
                row[key] = statistics.median(run[key] for run in found) if found else None
            yield row
        own, tcp = (statistics.median(r['p50_seconds'] for r in runs[p]) * 1e3 for p in ('own', 'tcp'))
        say(f'one machine, {size} bytes: {own:.2f} ms, TCP {tcp:.2f} ms')


def _link(*, quick: bool, say: Say) -> Iterator[dict[str, Any]]:
    for rate in (6, 40) if quick else RATES:
        for queue in QUEUES:
            shape = Shape(rate * 1e6, queue)
            with Namespaces(['a', 'b'], {('a', 'b'): shape, ('b', 'a'): shape}) as network:
                latency = _latency(rate, network)
            for path in ('own', 'tcp', *ZENOH, *(('rclpy',) if rate == 40 and not quick else ())):
                with Namespaces(['a', 'b'], {('a', 'b'): shape, ('b', 'a'): shape}) as network:
                    yield from _link_sizes(rate, queue, latency, path, network, say)


def _latency(rate: float, network: Namespaces) -> float:
    """Return what the least message takes beside its own bytes, in seconds."""
    with Pair('tcp', network=network) as pair:
        found = pair.stream(1_000, 50, gap=0.02)
    return max(0.0, float(found['p50_seconds']) - 1_000 * 8 / (rate * 1e6))


def _link_sizes(
    rate: float, queue: float, latency: float, path: str, network: Namespaces, say: Say
) -> Iterator[dict[str, Any]]:
    case = {'case': 'link', 'path': path, 'megabits': rate, 'queue_seconds': queue, 'latency_seconds': latency}
    try:
        pair = Pair(path, network=network)
    except RuntimeError as error:
        yield case | {'bytes': LINK_SIZES[0], 'failed': str(error)}
        return
    with pair:
        for size in LINK_SIZES:
            ideal = size * 8 / (rate * 1e6) + latency
            if ideal > 2 * _MOST_SECONDS:
                return
            count = max(3, min(20, int(_MOST_SECONDS / ideal)))
            patience = 10.0 + 6 * ideal
            found = pair.stream(size, 1 if path == 'tcp' else 4, gap=0.02, patience=patience)  # estimates the rate
            if 'failed' not in found:
                before = network.sent_bytes('a', 'b')
                found = pair.stream(size, count, gap=0.02, patience=patience)
                wire = network.sent_bytes('a', 'b') - before
                found['wire_over_payload'] = wire / (size * count)
            if 'failed' not in found:
                found |= {'over_ideal': found['p50_seconds'] / ideal, 'p95_over_ideal': found['p95_seconds'] / ideal}
            say(f'{rate:g} Mbit/s, queue {queue * 1e3:.0f} ms, {path}, {size} bytes: '
                + (f'{found["over_ideal"]:.2f} of the ideal' if 'failed' not in found else found['failed']))
            yield case | {'bytes': size} | found
            if 'failed' in found:
                return


def _long(*, quick: bool, say: Say) -> Iterator[dict[str, Any]]:
    """Yield what needs a stream of its own: endurance, control messages beside a large tensor, an outage."""
    def network(rate: float, queue: float = 0.01) -> Namespaces:
        shape = Shape(rate * 1e6, queue)
        return Namespaces(['a', 'b'], {('a', 'b'): shape, ('b', 'a'): shape})

    with network(100) as net, Pair('own', network=net) as pair:
        count = 1_000 if quick else 10_000
        found = pair.stream(20_000, count, in_flight=8)
        say(f'{count} frames of 20 kB over 100 Mbit/s: {found["distinct"]} arrived')
        yield {'case': 'many', 'asked': count} | found
    with network(40) as net, Pair('own', network=net) as pair:
        seconds = 20.0 if quick else 300.0
        pair.stream(3_200_000, 4)
        found = pair.stream(3_200_000, round(seconds / 0.64), in_flight=2)
        found['share_of_rate'] = found['bytes_per_second'] * 8 / 40e6
        say(f'3.2 MB tensors over 40 Mbit/s for {seconds:g} s: {found["share_of_rate"]:.1%} of the rate')
        yield {'case': 'stream', 'asked': round(seconds / 0.64), 'seconds': seconds} | found
    for path in ('own', *ZENOH):
        with network(6) as net, Pair(path, network=net, control=True) as pair:
            pair.stream(600_000, 3)
            size = 12_000_000 if path == 'own' else 3_200_000
            found = pair.stream(size, 1 if quick else 2, patience=120.0)
            say(f'control messages beside {size} bytes at 6 Mbit/s, {path}: p95 {found["control_p95_seconds"] * 1e3:.0f} ms')
            yield {'case': 'control', 'path': path, 'bytes': size} | found
    with network(19) as net, Pair('own', network=net) as pair:
        seconds = 5.0 if quick else 30.0
        pair.stream(3_200_000, 3)
        pair.begin(3_200_000, 3, patience=120.0)
        time.sleep(0.5)
        net.cut('a', 'b', both_ways=True)
        time.sleep(seconds)
        net.heal('a', 'b', both_ways=True)
        healed = time.monotonic()
        found = pair.finish()
        say(f'an outage of {seconds:g} s in the middle of a tensor: {found.get("distinct", 0)} of 3 arrived')
        yield {'case': 'outage', 'asked': 3, 'seconds': seconds, 'done_after_seconds': time.monotonic() - healed} | found


def _targets(results: Results) -> list[Target]:
    targets: list[Target] = []

    def ask(name: str, limit: float, measured: float | None, unit: str, *, least: bool = False) -> None:
        value = float('nan') if measured is None else measured
        met = value >= limit if least else value <= limit
        targets.append(Target(name, f'{">=" if least else "<="} {limit:.4g}', value, unit, met))

    local = {(r['path'], r['bytes']): r['p50_seconds'] * 1e3 for r in results if r['case'] == 'machine' and r['runs']}
    for size in SIZES:
        own, tcp = local[('own', size)], local[('tcp', size)]
        more = 0.3 if size <= 64_000 else 0.6
        ask(f'one machine, {size} bytes, p50', tcp + more if size <= 600_000 else 3 * tcp, own, 'ms')
    faster = local[('rclpy', 3_200_000)] / local[('own', 3_200_000)]
    ask('one machine, 3.2 MB, times faster than plain rclpy', 4, faster, 'x', least=True)
    for row in results:
        if row['case'] == 'link' and row['path'] in ('own', *ZENOH):
            link = f'{row["path"]}, {row["megabits"]:g} Mbit/s, queue {row["queue_seconds"] * 1e3:.0f} ms'
            name = f'{link}, {row["bytes"]} bytes, p50 over the ideal'
            ask(name, 1.5 if row['megabits'] >= 1000 else 1.1, row.get('over_ideal'), 'x')
    for kind, key in (('wall', 'longest_publish_seconds'), ('CPU', 'longest_publish_cpu_seconds')):
        longest = [row[key] for row in results if row.get(key) is not None]
        if longest:
            ask(f'longest publish, {kind} time', 2, max(longest) * 1e3, 'ms')
    for row in results:
        if row['case'] in ('many', 'outage', 'stream'):
            ask(f'{row["case"]}: distinct arrivals of {row["asked"]}', row['asked'], row.get('distinct', 0), '', least=True)
            if row['case'] == 'stream':
                ask('stream of 3.2 MB over 40 Mbit/s', 90, row.get('share_of_rate', 0.0) * 100, '% of the rate', least=True)
        if row['case'] == 'control':
            name = f'{row["path"]}, control messages beside {row["bytes"] / 1e6:g} MB at 6 Mbit/s, p95'
            ask(name, 50, (row.get('control_p95_seconds') or 9e9) * 1e3, 'ms')
    return targets


def run(*, quick: bool, progress: Say) -> BenchResult:
    """Run the benchmark; ``quick`` leaves out most links and shortens the long streams."""
    results = list(_machine(quick=quick, say=progress))
    reason = why_not()
    if reason is None:
        results += _link(quick=quick, say=progress)
        results += far_links(quick=quick, say=progress)
        results += _long(quick=quick, say=progress)
    else:
        progress(f'no shaped links: {reason}')
    targets = _targets(results)
    missed = [target.name for target in targets if not target.met]
    conclusion = f'{len(targets) - len(missed)} of {len(targets)} targets reached' + (
        f'; missed: {"; ".join(missed)}.' if missed else '.'
    ) + (f' Shaped links were left out: {reason}.' if reason else '')
    return BenchResult(results, targets, lambda figure: _plot(figure, results), conclusion)


def _plot(figure: Figure, results: Results) -> None:
    left, right = figure.subplots(1, 2)
    colours = {path: f'C{number}' for number, path in enumerate((*PATHS, *ZENOH))}
    for path in PATHS:
        rows = [r for r in results if r['case'] == 'machine' and r['path'] == path and r['runs']]
        left.plot([r['bytes'] for r in rows], [r['p50_seconds'] * 1e3 for r in rows], marker='o', color=colours[path], label=path)
    left.set(xscale='log', yscale='log', xlabel='bytes', ylabel='one way, ms', title='one machine')
    left.legend()
    for path, marker in (('own', 'o'), ('tcp', 's'), ('rclpy', 'D'), *zip(ZENOH, '^v*', strict=True)):
        for queue, face in zip(QUEUES, (colours[path], 'none'), strict=True):
            rows = [r for r in results if r['case'] == 'link' and r['path'] == path and r['queue_seconds'] == queue
                    and r.get('over_ideal')]
            if rows:
                right.scatter([r['megabits'] for r in rows], [r['over_ideal'] for r in rows], marker=marker, facecolors=face,
                              edgecolors=colours[path], label=f'{path}, queue of {queue * 1e3:.0f} ms')
    right.axhline(1.1, color='tab:red', linewidth=0.8)
    right.set(xscale='log', yscale='log', xlabel='link, Mbit/s', ylabel='p50 over the ideal', title='shaped links')
    right.legend(fontsize=7)
