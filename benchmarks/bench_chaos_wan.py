# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""As many reconnects between sites as a robot has in 24 hours, one after the other, with the camera on.

The fleet of ``bench wan``: two devices, each behind a NAT of its own, and a box, in network namespaces, over TLS. A link to the
router carries nothing for longer than a session's patience, the router is killed and started again, or a device gets another
address; which, and whose, is random with a seed. The next one comes when the box makes results again and all devices are heard,
or one is not in time. 144 reconnects are 6 an hour for 24 hours: eight public recordings of uplinks (3.0 h, driving: AT&T and
T-Mobile of 2016 and before, Cork of 2021 and 2022) have 13 stretches of 2 s or more without a byte, 4.3 an hour, all in the older
ones. Needs root.
"""

from __future__ import annotations

import itertools
import math
import random
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed.namespaces import why_not
from edge_dnn_partition.transport.zenoh_session import LEASE_SECONDS

from .chaos_watch import doubled, usage
from .processes import prepare
from .wan_fleet import BOX, SOURCE, WanFleet, move, silenced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS', 'root')
Row = dict[str, Any]

SEED: Final = 11
FPS: Final = 10.0
DAY: Final = 144
"""Reconnects in 24 hours."""
AGAIN_SECONDS: Final = 3.0
GROWTH: Final = 0.05
_QUICK: Final = 6
_MOST_SECONDS: Final = 900.0
_PATIENT_SECONDS: Final = 15.0
"""What is not there again after so long counts as missing, and the next one comes."""
_SETTLED: Final = 6
"""After so many reconnects, each kind twice on average, what processes hold is looked at for the first time."""
HELD: Final = ('rss_bytes', 'threads', 'sockets', 'descriptors')
"""What a process holds."""
_LONGER_SECONDS: Final = (0.5, 2.0)


class _Reconnects:
    """A fleet with its camera on, whose sessions are broken again and again."""

    def __init__(self, fleet: WanFleet, frames: Callable[[], list[FrameRecord]], say: Callable[[str], None]) -> None:
        self._fleet, self._frames, self._say = fleet, frames, say
        self._choose = random.Random(SEED)
        self._address = itertools.cycle(range(3, 200))
        self.rows: list[Row] = []

    def run(self, count: int) -> None:
        """Let each kind happen in turn, in random order, ``count`` times in all or until the time is up."""
        kinds = [self._cut, self._router, self._moved]
        begin = time.monotonic()
        while len(self.rows) < count and time.monotonic() - begin < _MOST_SECONDS:
            if len(self.rows) % len(kinds) == 0:
                self._choose.shuffle(kinds)
            time.sleep(self._choose.uniform(0.2, 0.8))
            at = time.monotonic()
            row = kinds[len(self.rows) % len(kinds)]()
            back, (used, there) = row['back'], self.used(row['back'])
            results = sorted(frame.at for frame in self._frames() if frame.delivered and frame.at > at)
            row |= {
                'at': at - begin, 'remote_seconds': used - back,
                'seconds': next((r for r in results if r > back), time.monotonic()) - back,
                'longest_pause_seconds': max(b - a for a, b in itertools.pairwise([at, *results])),
                'there': self.heard() and there,
            }  # fmt: skip
            self.rows.append(row)
            self._say(f'{len(self.rows)}: {row["kind"]} {row["victim"]}: a result {row["seconds"]:.1f} s after it, from {BOX} '
                      f'{row["remote_seconds"]:.1f} s{"" if row["there"] else ", and not all are there"}')  # fmt: skip

    def used(self, since: float) -> tuple[float, bool]:
        """Wait for a result that the box made, of an image shown after a time; return when it came, or waiting ended, and which."""
        found: list[float] = []

        def look() -> bool:
            own = [frame for frame in self._frames()[-200:] if BOX in [stage.device for stage in frame.stages]]
            found.extend(frame.at for frame in own if frame.at - frame.latency_seconds > since)
            return bool(found)

        try:
            self._fleet.client.wait_for(look, _PATIENT_SECONDS, f'a result of {BOX}')
        except UserError:
            return time.monotonic(), False
        return min(found), True

    def heard(self) -> bool:
        """Wait until the scheduler hears all devices; return whether it does in time."""
        try:
            self._fleet.client.wait_for(self._fleet.complete, _PATIENT_SECONDS, 'all devices')
        except UserError:
            return False
        return True

    def _cut(self) -> Row:
        device = self._choose.choice((SOURCE, 'jetson', BOX))
        with silenced(self._fleet.network, device):
            time.sleep(LEASE_SECONDS + self._choose.uniform(*_LONGER_SECONDS))
        return {'kind': 'link cut', 'victim': device, 'back': time.monotonic()}

    def _router(self) -> Row:
        (process,) = [process for process in self._fleet.processes(BOX) if 'router' in process.label]
        self._fleet.supervisor.signal(process.label, signal.SIGKILL)
        self._fleet.client.wait_for(lambda: process.label not in self._fleet.supervisor.running, 10.0, 'the end of the router')
        lines = len(self._fleet.log)
        self._fleet.supervisor.start(process)

        def active() -> float | None:
            return next((at for at, label, line in self._fleet.log[lines:] if label == process.label and 'active' in line), None)

        self._fleet.client.wait_for(lambda: active() is not None, 30.0, 'the router')
        return {'kind': 'router killed', 'victim': process.label, 'back': active() or math.nan}

    def _moved(self) -> Row:
        device = self._choose.choice((SOURCE, 'jetson'))
        move(self._fleet.network, device, next(self._address))
        return {'kind': 'address changed', 'victim': device, 'back': time.monotonic()}


def _held(fleet: WanFleet) -> dict[str, Row]:
    """Return what each process holds now, by label."""
    found = {}
    for label in fleet.supervisor.running:
        pid = fleet.supervisor.pid(label)
        sockets = sum(link.readlink().name.startswith('socket:') for link in Path(f'/proc/{pid}/fd').iterdir() if link.is_symlink())
        found[label] = {'pid': pid, **usage(pid), 'sockets': sockets}
    return found


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` has a handful of reconnects."""
    reason = why_not()
    if reason is not None:
        raise UserError(f'bench chaos_wan needs network namespaces: {reason}')
    prepare()
    with WanFleet() as fleet:
        fleet.come_up()
        with fleet.stream(FPS) as frames:
            reconnects = _Reconnects(fleet, frames, progress)
            reconnects.used(time.monotonic())
            reconnects.run(min(_SETTLED, _QUICK // 2 if quick else DAY))
            before = _held(fleet)
            reconnects.run(_QUICK if quick else DAY)
            reconnects.used(time.monotonic())
            after = _held(fleet)
        time.sleep(2.0)
        status = fleet.client.news.status
        if status is None:
            raise UserError('the frame source says nothing')
        seen = frames()
        stream = {
            'case': 'stream', 'accepted': status.accepted, 'delivered': status.delivered,
            'lost': status.accepted - status.delivered, 'failed': status.failed, 'doubled': doubled(seen),
            'seconds': seen[-1].at - seen[0].at,
        }  # fmt: skip
    same = [label for label in before if label in after and before[label]['pid'] == after[label]['pid']]
    times = {'before': before, 'after': after}
    held = [
        {'label': label} | {f'{key}_{when}': found[label][key] for key in HELD for when, found in times.items()} for label in same
    ]
    results = [stream, *({'case': 'reconnect', **row} for row in reconnects.rows), *({'case': 'process', **row} for row in held)]
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _of(results: Sequence[Row], case: str) -> list[Row]:
    return [row for row in results if row['case'] == case]


def _grown(results: Sequence[Row]) -> tuple[float, int]:
    """Return by which share the memory of the process that grew most grew, and the most threads or sockets that one got more."""
    rows = _of(results, 'process')
    return (max(row['rss_bytes_after'] / row['rss_bytes_before'] - 1 for row in rows),
            max(row[f'{key}_after'] - row[f'{key}_before'] for row in rows for key in ('threads', 'sockets')))  # fmt: skip


def _targets(results: Sequence[Row]) -> list[Target]:
    stream, rows = results[0], _of(results, 'reconnect')
    memory, more = _grown(results)
    longest = max(row['seconds'] for row in rows)
    absent = sum(not row['there'] for row in rows)
    return [
        Target('reconnects, as many as in 24 hours', DAY, len(rows), '', len(rows) >= DAY),
        Target('accepted frames without a result', 0, stream['lost'], '', stream['lost'] == 0),
        Target('delivered twice', 0, stream['doubled'], '', stream['doubled'] == 0),
        Target('results after a reconnect became possible, the longest', f'<= {AGAIN_SECONDS:g}', longest, 's',
               longest <= AGAIN_SECONDS),
        Target(f'reconnects after which not all were there within {_PATIENT_SECONDS:g} s', 0, absent, '', absent == 0),
        Target('memory of the process that grew most', f'<= {100 * GROWTH:g}', 100 * memory, '%', memory <= GROWTH),
        Target('threads or sockets that a process got more', '<= 2', more, '', more <= 2),
    ]  # fmt: skip


def _conclusion(results: Sequence[Row]) -> str:
    stream, rows = results[0], _of(results, 'reconnect')
    memory, more = _grown(results)
    kinds = ', '.join(
        f'{sum(row["kind"] == kind for row in rows)} {kind}' for kind in dict.fromkeys(row['kind'] for row in rows)
    )
    remote = [row['remote_seconds'] for row in rows]
    absent = sum(not row['there'] for row in rows)
    longest, pause = max(row['seconds'] for row in rows), max(row['longest_pause_seconds'] for row in rows)
    return (
        f'{len(rows)} reconnects ({kinds}) in {stream["seconds"] / 60:.1f} min, {len(rows) / DAY * 24:.0f} hours of a robot: '
        f'{stream["accepted"]} frames accepted, {stream["delivered"]} delivered, {stream["failed"]} failed, {stream["lost"]} lost, '
        f'{stream["doubled"]} doubled. A result came at most {longest:.1f} s after the way was there again, one of the box after '
        f'{statistics.median(remote):.1f} s (median; the longest {max(remote):.1f} s). The longest pause was {pause:.1f} s; '
        f'after {absent} of them not all were there within {_PATIENT_SECONDS:g} s. No '
        f'process grew by more than {100 * memory:.1f} %, nor by more than {more} threads or sockets.'
    )


def _plot(figure: Figure, results: Sequence[Row]) -> None:
    axes = figure.subplots()
    rows = _of(results, 'reconnect')
    for colour, kind in enumerate(sorted({row['kind'] for row in rows})):
        own = [row for row in rows if row['kind'] == kind]
        minutes = [row['at'] / 60 for row in own]
        axes.plot(minutes, [row['seconds'] for row in own], '.', color=f'C{colour}', label=f'{kind}: a result')
        remote = [row['remote_seconds'] for row in own]
        axes.plot(minutes, remote, 'x', color=f'C{colour}', label=f'{kind}: one of the box', markersize=4)
    axes.axhline(AGAIN_SECONDS, color='tab:red', linewidth=0.8)
    axes.set(xlabel='time, min', ylabel='seconds', title='until results come again, from when the way is there again')
    axes.legend(fontsize=6, loc='center left', bbox_to_anchor=(1.0, 0.5))
    axes.set_ylim(bottom=0.0)
