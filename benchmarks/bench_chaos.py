# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A camera stream at 20 fps through kills, halts, cut links, clock steps, a full disk, bad images and forged messages.

Three devices in real processes with a key, in network namespaces with links of 50 Mbit/s; the cache and the frame source's journal
lie on a small disk of their own; the processes' wall clock is one that can be stepped. What happens when is random with a seed. One
image in 20 cannot be read, and somebody without the key sends noise, forgeries and recordings all the while. Then the same
model on one device without any disturbance, as fast as it goes, for the memory. Needs root and a C compiler.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.deployment.fleet_key import write_key
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.namespaces import why_not
from edge_dnn_partition.testbed.stepped_clock import stepped_clock
from edge_dnn_partition.testbed.testbed_file import TestbedFile

from .chaos_disturbances import (
    ENDED,
    Cut,
    Disturbance,
    FillDisk,
    Kill,
    KillSource,
    StepClock,
    Stop,
    bad_images,
    restart,
    small_disk,
)
from .chaos_plot import draw
from .chaos_stranger import FORGED, FORGED_VALUE, Stranger
from .chaos_watch import (
    EXPIRED,
    FAILED,
    LOST,
    OK,
    Silence,
    Usage,
    columns,
    doubled,
    each_second,
    growth,
    missing,
    silences,
)
from .processes import prepare, small_images

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

NEEDS = ('ROS', 'root')
Row = dict[str, Any]

SEED: Final = 7
FPS: Final = 20.0
STRANGER_RATE: Final = 20.0
SOURCE: Final = 'pi'
SLOWDOWNS: Final = {SOURCE: 12.0, 'jetson': 3.0, 'cloud': 1.0}
AFTER_UP_SECONDS: Final = 2.0
GAP_SECONDS: Final = 3.0
GROWTH: Final = 0.05
GROWTH_FRAMES: Final = 100_000
_GOOD_FOR_ONE_BAD: Final = 19
_DISK_BYTES: Final = 256 << 20
_CALM_FPS: Final = 200.0
_LEAST_SILENCE_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Length:
    """How long the benchmark goes on.

    :param events: so many disturbances at least, each kind once or more.
    :param seconds: for so long at least.
    """

    events: int
    seconds: float
    calm_frames: int
    calm_seconds: float
    sample_seconds: float


QUICK: Final = Length(events=8, seconds=40.0, calm_frames=2000, calm_seconds=20.0, sample_seconds=1.0)
WHOLE: Final = Length(events=120, seconds=1380.0, calm_frames=GROWTH_FRAMES + 2000, calm_seconds=900.0, sample_seconds=2.0)


def _file(folder: Path, devices: Sequence[str], disk: Path) -> TestbedFile:
    settings, key = folder / 'preprocessing.yaml', folder / 'fleet.key'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    if not key.exists():
        write_key(key)
    links = itertools.combinations(devices, 2)
    return TestbedFile.parse({
        'fleet': 'chaos', 'processes': 'each', 'source': SOURCE, 'security': {'key_file': str(key)},
        'model': {'path': str(demo_model.cached('tiny')), 'preprocessing': str(settings)},
        'devices': {name: {'emulate': {'slowdown': SLOWDOWNS[name] if len(devices) > 1 else 1.0}} for name in devices},
        'links': [{'between': list(pair), 'rate': '50 Mbit/s', 'delay': '2 ms'} for pair in links],
        'parameters': {'worker': {'profile_runs': 3}, 'frame_source': {'journal': str(disk / 'journal')}},
    })  # fmt: skip


@dataclass
class Chaos:
    """What was seen of the disturbed stream."""

    frames: list[FrameRecord]
    events: list[Row]
    samples: list[Row]
    bad: set[int]
    """The stamps of images that cannot be read."""
    missed: int
    """Results that were published and that this process has not received."""
    redelivered: int
    """Results that came again, marked so, and were dropped as any reader is told to."""
    sent: Counter[str]
    """What the stranger sent."""
    unfinished: int
    """Frames that the frame source still has at the end."""
    forged_plans: int
    """Those that came into force."""

    @property
    def count(self) -> Counter[int]:
        """How many results there are of each status."""
        return Counter(frame.status for frame in self.frames)

    @property
    def unended(self) -> int:
        """How many accepted frames have no result here."""
        return missing(self.frames) + self.unfinished

    @property
    def lost(self) -> int:
        """How many have none at all, or one that says so."""
        return self.count[LOST] + max(0, self.unended - self.missed)

    @property
    def silences(self) -> list[Silence]:
        """When no frame ended."""
        return list(silences([frame.at for frame in self.frames], self.events, least_seconds=_LEAST_SILENCE_SECONDS))

    @property
    def taken(self) -> int:
        """How many forgeries had an effect: plans in force, results with forged values, frames that failed for a forged reason."""
        return self.forged_plans + sum(map(_forged, self.frames))


def _forged(frame: FrameRecord) -> bool:
    return FORGED in frame.reason or any(np.any(np.abs(values) >= FORGED_VALUE) for values in frame.outputs.values())


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` for a minute and a half, each disturbance once."""
    reason = why_not()
    if reason is not None:
        raise UserError(f'bench chaos needs network namespaces: {reason}')
    prepare()
    length = QUICK if quick else WHOLE
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='chaos-')))
        disk = stack.enter_context(small_disk(folder / 'disk', _DISK_BYTES))
        before = os.environ.get('EDGE_DNN_PARTITION_CACHE')
        stack.callback(_put_back, before)
        os.environ['EDGE_DNN_PARTITION_CACHE'] = str(disk / 'cache')
        chaos = _disturbed(folder, disk, length, progress)
        calm, seconds = _calm(folder, disk, length, progress)
    return _result(chaos, calm, seconds)


def _put_back(cache: str | None) -> None:
    if cache is None:
        os.environ.pop('EDGE_DNN_PARTITION_CACHE', None)
    else:
        os.environ['EDGE_DNN_PARTITION_CACHE'] = cache


def _disturbed(folder: Path, disk: Path, length: Length, say: Callable[[str], None]) -> Chaos:
    from edge_dnn_partition.cli.testbed import Testbed

    choose = random.Random(SEED)
    good = small_images()
    bad = list(bad_images(good[0]).values())
    images: list[CameraImage] = []
    for number in range(len(bad)):
        images += [good[index % len(good)] for index in range(_GOOD_FOR_ONE_BAD)] + [bad[number]]
    with ExitStack() as stack:
        environment, step = stack.enter_context(stepped_clock(folder))
        with _preloaded(environment):
            testbed = stack.enter_context(Testbed(_file(folder, list(SLOWDOWNS), disk), images=images, keep_outputs=True, say=say))
        rest: list[Disturbance] = [Stop(testbed, choose), Cut(testbed, choose), StepClock(testbed, choose, step),
            FillDisk(testbed, choose, disk)]
        kinds = [Kill(testbed, choose), KillSource(testbed, choose), *rest]
        events: list[Row] = []
        with testbed.camera(FPS) as so_far, Usage(testbed, period_seconds=length.sample_seconds) as usage:
            testbed.wait_for(lambda: len(so_far()) > FPS, 60.0, 'a stream')
            with Stranger(testbed, rate=STRANGER_RATE, seed=SEED) as stranger:
                begin = time.monotonic()
                for number in itertools.count():
                    if number % len(kinds) == 0:
                        choose.shuffle(kinds)
                    time.sleep(choose.uniform(1.0, 4.0))
                    for row in (kinds[number % len(kinds)](), *restart(testbed)):
                        events.append(row)
                        say(f'{row["at"] - begin:6.1f} s  {row["kind"]} {row["victim"]}, {row["until"] - row["at"]:.1f} s')
                    if number + 1 >= length.events and time.monotonic() - begin >= length.seconds:
                        break
                time.sleep(4.0)
                events += restart(testbed)
        status = testbed.news.status
        period = _GOOD_FOR_ONE_BAD + 1
        return Chaos(
            so_far(), events, usage.samples, {stamp for stamp, index in testbed.shown.items() if index % period == period - 1},
            testbed.news.missed.missed, testbed.news.missed.again, stranger.sent, status.in_flight if status else 0,
            sum(FORGED in plan.reason for _, plan in testbed.news.plans))  # fmt: skip


class _preloaded(ExitStack):  # noqa: N801 (used as a function)
    """Start processes with more in their environment; this process itself goes on without."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__()
        for name, value in environment.items():
            os.environ[name] = value
            self.callback(os.environ.pop, name, None)


def _calm(folder: Path, disk: Path, length: Length, say: Callable[[str], None]) -> tuple[list[Row], float]:
    """Run a stream without disturbance; return samples of what its processes hold, and its seconds."""
    from edge_dnn_partition.cli.testbed import Testbed

    with Testbed(_file(folder, [SOURCE], disk), images=small_images(), say=say) as testbed:
        say(f'a calm stream of {length.calm_frames} frames, for {length.calm_seconds:g} s at most')
        with testbed.camera(_CALM_FPS) as so_far, Usage(testbed, period_seconds=length.sample_seconds) as usage:
            begin = time.monotonic()
            while len(so_far()) < length.calm_frames and time.monotonic() - begin < length.calm_seconds:
                time.sleep(0.5)
            seconds = time.monotonic() - begin
    return usage.samples, seconds


def _result(chaos: Chaos, calm: Sequence[Row], calm_seconds: float) -> BenchResult:
    count, frames, quiet = chaos.count, chaos.frames, chaos.silences
    # A pause within the bound is none for which a process's absence would be an excuse.
    excused = [silence for silence in quiet if silence.seconds > GAP_SECONDS and silence.after_up_seconds is not None]
    after_up = max((silence.after_up_seconds or 0.0 for silence in excused), default=0.0)
    otherwise = max((silence.seconds for silence in quiet if silence not in excused), default=0.0)
    longest = max((silence.seconds for silence in quiet), default=0.0)
    again = doubled(frames)
    good_failed = sum(frame.status == FAILED and frame.stamp_ns not in chaos.bad for frame in frames)
    by_itself = sum(row['kind'] == ENDED for row in chaos.events)
    grown = growth(calm)
    calm_frames = calm[-1]['frames'] - calm[0]['frames'] if calm else 0
    grew = max(grown.values(), default=math.nan)
    targets = [
        Target('accepted frames lost', 0, chaos.lost, '', chaos.lost == 0),
        Target('delivered twice', 0, again, '', again == 0),
        Target('good images that failed', 0, good_failed, '', good_failed == 0),
        Target('processes that ended by themselves', 0, by_itself, '', by_itself == 0),
        Target('longest pause, from when a killed process is active again', f'<= {AFTER_UP_SECONDS:g}', after_up, 's',
               after_up <= AFTER_UP_SECONDS),
        Target('longest pause otherwise', f'<= {GAP_SECONDS:g}', otherwise, 's', otherwise <= GAP_SECONDS),
        Target(f'growth of the process that grows most, over {calm_frames} frames',
               f'<= {100 * GROWTH:g} over {GROWTH_FRAMES} frames', 100 * grew, '%',
               calm_frames >= GROWTH_FRAMES and grew <= GROWTH),
        Target(f'taken of {sum(chaos.sent.values())} forged or repeated messages', 0, chaos.taken, '', chaos.taken == 0),
    ]  # fmt: skip
    seconds = frames[-1].at - frames[0].at
    stream = {
        'case': 'stream', 'accepted': len({f.frame_number for f in frames}) + chaos.unended, 'delivered': count[OK],
        'failed': count[FAILED], 'expired': count[EXPIRED], 'lost': chaos.lost, 'doubled': again,
        'results_not_received': chaos.missed, 'redelivered': chaos.redelivered, 'bad_images': len(chaos.bad), 'seconds': seconds,
        'stranger_sent': dict(chaos.sent), 'each_second': each_second(frames),
    }  # fmt: skip
    begin = frames[0].at
    pauses = [
        {'case': 'pause', 'at': silence.begin - begin, 'seconds': silence.seconds, 'after_up_seconds': silence.after_up_seconds,
         'causes': [f'{row["kind"]} {row["victim"]}' for row in silence.causes]} for silence in quiet if silence.seconds >= 0.5
    ]  # fmt: skip
    times = ('at', 'until', 'up')
    events = [{'case': 'event'} | row | {key: row[key] and row[key] - begin for key in times} for row in chaos.events]
    results = [
        stream, *events, *pauses, {'case': 'usage', 'processes': columns(chaos.samples, begin)},
        {'case': 'calm', 'frames': calm_frames, 'seconds': calm_seconds, 'growth': grown,
         'processes': columns(calm, calm[0]['at'] if calm else 0.0)},
    ]  # fmt: skip
    kinds = Counter(row['kind'] for row in chaos.events)
    conclusion = (
        f'{len(chaos.events)} disturbances ({", ".join(f"{many} {kind}" for kind, many in kinds.most_common())}) in '
        f'{seconds / 60:.1f} min: {stream["accepted"]} frames accepted, {count[OK]} delivered, {count[FAILED]} failed, '
        f'{count[EXPIRED]} expired, {chaos.lost} lost, {again} doubled; {len(chaos.bad)} images could not be read. The longest '
        f'pause is {longest:.1f} s. Undisturbed, {calm_frames} frames at {calm_frames / max(1e-9, calm_seconds):.0f} fps let no '
        f'process grow by more than {100 * grew:.1f} %.'
    )
    return BenchResult(results, targets, lambda figure: draw(figure, frames, events, pauses, chaos.samples), conclusion)
