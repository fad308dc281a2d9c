# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``demo --two-models``: two cameras, each with its model and its plan, on the same devices; the second one comes first."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge_dnn_partition.cache import write_atomic
from edge_dnn_partition.cli import demo_frames
from edge_dnn_partition.cli.running_fleet import CameraThread
from edge_dnn_partition.deployment.dds_environment import dds_environment, dds_profile
from edge_dnn_partition.deployment.processes import fleet_processes
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet
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
    fleet: Fleet
    client: FleetClient
    camera: CameraThread

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
        self._lock = threading.Lock()

    def run(self) -> tuple[dict[str, Any], int]:
        """Return the report, and 1 if a frame was lost or a result was wrong."""
        self._out.mkdir(parents=True, exist_ok=True)
        seconds = self._args.seconds / 3
        environment = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'}
        environment['ROS_DOMAIN_ID'] = os.environ.get('ROS_DOMAIN_ID', str(100 + os.getpid() % 100))
        os.environ.update(environment)
        images = demo_frames.chosen_images(self._args)
        phases: list[dict[str, Any]] = []
        fleets: dict[str, dict[str, Any]] = {}
        with (self._out / 'nodes.log').open('w', encoding='utf-8') as self._log, ExitStack() as stack:
            first = stack.enter_context(self._member(FIRST, images))
            phases.append(self._phase('one model', seconds, first))
            with self._member(SECOND, images) as second:
                phases.append(self._phase('a second model, more important', seconds, first, second))
                fleets[SECOND.name] = self._books(second, images)
            phases.append(self._phase('one model again', seconds, first))
            fleets[FIRST.name] = self._books(first, images)
        report = {'phases': phases, 'fleets': fleets, 'emulated': True, 'camera_hertz': self._args.rate}
        return report, self._conclude(report)

    @contextmanager
    def _member(self, share: Share, images: demo_frames.Images) -> Iterator[Member]:
        """Run one of the fleets; its first results are there."""
        from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

        file = self._prepare(share)
        fleet = load_fleet(file)
        os.environ.update(dds_environment(dds_profile(fleet)))
        with Supervisor(dict(os.environ), lambda *line: self._write(share.name, *line)) as supervisor:
            for process in fleet_processes(fleet, file):
                supervisor.start(process)
            with FleetClient(fleet, name='demo', keep_outputs=True) as client:
                publish = client.camera(f'/{fleet.fleet}/{fleet.source}/{fleet.camera.topic}')
                member = Member(share, fleet, client, CameraThread(publish, images.stream(), self._args.rate))
                member.camera.start()
                try:
                    client.wait_for(lambda: len(client.news.frames) >= 3, START_SECONDS, f'a first result of {share.name}')
                    yield member
                finally:
                    member.camera.stop()

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

    def _write(self, name: str, label: str, line: str) -> None:
        with self._lock:
            self._log.write(f'[{name}/{label}] {line}\n')
            self._log.flush()

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

    def _books(self, member: Member, images: demo_frames.Images) -> dict[str, Any]:
        member.camera.stop()
        counts = demo_frames.settle(member.client, self._console)
        difference = demo_frames.compare(member.fleet, images, list(member.client.news.frames), member.camera.shown)
        return {'priority': member.share.priority, 'frames': counts, **difference}

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
        for name, books in report['fleets'].items():
            frames = books['frames']
            self._console.print(
                f'{name} (priority {books["priority"]}): {frames["accepted"]} accepted, {frames["delivered"]} delivered, '
                f'{frames["failed"]} failed, {frames["lost"]} lost, {frames["duplicated"]} delivered twice; '
                f'{books["bit_exact"]} of {books["compared"]} results bit-exact', highlight=False,
            )  # fmt: skip
            wrong += [f'{name}: {failure}' for failure in demo_frames.failures(frames, books)]
        for failure in wrong:
            self._console.print(f'[red]FAILED: {failure}[/red]')
        self._console.print(f'devices and links are emulated; fleet files and log: {self._out}/', highlight=False)
        return 1 if wrong else 0
