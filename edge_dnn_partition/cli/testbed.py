# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A running testbed: a fleet's real node processes, each device in a network namespace of its own with shaped links.

    with Testbed(TestbedFile.read('config/testbed.yaml')) as testbed:
        testbed.force('pi:pre-3 cloud:3-end')
        testbed.set_rate('pi', 'cloud', 2e6)
        frames = testbed.stream(seconds=10, fps=5)
        print(testbed.counters('pi', 'cloud').sent_bytes)

Where namespaces are not to be had (they need root), one line says so, and the sending processes hold the links to their
rate instead, as in the demo. What it made is removed on exit however that comes; what a SIGKILL leaves, the next one removes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import yaml

from edge_dnn_partition import ros_env
from edge_dnn_partition.deployment.dds_environment import dds_environment, dds_profile
from edge_dnn_partition.deployment.processes import SCHEDULER, NodeProcess, fleet_processes
from edge_dnn_partition.deployment.start_checks import model_of
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import sample_image
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.testbed import cgroups
from edge_dnn_partition.testbed.cgroups import Cgroup
from edge_dnn_partition.testbed.namespaces import Counters, Namespaces, delays, why_not
from edge_dnn_partition.testbed.netns import new_stem
from edge_dnn_partition.testbed.testbed_file import TestbedFile
from edge_dnn_partition.testbed.traces import Event, timeline

from .running_fleet import CameraThread, cycle
from .testbed_controls import TestbedControls, measured_profiles

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient, FrameRecord

START_SECONDS: Final = 120.0
"""For all devices to be there with their profiles; a large model is profiled for a while the first time."""
_PLAN_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 30.0


@dataclass(frozen=True)
class PlayRun:
    """What came of playing a file's traces and faults; times are of this process's steady clock.

    :param happened: each event, and when it was in force.
    :param plans: the plans that came into force meanwhile, and when.
    """

    begin: float
    end: float
    frames: list[FrameRecord]
    happened: list[tuple[float, Event]]
    plans: list[tuple[float, Plan]]


class Testbed(TestbedControls):
    """A testbed as a context manager; one at a time in a process, entered and left by its main thread.

    :param file: what to play.
    :param images: what the camera shows, one after the other; all JPEG or PNG, or all raw. One made-up image otherwise.
    :param user_space: hold links to their rate in the sending processes; None: only where there are no namespaces.
    :param keep_outputs: keep the results' tensors in the frame records.
    :param say: takes lines for people.
    """

    def __init__(
        self,
        file: TestbedFile,
        *,
        images: Sequence[CameraImage] | None = None,
        user_space: bool | None = None,
        keep_outputs: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        ros_env.require_ros('a testbed')
        if file.model is None:
            raise UserError('the testbed file names no model; add model: {path: …}')
        super().__init__(file, model_of(file))
        self.images = list(images) if images else [sample_image(file.camera)]
        self._user_space = user_space
        self._keep_outputs = keep_outputs
        self._say = say
        self._stack = ExitStack()
        self._cgroups: dict[str, Cgroup] = {}
        self._shown: dict[int, int] = {}

    # Life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start all, and wait until every device is there with its profile and a plan is in force.

        :raises UserError: if the system refuses, or they do not come.
        """
        reason = why_not() if self._user_space is None else None
        if reason is not None:
            self._say(f'{reason}: the links are held to their rate by the sending processes instead')
        self._user_space = self._user_space or reason is not None
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all processes and remove what was made."""
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
        from edge_dnn_partition.nodes.conversions.plan_messages import forget_plans

        user_space = bool(self._user_space)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='testbed-')))
        path = folder / 'fleet.yaml'
        compressed = self.images[0].encoding in ('jpeg', 'png')
        self.delayed = not user_space and delays()
        if not (user_space or self.delayed) and any(link.delay for link in self.file.links):
            self._say('this kernel has no netem: delays of links are left to the sending processes')
        document = self.file.fleet_document(user_space=user_space, delayed=self.delayed, compressed=compressed)
        path.write_text(yaml.safe_dump(document))
        fleet = self.fleet = load_fleet(path)
        self.profiles = measured_profiles(fleet, self.model)
        """By device, as the workers have them."""
        self.processes = {process.label: process for process in fleet_processes(fleet, path)}
        forget_plans(fleet.fleet)
        if not user_space:
            self.network = stack.enter_context(Namespaces(list(self.file.devices), {}))
            stack.callback(setattr, self, 'network', None)
        self._limit(stack)
        stack.enter_context(_environment(self._dds()))
        self.supervisor = stack.enter_context(
            Supervisor(dict(os.environ), lambda label, line: self.log.append((label, line)), self._prefix)
        )
        for process in self.processes.values():
            self.supervisor.start(process)
        if self.network is not None:
            stack.enter_context(self.network.inside(self.file.source))
        # Without shared memory: the client does not have the devices' /dev/shm.
        stack.enter_context(_environment(dds_environment(dds_profile(fleet))))
        self.client: FleetClient = stack.enter_context(FleetClient(fleet, name='testbed', keep_outputs=self._keep_outputs))
        self.news = self.client.news
        topic = f'/{fleet.fleet}/{fleet.source}/{fleet.camera.topic}'
        self._publish = self.client.camera(topic, compressed=compressed)
        self.wait_for(self._complete, START_SECONDS, f'all of {", ".join(self.file.devices)}, with their profiles,')
        self.wait_for(lambda: self.client.plan is not None, _PLAN_SECONDS, 'a first plan')
        # Only now: to find each other they send a lot, which is not what a testbed is there to show.
        for link in self.file.links:
            self.set_rate(*link.between, link.rate * 8)

    def _dds(self) -> dict[str, str]:
        """What the processes' environment needs beside their profiles, so that they find each other and nobody else."""
        single = {'OMP_NUM_THREADS': '1'}
        if self.network is None:
            domain = os.environ.get('ROS_DOMAIN_ID', str(100 + os.getpid() % 100))
            return single | {'ROS_DOMAIN_ID': domain, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        peers = ';'.join(map(self.network.address, self.file.devices))
        return single | {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_STATIC_PEERS': peers}

    def _limit(self, stack: ExitStack) -> None:
        if os.geteuid() == 0:
            cgroups.remove_leftovers()
        wanted = {name: d for name, d in self.file.devices.items() if d.cores is not None or d.memory_limit is not None}
        if not wanted:
            return
        if os.geteuid() != 0:
            self._say('limits of cores and memory need root: the devices run without')
            return
        stem = new_stem()
        for name, device in wanted.items():
            group = Cgroup(f'{stem}-{name}', cores=device.cores, memory_bytes=device.memory_limit)
            stack.callback(group.remove)
            group.make()
            self._cgroups[name] = group

    def _prefix(self, process: NodeProcess) -> list[str]:
        device = self.file.scheduler_device if process.node == SCHEDULER else process.label.partition('/')[0]
        group = None if process.node == SCHEDULER else self._cgroups.get(device)
        return [*(group.prefix() if group else ()), *(self.network.prefix(device) if self.network else ())]

    def _complete(self) -> bool:
        if ended := self.supervisor.ended():
            label = next(iter(ended))
            lines = ' | '.join(line for name, line in self.log[-40:] if name == label)
            raise UserError(f'{label} has ended with code {ended[label]}: {lines[-600:]}')
        state = self.news.state
        known = {d.device for d in state.devices if d.alive and d.profiled} if state is not None else set()
        return known >= set(self.file.devices)

    # What is measured -------------------------------------------------------------------------------------------

    def stream(self, seconds: float, fps: float) -> list[FrameRecord]:
        """Show images for a while; return every frame that was accepted, when the last one has its result."""
        with self.camera(fps) as frames:
            time.sleep(seconds)
        return frames()

    @contextlib.contextmanager
    def camera(self, fps: float) -> Iterator[Callable[[], list[FrameRecord]]]:
        """Show images within the block; what it gives returns the frames so far, after the block all of them."""
        with self.client.lock:
            begin = len(self.news.frames)
        camera = CameraThread(self._publish, cycle(self.images), fps)
        camera.shown = self._shown

        def frames() -> list[FrameRecord]:
            with self.client.lock:
                return list(self.news.frames[begin:])

        camera.start()
        try:
            yield frames
        finally:
            camera.stop()
        self._settle()

    @property
    def shown(self) -> Mapping[int, int]:
        """The index of each image that was shown, by its stamp in nanoseconds."""
        return self._shown

    def play(self, seconds: float, fps: float) -> PlayRun:
        """Show images while the file's traces and faults take their course from its beginning."""
        events = timeline(self.file, seconds)
        happened: list[tuple[float, Event]] = []
        with self.client.lock:
            known = len(self.news.plans)
        with self.camera(fps) as frames:
            begin = time.monotonic()
            for event in events:
                time.sleep(max(0.0, begin + event.at - time.monotonic()))
                self.apply(event)
                happened.append((time.monotonic(), event))
            time.sleep(max(0.0, begin + seconds - time.monotonic()))
            end = time.monotonic()
        with self.client.lock:
            plans = list(self.news.plans[known:])
        return PlayRun(begin, end, frames(), happened, plans)

    def counters(self, sender: str, receiver: str) -> Counters:
        """Return what the shaper of one direction of a link has sent and dropped so far.

        :raises UserError: if the links are held to their rate in user space: then nothing counts.
        """
        if self.network is None:
            raise UserError('links that are held to their rate by the sending processes have no counters')
        return self.network.counters(sender, receiver)

    def pid(self, label: str) -> int:
        """Return the process number of a node, such as ``pi/worker`` or ``scheduler``."""
        return self.supervisor.pid(label)

    def _settle(self) -> None:
        """Wait until every accepted frame has its result."""
        time.sleep(0.1)  # what was published before the camera stopped is heard by then
        old = self.news.status

        def settled() -> bool:
            status = self.news.status
            if status is None or status is old or status.in_flight:
                return False
            ended = status.delivered + status.expired + status.lost + status.failed
            return bool(ended <= len(self.news.frames) + self.news.missed.missed)

        self.wait_for(settled, _DRAIN_SECONDS, 'the last frames')


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process's environment, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
