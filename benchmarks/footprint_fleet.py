# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fleets for ``bench footprint``: real processes, watched by nobody meanwhile, and more devices that are only heard."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_dnn_partition.cli.running_fleet import CameraThread, cycle, join_network
from edge_dnn_partition.deployment.processes import SCHEDULER, fleet_processes
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet
from edge_dnn_partition.testbed import demo_model

from .process_usage import Usage, naming_threads

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

PATIENT_SECONDS: Final = 180.0
REAL: Final = 3
"""So many devices of a large fleet are real, and all have links to them."""
_GHOST_SLOWDOWN: Final = 1000.0
_GHOSTS: Final = Path(__file__).with_name('footprint_ghosts.py')


def fleet_file(
    folder: Path, devices: int, model: str, *, ghosts: int = 0, camera: Mapping[str, Any] | None = None,
    processes: str = '',
) -> Path:  # fmt: skip
    """Write a fleet of devices ``d0`` (the source), ``d1``, … with links of 1 Gbit/s, and return its file.

    :param model: of `demo_model.SIZES`.
    :param ghosts: so many of the devices are only heard.
    :param camera: as the fleet file has it; a topic otherwise.
    :param processes: as the fleet file has it; empty: as is usual.
    """
    names = [f'd{number}' for number in range(devices)]
    real = names[: devices - ghosts]
    settings = folder / f'{model}.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing(model)))
    pairs = (pair for pair in itertools.combinations(names, 2) if pair[0] in real)
    file = folder / f'fleet{devices}.yaml'
    file.write_text(yaml.safe_dump({
        'fleet': f'footprint{devices}', 'source': names[0],
        'model': {'path': str(demo_model.cached(model)), 'preprocessing': str(settings)},
        'devices': {name: {'threads': 1, 'emulate': {'slowdown': 1 if name in real else _GHOST_SLOWDOWN}} for name in names},
        'links': [{'between': list(pair), 'rate': '1 Gbit/s', 'delay': '1 ms', 'emulate': True} for pair in pairs],
        'camera': dict(camera or {'topic': 'image/compressed'}),
        'parameters': {'worker': {'profile_runs': 3}}, **({'processes': processes} if processes else {}),
    }))  # fmt: skip
    return file


@dataclass
class Started:
    """Processes of a fleet that run.

    :param lines: what they have printed, with the process's label.
    """

    fleet: Fleet
    supervisor: Supervisor
    lines: list[tuple[str, str]]
    begin: float

    def pids(self) -> dict[str, int]:
        """Return the process numbers by label, such as ``scheduler``; a device's begin with its name."""
        return {label: self.supervisor.pid(label) for label in self.supervisor.running}

    def check(self) -> None:
        """Look whether all processes live.

        :raises UserError: if one has ended.
        """
        if ended := self.supervisor.ended():
            label = next(iter(ended))
            raise UserError(f'{label} has ended: {" | ".join(line for name, line in self.lines[-40:] if name == label)[-600:]}')


@contextmanager
def started(
    file: Path, *, tools: Sequence[str] = (), environment: Mapping[str, str] | None = None, ghosts: int = 0, profiled: bool = True,
) -> Iterator[Started]:  # fmt: skip
    """Start a fleet's processes, with named threads, and end them all after the block.

    :param profiled: the workers are to find their profiles: to measure one they load what they have no use for later.
    :param environment: of the processes, beside this one's.
    """
    from edge_dnn_partition.cli.testbed_controls import measured_profiles
    from edge_dnn_partition.deployment.start_checks import model_of

    fleet = load_fleet(file)
    if profiled:
        measured_profiles(fleet, model_of(fleet))
    names = list(fleet.devices)
    shown = set(names[: len(names) - ghosts])
    lines: list[tuple[str, str]] = []
    with ExitStack() as stack:
        more = {**os.environ, **naming_threads(file.parent), **(environment or {})}
        supervisor = stack.enter_context(Supervisor(more, lambda label, line: lines.append((label, line))))
        running = Started(fleet, supervisor, lines, time.monotonic())
        for process in fleet_processes(fleet, file, tools):
            if process.label in (SCHEDULER, *tools) or process.label.partition('/')[0] in shown:
                supervisor.start(process)
        if ghosts:
            stack.enter_context(_ghosts(fleet, names[-ghosts - 1], names[-ghosts:]))
        yield running


@contextmanager
def _ghosts(fleet: Fleet, device: str, names: Sequence[str]) -> Iterator[None]:
    inherited = ('LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE', '_EDGE_DNN_PARTITION_ENVIRONMENT')
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    process = subprocess.Popen(
        [sys.executable, str(_GHOSTS), fleet.fleet, device, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment | {'PYTHONSAFEPATH': '1'},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise UserError('the devices that are only heard did not start')
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def client_of(running: Started) -> Iterator[FleetClient]:
    """Give a client of a fleet, which is gone after the block: what it hears costs who says it."""
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient

    join_network(running.fleet)
    with FleetClient(running.fleet, name='footprint') as client:
        yield client


def wait_until_planned(running: Started, client: FleetClient) -> None:
    """Wait until all devices are there with their profiles, and a plan is in force."""

    def there() -> bool:
        running.check()
        state = client.news.state
        known = sum(d.alive and d.profiled for d in state.devices) if state is not None else 0
        return known == len(running.fleet.devices) and client.plan is not None

    client.wait_for(there, PATIENT_SECONDS, f'{len(running.fleet.devices)} devices with their profiles, and a plan,')


@contextmanager
def camera(running: Started, client: FleetClient, images: Sequence[CameraImage], rate: float) -> Iterator[None]:
    """Show images on the source's topic within the block."""
    fleet = running.fleet
    topic = f'/{fleet.fleet}/{fleet.source}/{fleet.camera.topic}'
    thread = CameraThread(client.camera(topic), cycle(images), rate)
    thread.start()
    try:
        yield
    finally:
        thread.stop()


@contextmanager
def results_counted(running: Started) -> Iterator[Callable[[], int]]:
    """Count a fleet's results without reading them, as a consumer does that costs as little as it can."""
    import rclpy
    from edge_dnn_partition.msg import Result
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.nodes.core.topics import Topics

    join_network(running.fleet)
    count = 0

    def hear(_: bytes) -> None:
        nonlocal count
        count += 1

    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('consumer', namespace=f'/{running.fleet.fleet}', context=context)
    node.create_subscription(Result, Topics(running.fleet.fleet, running.fleet.source).result, hear, qos.RESULT, raw=True)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name='consumer', daemon=True)
    thread.start()
    try:
        yield lambda: count
    finally:
        executor.shutdown(timeout_sec=1.0)
        thread.join(2.0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def by_place(usage: Mapping[str, Usage], devices: Sequence[str]) -> dict[str, list[str]]:
    """Return the labels of processes by where they belong: a device, or themselves."""
    places: dict[str, list[str]] = {}
    for label in usage:
        device = label.partition('/')[0]
        places.setdefault(device if device in devices else label, []).append(label)
    return places

