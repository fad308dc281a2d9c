# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings played by real processes on the testbed, and the same in simulated time with the same profiles."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.testbed.scenario import LINKS, fleet_document, panning_camera
from edge_dnn_partition.testbed.testbed_file import TestbedFile
from edge_dnn_partition.testbed.traces import rate_events

from . import processes, trace_rivals
from .grid_fleet import RUNS, pipeline_of
from .simulated_scheduler import PROBE_PERIOD_SECONDS, Played
from .trace_play import SETTLE_SECONDS, Recording, Setting, judged, line_of, thinned

if TYPE_CHECKING:
    from edge_dnn_partition.cli.testbed import Testbed
    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

FPS: Final = 5.0
_MODEL: Final = 'demo'


def as_quick(pipeline: Pipeline, plans: Mapping[int, Plan], frames: Sequence[FrameRecord]) -> Pipeline:
    """Return the pipeline of devices as quick as they were in some frames' stages, by the median; as profiled where none ran.

    An emulated device takes so many times the CPU time that this machine takes, which changes with its clock and other work.

    :param plans: by version.
    """
    layers, images = defaultdict(list), defaultdict(list)
    for frame in frames:
        for timing in frame.stages:
            plan, profile = plans.get(frame.plan_version), pipeline.profiles[timing.device]
            if plan is None or not 0 <= timing.stage < len(plan.stages):
                continue
            stage = plan.stages[timing.stage]
            if (known := profile.known_seconds(stage.layers)) > 0:
                layers[timing.device].append(timing.run_seconds / known)
            if stage.preprocess and profile.preprocess_seconds:
                images[timing.device].append(timing.decode_seconds / profile.preprocess_seconds)
    profiles = {}
    for name, profile in pipeline.profiles.items():
        found = profile.scaled(median(layers[name]) if layers[name] else 1.0)
        if profile.preprocess_seconds and images[name]:
            found = replace(found, preprocess_seconds=profile.preprocess_seconds * median(images[name]))
        profiles[name] = found
    return Pipeline(pipeline.model, profiles, pipeline.fleet)


def _live(testbed: Testbed, recording: Recording) -> tuple[Played, list[FrameRecord]]:
    """Let the fleet live through a recording with the scheduler free; a link is cut where the recording says nothing."""
    events = [
        event for pair in LINKS if 'cloud' in pair for event in rate_events(recording.trace, pair) if event.at < recording.seconds
    ]
    events.sort()
    for pair in LINKS:
        if 'cloud' in pair:
            testbed.heal(*pair)
            testbed.set_rate(*pair, recording.settled_at)
    testbed.free()
    testbed.stream(SETTLE_SECONDS, FPS)
    lost = testbed.news.status.lost if testbed.news.status else 0
    plans = len(testbed.news.plans)
    with testbed.camera(FPS) as frames:
        begin = time.monotonic()
        for event in events:
            time.sleep(max(0.0, begin + event.at - time.monotonic()))
            testbed.apply(event)
        time.sleep(max(0.0, begin + recording.seconds - time.monotonic()))
    records = frames()
    seen = sorted((f.at - f.latency_seconds - begin, f.latency_seconds) for f in records if f.delivered)
    moves = [(at - begin, plan.label(), plan.reason) for at, plan in testbed.news.plans[plans:]]
    lived = [(at, took) for at, took in seen if 0 <= at < recording.seconds]
    return Played(lived, (testbed.news.status.lost if testbed.news.status else 0) - lost, moves), records


def run(recordings: Sequence[Recording], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield a row for each recording by real processes, with what simulated time makes of it."""
    processes.prepare()
    from edge_dnn_partition.cli.testbed import Testbed

    images = panning_camera()
    size = round(np.mean([image.data.nbytes for image in images]))
    with tempfile.TemporaryDirectory() as name:
        settings = Path(name) / 'preprocessing.yaml'
        settings.write_text(yaml.safe_dump(demo_model.preprocessing(_MODEL)))
        document = fleet_document(str(demo_model.cached(_MODEL).resolve()), str(settings))
        document['parameters'] = {'worker': {'probe_period': PROBE_PERIOD_SECONDS, 'profile_runs': RUNS}}
        file = TestbedFile.parse(document)
        profiled = pipeline_of(file)
        with Testbed(file, images=images, say=say) as testbed:
            assert testbed.fleet is not None
            profiled = Pipeline(profiled.model, profiled.profiles, testbed.fleet)
            for recording in recordings:
                mine, records = _live(testbed, recording)
                load = os.getloadavg()[1]
                plans = {plan.version: plan for _, plan in testbed.news.plans}
                setting = Setting(as_quick(profiled, plans, records), size, started=True)
                lived = judged(setting, recording, FPS, mine)
                twin, informed = (
                    judged(setting, recording, FPS, setting.play(
                        recording, trace_rivals.product(trace_rivals.DEFAULT), FPS, informed=told
                    ))
                    for told in (False, True)
                )  # fmt: skip
                agrees = twin['mean_seconds'] / lived['mean_seconds'] - 1
                row = {
                    'case': 'recording', 'trace': recording.name, 'synthetic': recording.synthetic, 'model': _MODEL, 'fps': FPS,
                    'form': 'processes', 'seconds': recording.seconds, 'whole_seconds': recording.whole_seconds, **lived,
                    'informed_seconds': informed['mean_seconds'], 'policy': trace_rivals.DEFAULT, 'baselines': {},
                    'ratio_to_informed': lived['mean_seconds'] / informed['mean_seconds'],
                    'simulated_mean_seconds': twin['mean_seconds'], 'simulated_over_lived': agrees, 'load_5min': load,
                    'stream': thinned(mine.frames, recording.seconds), 'plans': [list(move) for move in mine.moves],
                }  # fmt: skip
                times = ' and '.join(f'{1e3 * one["mean_seconds"]:.0f} ms' for one in (lived, twin))
                say(f'processes, {line_of(row)}; processes and simulated {times}, load average {load:.1f}')
                yield row
