# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the boards know as OpenMetrics, for Prometheus and what reads its format.

Each answer is made anew from the boards' latest documents, so a device that has left or a fleet that says nothing any more leaves
no figure behind. What is unknown is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from .board import STALE_SECONDS, Board, Latest
from .totals import LATENCY_BUCKETS

PREFIX: Final = 'edge_dnn_partition_'
UNITS: Final = ('seconds', 'bytes', 'joules', 'watts', 'celsius', 'ratio')
OPENMETRICS: Final = 'application/openmetrics-text'


@dataclass(frozen=True)
class Metric:
    """One metric; its samples carry the label ``fleet`` before its own.

    :param name: without the prefix, and without the ``_total`` that samples of a counter end in.
    """

    name: str
    kind: Literal['gauge', 'counter', 'histogram', 'info']
    labels: tuple[str, ...]
    meaning: str

    @property
    def sample(self) -> str:
        """What its samples are called: of a histogram without ``_bucket``, ``_sum``, ``_count``."""
        return PREFIX + self.name + {'counter': '_total', 'info': '_info'}.get(self.kind, '')

    @property
    def unit(self) -> str:
        """Its unit; empty: it counts something."""
        return next((unit for unit in UNITS if self.name.endswith(f'_{unit}')), '')


METRICS: Final = (
    Metric('fleet_up', 'gauge', (), f"1 while the scheduler's state comes, 0 after {STALE_SECONDS:.0f} s without"),
    Metric('frame_latency_seconds', 'histogram', (), 'delivered frames, from acceptance to result'),
    Metric('frame_part_seconds', 'counter', ('part',), 'where their time went: compute, waiting (queues), hops (the rest)'),
    Metric('frame_energy_joules', 'counter', ('kind',), "their stages' energy above idleness; kind: measured or modelled"),
    Metric('frames', 'counter', ('status',), 'frames that ended: delivered, expired, lost, failed; dropped: never accepted'),
    Metric('frame_events', 'counter', ('event',), 'offered, accepted, repeated, hedged, duplicated, late, as in SourceStatus'),
    Metric('frames_in_flight', 'gauge', (), 'frames accepted whose result is not there yet'),
    Metric('plan', 'info', ('plan', 'objective'), 'the plan in force'),
    Metric('plan_version', 'gauge', (), 'its version'),
    Metric('plan_latency_seconds', 'gauge', (), 'its predicted latency'),
    Metric('plan_layers', 'gauge', ('device',), 'how many layers it runs on a device'),
    Metric('plans', 'counter', (), 'plans that came into force since the dashboard started'),
    Metric('link_bytes_per_second', 'gauge', ('sender', 'receiver'), "a link's estimated rate"),
    Metric('link_latency_seconds', 'gauge', ('sender', 'receiver'), 'half its least round trip'),
    Metric('link_measured', 'gauge', ('sender', 'receiver'), '1: these two are measured; 0: still a first guess'),
    Metric('link_tensor_bytes', 'counter', ('sender', 'receiver'), "bytes of delivered frames' tensors"),
    Metric('device_up', 'gauge', ('device',), "1: its worker's heartbeat comes"),
    Metric('device_health', 'gauge', ('device',), 'its diagnostics: 0 works, 1 warning, 2 error, 3 stale'),
    Metric('pipeline_health', 'gauge', (), "likewise, the pipeline's"),
    Metric('device_cpu_ratio', 'gauge', ('device',), 'use of its processors, 0 to 1'),
    Metric('device_memory_available_bytes', 'gauge', ('device',), 'memory that is free'),
    Metric('device_memory_bytes', 'gauge', ('device',), 'memory that it has'),
    Metric('device_temperature_celsius', 'gauge', ('device',), 'of its hottest CPU sensor'),
    Metric('device_gpu_temperature_celsius', 'gauge', ('device',), 'of its GPU'),
    Metric('device_throttled', 'gauge', ('device',), '1: its clocks are held back'),
    Metric('device_slowdown', 'gauge', ('device',), 'its time now / its profiled time'),
    Metric('device_power_watts', 'gauge', ('device', 'kind'), 'its power; kind: measured or modelled'),
    Metric('device_energy_joules', 'counter', ('device', 'kind'), "its energy since its worker's start, over restarts"),
    Metric('device_refused_messages', 'counter', ('device',), 'messages that its nodes refused since their start'),
    Metric('process_cpu_ratio', 'gauge', ('device',), "of the device's process, or its monitor's if each node has one; 1: a core"),
    Metric('process_resident_bytes', 'gauge', ('device',), 'its resident memory'),
)  # fmt: skip
"""All that there are, in the order in which they are given out."""

_STATUSES: Final = ('delivered', 'expired', 'lost', 'failed', 'dropped')
_EVENTS: Final = ('offered', 'accepted', 'repeated', 'hedged', 'duplicated', 'late')
_DEVICE: Final = {
    'memory_available_bytes': 'device_memory_available_bytes', 'memory_total_bytes': 'device_memory_bytes',
    'temperature_celsius': 'device_temperature_celsius', 'gpu_temperature_celsius': 'device_gpu_temperature_celsius',
    'speed_factor': 'device_slowdown', 'process_resident_bytes': 'process_resident_bytes',
}  # fmt: skip
_PERCENT: Final = {'cpu_percent': 'device_cpu_ratio', 'process_cpu_percent': 'process_cpu_ratio'}

Sample = tuple[str, tuple[str, ...], float]
"""A metric's name, the values of its own labels, and its value."""


def exposition(boards: Sequence[Board], now: float, accept: str = '') -> tuple[bytes, str]:
    """Return the metrics of fleets and their media type: OpenMetrics, unless ``accept`` asks for Prometheus' older text alone.

    :param now: of the boards' clock.
    :param accept: the request's header; never repeated in the answer.
    :raises ModuleNotFoundError: if prometheus_client is missing.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client import exposition as older
    from prometheus_client.openmetrics import exposition as newer

    openmetrics: Any = newer  # without annotations

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(lambda: families(boards, now)))
    if 'text/plain' in accept and OPENMETRICS not in accept:
        return older.generate_latest(registry), 'text/plain; version=0.0.4; charset=utf-8'
    return openmetrics.generate_latest(registry), f'{OPENMETRICS}; version=1.0.0; charset=utf-8'


class _Collector:
    def __init__(self, collect: Callable[[], Iterable[Any]]) -> None:
        self.collect = collect


def families(boards: Sequence[Board], now: float) -> Iterator[Any]:
    """Yield prometheus_client's metric families of all fleets."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

    found: dict[str, dict[tuple[str, ...], float]] = {}  # a message that names a device twice gives one sample
    latencies = {}
    for board in boards:
        samples, latencies[board.title] = board.read(lambda latest: _of_fleet(latest, now))
        for name, values, value in samples:
            if math.isfinite(value):
                found.setdefault(name, {})[(board.title, *values)] = value
    for metric in METRICS:
        labels = ['fleet', *metric.labels]
        if metric.kind == 'info':
            info = InfoMetricFamily(PREFIX + metric.name, metric.meaning, labels=['fleet'])
            for fleet, *values in found.get(metric.name, ()):
                info.add_metric([fleet], dict(zip(metric.labels, values, strict=True)))
            yield info
        elif metric.kind == 'histogram':
            histogram = HistogramMetricFamily(PREFIX + metric.name, metric.meaning, labels=labels, unit=metric.unit)
            for fleet, (buckets, total) in latencies.items():
                histogram.add_metric([fleet], buckets, total)
            yield histogram
        else:
            made = GaugeMetricFamily if metric.kind == 'gauge' else CounterMetricFamily
            family = made(PREFIX + metric.name, metric.meaning, labels=labels, unit=metric.unit)
            for values, value in found.get(metric.name, {}).items():
                family.add_metric(values, value)
            yield family


def _of_fleet(latest: Latest, now: float) -> tuple[list[Sample], tuple[list[tuple[str, float]], float]]:
    """Return a fleet's samples, and its histogram of latencies: cumulative buckets and the sum."""
    totals, state = latest.totals, latest.state
    live = state is not None and now - state['at'] <= STALE_SECONDS
    samples: list[Sample] = [('fleet_up', (), float(live)), ('plans', (), totals.plans)]
    samples += [('frame_part_seconds', (part,), seconds) for part, seconds in totals.part_seconds.items()]
    samples += [('frame_energy_joules', (kind,), joules) for kind, joules in totals.frame_joules.items()]
    samples += [('link_tensor_bytes', pair, size) for pair, size in totals.hop_bytes.items()]
    samples += [('device_energy_joules', key, joules) for key, joules in totals.device_joules.items()]
    counters = latest.counters
    samples += [('frames', (status,), counters[status]) for status in _STATUSES if status in counters]
    samples += [('frame_events', (event,), counters[event]) for event in _EVENTS if event in counters]
    if live and state is not None:
        if 'in_flight' in counters:
            samples.append(('frames_in_flight', (), counters['in_flight']))
        samples += _of_plan(latest.plan)
        for device in state['devices']:
            samples += _of_device(device)
        for link in state['links']:
            pair = link['sender'], link['receiver']
            samples += [(f'link_{name}', pair, link[name]) for name in ('bytes_per_second', 'latency_seconds', 'measured')]
        for status in latest.health['statuses'] if latest.health else ():
            subject = status['subject']
            if subject == 'pipeline':
                samples.append(('pipeline_health', (), status['level']))
                continue
            samples.append(('device_health', (subject,), status['level']))
            if status.get('refused') is not None:
                samples.append(('device_refused_messages', (subject,), status['refused']))
    buckets, count = [], 0
    for end, number in zip((*LATENCY_BUCKETS, math.inf), totals.latency_counts, strict=True):
        count += number
        buckets.append((f'{end:g}' if math.isfinite(end) else '+Inf', float(count)))
    return samples, (buckets, totals.latency_seconds)


def _of_plan(plan: Mapping[str, Any] | None) -> Iterator[Sample]:
    if plan is None:
        return
    yield 'plan', (plan['label'], plan['objective']), 1
    yield 'plan_version', (), plan['version']
    yield 'plan_latency_seconds', (), plan['predicted_seconds']
    layers: dict[str, int] = {}
    for stage in plan['stages']:
        layers[stage['device']] = layers.get(stage['device'], 0) + sum(stop - start for start, stop in stage['layers'])
    for device, count in layers.items():
        yield 'plan_layers', (device,), count


def _of_device(device: Mapping[str, Any]) -> Iterator[Sample]:
    name = (device['name'],)
    yield 'device_up', name, float(device['alive'])
    if not device['alive']:
        return
    for key, metric in _DEVICE.items():
        yield metric, name, device.get(key, math.nan)
    for key, metric in _PERCENT.items():
        yield metric, name, device.get(key, math.nan) / 100
    if 'throttling' in device:
        yield 'device_throttled', name, float(bool(device['throttling']))
    if device.get('energy_kind'):
        yield 'device_power_watts', (device['name'], device['energy_kind']), device.get('watts', math.nan)
