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
    from edge_dnn_partition.execution.profiling.image_samples import ImageSamples


def build(
    model: Model, fleet: Fleet, *, profiles: Sequence[str], image: str | None, runs: int,
    permitted: Permitted | None = None, encode_for: Criterion = LATENCY,
) -> tuple[Pipeline, Problem]:
    """Return a model's pipeline and its problem with the fleet file's links and slowdowns.

    A device without a profile of its own takes ``emulate.slowdown`` times what this machine takes with as many threads, or
    what the figures of ``emulate.board`` say. Without a preprocessing file in the fleet, the preprocessing takes no time
    and its input is as large as the model's.

    :param profiles: ``DEVICE=FILE.json`` each.
    :param image: a file as the camera sends it; ``None`` for the fleet's first, or a made-up one.
    :param permitted: the encodings that tensors may be sent in; None: all go raw.
    :param encode_for: what they are chosen by, see `Objective.encode_for`.
    :raises UserError: if a file cannot be read, or the parts do not fit each other.
    """
    from edge_dnn_partition.testbed.emulation import played_profile

    given = _given(profiles, fleet)
    samples: ImageSamples | None = None
    input_bytes = float(sum(model.tensors[name].bytes for name in model.inputs))
    described = None if fleet.model is None else fleet.model.preprocessing
    if described is not None:
        samples = _samples(described, model, fleet, image)
        input_bytes = float(samples.timed.data.nbytes)
    elif image is not None:
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
        if described is None:
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
        encode_for=encode_for, pixels=Pixels() if samples is not None and not samples.timed.is_compressed else None,
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


def _samples(path: Path, model: Model, fleet: Fleet, image: str | None) -> ImageSamples:
    from edge_dnn_partition.execution.profiling.image_samples import gives_pixels, samples_of, samples_of_files
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    preprocessing: Preprocessing = Preprocessing.from_yaml(path)
    if len(model.inputs) != 1:
        raise PlanError(f'{model.name} has {len(model.inputs)} inputs; a preprocessing feeds models with one')
    preprocessing.check(model.tensors[model.inputs[0]])
    raw = gives_pixels(fleet)
    return samples_of(fleet.camera, preprocessing, raw=raw) if image is None else samples_of_files([image], preprocessing, raw=raw)


def _measure(model: Model, threads: int, runs: int, samples: ImageSamples | None) -> Profile:
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
