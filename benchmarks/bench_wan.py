# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Sites behind NATs: starts in any order, a device whose address changes, a box that is killed and comes back, strangers.

Two devices, each behind a NAT of its own, and a box, in network namespaces; Zenoh over TLS with certificates on both sides.
First the sessions alone, many times; then a fleet in real processes whose camera is on. The time of a change of address counts from
the change, that of the box's return from its router's first word, to a result of a later frame.
"""

from __future__ import annotations

import itertools
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.deployment.certificates import make_certificates
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.testbed.namespaces import Namespaces

from .processes import prepare
from .wan_fleet import BOX, DEVICES, SOURCE, WanFleet, behind_nats, document, move

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS', 'root')
Row = dict[str, Any]

FPS: Final = 10.0
AGAIN_SECONDS: Final = 3.0
_PATIENT_SECONDS: Final = 20.0
_CALM_SECONDS: Final = 4.0
_STEP_SECONDS: Final = 0.02


class _Ends:
    """The sessions alone: a process for each device and one for the router."""

    def __init__(self, network: Namespaces, folder: Path) -> None:
        self._network, self._folder = network, folder
        self._files: dict[str, Path] = {}
        for name in ('wide', 'stranger'):
            path = folder / f'{name}.yaml'
            path.write_text(yaml.safe_dump({**document(network), 'fleet': name}))
            make_certificates(load_fleet(path))
            self._files[name] = path
        self._processes: dict[str, subprocess.Popen[Any]] = {}

    def start(self, name: str, stranger: str = '') -> None:
        """Start a device's session, or the router; a stranger has the certificate of another fleet's device of that name."""
        host = BOX if name == 'router' else name
        label = stranger or name
        files = [str(self._files['wide']), name, *([str(self._files['stranger'])] if stranger else [])]
        with (self._folder / label).open('w') as out:
            command = [sys.executable, '-m', 'edge_dnn_partition.benchmarks.wan_end', *files]
            self._processes[label] = self._network.popen(host, command, stdout=out, environment={'PYTHONSAFEPATH': '1'})

    def said(self, label: str, words: str, since: float = 0.0) -> float | None:
        """Return when a process last said something after a time; None: it has not."""
        path = self._folder / label
        for line in reversed(path.read_text().splitlines() if path.exists() else []):
            at, _, text = line.partition(' ')
            if text == words and float(at) >= since:
                return float(at)
        return None

    def wait(self, words: Mapping[str, Sequence[str]], since: float) -> float:
        """Return when the last of what processes are to say was said; infinite if it is not in time."""
        deadline = time.monotonic() + _PATIENT_SECONDS
        while True:
            found = [self.said(label, each, since) for label, texts in words.items() for each in texts]
            if None not in found:
                return max(at for at in found if at is not None)
            if time.monotonic() > deadline:
                return float('inf')
            time.sleep(_STEP_SECONDS)

    def stop(self) -> None:
        """Kill all."""
        for process in self._processes.values():
            process.kill()
        for label, process in self._processes.items():
            process.wait()
            (self._folder / label).unlink()
        self._processes.clear()

    def everybody(self, verb: str) -> dict[str, list[str]]:
        """Return what all devices say when each hears, or misses, the others."""
        return {name: [f'{verb} {other}' for other in DEVICES if other != name] for name in DEVICES}


def _starts(ends: _Ends, count: int, say: Callable[[str], None]) -> Row:
    """Start box, device and device in every order, with random pauses, and see whether all hear and are greeted by all."""
    rng, seconds, orders = random.Random(3), [], itertools.cycle(itertools.permutations(DEVICES))
    for number in range(count):
        for host in next(orders):
            for name in ('router', BOX) if host == BOX else (host,):
                ends.start(name)
            time.sleep(rng.choice((0.0, 0.3, 1.0)))
        begin = time.monotonic()
        done = max(ends.wait(ends.everybody(verb), 0.0) for verb in ('hears', 'greeted'))
        seconds.append(max(0.0, done - begin))
        ends.stop()
        if number % 10 == 9:
            say(f'start {number + 1}: {sum(s < _PATIENT_SECONDS for s in seconds)} connected, the longest {max(seconds):.1f} s')
    return {'case': 'starts', 'seconds': seconds}


def _moves(ends: _Ends, network: Namespaces, count: int, say: Callable[[str], None]) -> Row:
    """Change a device's address again and again, and see when it hears and is heard again."""
    for name in ('router', *DEVICES):
        ends.start(name)
    ends.wait(ends.everybody('hears'), 0.0)
    seconds = []
    for number in range(count):
        time.sleep(1.0)
        begin = time.monotonic()
        move(network, SOURCE, 3 + number % 200)
        others = [name for name in DEVICES if name != SOURCE]
        missed = {SOURCE: [f'misses {name}' for name in others], **{name: [f'misses {SOURCE}'] for name in others}}
        ends.wait(missed, begin)
        heard = {SOURCE: [f'hears {name}' for name in others], **{name: [f'hears {SOURCE}'] for name in others}}
        seconds.append(ends.wait(heard, begin) - begin)
        if number % 10 == 9:
            say(f'change of address {number + 1}: again after {statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s')
    move(network, SOURCE, 2)
    ends.stop()
    return {'case': 'changes of address, sessions alone', 'seconds': seconds}


def _strangers(ends: _Ends) -> Row:
    """Say that one is a device of the fleet, with the certificate of another fleet's."""
    ends.start('router')
    ends.start('jetson')
    ends.start(SOURCE, stranger='intruder')
    time.sleep(6.0)
    heard = [ends.said('jetson', f'{verb} {SOURCE}') for verb in ('hears', 'greeted')]
    heard += [ends.said('intruder', f'{verb} jetson') for verb in ('hears', 'greeted')]
    ends.stop()
    return {'case': 'strangers', 'heard': sum(at is not None for at in heard)}


class _Stream:
    """The whole fleet with its camera on, and what befalls it."""

    def __init__(self, fleet: WanFleet, frames: Callable[[], list[FrameRecord]], say: Callable[[str], None]) -> None:
        self._fleet, self._frames, self._say = fleet, frames, say
        self.rows: list[Row] = []

    def _calm(self) -> None:
        """Wait until the box is in use."""
        client = self._fleet.client
        client.wait_for(lambda: client.plan is not None and BOX in client.plan.devices, 60.0, f'{BOX} in the plan')
        time.sleep(_CALM_SECONDS)

    def _row(self, case: str, at: float, back: float, used: float) -> None:
        results = sorted(frame.at for frame in self._frames() if frame.delivered)
        after = [each for each in results if each > back]
        row = {'case': case, 'at': at, 'seconds': min(after) - back, 'remote_seconds': used - back}
        row['longest_pause_seconds'] = max(b - a for a, b in itertools.pairwise([at, *(r for r in results if r > at)]))
        self.rows.append(row)
        self._say(f'{case}: results {row["seconds"]:.1f} s, from {BOX} {row["remote_seconds"]:.1f} s after it, '
                  f'longest pause {row["longest_pause_seconds"]:.1f} s')  # fmt: skip

    def _used(self, since: float) -> float:
        """Return when the box made a result again."""
        found: list[float] = []

        def look() -> bool:
            found.extend(f.at for f in self._frames() if f.at > since and BOX in [stage.device for stage in f.stages])
            return bool(found)

        self._fleet.client.wait_for(look, 60.0, f'a result of {BOX}')
        return min(found)

    def box_killed(self) -> None:
        """Kill all of the box, router and all, and start it again after a while."""
        self._calm()
        at = time.monotonic()
        self._fleet.kill(BOX)
        time.sleep(4.0)
        started = time.monotonic()
        self._fleet.start(BOX)
        self._fleet.client.wait_for(lambda: bool(self._router_at(started)), 30.0, 'the router')
        self._row('box killed', at, self._router_at(started)[0], self._used(started))

    def _router_at(self, since: float) -> list[float]:
        """Return when the router said that it listens."""
        return [at for at, label, line in self._fleet.log if at > since and 'active' in line and 'router' in label]

    def moved(self, last: int) -> None:
        """Change the source's address."""
        self._calm()
        at = time.monotonic()
        move(self._fleet.network, SOURCE, last)
        time.sleep(0.3)  # what was on its way may still come
        self._row('address changed', at, at, self._used(at + 0.3))


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` does everything once or twice."""
    prepare()
    starts, moves, times = (6, 2, 1) if quick else (100, 50, 5)
    with tempfile.TemporaryDirectory() as name, Namespaces([*DEVICES], {}) as network:
        behind_nats(network, BOX)
        ends = _Ends(network, Path(name))
        results = [_starts(ends, starts, progress), _moves(ends, network, moves, progress), _strangers(ends)]
    with WanFleet() as fleet:
        fleet.come_up()
        with fleet.stream(FPS) as frames:
            stream = _Stream(fleet, frames, progress)
            for number in range(times):
                stream.box_killed()
                stream.moved(3 + number)
            time.sleep(_CALM_SECONDS)
        time.sleep(2.0)
        status = fleet.client.news.status
        if status is None:
            raise UserError('the frame source says nothing')
        results += stream.rows
        results.append({
            'case': 'stream', 'accepted': status.accepted, 'delivered': status.delivered, 'lost': status.lost,
            'failed': status.failed,
        })  # fmt: skip
    return BenchResult(results, _targets(results), lambda figure: _plot(figure, results), _conclusion(results))


def _of(results: Sequence[Row], case: str) -> Any:
    """Return the seconds of all rows of a case."""
    found = [row['seconds'] for row in results if row['case'] == case]
    return found[0] if found and isinstance(found[0], list) else found


def _targets(results: Sequence[Row]) -> list[Target]:
    starts = _of(results, 'starts')
    connected = sum(seconds < _PATIENT_SECONDS for seconds in starts)
    targets = [Target('starts in any order that connect', len(starts), connected, '', connected == len(starts))]
    for case, name in (
        ('changes of address, sessions alone', 'heard and hearing again after a change of address, the longest'),
        ('address changed', 'results after the address of the source changes, the longest'),
        ('box killed', "results after the box's return, the longest"),
    ):
        longest = max(_of(results, case))
        targets.append(Target(name, f'<= {AGAIN_SECONDS:g}', longest, 's', longest <= AGAIN_SECONDS))
    stream = results[-1]
    lost = stream['accepted'] - stream['delivered']
    targets.append(Target('accepted frames without a result', 0, lost, '', lost == 0))
    heard = next(row['heard'] for row in results if row['case'] == 'strangers')
    targets.append(Target("what the holder of another fleet's certificate heard, or was heard of", 0, heard, '', heard == 0))
    return targets


def _conclusion(results: Sequence[Row]) -> str:
    starts, moves = _of(results, 'starts'), _of(results, 'changes of address, sessions alone')
    remote = {case: [r['remote_seconds'] for r in results if r['case'] == case] for case in ('box killed', 'address changed')}
    return (
        f'{sum(s < _PATIENT_SECONDS for s in starts)} of {len(starts)} starts connect, {statistics.median(starts):.1f} s after the '
        f'last one (median; the longest {max(starts):.1f} s). A session is there again {statistics.median(moves):.1f} s after its '
        f'address changed (median of {len(moves)}; the longest {max(moves):.1f} s). The box makes results again '
        f'{statistics.median(remote["box killed"]):.1f} s after its return, and '
        f'{statistics.median(remote["address changed"]):.1f} s after the source moved (medians).'
    )


def _plot(figure: Figure, results: Sequence[Row]) -> None:
    axes = figure.subplots()
    for place, (case, label) in enumerate((
        ('starts', 'start'), ('changes of address, sessions alone', 'new address:\nsessions'),
        ('address changed', 'new address:\nresults'), ('box killed', 'box back:\nresults'),
    )):  # fmt: skip
        seconds = _of(results, case)
        axes.plot([place + 0.3 * (index / max(1, len(seconds)) - 0.5) for index in range(len(seconds))], seconds, '.', markersize=4)
        axes.text(place, max(seconds), f' {statistics.median(seconds):.2f} s (median)', ha='center', va='bottom', fontsize=7)
        axes.text(place, -0.06, label, ha='center', va='top', fontsize=8, transform=axes.get_xaxis_transform())
    axes.axhline(AGAIN_SECONDS, color='tab:red', linewidth=0.8)
    axes.set(ylabel='seconds', title='until all is there again; red: asked', xticks=[])
    axes.set_xlim(-0.5, 3.5)
    axes.set_ylim(bottom=0.0)
