# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as the project's own types.

Reads whatever has a message's fields: the messages themselves, and records of them in a bag, so that
nothing here imports ROS.
"""

from __future__ import annotations

import math
from typing import Any

from edge_dnn_partition.planning.plans.encodings import TensorCoding
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan, Transfer
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.contention import HostLoad, Quota


def plan_of(message: Any) -> Plan:
    """Return a plan from its message (Plan)."""
    stages = tuple(
        StagePlan(
            s.device,
            s.preprocess,
            tuple(zip(map(int, s.layer_ranges[::2]), map(int, s.layer_ranges[1::2]), strict=True)),
            tuple(s.inputs),
            tuple(s.outputs),
        )
        for s in message.stages
    )
    transfers = tuple(
        Transfer(t.tensor, t.from_stage, t.from_device, t.to_device, t.to_sink, t.encoding) for t in message.transfers
    )
    return Plan(
        message.version, message.model_sha256, message.source, message.sink, stages, transfers, message.objective,
        max(1, message.max_in_flight), message.latency_seconds, message.latency_deviation, message.energy_joules,
        message.bottleneck_seconds, message.reason, getattr(message, 'scheduler', 0),  # bags may be older than that
    )  # fmt: skip


def profile_of(message: Any) -> Profile:
    """Return a profile from its message (Profile).

    :raises PlanError: if its parts contradict each other.
    """
    seconds = message.preprocess_seconds
    return Profile(
        model_sha256=message.model_sha256,
        device=message.device,
        provider=message.provider,
        threads=message.threads,
        boundaries=tuple(map(int, message.boundaries)),
        segment_seconds=tuple(map(float, message.segment_seconds)),
        seam_seconds=tuple(map(float, message.seam_seconds)),
        preprocess_seconds=None if math.isnan(seconds) else seconds,
        relative_error=message.relative_error,
        throttled=message.throttled,
        probe_seconds=message.probe_seconds,
        codings=tuple(
            TensorCoding(c.tensor, c.encoding, c.size, c.encode_seconds, c.decode_seconds, c.error, c.top_changed)
            for c in message.codings
        ),
        image_bytes=message.image_bytes,
    )


def quota_of(message: Any) -> tuple[Quota, float]:
    """Return what telemetry says of a CPU quota, and how many cores are in use under it (Telemetry)."""
    known = hasattr(message, 'quota_cores')  # bags may be older than that
    return (Quota(message.quota_cores, message.quota_period_seconds), message.quota_used_cores) if known else (Quota(), math.nan)


def host_load(message: Any) -> HostLoad:
    """Return what telemetry says of how busy a host is (Telemetry)."""
    known = [percent for percent in message.cpu_percent_per_core if math.isfinite(percent)]
    cores = len(message.cpu_percent_per_core)
    busy = cores * sum(known) / (100 * len(known)) if known else math.nan
    return HostLoad(
        cores=cores, busy_cores=busy, clock_limit_hertz=message.clock_limit_hertz,
        clock_max_hertz=message.clock_max_hertz, memory_pressure=message.memory_pressure_percent / 100,
    )  # fmt: skip
