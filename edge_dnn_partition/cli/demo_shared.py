# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``demo --two-models``: two cameras, each with its model and its plan, on the same devices; the second one comes first."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge_dnn_partition.cache import write_atomic
from edge_dnn_partition.cli import demo_report
from edge_dnn_partition.cli.demo import node_log, use_own_network
from edge_dnn_partition.cli.running_fleet import RunningFleet, join_network, running_fleet
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.scenario import PHASES, Phase, fleet_document

if TYPE_CHECKING:
    from rich.console import Console  # noqa: TID251 (the type)

    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

GROUP: Final = 'robot'
CONDITIONS: Final[Phase] = PHASES[1]
"""The uplink at a tenth: the Jetson is what both want."""
START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Share:
    """One of the two: its fleet's name, its model's size, its priority, and the device with its camera."""

    name: str
    size: str
    priority: int
    source: str


FIRST, SECOND = Share('demo', 'demo', 3, 'pi'), Share('second', 'second', 8, 'jetson')


@dataclass
class Member:
    """A fleet that runs, with its camera."""

    share: Share
    running: RunningFleet

    @property
    def client(self) -> FleetClient:
        """Its client."""
        return self.running.client

    def document(self, begin: float, end: float) -> dict[str, Any]:
        """Return how its frames went in the later half of a time, when plans have settled."""
        with self.client.lock:
            frames = [f for f in self.client.news.frames if (begin + end) / 2 <= f.at < end and f.delivered]
            plans = list(self.client.news.plans)
        labels = [plan.label() for at, plan in plans if at < end]
        reasons = [plan.reason for at, plan in plans if begin <= at < end]
        latencies = [frame.latency_seconds for frame in frames]

        def ms(share: float) -> float | None:
            return round(1e3 * float(np.quantile(latencies, share)), 2) if latencies else None

        times = {'p50_ms': ms(0.5), 'p95_ms': ms(0.95)}
        return {'plan': labels[-1] if labels else '', 'reasons': reasons, 'frames': len(frames), **times}


class SharedDemo:
    """The demo with two models; frames are counted and compared for each."""

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self._args, self._console = args, console
        self._out: Path = args.out

    def run(self) -> tuple[dict[str, Any], int]:
        """Return the report, and 1 if a frame was lost or a result was wrong."""
        self._out.mkdir(parents=True, exist_ok=True)
        seconds = self._args.seconds / 3
        use_own_network()
        images = demo_report.chosen_images(self._args)
        phases: list[dict[str, Any]] = []
        fleets: dict[str, dict[str, Any]] = {}
        with node_log(self._out) as self._write, self._member(FIRST, images) as first:
            phases.append(self._phase('one model', seconds, first))
            with self._member(SECOND, images) as second:
                phases.append(self._phase('a second model, more important', seconds, first, second))
                fleets[SECOND.name] = self._counters(second, images)
            phases.append(self._phase('one model again', seconds, first))
            fleets[FIRST.name] = self._counters(first, images)
        report = {'phases': phases, 'fleets': fleets, 'emulated': True, 'camera_hertz': self._args.rate}
        return report, self._conclude(report)

    @contextmanager
    def _member(self, share: Share, images: demo_report.Images) -> Iterator[Member]:
        """Run one of the fleets; its first results are there."""
        file = self._prepare(share)
        join_network(load_fleet(file))
        with running_fleet(
            file, images.stream(), rate=self._args.rate, name='demo', frames=3, seconds=START_SECONDS,
            on_line=lambda label, line: self._write(f'{share.name}/{label}', line),
        ) as running:  # fmt: skip
            yield Member(share, running)

    def _prepare(self, share: Share) -> Path:
        folder = self._out / share.name
        folder.mkdir(exist_ok=True)
        write_atomic(folder / 'preprocessing.yaml', yaml.safe_dump(demo_model.preprocessing(share.size)).encode())
        document = fleet_document(str(demo_model.cached(share.size).resolve()), 'preprocessing.yaml')
        document |= {'fleet': share.name, 'source': share.source, 'share': {'group': GROUP, 'priority': share.priority}}
        for link in document['links']:
            rate, delay = CONDITIONS.all_links()[tuple(link['between'])]
            link |= {'rate': f'{rate * 8e-6:g} Mbit/s', 'delay': f'{delay * 1e3:g} ms'}
        path = folder / 'fleet.yaml'
        write_atomic(path, yaml.safe_dump(document, sort_keys=False).encode())
        return path

    def _phase(self, name: str, seconds: float, *members: Member) -> dict[str, Any]:
        """Let some time pass, and say which plans come."""
        self._console.print(f'phase: {name}')
        begin = time.monotonic()
        shown = dict.fromkeys((member.share.name for member in members), 0)
        while (now := time.monotonic()) - begin < seconds:
            for member in members:
                plan = member.client.plan
                if plan is not None and plan.version != shown[member.share.name]:
                    shown[member.share.name] = plan.version
                    self._console.print(f'  {member.share.name}: {plan.label()}  ({plan.reason})', highlight=False)
            time.sleep(0.1)
        return {'name': name, 'seconds': round(seconds, 2), 'fleets': {m.share.name: m.document(begin, now) for m in members}}

    def _counters(self, member: Member, images: demo_report.Images) -> dict[str, Any]:
        counts = demo_report.counts_of(member.running, self._console)
        return {'priority': member.share.priority, 'frames': counts, **demo_report.compare(member.running, images)}

    def _conclude(self, report: dict[str, Any]) -> int:
        table = Table(title='each model by its own plan, on the same devices', title_justify='left', box=SIMPLE_HEAD)
        for name in ('phase', 'model', 'plan'):
            table.add_column(name, overflow='fold')
        for name in ('p50 ms', 'p95 ms', 'frames'):
            table.add_column(name, justify='right')
        for phase in report['phases']:
            for name, found in phase['fleets'].items():
                times = ['–' if found[key] is None else f'{found[key]:.0f}' for key in ('p50_ms', 'p95_ms')]
                table.add_row(phase['name'], name, found['plan'], *times, str(found['frames']))
        self._console.print(table)
        wrong = []
        for name, found in report['fleets'].items():
            frames = found['frames']
            self._console.print(
                f'{name} (priority {found["priority"]}): {frames["accepted"]} accepted, {frames["delivered"]} delivered, '
                f'{frames["failed"]} failed, {frames["lost"]} lost, {frames["duplicated"]} delivered twice; '
                f'{found["bit_exact"]} of {found["compared"]} results bit-exact', highlight=False,
            )  # fmt: skip
            wrong += [f'{name}: {failure}' for failure in demo_report.failures(frames, found)]
        for failure in wrong:
            self._console.print(f'[red]FAILED: {failure}[/red]')
        self._console.print(f'devices and links are emulated; fleet files and log: {self._out}/', highlight=False)
        return 1 if wrong else 0
