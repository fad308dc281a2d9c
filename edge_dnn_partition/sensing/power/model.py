# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A device's power by what it does, for devices without a meter and for plans that are not yet run.

``watts = idle + core * busy cores * (clock / highest clock) ** exponent + gpu * GPU's share + joules a byte *
radio bytes a second``: dynamic power of CMOS goes with clock and voltage squared, and voltage rises with the
clock, so the exponent lies between 1 (one voltage) and 3 (Weste and Harris, CMOS VLSI Design, chapter 5).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition import cache
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.files import text_or_empty
from edge_dnn_partition.sensing.power.reading import PowerIntegral, PowerReading
from edge_dnn_partition.sensing.sources.cpu import ClockReading, CpuReading
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.sensing.sources.network import Interface

USUAL_EXPONENT: Final = 2.0


@dataclass(frozen=True)
class Activity:
    """What a device does, on average over some time.

    :param busy_cores: 1.5 for one core that is busy and one that is half the time.
    :param clock_ratio: the cores' clock over the highest one.
    :param gpu_share: 0 to 1.
    :param radio_bytes_per_second: sent and received over Wi-Fi.
    """

    busy_cores: float
    clock_ratio: float = 1.0
    gpu_share: float = 0.0
    radio_bytes_per_second: float = 0.0


@dataclass(frozen=True)
class PowerModel:
    """Coefficients of the model; ``source`` says where they are from.

    :param idle_watts: drawn when nothing runs.
    :param core_watts: what one busy core adds at the highest clock.
    :param clock_exponent: how that falls with the clock.
    :param gpu_watts: what the whole GPU adds.
    :param joules_per_byte: what a byte adds that is sent or received over Wi-Fi.
    :param relative_error: standard error of the watts, as a share of them.
    :param source: a calibration, or who has published the figures.
    """

    idle_watts: float
    core_watts: float
    clock_exponent: float = USUAL_EXPONENT
    gpu_watts: float = 0.0
    joules_per_byte: float = 0.0
    relative_error: float = math.nan
    source: str = ''

    def watts(self, activity: Activity) -> float:
        """Return what the device draws; NaN where what it does is not known."""
        return self.idle_watts + self.active_watts(activity)

    def active_watts(self, activity: Activity) -> float:
        """Return what the device draws above idleness."""
        return (
            self.core_watts * activity.busy_cores * math.pow(activity.clock_ratio, self.clock_exponent)
            + self.gpu_watts * activity.gpu_share
            + self.joules_per_byte * activity.radio_bytes_per_second
        )

    def stage_joules(self, core_seconds: float, *, clock_ratio: float = 1.0) -> tuple[float, float]:
        """Return what a stage adds to idleness and the standard error of that, in joules.

        :param core_seconds: CPU time of all its threads.
        """
        joules = self.active_watts(Activity(core_seconds, clock_ratio))
        return joules, joules * self.relative_error


def default_path() -> Path:
    """Return where ``calibrate`` leaves this device's model, and everyone looks for it."""
    return cache.cache_dir() / 'power_model.json'


def save_model(model: PowerModel, path: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write a model as JSON.

    :param more: further keys, such as the fit's errors; they are not read again.
    """
    document = {**asdict(model), **(more or {})}
    cache.write_atomic(path, f'{json.dumps(document, indent=2)}\n'.encode())


def load_model(path: Path) -> PowerModel:
    """Read a model.

    :raises UserError: if it cannot be read, or a coefficient is missing or no number.
    """
    names = {field.name for field in fields(PowerModel)}
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
        model = PowerModel(**{name: value for name, value in document.items() if name in names})
        numbers = [float(getattr(model, name)) for name in names if name not in ('source', 'relative_error')]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: not a power model ({error}); make one with `edge-dnn-partition calibrate`') from None
    if not all(value >= 0 and math.isfinite(value) for value in numbers):
        raise UserError(f'{path}: a coefficient is negative or not a number; make it again with `edge-dnn-partition calibrate`')
    return model


def board_name(root: str = '') -> str:
    """Return what the device tree or the BIOS calls this device, empty if neither does."""
    return text_or_empty(f'{root}/proc/device-tree/model') or text_or_empty(f'{root}/sys/class/dmi/id/product_name')


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
        return self._total.reading('model', 'board', error, kind='modelled', note=self.model.source)
