# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Resources that come back: how long a stream stays on the plan that their loss had forced, and what looking for them costs.

The demo's fleet in real processes, in network namespaces, with the parameters' defaults, at 5 and 20 fps. Again and again both
links to the cloud fall to a tenth (20, 8 and 2 Mbit/s before) and come back 7 s and, but for 8 Mbit/s, 13 s later; the Jetson takes
three times as long and then its usual time; the cloud's worker is killed and started again. At 20 and 8 Mbit/s the camera shows the
demo's images; at 2 Mbit/s, and for the Jetson, images of 4 kB, with which the cloud pays at 2 Mbit/s, the Jetson at 0.2. Times
count from the moment before the change to the plan that uses the resource being in force, for a worker from its first heartbeat.
Probes are what crosses a shaped link without frames, less what crosses it before and after, while no probes are permitted.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.scenario import LINKS, fleet_document, panning_camera
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from .processes import prepare

if TYPE_CHECKING:
    from edge_dnn_partition.msg import Heartbeat
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.testbed import Testbed
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS', 'root', 'sklearn')
Row = dict[str, Any]
Say = Callable[[str], None]

LIMIT_SECONDS: Final = 1.0
WORKER_SECONDS: Final = 1.5
"""From the first heartbeat of a worker that is back."""
CEILING: Final = 0.02
NEAR_NOTHING: Final = 0.002
"""Of a link, for probes where nothing could be gained."""
SLOW: Final = 1.5
"""A frame is slow that takes so many times the median of the condition's last seconds."""
BUSY: Final = 3.0
_FALLEN: Final = 0.1
_GAPS: Final = (7.0, 13.0)
_AWAY_SECONDS: Final = 7.0
_GOOD_SECONDS: Final = 4.0
_WORKER_SECONDS: Final = 30.0
_CALM_SECONDS: Final = 2.0
_PROBED_SECONDS: Final = 12.0
_SETTLE_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 30.0
_TRIES: Final = 6
_KNOWN_SECONDS: Final = 10.0
"""For so long a stream has gone on when something befalls it for the first time."""
UPLINKS: Final = tuple(pair for pair in LINKS if 'cloud' in pair)


@dataclass(frozen=True)
class Network:
    """What the links to the cloud carry, and what the camera shows there.

    :param uplink: bits per second, while nothing has fallen.
    :param small: images of 4 kB.
    :param kinds: what happens in it.
    :param gaps: after how many seconds the links that have fallen come back.
    """

    uplink: float
    small: bool
    kinds: tuple[str, ...]
    gaps: tuple[float, ...] = _GAPS

    def images(self) -> list[CameraImage]:
        """Return what the camera shows."""
        return panning_camera(width=160, height=90, quality=70) if self.small else panning_camera()


NETWORKS: Final = (
    Network(20e6, small=False, kinds=('link', 'worker')), Network(8e6, small=False, kinds=('link',), gaps=_GAPS[:1]),
    Network(2e6, small=True, kinds=('link', 'device')),
)  # fmt: skip


@contextlib.contextmanager
def _testbed(network: Network, say: Say) -> Iterator[Testbed]:
    from edge_dnn_partition.cli.testbed import Testbed

    with tempfile.TemporaryDirectory() as name:
        settings = Path(name) / 'preprocessing.yaml'
        settings.write_text(yaml.safe_dump(demo_model.preprocessing('demo')))
        document = fleet_document(str(demo_model.cached('demo').resolve()), str(settings))
        document['parameters'] = {'worker': {'profile_runs': 3}}
        document['processes'] = 'each'
        for link in document['links']:
            if 'cloud' in link['between']:
                link['rate'] = f'{network.uplink / 1e6:g} Mbit/s'
        with Testbed(TestbedFile.parse(document), images=network.images(), user_space=False, say=say) as testbed:
            yield testbed


class _Stream:
    """A stream over a testbed, and what befalls it."""

    def __init__(self, testbed: Testbed, network: Network, fps: float, frames: Callable[[], list[FrameRecord]], say: Say) -> None:
        from edge_dnn_partition.msg import Heartbeat

        from edge_dnn_partition.nodes.core import qos

        self._testbed, self._network, self._fps, self._frames, self._say = testbed, network, fps, frames, say
        self._first_beats: dict[int, float] = {}
        node = testbed.client.node
        self._beats = node.create_subscription(Heartbeat, testbed.client.topics.heartbeat, self._beat, qos.heartbeat_reader())
        self.rows: list[Row] = []

    def close(self) -> None:
        """Listen no longer."""
        self._testbed.client.node.destroy_subscription(self._beats)

    def _beat(self, message: Heartbeat) -> None:
        if message.node == 'worker':
            self._first_beats.setdefault(message.incarnation, time.monotonic())

    def _rate(self, share: float) -> None:
        for pair in UPLINKS:
            self._testbed.set_rate(*pair, self._network.uplink * share)

    def link(self, gap: float) -> None:
        """Let the links to the cloud fall to a tenth, and rise again."""
        self._befall('link', 'cloud', lambda: self._rate(_FALLEN), lambda: self._rate(1.0), gap)

    def device(self) -> None:
        """Make the Jetson busy, and idle again; meanwhile the links to the cloud are slow."""
        self._rate(_FALLEN)
        self._befall('device', 'jetson', lambda: self._testbed.set_load('jetson', BUSY),
            lambda: self._testbed.set_load('jetson', 1.0),
                     _AWAY_SECONDS)  # fmt: skip
        self._rate(1.0)
        time.sleep(_CALM_SECONDS)

    def worker(self) -> None:
        """Kill the cloud's worker, and start it again."""
        self._befall('worker', 'cloud', lambda: self._testbed.kill('cloud/worker'), lambda: self._testbed.start('cloud/worker'),
                     _AWAY_SECONDS)  # fmt: skip

    def _uses(self, device: str) -> bool:
        plan = self._testbed.client.plan
        return plan is not None and device in plan.devices

    def _befall(self, kind: str, device: str, harm: Callable[[], object], mend: Callable[[], object], gap: float) -> None:
        """Take away what makes a device worth using, give it back, and note when the plan in force uses it again."""
        testbed = self._testbed
        row: Row = {'case': kind, 'megabits': self._network.uplink / 1e6, 'fps': self._fps, 'gap_seconds': gap}
        try:
            testbed.wait_for(lambda: self._uses(device), _PATIENCE_SECONDS, f'a plan with {device}')
        except UserError:
            self.rows.append(row | {'left_seconds': None, 'back_seconds': None, 'plans_down': 0, 'plans_up': 0})
            self._say(f'{line_of(row)}: no plan with {device} in {_PATIENCE_SECONDS:g} s to begin with')
            return
        time.sleep(_CALM_SECONDS)
        fell, known = time.monotonic(), len(testbed.news.plans)
        harm()
        time.sleep(max(0.0, fell + gap - time.monotonic()))
        away = not self._uses(device)
        rose, moved = time.monotonic(), len(testbed.news.plans)
        mend()
        if kind == 'worker':
            testbed.wait_for(lambda: max(self._first_beats.values(), default=0.0) > rose, _WORKER_SECONDS, 'the worker')
            rose = max(self._first_beats.values())
        time.sleep(_GOOD_SECONDS)
        end = time.monotonic()
        left = [at - fell for at, plan in testbed.news.plans[known:moved] if device not in plan.devices]
        back = [at - rose for at, plan in testbed.news.plans[moved:] if device in plan.devices]
        row |= {
            'left_seconds': min(left, default=None), 'back_seconds': min(back, default=None) if away else None,
            'plans_down': moved - known, 'plans_up': len(testbed.news.plans) - moved,
            **self._slow('down', fell, fell + gap), **self._slow('up', rose, end),
        }  # fmt: skip
        self.rows.append(row)
        self._say(f'{line_of(row)}: away after {_seconds(row["left_seconds"])}, back after {_seconds(row["back_seconds"])}; '
                  f'{row["slow_frames_down"]} + {row["slow_frames_up"]} slow frames, the worst '
                  f'{max(row["worst_seconds_down"], row["worst_seconds_up"]):.2f} s')  # fmt: skip

    def _slow(self, way: str, begin: float, end: float) -> Row:
        """Return how many frames were slow of those accepted in a span, and the worst."""
        found = [(f.at - f.latency_seconds, f.latency_seconds) for f in self._frames() if f.delivered]
        taken = [(at, seconds) for at, seconds in found if begin <= at <= end]
        usual = statistics.median([seconds for at, seconds in taken if at > end - _CALM_SECONDS] or [float('nan')])
        return {
            f'slow_frames_{way}': sum(seconds > SLOW * usual for _, seconds in taken),
            f'worst_seconds_{way}': max((seconds for _, seconds in taken), default=0.0), f'usual_seconds_{way}': usual,
        }  # fmt: skip


def line_of(row: Row) -> str:
    """Return what a row is of."""
    what = {
        'link': f'{row["megabits"]:g} Mbit/s to a tenth for {row["gap_seconds"]:g} s', 'device': f'Jetson {BUSY:g} times as slow',
        'worker': 'worker killed',
    }  # fmt: skip
    return f'{what[row["case"]]}, {row["fps"]:g} fps'


def _seconds(value: float | None) -> str:
    return 'never' if value is None else f'{value:.2f} s'


def _probes(testbed: Testbed, network: Network, seconds: float, say: Say) -> list[Row]:
    """Count what probes take of the links to the cloud, fallen (where the cloud would be gained) and not, without frames."""
    rows = []
    pairs = [pair for link in UPLINKS for pair in (link, link[::-1])]

    def crossed() -> dict[tuple[str, str], int]:
        before = {pair: testbed.counters(*pair).sent_bytes for pair in pairs}
        time.sleep(seconds)
        return {pair: testbed.counters(*pair).sent_bytes - before[pair] for pair in pairs}

    def permit(share: float) -> None:
        done: set[str] = set()
        for name, left in itertools.product(testbed.file.devices, reversed(range(_TRIES))):
            if name not in done:
                with contextlib.suppress(*(UserError,) * (left > 0)):  # an answer over a link that has fallen may take long
                    testbed.set_parameter(f'{name}/worker', 'probing_budget', share)
                    done.add(name)

    for state, share in (('something to gain', _FALLEN), ('nothing to gain', 1.0)):
        with testbed.camera(5.0):
            for pair in UPLINKS:
                testbed.set_rate(*pair, network.uplink * share)
            time.sleep(2 * _CALM_SECONDS)
        counted = []
        for permitted in (0.0, CEILING, 0.0):
            permit(permitted)
            time.sleep(_SETTLE_SECONDS)
            counted.append(crossed())
        permit(CEILING)
        before, with_probes, after = counted
        probes = {pair: max(0.0, with_probes[pair] - (before[pair] + after[pair]) / 2) for pair in pairs}
        most = max(probes, key=lambda pair: probes[pair])
        usual = network.uplink / 8 * seconds
        rows.append({
            'case': 'probes', 'megabits': network.uplink / 1e6, 'state': state, 'seconds': seconds, 'link': list(most),
            'bytes': probes[most], 'without_probes_bytes': [before[most], after[most]], 'share_of_usual': probes[most] / usual,
            'share_of_present': probes[most] / (usual * share),
        })  # fmt: skip
        say(f'{network.uplink / 1e6:g} Mbit/s, {state}: probes take {probes[most] / usual:.2%} of {most[0]} to {most[1]}')
    return rows


def play(
    network: Network, *, times: int, rates: Sequence[float], gaps: Sequence[float], probed_seconds: float, say: Say
) -> list[Row]:
    """Return a row for everything that befalls one network's streams, and what its probes took.

    :param probed_seconds: for which these are counted; 0: they are not.
    """
    rows: list[Row] = []
    with _testbed(network, say) as testbed:
        for fps in rates:
            with testbed.camera(fps) as frames:
                stream = _Stream(testbed, network, fps, frames, say)
                time.sleep(_KNOWN_SECONDS)
                for _ in range(times):
                    for gap in gaps:
                        stream.link(gap)
                    for kind in network.kinds[1:]:
                        getattr(stream, kind)()
                stream.close()
            rows += stream.rows
        if probed_seconds > 0:
            rows += _probes(testbed, network, probed_seconds, say)
        status = testbed.news.status
        assert status is not None
        rows.append({'case': 'stream', 'megabits': network.uplink / 1e6, 'accepted': status.accepted, 'lost': status.lost,
                     'load_average_1min': os.getloadavg()[0]})  # fmt: skip
    return rows


def run(*, quick: bool, progress: Say) -> BenchResult:
    """Run the benchmark; ``quick`` lets each thing happen once, in two networks, at 5 fps, and counts one network's probes."""
    prepare()
    rows: list[Row] = []
    for network in NETWORKS[::2] if quick else NETWORKS:
        rows += (
            play(network, times=1, rates=(5.0,), gaps=_GAPS[:1], probed_seconds=3.0 * network.small, say=progress) if quick
            else play(network, times=5, rates=(5.0, 20.0), gaps=network.gaps, probed_seconds=_PROBED_SECONDS, say=progress)
        )  # fmt: skip
    return result_of(rows)


def _limit(kind: str) -> float:
    return WORKER_SECONDS if kind == 'worker' else LIMIT_SECONDS


def _kinds(rows: Sequence[Row]) -> dict[str, list[Row]]:
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if row['case'] in ('link', 'device', 'worker'):
            kinds.setdefault(line_of(row), []).append(row)
    return kinds


def result_of(rows: list[Row]) -> BenchResult:
    """Return the figures, held against what is asked."""
    targets = []
    for name, found in _kinds(rows).items():
        limit = _limit(found[0]['case'])
        longest = max(float('inf') if row['back_seconds'] is None else row['back_seconds'] for row in found)
        title = f'{name}: the new plan once it is back, the longest of {len(found)}'
        targets.append(Target(title, f'<= {limit:g}', longest, 's', longest <= limit))
    for row in rows:
        if row['case'] == 'probes':
            limit, share = (CEILING if row['state'] == 'something to gain' else NEAR_NOTHING), row['share_of_usual']
            title = f'{row["megabits"]:g} Mbit/s, {row["state"]}: probes, of the link'
            targets.append(Target(title, f'<= {100 * limit:g} %', 100 * share, '%', share <= limit))
    lost = sum(row['lost'] for row in rows if row['case'] == 'stream')
    targets.append(Target('accepted frames lost', 0, lost, '', lost == 0))
    return BenchResult(rows, targets, lambda figure: _plot(figure, rows), _conclusion(rows))


def _conclusion(rows: Sequence[Row]) -> str:
    back = {
        kind: [row['back_seconds'] for row in rows if row['case'] == kind and row['back_seconds'] is not None]
        for kind in ('link', 'device', 'worker')
    }
    of = {kind: sum(row['case'] == kind for row in rows) for kind in back}
    within = {kind: sum(seconds <= _limit(kind) for seconds in found) for kind, found in back.items()}
    words = [
        f'{name}: {within[kind]} of {of[kind]} in time, median {statistics.median(back[kind]):.2f} s'
        for kind, name in (('link', 'links that are back'), ('device', 'Jetson idle again'), ('worker', 'worker back'))
        if back[kind]
    ]
    load = ', '.join(f'{row["load_average_1min"]:.1f}' for row in rows if row['case'] == 'stream')
    return f'{"; ".join(words)}. Load average of two cores at the end of each network: {load}.'


def _plot(figure: Figure, rows: Sequence[Row]) -> None:
    axes = figure.subplots()
    kinds = _kinds(rows)
    for place, found in enumerate(kinds.values()):
        limit = _limit(found[0]['case'])
        for key, colour, name in (('left_seconds', 'tab:red', 'away'), ('back_seconds', 'tab:blue', 'back')):
            values = [seconds for row in found for seconds in np.atleast_1d(row[key]) if seconds is not None]
            axes.plot(values, [place] * len(values), '.', color=colour, label='' if place else name)
        axes.plot([limit, limit], [place - 0.4, place + 0.4], color='black', linewidth=1, label='' if place else 'asked')
    axes.set_yticks(range(len(kinds)), list(kinds), fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale='log', xlabel='new plan after, s', title='a resource falls away and comes back')
    axes.legend(fontsize=7)
