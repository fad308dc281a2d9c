# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem of ``plan MODEL.onnx --fleet FLEET.yaml``: profiles, links and an image."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_dnn_partition.errors import PlanError, UserError, nearest
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.objectives import LATENCY, Criterion
from edge_dnn_partition.planning.plans.coding import Pixels
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.link import LinkEstimate

if TYPE_CHECKING:
    from edge_dnn_partition.execution.profiling.image_samples import InputSamples


def build(
    model: Model, fleet: Fleet, *, profiles: Sequence[str], image: str | None, runs: int,
    permitted: Permitted | None = None, encode_for: Criterion = LATENCY,
) -> tuple[Pipeline, Problem]:
    """Return a model's pipeline and its problem with the fleet file's links and slowdowns.

    A device without a profile of its own takes ``emulate.slowdown`` times what this machine takes with as many threads, or
    what the figures of ``emulate.board`` say. Without a model in the fleet file, the preprocessing takes no time and its
    input is as large as the model's.

    :param profiles: ``DEVICE=FILE.json`` each.
    :param image: a file as the camera sends it; ``None`` for the fleet's first, or a made-up one.
    :param permitted: the encodings that tensors may be sent in; None: all go raw.
    :param encode_for: what they are chosen by, see `Objective.encode_for`.
    :raises UserError: if a file cannot be read, or the parts do not fit each other.
    """
    from edge_dnn_partition.testbed.emulation import played_profile

    given = _given(profiles, fleet)
    samples = None if fleet.model is None else _samples(model, fleet, image)
    first = samples.cameras[0].timed if samples is not None and samples.cameras else None
    input_bytes = float(sum(model.tensors[name].bytes for name in model.inputs) if first is None else first.nbytes)
    if first is None and image is not None:
        raise UserError('--image needs a preprocessing; name its file in the fleet file (model.preprocessing)')
    measured: dict[int, Profile] = {}
    known: dict[str, Profile] = {}
    for name, device in fleet.devices.items():
        profile = given.get(name)
        if profile is None:
            # Another processor's provider cannot be timed here: its slowdown is over this CPU.
            if device.threads not in measured:
                measured[device.threads] = _measure(model, device.threads, runs, samples)
            profile = played_profile(device, measured[device.threads], model)
        if first is None:
            profile = dataclasses.replace(profile, preprocess_seconds=0.0)
        elif profile.preprocess_seconds is None:
            raise PlanError(
                f'the profile of {name} lacks the preprocessing; profile there with --preprocessing and --image'
            )
        known[name] = profile
    pipeline = Pipeline(model, known, fleet)
    links = {
        pair: LinkEstimate(link.rate, link.delay, measured=False)
        for link in fleet.links
        for pair in (link.between, link.between[::-1])
    }
    problem = pipeline.problem(
        devices=list(fleet.devices), factors={}, links=links, input_bytes=input_bytes, permitted=permitted,
        other_bytes={
            pipeline.inputs.images[camera.entry]: camera.timed.nbytes for camera in (() if samples is None else samples.cameras)
        },
        encode_for=encode_for, pixels=None if first is None or first.is_compressed else Pixels(),
    )  # fmt: skip
    return pipeline, problem


def _given(entries: Sequence[str], fleet: Fleet) -> dict[str, Profile]:
    given: dict[str, Profile] = {}
    for entry in entries:
        name, equals, path = entry.partition('=')
        if not equals or not path:
            raise UserError(f'--profile {entry}: write DEVICE=FILE.json')
        if name not in fleet.devices:
            raise UserError(f'--profile {entry}: no device is called {name!r}{nearest(name, fleet.devices)}')
        if name in given:
            raise UserError(f'--profile: {name!r} has two profiles; keep one')
        try:
            given[name] = Profile.from_json(Path(path).read_bytes())
        except OSError as error:
            raise UserError(f'--profile {path}: {error.strerror}; give what `profile --json` wrote') from None
    return given


def _samples(model: Model, fleet: Fleet, image: str | None) -> InputSamples:
    from edge_dnn_partition.deployment import start_checks
    from edge_dnn_partition.execution.profiling.image_samples import samples_for, samples_of_files

    found = samples_for(fleet, start_checks.preprocessing_of(fleet, model))
    if image is None or not found.cameras:
        return found
    first = found.cameras[0]
    named = samples_of_files([image], first.preprocessing, raw=not first.timed.is_compressed)
    return dataclasses.replace(found, cameras=(dataclasses.replace(named, entry=first.entry), *found.cameras[1:]))


def _measure(model: Model, threads: int, runs: int, samples: InputSamples | None) -> Profile:
    from rich.progress import Progress

    from edge_dnn_partition.cli.console import console
    from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile

    options = ProfileOptions(device='host', threads=threads, runs=runs)
    with Progress(console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f'profiling on this machine, {threads} thread(s)', total=1.0)
        return load_or_profile(
            model, options, samples=samples, accept_throttled=True,
            progress=lambda share: bar.update(task, completed=share),
        )  # fmt: skip
