# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The model as a meter: what a sample of a host says of its activity, and the power that goes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_dnn_partition.sensing.sources.clock import ClockReading
from edge_dnn_partition.sensing.sources.cpu import CpuReading
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.sensing.sources.network import Interface

from .meter import reading_of
from .model import Activity, PowerModel
from .reading import PowerIntegral, PowerReading


def activity(
    cpu: CpuReading, clock: ClockReading, gpus: Sequence[GpuReading] = (), interfaces: Sequence[Interface] = ()
) -> Activity:
    """Return what a host did since the sample before.

    Where nobody tells the clock it counts as the highest, a GPU that tells no use as idle; cores that are
    not known make the whole unknown.
    """
    ratio = clock.hertz / clock.max_hertz
    known = [core for core in cpu.percent_per_core if math.isfinite(core)]
    cores = len(cpu.percent_per_core) * sum(known) / (100 * len(known)) if known else math.nan
    used = [gpu.percent / 100 for gpu in gpus if math.isfinite(gpu.percent)]
    rates = [
        rate
        for interface in interfaces
        if math.isfinite(interface.signal_dbm)
        for rate in (interface.sent_bytes_per_second, interface.received_bytes_per_second)
        if math.isfinite(rate)
    ]
    return Activity(
        busy_cores=cores,
        clock_ratio=min(1.0, ratio) if math.isfinite(ratio) else 1.0,
        gpu_share=sum(used) / len(used) if used else 0.0,
        radio_bytes_per_second=math.fsum(rates),
    )


class ModelledPower:
    """Adds up what the model says of one activity after another."""

    def __init__(self, model: PowerModel) -> None:
        self.model = model
        self._total = PowerIntegral()

    def update(self, now_seconds: float, present: Activity) -> PowerReading:
        """Take in what the device did until now; the reading's resolution is the model's error."""
        watts = self.model.watts(present)
        self._total.update(now_seconds, watts)
        error = watts * self.model.relative_error
        return reading_of(
            self._total, 'model', 'board', resolution_watts=error, resolution_joules=error, kind='modelled',
            note=self.model.source,
        )  # fmt: skip
