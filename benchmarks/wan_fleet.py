# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet of three sites in real processes: two devices, each behind a NAT of its own, and a box that both reach, as namespaces."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_dnn_partition.cli.running_fleet import CameraThread, cycle
from edge_dnn_partition.deployment.certificates import make_certificates
from edge_dnn_partition.deployment.dds_environment import dds_environment, dds_profile
from edge_dnn_partition.deployment.processes import SCHEDULER, NodeProcess, device_processes, scheduler_process
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.namespaces import Namespaces
from edge_dnn_partition.testbed.shaping import Shape

from .processes import small_images

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient, FrameRecord

SOURCE: Final = 'pi'
BOX: Final = 'box'
DEVICES: Final = {SOURCE: 12.0, 'jetson': 6.0, BOX: 1.0}
"""How many times slower than this machine each is."""
RATE: Final = '20 Mbit/s'
PORT: Final = 7447
_START_SECONDS: Final = 90.0


def behind_nats(network: Namespaces, box: str) -> None:
    """Let nobody but the box be reached from another host, and have all reach it from one address."""
    out = f'oifname "to{[*DEVICES].index(box)}"'
    rules = f"""
        table ip nat {{
            chain out {{ type nat hook postrouting priority 100; {out} masquerade; }}
            chain through {{ type filter hook forward priority 0; ct state established,related accept; {out} accept; drop; }}
        }}"""
    _filter(network, rules)


def _filter(network: Namespaces, rules: str) -> None:
    """Give rules of nftables to the router between the hosts."""
    router = network.namespace(BOX).rpartition('-')[0] + '.router'
    subprocess.run(['ip', 'netns', 'exec', router, 'nft', '-f', '-'], input=rules, text=True, check=True, capture_output=True)


@contextlib.contextmanager
def silenced(network: Namespaces, device: str) -> Iterator[None]:
    """Within the block drop all that a device sends and all that is sent to it, whatever its address, without a word to anyone."""
    link = f'"to{[*DEVICES].index(device)}"'
    _filter(network, f"""
        table ip silence {{
            chain through {{ type filter hook forward priority -10; iifname {link} drop; oifname {link} drop; }}
        }}""")
    try:
        yield
    finally:
        _filter(network, 'delete table ip silence')


def move(network: Namespaces, device: str, last: int) -> None:
    """Give a device another address, as when it goes from Wi-Fi to LTE: the old one is gone, with all its connections.

    :param last: the address's last byte, from 3 on.
    """
    index = [*DEVICES].index(device)
    lines = f'address flush dev eth0\naddress add 10.77.{index}.{last}/24 dev eth0\n'
    lines += f'route replace default via 10.77.{index}.1\nroute replace 224.0.0.0/4 dev eth0\n'
    command = ['ip', '-n', network.namespace(device), '-batch', '-']
    subprocess.run(command, input=lines, text=True, check=True, capture_output=True)


def document(network: Namespaces, *, router: str = 'tls') -> dict[str, Any]:
    """Return the fleet file's content."""
    certificates = {'ca': 'keys/ca.pem', 'certificate': 'keys/{fleet}.{device}.pem', 'key': 'keys/{fleet}.{device}.key'}
    return {
        'fleet': 'wide', 'source': SOURCE,
        'model': {'path': str(demo_model.cached()), 'preprocessing': 'preprocessing.yaml'},
        'devices': {name: {'emulate': {'slowdown': slowdown}} for name, slowdown in DEVICES.items()},
        'links': [{'between': list(pair), 'rate': RATE} for pair in itertools.combinations(DEVICES, 2)],
        'camera': {'topic': 'image/compressed', 'compressed': True},
        'network': {
            'kind': 'wan', 'router': f'{router}/{network.address(BOX)}:{PORT}', 'router_device': BOX,
            'sites': {'lab': ['jetson'], 'there': [BOX]}, 'tls': certificates,
        },
        'parameters': {'worker': {'profile_runs': 3}},
    }  # fmt: skip


class WanFleet:
    """The fleet, as a context manager; its processes do not run yet, and a watcher is on the source's network.

    :param router: the protocol of the router.
    """

    def __init__(self, *, router: str = 'tls') -> None:
        self._protocol = router
        self._stack = ExitStack()
        self.log: list[tuple[float, str, str]] = []

    def __enter__(self) -> Self:
        from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
        from edge_dnn_partition.nodes.conversions.plan_messages import forget_plans

        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='wan-')))
            links = {pair: Shape(20e6) for pair in itertools.permutations(DEVICES, 2) if BOX in pair}
            self.network = stack.enter_context(Namespaces([*DEVICES], links))
            behind_nats(self.network, BOX)
            (folder / 'preprocessing.yaml').write_text(yaml.safe_dump(demo_model.preprocessing()))
            self._path = folder / 'fleet.yaml'
            self._path.write_text(yaml.safe_dump(document(self.network, router=self._protocol)))
            self.fleet: Fleet = load_fleet(self._path)
            make_certificates(self.fleet)
            forget_plans(self.fleet.fleet)
            environment = {'OMP_NUM_THREADS': '1', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}
            self.supervisor = stack.enter_context(Supervisor(
                os.environ | environment, lambda label, line: self.log.append((time.monotonic(), label, line)), self._prefix
            ))  # fmt: skip
            stack.enter_context(self.network.inside(SOURCE))
            os.environ.update(dds_environment(dds_profile(self.fleet)) | {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'})
            self.client: FleetClient = stack.enter_context(FleetClient(self.fleet, name='wan'))
            self._publish = self.client.camera(f'/wide/{SOURCE}/image/compressed', compressed=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _prefix(self, process: NodeProcess) -> Sequence[str]:
        return self.network.prefix(SOURCE if process.node == SCHEDULER else process.namespace.rpartition('/')[2])

    def processes(self, device: str) -> list[NodeProcess]:
        """Return what a device runs; the source has the scheduler as well."""
        scheduler = [scheduler_process(self.fleet, self._path, SOURCE)] if device == SOURCE else []
        return [*scheduler, *device_processes(self.fleet, self._path, device)]

    def start(self, device: str) -> None:
        """Start a device's processes."""
        for process in self.processes(device):
            self.supervisor.start(process)

    def kill(self, device: str) -> None:
        """Kill them (SIGKILL), as when the power goes."""
        labels = {process.label for process in self.processes(device)}
        for label in labels:
            self.supervisor.signal(label, signal.SIGKILL)
        self.client.wait_for(lambda: not labels & set(self.supervisor.running), 10.0, f'the end of {device}')

    def complete(self, devices: Sequence[str] = (*DEVICES,)) -> bool:
        """Return whether the scheduler knows these devices, and they know themselves."""
        state = self.client.news.state
        return state is not None and {d.device for d in state.devices if d.alive and d.profiled} >= set(devices)

    def come_up(self, order: Sequence[str] = (*DEVICES,)) -> float:
        """Start the devices one after the other and wait until all are known; return the seconds from the last start."""
        for device in order:
            self.start(device)
        begin = time.monotonic()
        self.client.wait_for(self.complete, _START_SECONDS, f'all devices: {self.log[-20:]}')
        return time.monotonic() - begin

    @contextlib.contextmanager
    def stream(self, fps: float) -> Iterator[Callable[[], list[FrameRecord]]]:
        """Show images within the block; what it gives returns the frames so far."""
        begin = len(self.client.news.frames)
        camera = CameraThread(self._publish, cycle(small_images()), fps)
        camera.start()
        try:
            yield lambda: [*self.client.news.frames[begin:]]
        finally:
            camera.stop()

