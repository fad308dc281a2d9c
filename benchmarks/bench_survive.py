# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A camera stream whose devices die, are cut off and come back: how long results stay away, and whether a frame is lost.

Three devices in real processes, in network namespaces with links of 50 Mbit/s where the system permits. In turns: the worker in use
is killed (SIGKILL) and started again, several times; the links of the device in use are cut for 30 s; the scheduler is killed and
started again; every device but the source is killed. Times count from the moment before the signal or the cut, to a result of a
frame under a plan that came after it.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from .processes import prepare, small_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.cli.testbed import Testbed
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS',)
Row = dict[str, Any]

FPS: Final = 10.0
SLOWDOWNS: Final = {'pi': 12.0, 'jetson': 3.0, 'cloud': 1.0}
SOURCE: Final = 'pi'
LIMIT_SECONDS: Final = 2.0
GAP_SECONDS: Final = 0.5
"""What a stream at 10 fps may pause for while nobody schedules."""
_CALM_SECONDS: Final = 3.0
_PATIENT_SECONDS: Final = 60.0


def _file(folder: Path) -> TestbedFile:
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing()))
    return TestbedFile.parse({
        'fleet': 'survive', 'processes': 'each', 'source': SOURCE,
        'model': {'path': str(demo_model.cached()), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': slowdown}} for name, slowdown in SLOWDOWNS.items()},
        'links': [{'between': list(pair), 'rate': '50 Mbit/s', 'delay': '2 ms'} for pair in itertools.combinations(SLOWDOWNS, 2)],
        'parameters': {'worker': {'profile_runs': 3}},
    })  # fmt: skip


class _Stream:
    """A stream over a testbed, and what befalls it."""

    def __init__(self, testbed: Testbed, frames: Callable[[], list[FrameRecord]], say: Callable[[str], None]) -> None:
        self._testbed, self._frames, self._say = testbed, frames, say
        self.rows: list[Row] = []

    def _plan_uses(self, name: str) -> bool:
        plan = self._testbed.client.plan
        return plan is not None and name in plan.devices

    def _in_use(self) -> str:
        """Return the device other than the source that the plan uses, once the stream has been calm."""
        others = [name for name in SLOWDOWNS if name != SOURCE]
        self._testbed.wait_for(lambda: any(map(self._plan_uses, others)), _PATIENT_SECONDS, 'a plan with more than the source')
        time.sleep(_CALM_SECONDS)
        plan = self._testbed.client.plan
        assert plan is not None
        return next(name for name in plan.devices if name != SOURCE)

    def befall(self, what: str, victim: str, harm: Callable[[], object], mend: Callable[[], object], away: float) -> None:
        """Harm the fleet for some seconds, mend it, and note when results came again, and when the victim was used again."""
        plan = self._testbed.client.plan
        assert plan is not None
        at = time.monotonic()
        harm()
        time.sleep(max(0.0, at + away - time.monotonic()))
        healed = time.monotonic()
        mend()
        self._testbed.wait_for(lambda: self._plan_uses(victim), _PATIENT_SECONDS, f'{victim} in the plan again')
        used = time.monotonic()
        after = [f.at for f in self._frames() if f.delivered and f.at > at and f.plan_version > plan.version]
        row = {
            'case': what, 'victim': victim, 'at': at, 'healed_after_seconds': healed - at,
            'resumed_seconds': min(after) - at if after else None, 'longest_gap_seconds': self._longest_gap(at, healed),
            'used_again_seconds': used - healed, 'results_meanwhile': sum(at < f.at <= healed for f in self._frames()),
        }  # fmt: skip
        again = 'none' if row['resumed_seconds'] is None else f'{row["resumed_seconds"]:.2f} s'
        self._say(f'{what} ({victim}): results under a new plan after {again}, longest pause {row["longest_gap_seconds"]:.2f} s, '
                  f'in use again {row["used_again_seconds"]:.1f} s after it came back')  # fmt: skip
        self.rows.append(row)

    def _longest_gap(self, begin: float, end: float) -> float:
        times = [begin, *sorted(f.at for f in self._frames() if f.delivered and begin < f.at < end), end]
        return max(b - a for a, b in itertools.pairwise(times))

    def play(self, kills: int, cut_seconds: float) -> None:
        """Let everything befall the stream, one after the other."""
        testbed = self._testbed
        for _ in range(kills):
            victim = self._in_use()
            worker = f'{victim}/worker'
            self.befall('worker killed', victim, lambda w=worker: testbed.kill(w), lambda w=worker: testbed.start(w), 6.0)
        victim = self._in_use()
        links = [link.between for link in testbed.file.links if victim in link.between]
        self.befall('link cut', victim, lambda: [testbed.cut(*pair) for pair in links],
                    lambda: [testbed.heal(*pair) for pair in links], cut_seconds)  # fmt: skip
        self._in_use()
        self._scheduler()
        victim = self._in_use()
        others = [name for name in SLOWDOWNS if name != SOURCE]
        self.befall('all others killed', victim, lambda: [testbed.kill(name) for name in others],
                    lambda: [testbed.start(name) for name in others], 8.0)  # fmt: skip
        time.sleep(_CALM_SECONDS)

    def _scheduler(self) -> None:
        """Kill the scheduler; the stream is to go on under the last plan.

        That versions go on rising shows next: what befalls the stream then counts results under a higher version alone.
        """
        testbed = self._testbed
        decision = testbed.news.decisions[-1] if testbed.news.decisions else None
        at = time.monotonic()
        testbed.kill('scheduler')
        time.sleep(6.0)
        healed = time.monotonic()
        meanwhile = sum(at < f.at <= healed for f in self._frames())
        gap = self._longest_gap(at, healed)
        testbed.start('scheduler')
        testbed.wait_for(lambda: bool(testbed.news.decisions) and testbed.news.decisions[-1] is not decision,
            _PATIENT_SECONDS, 'a decision')
        decided = time.monotonic()
        self.rows.append({
            'case': 'scheduler killed', 'victim': 'scheduler', 'at': at, 'healed_after_seconds': healed - at,
            'resumed_seconds': None, 'longest_gap_seconds': gap, 'used_again_seconds': decided - healed,
            'results_meanwhile': meanwhile,
        })  # fmt: skip
        self._say(f'scheduler killed: {meanwhile} results in the {healed - at:.0f} s without it, longest pause {gap:.2f} s, '
                  f'a decision {decided - healed:.1f} s after it came back')  # fmt: skip


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` kills one worker and cuts the link for 5 s."""
    prepare()
    from edge_dnn_partition.cli.testbed import Testbed

    kills, cut_seconds = (1, 5.0) if quick else (5, 30.0)
    with tempfile.TemporaryDirectory() as name, Testbed(_file(Path(name)), images=small_images(), say=progress) as testbed:
        with testbed.camera(FPS) as so_far:
            stream = _Stream(testbed, so_far, progress)
            stream.play(kills, cut_seconds)
        frames, status = so_far(), testbed.news.status
    assert status is not None
    targets = _targets(stream.rows, frames, status)
    results = [*stream.rows, {
        'case': 'stream', 'accepted': status.accepted, 'delivered': status.delivered, 'lost': status.lost,
        'times': [f.at for f in frames], 'latencies_seconds': [f.latency_seconds for f in frames],
        'devices': [_devices(f) for f in frames],
    }]  # fmt: skip
    return BenchResult(results, targets, lambda figure: _plot(figure, results), _conclusion(results))


def _devices(frame: FrameRecord) -> str:
    return '+'.join(dict.fromkeys(stage.device for stage in frame.stages))


def _targets(rows: Sequence[Row], frames: Sequence[FrameRecord], status: Any) -> list[Target]:
    targets = []
    for what in ('worker killed', 'link cut', 'all others killed'):
        resumed = [row['resumed_seconds'] for row in rows if row['case'] == what]
        longest = max((value if value is not None else float('inf') for value in resumed), default=float('inf'))
        name = f'{what}: results again, the longest of {len(resumed)}'
        targets.append(Target(name, f'<= {LIMIT_SECONDS:g}', longest, 's', longest <= LIMIT_SECONDS))
    scheduler = next(row for row in rows if row['case'] == 'scheduler killed')
    gap = scheduler['longest_gap_seconds']
    targets.append(Target('longest pause of results without a scheduler', f'<= {GAP_SECONDS:g}', gap, 's', gap <= GAP_SECONDS))
    numbers = [frame.frame_number for frame in frames]
    unordered = sum(a >= b for a, b in itertools.pairwise(numbers))
    targets.append(Target('accepted frames lost', 0, status.lost, '', status.lost == 0 and status.accepted == status.delivered))
    targets.append(Target('delivered twice or out of order', 0, unordered, '', unordered == 0))
    return targets


def _conclusion(results: Sequence[Row]) -> str:
    killed = [row for row in results if row['case'] == 'worker killed']
    cut, scheduler, others = (
        next(row for row in results if row['case'] == case) for case in ('link cut', 'scheduler killed', 'all others killed')
    )
    stream, median = results[-1], statistics.median(row['resumed_seconds'] for row in killed)
    return (
        f'Results come again {median:.1f} s after a worker is killed (median of {len(killed)}), '
        f'{cut["resumed_seconds"]:.1f} s after its links are cut, {others["resumed_seconds"]:.1f} s after all devices '
        f'but the source have died; without a scheduler none stays away for more than '
        f'{scheduler["longest_gap_seconds"]:.2f} s. {stream["accepted"]} frames accepted, {stream["delivered"]} delivered, '
        f'{stream["lost"]} lost.'
    )


def _plot(figure: Figure, results: Sequence[Row]) -> None:
    axes = figure.subplots()
    stream = results[-1]
    begin = min(stream['times'])
    for devices in dict.fromkeys(stream['devices']):
        mine = [i for i, name in enumerate(stream['devices']) if name == devices]
        axes.plot([stream['times'][i] - begin for i in mine], [1e3 * stream['latencies_seconds'][i] for i in mine], '.',
                  markersize=3, label=devices or 'expired')  # fmt: skip
    for row in results[:-1]:
        at = row['at'] - begin
        axes.axvspan(at, at + row['healed_after_seconds'], color='tab:red', alpha=0.12)
        axes.text(at, 0.98, row['case'], rotation=90, va='top', ha='right', fontsize=6, transform=axes.get_xaxis_transform())
    axes.set(yscale='log', xlabel='time, s', ylabel='latency, ms', title='each result, by the devices that made it; red: away')
    axes.legend(fontsize=7, loc='center right')
