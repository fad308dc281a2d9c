# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The profiles of a testbed's devices, measured before its workers start: all at once they would disturb each other."""

from __future__ import annotations

from edge_dnn_partition.execution.profiling.image_samples import gives_pixels, samples_of
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.profile import Profile


def measured_profiles(fleet: Fleet, model: Model) -> dict[str, Profile]:
    """Return each device's profile as its worker will find it in the cache, as it is played.

    :raises UserError: if a stage cannot be extracted or run.
    """
    samples = None
    if fleet.model is not None and fleet.model.preprocessing is not None:
        samples = samples_of(fleet.camera, Preprocessing.from_yaml(fleet.model.preprocessing), raw=gives_pixels(fleet))
    runs = int(fleet.parameters.get('worker', {}).get('profile_runs', ProfileOptions.runs))
    found = {}
    for name, device in fleet.devices.items():
        options = ProfileOptions(device='host', providers=device.providers, threads=device.threads, runs=runs)
        profile = load_or_profile(model, options, samples=samples, accept_throttled=True)
        found[name] = device.played(profile, model)
    return found
