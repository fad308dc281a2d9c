# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Wire messages to the project's own types, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from builtin_interfaces.msg import Time

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.msg import GpuState, PowerState, Telemetry
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.reading import PowerReading, parts
from edge_dnn_partition.sensing.sources.battery import BatteryReading
from edge_dnn_partition.sensing.sources.cpu import ClockReading, CpuReading
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.sensing.sources.limits import LimitsReading, QuotaReading
from edge_dnn_partition.sensing.sources.memory import MemoryReading, PressureReading
from edge_dnn_partition.sensing.sources.network import Interface
from edge_dnn_partition.sensing.sources.process import ProcessReading
from edge_dnn_partition.sensing.sources.thermal import ThermalReading, ThrottlingReading

_INTERFACE_FIELDS: Final = (
    'sent_bytes_per_second', 'received_bytes_per_second', 'drops_per_second', 'link_bytes_per_second', 'signal_dbm',
)  # fmt: skip

_FIELDS: Final = {
    'cpu': {'percent': 'cpu_percent', 'load_1min': 'load_1min'},
    'process': {'cpu_percent': 'process_cpu_percent', 'resident_bytes': 'process_resident_bytes'},
    'memory': {
        'total_bytes': 'memory_total_bytes', 'available_bytes': 'memory_available_bytes',
        'swap_total_bytes': 'swap_total_bytes', 'swap_used_bytes': 'swap_used_bytes',
    },
    'pressure': {
        'cpu_percent': 'cpu_pressure_percent', 'memory_percent': 'memory_pressure_percent',
        'io_percent': 'io_pressure_percent',
    },
    'thermal': {'cpu_celsius': 'temperature_celsius', 'gpu_celsius': 'gpu_temperature_celsius'},
    'clock': {'hertz': 'clock_hertz', 'max_hertz': 'clock_max_hertz', 'limit_hertz': 'clock_limit_hertz'},
}  # fmt: skip
"""The message's fields by the sample's parts and their fields."""

_QUOTA_FIELDS: Final = ('cores', 'period_seconds', 'used_cores', 'throttled_percent')

_GPU_FIELDS: Final = {
    'name': 'name', 'percent': 'percent', 'memory_used_bytes': 'memory_used_bytes',
    'memory_total_bytes': 'memory_total_bytes', 'celsius': 'temperature_celsius', 'hertz': 'clock_hertz',
}  # fmt: skip


def telemetry_to_message(
    sample: HostSample, *, device: str, incarnation: int, stamp: Time, left_out: Sequence[str] = ()
) -> Telemetry:
    """Return a host's state as a message.

    :param device: whose state it is.
    :param incarnation: of the process that measured it.
    :param stamp: when.
    :param left_out: sources that fail or hang, with the reason.
    """
    message = Telemetry(
        device=device,
        incarnation=incarnation,
        cpu_percent_per_core=list(sample.cpu.percent_per_core),
        throttling_known=sample.throttling is not None,
        throttling=list(sample.throttling.flags) if sample.throttling is not None else [],
        interfaces=[interface.name for interface in sample.interfaces],
        battery_percent=sample.battery.percent if sample.battery is not None else math.nan,
        battery_discharge_watts=sample.battery.discharge_watts if sample.battery is not None else math.nan,
        gpus=[GpuState(**{to: getattr(gpu, name) for name, to in _GPU_FIELDS.items()}) for gpu in sample.gpus],
        left_out=list(left_out),
    )
    for part, fields in _FIELDS.items():
        for name, to in fields.items():
            setattr(message, to, float(getattr(getattr(sample, part), name)))
    for name in _INTERFACE_FIELDS:
        setattr(message, name, [getattr(interface, name) for interface in sample.interfaces])
    in_total = parts(sample.power)
    message.power = [PowerState(**vars(reading), in_total=reading in in_total) for reading in sample.power]
    for name in _QUOTA_FIELDS:
        setattr(message, f'quota_{name}', getattr(sample.limits.quota, name))
    message.header.stamp = stamp
    message.header.frame_id = device
    return message


def telemetry_from_message(message: Telemetry) -> HostSample:
    """Return what a telemetry message says of a host.

    :raises WireError: if its lists of interfaces contradict each other.
    """
    names = list(message.interfaces)
    lists = [list(getattr(message, name)) for name in _INTERFACE_FIELDS]
    if any(len(values) != len(names) for values in lists):
        counts = ', '.join(
            f'{len(values)} {name}' for name, values in zip(_INTERFACE_FIELDS, lists, strict=True)
        )
        raise WireError(f'telemetry of {message.device!r}: {len(names)} interfaces with {counts}')

    def part(name: str) -> dict[str, Any]:
        return {field: getattr(message, source) for field, source in _FIELDS[name].items()}

    battery = BatteryReading(
        percent=message.battery_percent,
        discharge_watts=message.battery_discharge_watts,
        charging=message.battery_discharge_watts == 0,
    )
    told = math.isfinite(battery.percent) or math.isfinite(battery.discharge_watts)
    return HostSample(
        cpu=CpuReading(**part('cpu'), percent_per_core=tuple(message.cpu_percent_per_core)),
        memory=MemoryReading(**part('memory')),
        pressure=PressureReading(**part('pressure')),
        clock=ClockReading(**part('clock')),
        thermal=ThermalReading(**part('thermal')),
        throttling=ThrottlingReading(tuple(message.throttling)) if message.throttling_known else None,
        interfaces=tuple(map(Interface, names, *lists)),
        limits=LimitsReading(quota=QuotaReading(**{name: getattr(message, f'quota_{name}') for name in _QUOTA_FIELDS})),
        gpus=tuple(
            GpuReading(**{name: getattr(gpu, source) for name, source in _GPU_FIELDS.items()}) for gpu in message.gpus
        ),
        battery=battery if told else None,
        process=ProcessReading(**part('process')),
        power=tuple(
            PowerReading(**{name: getattr(state, name) for name in PowerReading.__dataclass_fields__})
            for state in message.power
        ),
    )
