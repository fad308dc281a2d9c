# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""One recording, one network, one frame rate, in simulated time: everybody plays, and is held against the two bounds."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import edge_dnn_partition
from edge_dnn_partition import ros_env
from edge_dnn_partition.control.decision.policy import Policy
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.testbed.scenario import LINKS
from edge_dnn_partition.testbed.traces import Capacity, Trace, read_trace

from . import trace_rivals
from .simulated_scheduler import WARM_UP_SECONDS, Played, play
from .trace_bound import clairvoyant

SLOW: Final = 1.5
"""A frame is slow beyond so many times the clairvoyant bound."""
SETTLE_SECONDS: Final = 4.0
_LEAST_SETTLED: Final = 1e6
Links = Mapping[tuple[str, str], tuple[float, float]]


@dataclass(frozen=True)
class Recording:
    """A trace of an uplink.

    :param seconds: how much of it is played.
    :param synthetic: it was made up, for tests.
    """

    name: str
    trace: Trace
    seconds: float
    synthetic: bool = False

    @property
    def whole_seconds(self) -> float:
        """How long all of it lasts; its last row as long as the one before it."""
        ends = self.trace.seconds
        return ends[-1] + (ends[-1] - ends[-2] if len(ends) > 1 else 1.0)

    def first(self, seconds: float) -> Recording:
        """Return its first seconds."""
        return Recording(self.name, self.trace, min(seconds, self.seconds), self.synthetic)

    @property
    def rates(self) -> list[tuple[float, float]]:
        """When the link gets which rate, in bytes per second."""
        rows = zip(self.trace.seconds, self.trace.values, strict=True)
        return [(at, value / 8) for at, value in rows if at < self.seconds]

    @property
    def settled_at(self) -> float:
        """What the links carry for `SETTLE_SECONDS` before it begins, in bits per second: its first value, but no outage."""
        return max(self.trace.values[0], _LEAST_SETTLED)

    def capacity(self, before: float) -> Capacity:
        """Return what a link carries that has carried so many bits per second before the recording was settled for."""
        seconds = (0.0, WARM_UP_SECONDS - SETTLE_SECONDS, WARM_UP_SECONDS, *(at + WARM_UP_SECONDS for at in self.trace.seconds[1:]))
        return Capacity(Trace(seconds, (before, self.settled_at, *self.trace.values)))


def recordings(folder: Path | None) -> list[Recording]:
    """Return the recordings of a folder, the shortest first; without one the synthetic ones of the testbed.

    :raises UserError: if there is no such folder, nothing in it, or a file is no trace.
    """
    where = folder or _synthetic()
    if not where.is_dir():
        raise UserError(f'--traces {where}: there is no such folder; name one that holds CSV files seconds,bits_per_second')
    files = sorted(where.glob('*.csv'))
    if folder is None:
        files = [file for file in files if 'bits_per_second' in file.open(encoding='utf-8').readline()]
    if not files:
        raise UserError(f'--traces {where}: holds no CSV file; each needs the columns seconds,bits_per_second')
    found = []
    for file in files:
        trace = read_trace(file, 'bits_per_second')
        whole = Recording(file.stem, trace, math.inf, synthetic=folder is None)
        found.append(whole.first(whole.whole_seconds))
    return sorted(found, key=lambda recording: recording.seconds)


def _synthetic() -> Path:
    checkout = Path(edge_dnn_partition.__file__).resolve().parent.parent / 'config'
    if checkout.is_dir():
        return checkout / 'traces'
    prefix = ros_env.install_prefix()
    if prefix is None:
        raise UserError('the traces of the testbed are not installed: run `make setup` in a checkout')
    return prefix / 'share' / 'edge_dnn_partition' / 'config' / 'traces'


@dataclass(frozen=True)
class Setting:
    """What a fleet is played with.

    :param links: rate (bytes per second) and delay of each pair; both directions of those to the cloud follow the recording.
    :param started: whether the links carried that when the fleet started, as on the testbed; else what the recording begins with.
    """

    pipeline: Pipeline
    image_bytes: int
    links: Links = None  # type: ignore[assignment]
    started: bool = False

    def __post_init__(self) -> None:
        """Take the demo's links where none are given."""
        if self.links is None:
            object.__setattr__(self, 'links', LINKS)

    @property
    def delays(self) -> dict[tuple[str, str], float]:
        """Each direction's delay."""
        return {pair: delay for (a, b), (_, delay) in self.links.items() for pair in ((a, b), (b, a))}

    def capacities(self, recording: Recording) -> dict[tuple[str, str], Capacity]:
        """Return what each direction of each link carries."""
        found = {}
        for pair, (rate, _) in self.links.items():
            if 'cloud' in pair:
                carries = recording.capacity(rate * 8 if self.started else recording.settled_at)
            else:
                carries = Capacity(Trace((0.0,), (rate * 8,)))
            found |= {pair: carries, pair[::-1]: carries}
        return found

    def play(self, recording: Recording, policy: Policy, fps: float, *, informed: bool = False) -> Played:
        """Let somebody play."""
        return play(
            self.pipeline, self.capacities(recording), self.delays, policy, seconds=recording.seconds, fps=fps, informed=informed,
            image_bytes=self.image_bytes,
        )  # fmt: skip

    def bound(self, recording: Recording, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the clairvoyant bound of frames that are accepted at some times of the recording, seconds."""
        problem = trace_rivals.problem_at(self.pipeline, 1e6, self.links, self.image_bytes)
        return clairvoyant(self.pipeline, problem, self.capacities(recording), at + WARM_UP_SECONDS, Permitted())


def per_image(
    frames: Sequence[tuple[float, float]], seconds: float, fps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each image that the camera shows, when its frame was accepted and what that took.

    An image that was dropped counts as the frame before it, which was in its way: so who blocks the stream with one
    frame through an outage is not quick for having had only one. Before the first frame that one counts.
    """
    at, took = (np.array(values) for values in zip(*frames, strict=True))
    shown = np.arange(0.0, seconds, 1 / fps)
    place = np.clip(np.searchsorted(at, shown + 0.5 / fps, side='right') - 1, 0, len(at) - 1)
    return at[place], took[place]


def judged(setting: Setting, recording: Recording, fps: float, played: Played) -> dict[str, Any]:
    """Return how somebody did beside the clairvoyant bound."""
    at, took = per_image(played.frames, recording.seconds, fps)
    bound = float(setting.bound(recording, np.arange(0.0, recording.seconds, 1 / fps)).mean())
    slow = took > SLOW * setting.bound(recording, at)
    return {
        'mean_seconds': float(took.mean()), 'bound_seconds': bound, 'ratio_to_bound': float(took.mean()) / bound,
        'over_1_5': float(slow.mean()), 'frames': len(played.frames), 'lost': played.lost, 'moves': len(played.moves),
        'frame_mean_seconds': float(np.mean([seconds for _, seconds in played.frames])),
        'p95_seconds': float(np.percentile(took, 95)),
    }  # fmt: skip


def simulated(
    recording: Recording, model: str, fps: float, setting: Setting, *, rivals: bool, say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Return the row of one recording, network and frame rate."""
    begun = time.process_time()
    played = setting.play(recording, trace_rivals.product(trace_rivals.DEFAULT), fps)
    cpu = time.process_time() - begun
    mine = judged(setting, recording, fps, played)
    informed = judged(
        setting, recording, fps,
        setting.play(recording, trace_rivals.product(trace_rivals.DEFAULT), fps, informed=True),
    )  # fmt: skip
    baselines: dict[str, float] = {}
    lost = {}
    if rivals:
        known: dict[object, dict[str, Any]] = {}
        others = trace_rivals.competitors(setting.pipeline, recording.rates, setting.links, setting.image_bytes)
        for name, make in others.items():
            policy = make()
            key = getattr(policy, 'plan', name)
            if key not in known:
                known[key] = judged(setting, recording, fps, setting.play(recording, policy, fps))
            baselines[name], lost[name] = known[key]['ratio_to_bound'], known[key]['lost']
    row = {
        'case': 'recording', 'trace': recording.name, 'synthetic': recording.synthetic, 'model': model, 'fps': fps,
        'form': 'simulated', 'seconds': recording.seconds, 'whole_seconds': recording.whole_seconds, **mine,
        'policy': trace_rivals.DEFAULT, 'informed_seconds': informed['mean_seconds'],
        'ratio_to_informed': mine['mean_seconds'] / informed['mean_seconds'],
        'informed_ratio_to_bound': informed['ratio_to_bound'], 'informed_over_1_5': informed['over_1_5'],
        'baselines': baselines, 'baselines_lost': lost, 'images_per_cpu_second': recording.seconds * fps / cpu,
        'better_than': [name for name, ratio in baselines.items() if mine['ratio_to_bound'] <= ratio],
        'stream': thinned(played.frames, recording.seconds), 'plans': [list(move) for move in played.moves],
    }  # fmt: skip
    best = min(baselines.items(), key=lambda item: item[1], default=('none', float('nan')))
    say(f'{line_of(row)}, {mine["moves"]} moves, {mine["lost"]} lost; best baseline {best[0]} {best[1]:.3f}')
    return row


def line_of(row: Mapping[str, Any]) -> str:
    """Say how the scheduler did in one row."""
    return (f'{row["trace"]} {row["model"]} {row["fps"]:g} fps: {row["ratio_to_bound"]:.3f} x clairvoyant, '
            f'{row["ratio_to_informed"]:.3f} x informed, {100 * row["over_1_5"]:.1f} % slow')  # fmt: skip


def thinned(frames: Sequence[tuple[float, float]], seconds: float, most: int = 600) -> list[list[float]]:
    """Return the slowest frame of each short span, for a plot."""
    spans = itertools.groupby(frames, key=lambda frame: int(frame[0] / seconds * most))
    return [[round(x, 2) for x in (at, 1e3 * took)] for at, took in (max(group, key=lambda f: f[1]) for _, group in spans)]
