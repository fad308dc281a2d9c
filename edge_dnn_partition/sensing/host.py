# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The state of this host: CPU, memory, network, temperature and clock, from psutil.

What a host does not tell is NaN (or an empty tuple), never 0: a planner must not take
a missing sensor for a cold or idle device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

_UNKNOWN: Final = math.nan

_CPU_CHIPS: Final = ('coretemp', 'k10temp', 'k8temp', 'zenpower', 'soc_thermal', 'soc-thermal')
"""Names of CPU sensors in /sys/class/hwmon that do not say cpu: Intel, AMD, and boards."""

_FALLBACK_CHIP: Final = 'acpitz'

_PLAUSIBLE_CELSIUS: Final = (-40.0, 150.0)


@dataclass(frozen=True)
class Interface:
    """What a network interface carries.

    :param name: such as ``eth0``.
    :param sent_bytes_per_second: NaN where unknown, as in the first sample.
    :param received_bytes_per_second: likewise.
    """

    name: str
    sent_bytes_per_second: float
    received_bytes_per_second: float


@dataclass(frozen=True)
class HostSample:
    """The state of a host, at one time or since the sample before; NaN or empty: unknown.

    :param cpu_percent: of all cores together, 0 to 100.
    :param cpu_percent_per_core: 0 to 100 each.
    :param load_1min: runnable processes, averaged over a minute.
    :param memory_total_bytes: physical memory.
    :param memory_available_bytes: what a new process could get without swapping.
    :param swap_used_bytes: of the swap space.
    :param temperature_celsius: of the hottest CPU sensor.
    :param clock_hertz: mean of the cores.
    :param clock_max_hertz: highest clock that the cores may take.
    :param interfaces: by name.
    """

    cpu_percent: float
    cpu_percent_per_core: tuple[float, ...]
    load_1min: float
    memory_total_bytes: float
    memory_available_bytes: float
    swap_used_bytes: float
    temperature_celsius: float
    clock_hertz: float
    clock_max_hertz: float
    interfaces: tuple[Interface, ...]


@dataclass(frozen=True)
class HostCounters:
    """Counters that only rise; rates come from two of these.

    :param seconds: when, on any steady clock.
    :param cores: busy and total CPU seconds of each core.
    :param sent_bytes: by interface.
    :param received_bytes: by interface.
    """

    seconds: float
    cores: tuple[tuple[float, float], ...]
    sent_bytes: Mapping[str, int]
    received_bytes: Mapping[str, int]


def _ask(source: Any, name: str, **options: bool) -> Any:
    """Return what a psutil function says, None if this platform or container does not tell."""
    try:
        return getattr(source, name)(**options)
    except (AttributeError, NotImplementedError, OSError, RuntimeError, ValueError):
        return None


def _core(times: Any) -> tuple[float, float]:
    """Return a core's busy and total seconds; guests are part of user and nice already."""
    parts = times._asdict()
    total = sum(parts.values()) - parts.get('guest', 0.0) - parts.get('guest_nice', 0.0)
    return total - parts.get('idle', 0.0) - parts.get('iowait', 0.0), total


def read_counters(now_seconds: float, source: Any = psutil) -> HostCounters:
    """Read the counters of this host.

    :param now_seconds: the time, on a steady clock.
    :param source: psutil, or what stands in for it.
    """
    cores: Sequence[Any] = _ask(source, 'cpu_times', percpu=True) or ()
    network: Mapping[str, Any] = _ask(source, 'net_io_counters', pernic=True) or {}
    return HostCounters(
        seconds=now_seconds,
        cores=tuple(_core(times) for times in cores),
        sent_bytes={name: counters.bytes_sent for name, counters in network.items()},
        received_bytes={name: counters.bytes_recv for name, counters in network.items()},
    )


def cpu_percents(before: HostCounters, after: HostCounters) -> tuple[float, tuple[float, ...]]:
    """Return the CPU use between two readings, of all cores together and of each.

    A core whose counters did not move (twice read within a clock tick) is unknown; a set of cores that
    changed makes all unknown.
    """
    if len(before.cores) != len(after.cores):
        return _UNKNOWN, ()
    busy = [now[0] - then[0] for then, now in zip(before.cores, after.cores, strict=True)]
    total = [now[1] - then[1] for then, now in zip(before.cores, after.cores, strict=True)]
    per_core = tuple(map(_percent, busy, total))
    return _percent(math.fsum(busy), math.fsum(total)), per_core


def _percent(busy_seconds: float, total_seconds: float) -> float:
    if total_seconds <= 0:
        return _UNKNOWN
    return min(100.0, max(0.0, 100.0 * busy_seconds / total_seconds))  # iowait may run backwards


def interface_rates(before: HostCounters | None, after: HostCounters) -> tuple[Interface, ...]:
    """Return the rates of all present interfaces; one that is new or was reset has unknown ones."""

    def rate(then: Mapping[str, int], now: Mapping[str, int], name: str) -> float:
        seconds = after.seconds - before.seconds if before is not None else 0.0
        if seconds <= 0 or name not in then or now[name] < then[name]:
            return _UNKNOWN
        return (now[name] - then[name]) / seconds

    sent = before.sent_bytes if before is not None else {}
    received = before.received_bytes if before is not None else {}
    return tuple(
        Interface(name, rate(sent, after.sent_bytes, name), rate(received, after.received_bytes, name))
        for name in sorted(after.sent_bytes)
    )


def cpu_temperature(chips: Mapping[str, Sequence[Any]]) -> float:
    """Return the temperature of the hottest CPU sensor, degrees Celsius.

    :param chips: what `psutil.sensors_temperatures` returns: sensors (``label``, ``current``) by chip. A
        sensor is a CPU's if its chip or its label says so; without one, ACPI's zone stands in.
    """

    def readings(wanted: Callable[[str, str], bool]) -> list[float]:
        low, high = _PLAUSIBLE_CELSIUS
        return [
            float(sensor.current)
            for chip, sensors in chips.items()
            for sensor in sensors
            if wanted(chip.lower(), (sensor.label or '').lower())
            and sensor.current is not None
            and low < sensor.current < high
        ]

    found = readings(lambda chip, label: chip in _CPU_CHIPS or 'cpu' in chip or 'cpu' in label)
    found = found or readings(lambda chip, _: chip == _FALLBACK_CHIP)
    return max(found, default=_UNKNOWN)


def _hertz(megahertz: float | None) -> float:
    return megahertz * 1e6 if megahertz else _UNKNOWN


class HostMeter:
    """Samples this host; rates are over the time since the sample before.

    :param source: psutil, or what stands in for it.
    """

    def __init__(self, source: Any = psutil) -> None:
        self._source = source
        self._before: HostCounters | None = None

    def sample(self, now_seconds: float) -> HostSample:
        """Return the present state; the first one knows no rates.

        :param now_seconds: the time, on a steady clock.
        """
        source = self._source
        before, after = self._before, read_counters(now_seconds, source)
        self._before = after
        cpu_percent, per_core = cpu_percents(before, after) if before is not None else (_UNKNOWN, ())
        load = _ask(source, 'getloadavg')
        memory = _ask(source, 'virtual_memory')
        swap = _ask(source, 'swap_memory')
        clock = _ask(source, 'cpu_freq')
        return HostSample(
            cpu_percent=cpu_percent,
            cpu_percent_per_core=per_core,
            load_1min=float(load[0]) if load else _UNKNOWN,
            memory_total_bytes=float(memory.total) if memory else _UNKNOWN,
            memory_available_bytes=float(memory.available) if memory else _UNKNOWN,
            swap_used_bytes=float(swap.used) if swap else _UNKNOWN,
            temperature_celsius=cpu_temperature(_ask(source, 'sensors_temperatures') or {}),
            clock_hertz=_hertz(clock.current if clock else None),
            clock_max_hertz=_hertz(clock.max if clock else None),
            interfaces=interface_rates(before, after),
        )
