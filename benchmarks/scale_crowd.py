# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A real scheduler among many devices that join, leave and only speak (crowd_voices.py): what it takes, and what devices hear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import yaml

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed import demo_model

from . import process_usage

CHURN_SECONDS: Final = 1.0
"""One device leaves and, later, joins again each so many seconds."""
_PATIENT_SECONDS: Final = 60.0
_VOICES: Final = Path(__file__).with_name('crowd_voices.py')


def _fleet_file(folder: Path, devices: int) -> Path:
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('demo')))
    file = folder / f'crowd{devices}.yaml'
    file.write_text(yaml.safe_dump({
        'fleet': f'crowd{devices}', 'source': 'd0', 'devices': {'*': {}}, 'network': {'kind': 'machine'},
        'model': {'path': str(demo_model.cached('demo')), 'preprocessing': str(settings)},
        'camera': {'topic': 'image/compressed'},
    }))  # fmt: skip
    return file


class _Voices:
    """The process of a crowd."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line, and return what was said and heard so far."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line + '\n')
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise UserError('the devices that only speak have ended')
        return dict(json.loads(answer))


@contextmanager
def _crowd(fleet: str, devices: int) -> Iterator[_Voices]:
    inherited = ('LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE', '_EDGE_DNN_PARTITION_ENVIRONMENT')
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    process = subprocess.Popen(
        [sys.executable, str(_VOICES), fleet, str(devices)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment | {'PYTHONSAFEPATH': '1'},
    )  # fmt: skip
    try:
        yield _Voices(process)
    finally:
        process.kill()
        process.wait()


def measure(folder: Path, sizes: Sequence[int], seconds: float, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield a row for each size: while all stay, and while one device leaves and another joins each second."""
    for devices in sizes:
        row = one_crowd(folder, devices, seconds)
        progress(f'{devices} devices that only speak: scheduler {row["steady_core_share"]:.1%} of a core, '
                 f'{row["churn_core_share"]:.1%} as they come and go; a device hears '
                 f'{row["churn_heard_by_a_device_per_second"]:.1f} messages/s')  # fmt: skip
        yield row


def one_crowd(folder: Path, devices: int, seconds: float, *, settle_seconds: float = 6.0) -> dict[str, Any]:
    """Return the row of one size."""
    from edge_dnn_partition.cli.running_fleet import join_network
    from edge_dnn_partition.deployment.processes import SCHEDULER, scheduler_process
    from edge_dnn_partition.deployment.supervisor import Supervisor
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    file = _fleet_file(folder, devices)
    fleet, spans = load_fleet(file), []
    environment = {**os.environ, **process_usage.naming_threads(file.parent)}
    with Supervisor(environment, lambda *_: None) as supervisor, _crowd(fleet.fleet, devices) as voices:
        supervisor.start(scheduler_process(fleet, file))
        begin = time.monotonic()
        join_network(fleet)
        with FleetClient(fleet, name='crowd_watch') as client:

            def all_there() -> bool:
                state = client.news.state
                known = 0 if state is None else sum(device.alive and device.profiled for device in state.devices)
                return known == devices and client.plan is not None

            client.wait_for(all_there, _PATIENT_SECONDS, f'a plan, and {devices} devices in the state of the fleet,')
            up = time.monotonic() - begin
        time.sleep(settle_seconds)
        pid = supervisor.pid(SCHEDULER)
        for verb in ('count', f'churn {CHURN_SECONDS:g}'):
            before, start = voices.ask(verb), time.monotonic()
            usage = process_usage.measure({SCHEDULER: pid}, seconds)[SCHEDULER]
            spans.append((before, voices.ask('count'), time.monotonic() - start, usage))
        memory = process_usage.memory(pid)
        with FleetClient(fleet, name='crowd_watch') as client:
            client.wait_for(lambda: client.news.state is not None, _PATIENT_SECONDS, 'the state of the fleet')
            assert client.news.state is not None
            decision = client.news.state.planning_seconds
    return {'case': 'crowd', 'devices': devices, 'up_seconds': up, 'decision_seconds': decision, **memory, **_figures(spans)}


def _figures(spans: Sequence[tuple[dict[str, Any], dict[str, Any], float, process_usage.Usage]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, (before, after, passed, usage) in zip(('steady', 'churn'), spans, strict=True):
        heard = [sum(after['heard'][leaf][k] - before['heard'].get(leaf, (0, 0))[k] for leaf in after['heard']) for k in (0, 1)]
        row |= {
            f'{name}_core_share': usage.cpu_seconds / usage.seconds, f'{name}_wakeups_per_second': usage.wakeups / usage.seconds,
            f'{name}_messages_per_second': (after['said'] - before['said']) / passed,
            f'{name}_heard_by_a_device_per_second': heard[0] / passed, f'{name}_bytes_heard_per_second': heard[1] / passed,
            f'{name}_threads': {thread: cpu / usage.seconds for thread, (cpu, _) in usage.threads.items()},
        }  # fmt: skip
    reactions = spans[-1][1]['reactions']
    row |= {
        'joins': spans[-1][1]['joins'] - spans[-1][0]['joins'], 'leaves': spans[-1][1]['leaves'] - spans[-1][0]['leaves'],
        'reaction_seconds': median(reactions) if reactions else None,
        'reaction_longest_seconds': max(reactions, default=None),
    }
    return row
