# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet in real processes on this machine, with a camera and a watcher: for benchmarks and tests."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_dnn_partition.deployment.dds_environment import dds_environment, dds_profile
from edge_dnn_partition.deployment.processes import NodeProcess, fleet_processes
from edge_dnn_partition.deployment.start_checks import model_of
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet

if TYPE_CHECKING:
    from edge_dnn_partition.msg import FleetState, SourceStatus
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

PATIENCE_SECONDS = 30.0


class CameraThread:
    """Publishes images at a steady rate, and remembers which image had which stamp."""

    def __init__(self, publish: Callable[[CameraImage], int], images: Iterator[tuple[int, CameraImage]], rate: float) -> None:
        self._publish = publish
        self._images = images
        self._period = 1 / rate
        self._ended = threading.Event()
        self.shown: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        due = time.monotonic()
        for index, image in self._images:
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            self.shown[self._publish(image)] = index
            due = max(due + self._period, time.monotonic())


class RunningFleet:
    """A fleet whose stream runs; see `running_fleet`.

    :param images: what its camera shows, with the index under which `CameraThread.shown` keeps each.
    :param rate: in images per second.
    """

    def __init__(
        self, file: Path, supervisor: Supervisor, client: FleetClient, log: list[tuple[str, str]],
        images: Iterator[tuple[int, CameraImage]], rate: float,
    ) -> None:  # fmt: skip
        self._file = file
        self.fleet: Fleet = client.fleet
        if self.fleet.model is None:
            raise ValueError('a running fleet has a model')
        self.model = model_of(self.fleet)
        self.supervisor, self.client, self.log, self.news = supervisor, client, log, client.news
        topic = f'/{self.fleet.fleet}/{self.fleet.source}/{self.fleet.camera.topic}'
        self.camera = CameraThread(client.camera(topic, compressed=self.fleet.camera.compressed), images, rate)

    def process(self, label: str) -> NodeProcess:
        """Return a process of the fleet by its label or a node's, to start it again."""
        return next(p for p in fleet_processes(self.fleet, self._file) if p.runs(label))

    def more_frames(self, count: int = 5, version: int = 0) -> None:
        """Wait for so many new results of a plan or later ones.

        :raises UserError: if they do not come.
        """
        begin = len(self.news.frames)
        self.client.wait_for(
            lambda: sum(f.plan_version >= version for f in self.news.frames[begin:]) >= count,
            PATIENCE_SECONDS, f'frames of plan {version} or later: {self.log[-15:]}',
        )  # fmt: skip

    def follow(self, label: str, count: int = 5) -> None:
        """Make the fleet follow a plan, and wait until it does, and for so many results of it.

        :raises UserError: if it is refused, or does not come.
        """
        plan = self.client.follow(label, len(self.model.layers), PATIENCE_SECONDS)
        self.more_frames(count, plan.version)

    def settle(self, *, every_frame: bool = True) -> SourceStatus:
        """Stop the camera and wait for the last results; return the source's counters.

        :param every_frame: the source was not restarted, so its counters cover every result.
        """
        self.camera.stop()

        def settled() -> bool:
            status = self.news.status
            if status is None or status.in_flight:
                return False
            done = status.delivered + status.expired + status.lost + status.failed
            return done == len(self.news.frames) or not every_frame

        self.client.wait_for(settled, PATIENCE_SECONDS, 'the last frames')
        assert self.news.status is not None
        return self.news.status


def cycle(images: Sequence[CameraImage]) -> Iterator[tuple[int, CameraImage]]:
    """Yield images over and over, with their index."""
    return itertools.cycle(enumerate(images))


def join_network(fleet: Fleet) -> None:
    """Give this process the DDS profile of a fleet, so that a client in it finds the fleet's nodes.

    :raises UserError: if the profile cannot be used on this machine.
    """
    os.environ.update(dds_environment(dds_profile(fleet)))


@contextmanager
def running_fleet(
    file: Path, images: Sequence[CameraImage] | Iterator[tuple[int, CameraImage]], *, rate: float = 10.0, name: str = 'watcher',
    on_line: Callable[[str, str], None] | None = None, frames: int = 5, seconds: float = PATIENCE_SECONDS,
    profiled: bool = True,
) -> Iterator[RunningFleet]:  # fmt: skip
    """Run a fleet in real processes; its camera is on and its first results are there.

    :param file: the fleet file; its camera is a topic.
    :param images: shown over and over, or an endless stream with an index each.
    :param name: of the client's node.
    :param on_line: takes label and line of what the nodes print, beside the fleet's log.
    :param frames: how many results to wait for, at most ``seconds``.
    :param profiled: wait for so long until no plan rests on a first guess any more, too.
    :raises UserError: if it does not come up.
    """
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

    fleet = load_fleet(file)
    log: list[tuple[str, str]] = []

    def line(label: str, text: str) -> None:
        log.append((label, text))
        if on_line is not None:
            on_line(label, text)

    with Supervisor(dict(os.environ), line) as supervisor:
        for process in fleet_processes(fleet, file):
            supervisor.start(process)
        with FleetClient(fleet, name=name, keep_outputs=True) as client:
            stream = cycle(images) if isinstance(images, Sequence) else images
            running = RunningFleet(file, supervisor, client, log, stream, rate)
            running.camera.start()
            try:
                client.wait_for(lambda: len(client.news.frames) >= frames, seconds, f'{frames} results: {log[-15:]}')
                if profiled:
                    client.wait_for(lambda: _profiled(client.news.state), seconds, f'profiles: {log[-15:]}')
                yield running
            finally:
                running.camera.stop()


def _profiled(state: FleetState | None) -> bool:
    return state is not None and all(device.profiled for device in state.devices if device.alive)
