# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The state of this host, from all sources that it has.

What a host does not tell is NaN, None or empty, never 0: a planner must not take a missing sensor for a
cold or idle device.
"""

from __future__ import annotations

import errno
import importlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, NamedTuple

from edge_dnn_partition.sensing.power.model import ModelledPower, PowerModel, activity
from edge_dnn_partition.sensing.power.reading import Meter, PowerReading
from edge_dnn_partition.sensing.sources.battery import BatteryMeter, BatteryReading, BatterySource
from edge_dnn_partition.sensing.sources.cpu import ClockReading, ClockSource, CpuReading, CpuSource
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.sensing.sources.jetson import Ina3221Meter, JetsonGpuSource
from edge_dnn_partition.sensing.sources.jtop import JtopGpuSource, JtopMeter
from edge_dnn_partition.sensing.sources.limits import LimitsReading, LimitsSource
from edge_dnn_partition.sensing.sources.memory import MemoryReading, MemorySource, PressureReading, PressureSource
from edge_dnn_partition.sensing.sources.network import BitRate, Interface, NetworkSource, ask_bit_rate
from edge_dnn_partition.sensing.sources.nvidia import NvidiaGpuSource, NvmlMeter
from edge_dnn_partition.sensing.sources.pi_pmic import PiPmicMeter
from edge_dnn_partition.sensing.sources.process import ProcessReading, ProcessSource
from edge_dnn_partition.sensing.sources.rapl import RaplMeter
from edge_dnn_partition.sensing.sources.thermal import ThermalReading, ThermalSource, ThrottlingReading, ThrottlingSource
from edge_dnn_partition.sensing.sources.zeus import ZeusMeter

from .files import Run, run_command
from .sampler import Sampler, SourceState
from .source import Source
from .sources.jtop import Jtop
from .sources.nvidia import Import


@dataclass(frozen=True)
class HostSample:
    """The state of a host, at one time or since the sample before; NaN, None or empty: unknown.

    :param cpu: relative to what this process may use, by ``limits``; so is the memory.
    :param throttling: None if nobody tells; a reading without flags says that nothing holds back.
    :param interfaces: of the network, by name.
    :param process: the process that was asked for, by default the one that samples.
    :param power: of all meters; `edge_dnn_partition.sensing.power.reading` says which make the total.
    """

    cpu: CpuReading = field(default_factory=CpuReading)
    memory: MemoryReading = field(default_factory=MemoryReading)
    pressure: PressureReading = field(default_factory=PressureReading)
    clock: ClockReading = field(default_factory=ClockReading)
    thermal: ThermalReading = field(default_factory=ThermalReading)
    throttling: ThrottlingReading | None = None
    interfaces: tuple[Interface, ...] = ()
    gpus: tuple[GpuReading, ...] = ()
    battery: BatteryReading | None = None
    process: ProcessReading = field(default_factory=ProcessReading)
    power: tuple[PowerReading, ...] = ()
    limits: LimitsReading = field(default_factory=LimitsReading)


class _Ways(NamedTuple):
    """How else than by files a device is asked: this machine's own libraries, commands and drivers."""

    load: Import
    run: Run
    bit_rate: BitRate


def _ways(root: str) -> _Ways:
    """Return this machine's own ways, or for another root none: what was recorded there is files."""
    if not root:
        return _Ways(importlib.import_module, run_command, ask_bit_rate)

    def no_module(name: str) -> ModuleType:
        raise ModuleNotFoundError(name)

    def no_command(command: Sequence[str]) -> str:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])

    return _Ways(no_module, no_command, lambda interface: math.nan)


def telemetry_sources(root: str = '', jtop: Jtop | None = None) -> list[Source[Any]]:
    """Return the sources of everything but power.

    :param root: of proc and sysfs; for any but this machine's own nothing but files is asked.
    :param jtop: a connection that power meters share.
    """
    ways = _ways(root)
    return [
        CpuSource(root), MemorySource(root), LimitsSource(root), PressureSource(root), ClockSource(root),
        ThermalSource(root), ThrottlingSource(root, ways.run), NetworkSource(root, ways.bit_rate), BatterySource(root),
        ProcessSource(root), JetsonGpuSource(root), JtopGpuSource(jtop or Jtop(ways.load)), NvidiaGpuSource(ways.load),
    ]  # fmt: skip


def power_meters(root: str = '', jtop: Jtop | None = None) -> list[Source[Any]]:
    """Return all power meters that a device may have of itself.

    :param root: of proc and sysfs; for any but this machine's own nothing but files is asked.
    :param jtop: a connection that other sources share.
    """
    ways = _ways(root)
    return [
        Ina3221Meter(root), RaplMeter(root), PiPmicMeter(root, ways.run), NvmlMeter(ways.load), BatteryMeter(root),
        JtopMeter(jtop or Jtop(ways.load), root), ZeusMeter(ways.load),
    ]  # fmt: skip


class HostMeter:
    """Samples this host; rates are over the time since the sample before.

    :param root: of proc and sysfs: empty for this machine's own.
    :param more: further sources, such as a meter that a node feeds.
    :param model: adds what it says to the power, as modelled.
    :param only_power: leave out all but the meters and what the model needs, the cores and their clock.
    :param gpus: keep the GPUs' use then, too.
    :param options: for `Sampler`.
    """

    def __init__(
        self, root: str = '', more: Iterable[Source[Any]] = (), model: PowerModel | None = None, *,
        only_power: bool = False, gpus: bool = False, **options: float,
    ) -> None:  # fmt: skip
        jtop = Jtop(_ways(root).load)
        telemetry = telemetry_sources(root, jtop)
        if only_power:
            wanted = (CpuSource, ClockSource, *((JetsonGpuSource, JtopGpuSource, NvidiaGpuSource) if gpus else ()))
            telemetry = [source for source in telemetry if isinstance(source, wanted)]
        sources = [*telemetry, *power_meters(root, jtop), *more]
        self._meters = [source.name for source in sources if isinstance(source, Meter)]
        self._modelled = ModelledPower(model) if model is not None else None
        self._sampler = Sampler(sources, **options)

    def sample(self, now_seconds: float) -> HostSample:
        """Return the present state; the first one knows no rates.

        :param now_seconds: the time, on a steady clock.
        """
        found = self._sampler.sample(now_seconds)
        limits, cpu = found.get('limits', LimitsReading()), found.get('cpu', CpuReading())
        sample = HostSample(
            cpu=limits.cpu(cpu),
            memory=limits.memory(found.get('memory', MemoryReading())),
            limits=limits,
            pressure=found.get('pressure', PressureReading()),
            clock=found.get('clock', ClockReading()),
            thermal=found.get('thermal', ThermalReading()),
            throttling=found.get('throttling'),
            interfaces=found.get('network', ()),
            gpus=(found.get('jtop_gpu') or found.get('jetson_gpu', ())) + found.get('nvidia_gpu', ()),
            battery=found.get('battery_topic') or found.get('battery'),
            process=found.get('process', ProcessReading()),
            power=tuple(reading for name in self._meters for reading in found.get(name, ())),
        )
        if self._modelled is None:
            return sample
        present = activity(cpu, sample.clock, sample.gpus, sample.interfaces)
        return replace(sample, power=(*sample.power, self._modelled.update(now_seconds, present)))

    def meters(self) -> tuple[str, ...]:
        """Return the power meters that read something."""
        return tuple(state.name for state in self.states() if state.status == 'ok' and state.name in self._meters)

    def states(self) -> tuple[SourceState, ...]:
        """Return what became of each source: what it reads, or why it is left out."""
        return self._sampler.states()
