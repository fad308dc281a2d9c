# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the two ends of a hop (hop_ends.py), on this machine or in two namespaces, and asks them for figures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.deployment.certificates import make_certificates
from edge_dnn_partition.deployment.dds_environment import datagram_bytes, dds_environment
from edge_dnn_partition.deployment.dds_profile import DdsProfile
from edge_dnn_partition.planning.fleet.fleet import Fleet

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edge_dnn_partition.testbed.namespaces import Namespaces

ENDS = Path(__file__).with_name('hop_ends.py')
_INHERITED = ('LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'AMENT_PREFIX_PATH')
"""What this process's own start has set: the ends set it for themselves."""


ZENOH: Final = {'zenoh_tcp': 'tcp', 'zenoh_tls': 'tls', 'zenoh_quic': 'quic'}
"""The protocols of this package's paths between sites, by path."""


class Pair:
    """A sender and a receiver on one path; a context manager.

    :param path: of hop_ends.py, or one of `ZENOH`: then the receiver's machine has the router.
    :param network: has hosts ``a`` and ``b``; None: both ends on this machine, in one device.
    :param apart: without a network the ends are two devices of this machine.
    :param control: send small messages beside the tensors, 20 a second (this package's paths only).
    """

    def __init__(self, path: str, *, network: Namespaces | None = None, apart: bool = False, control: bool = False) -> None:
        self.path = path
        where = '127.0.0.1' if network is None else network.address('b')
        peer = 'a' if network is None and not apart and path not in ZENOH else 'b'
        port = 40_000 + (os.getpid() % 9_000) * 2
        self._folder = tempfile.TemporaryDirectory()
        options = {
            'peer': peer, 'fleet': self._fleet(peer, f'{where}:{port}'), 'control': control, 'address': where, 'port': port,
        }  # fmt: skip
        own = path == 'own' or path in ZENOH
        self._processes = {}
        for role, host, other in (('receive', 'b', 'a'), ('send', 'a', 'b')):
            command = [sys.executable, str(ENDS), 'own' if own else path, role, json.dumps(options)]
            settings: dict[str, Any] = {
                'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL, 'text': True,
                'env': self._environment(None if path in ZENOH else network, other, own=own),
            }  # fmt: skip
            self._processes[role] = (
                subprocess.Popen(command, **settings) if network is None else network.popen(host, command, **settings)
            )
            if not self._read(role):
                raise RuntimeError(f'the end {role} of {path} did not start')

    def _fleet(self, peer: str, router: str) -> dict[str, Any]:
        """Return the fleet file of the two ends, whose certificates are made if there are any."""
        given: dict[str, Any] = {
            'fleet': 'hop', 'source': 'a', 'devices': {name: {} for name in {'a', peer}},
            'links': [] if peer == 'a' else [{'between': ['a', peer], 'rate': '20 Mbit/s', 'delay': '1 ms'}],
        }  # fmt: skip
        if self.path not in ZENOH:
            return given
        network: dict[str, Any] = {'kind': 'wan', 'router': f'{ZENOH[self.path]}/{router}', 'sites': {'there': ['b']}}
        if self.path != 'zenoh_tcp':
            folder = self._folder.name
            tls = {'ca': f'{folder}/ca.pem', 'certificate': f'{folder}/{{device}}.pem', 'key': f'{folder}/{{device}}.key'}
            network |= {'tls': tls, 'router_device': 'b'}
        given['network'] = network
        if 'tls' in network:
            make_certificates(Fleet.model_validate(given))
        return given

    @staticmethod
    def _environment(network: Namespaces | None, other: str, *, own: bool) -> Mapping[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in _INHERITED}
        environment |= {'ROS_DOMAIN_ID': '91', 'PYTHONSAFEPATH': '1', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        profile = DdsProfile('machine')
        if network is not None:
            environment |= {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_STATIC_PEERS': network.address(other)}
            profile = DdsProfile('lan', datagram_bytes=datagram_bytes(network.slowest))
        return environment | (dds_environment(profile, environment) if own else {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:  # noqa: PERF203
                process.kill()
                process.wait()
        self._folder.cleanup()

    def _read(self, role: str) -> dict[str, Any]:
        line = self._processes[role].stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def _ask(self, role: str, **request: Any) -> dict[str, Any]:
        self.tell(role, **request)
        return self._read(role)

    def cpu_seconds(self) -> float:
        """Return what both ends have taken of the processor so far."""
        return sum(float(self._ask(role, do='usage')['cpu_seconds']) for role in ('send', 'receive'))

    def tell(self, role: str, **request: Any) -> None:
        """Ask for something whose answer is read later, by `stream`'s second half."""
        stdin = self._processes[role].stdin
        stdin.write(json.dumps(request) + '\n')
        stdin.flush()

    def begin(self, size: int, count: int, *, in_flight: int = 1, gap: float = 0.0, patience: float = 60.0) -> None:
        """Begin to send a stream; `finish` waits for its end."""
        self._before = self.cpu_seconds()
        self.tell('send', do='send', bytes=size, count=count, in_flight=in_flight, gap=gap, patience=patience)
        self._size = size

    def finish(self) -> dict[str, Any]:
        """Return what came of the stream: latencies, rate, what it cost; ``failed`` says why if it did not end."""
        sent, got = self._read('send'), self._ask('receive', do='report')
        if 'failed' in sent or not sent:
            return {'failed': sent.get('failed', 'the sender has ended'), 'arrived': len(got.get('arrivals', []))}
        arrivals = got['arrivals']
        latencies = sorted(at - begun for _, begun, at in arrivals)
        numbers = [number for number, *_ in arrivals]
        total = self._size * len(arrivals)
        cpu = sent['cpu_seconds'] + got['cpu_seconds'] - self._before
        span = arrivals[-1][2] - arrivals[0][2]
        return {
            'arrived': len(numbers), 'distinct': len(set(numbers)), 'p50_seconds': statistics.median(latencies),
            'p95_seconds': latencies[int(0.95 * (len(latencies) - 1))],
            'bytes_per_second': self._size * (len(arrivals) - 1) / span if span > 0 else None,
            'whole_bytes_per_second': total / (arrivals[-1][2] - arrivals[0][1]),
            'cpu_seconds': cpu, 'cpu_seconds_per_gigabyte': cpu / total * 1e9,
            'peak_bytes': max(sent['peak_bytes'], got['peak_bytes']),
            'longest_publish_seconds': sent.get('longest_publish_seconds'),
            'longest_publish_cpu_seconds': sent.get('longest_publish_cpu_seconds'),
            'control_p95_seconds': statistics.quantiles(got['controls'], n=20)[-1] if len(got['controls']) > 20 else None,
        }  # fmt: skip

    def stream(self, size: int, count: int, **options: Any) -> dict[str, Any]:
        """Send a stream and return what came of it."""
        self.begin(size, count, **options)
        return self.finish()
