# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler publishes for people: the fleet's state, diagnostics (REP 107), plots, records of switches."""

from __future__ import annotations

import math
import time
from typing import Any, Final

from std_msgs.msg import Float64

from edge_dnn_partition.cache import troubles
from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler
from edge_dnn_partition.monitoring.health import Health, Rising, StreamWatch, device_health, pipeline_health
from edge_dnn_partition.msg import Calibration, DeviceEnergy, DeviceState, FleetState, LinkState
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.topics import DIAGNOSTICS

from .explanations import ExplanationPublisher

try:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
except ImportError:
    DiagnosticArray = None

_STATE_SECONDS: Final = 0.5
_DIAGNOSTICS_SECONDS: Final = 1.0
_LONGEST_PLOT_SECONDS: Final = 3600.0
_UNHEARD_SECONDS: Final = 3.0
"""Where nobody subscribes, the state is published for who comes, and diagnostics are kept up to date, so often; and who subscribes
to plots is looked up."""


class ReportPublisher:
    """Publishes while the scheduler is active; diagnostics where diagnostic_msgs is installed.

    :param node: the scheduler.
    """

    def __init__(
        self, node: FleetNode, scheduler: FleetScheduler, watch: StreamWatch, explanations: ExplanationPublisher
    ) -> None:
        self._node, self._scheduler, self._watch, self._explanations = node, scheduler, watch, explanations
        self._energy: dict[str, DeviceEnergy] = {}
        self._rising = Rising()
        self._state_at = self._diagnostics_at = self._listeners_at = -math.inf
        self._plotted: frozenset[str] = frozenset()
        """The figures to which somebody subscribes."""
        topics = node.topics
        self._states = node.advertise(FleetState, topics.state, qos.STATE, overridable=True)
        node.every(_STATE_SECONDS, self._publish_state)
        self._calibrations = node.advertise(Calibration, topics.calibration, qos.CALIBRATION, overridable=True)
        names = ['latency_ms', 'fps', 'energy_joules', 'regret']
        names += [f'bandwidth_mbit_per_second/{a}_to_{b}' for a, b in scheduler.view.links()]
        names += [f'load_percent/{device}' for device in scheduler.view.devices]
        self._plots: dict[str, Any] = {
            name: node.advertise(Float64, topics.plot(name), qos.PLOT, overridable=True) for name in names
        }
        timer = node.every(self._plot_seconds, self._publish_plots)
        node.params.on_change(lambda *_: timer.set_period(self._plot_seconds), 'plot_hz')
        if DiagnosticArray is None:
            node.get_logger().info('no diagnostics: diagnostic_msgs is not installed')
        else:
            self._diagnostics = node.advertise(DiagnosticArray, DIAGNOSTICS, qos.DIAGNOSTICS, overridable=True)
            node.every(_DIAGNOSTICS_SECONDS, self._publish_diagnostics)

    # The fleet's state ----------------------------------------------------------------------------------------

    def on_energy(self, message: DeviceEnergy) -> None:
        """Record what a device draws."""
        self._energy[message.device] = message

    def _publish_state(self) -> None:
        now, scheduler = time.monotonic(), self._scheduler
        if now - self._state_at < _UNHEARD_SECONDS and not self._states.get_subscription_count():
            return
        self._state_at = now
        view, active = scheduler.view, scheduler.switch.active
        alive, factors, reasons = view.alive(now), view.factors(now), scheduler.estimator.derating.reasons
        message = FleetState(
            stamp=self._node.get_clock().now().to_msg(), plan_version=active.version if active else 0,
            decision=scheduler.decision_words(now), planning_seconds=scheduler.planning_seconds,
        )  # fmt: skip
        for name, known in view.devices.items():
            energy = self._energy.get(name)
            message.devices.append(DeviceState(
                device=name, alive=name in alive,
                profiled=known.profile is not None and not known.profile.guessed, speed_factor=factors[name],
                cpu_percent=known.cpu_percent, memory_available_bytes=known.memory_available_bytes,
                temperature_celsius=known.temperature_celsius, watts=math.nan if energy is None else energy.watts,
                energy_kind='' if energy is None else energy.kind, derating=reasons.get(name, ''),
            ))  # fmt: skip
        for (a, b), link in view.links().items():
            message.links.append(LinkState(
                sender=a, receiver=b, measured=link.measured, bytes_per_second=link.bytes_per_second,
                latency_seconds=link.latency_seconds,
            ))  # fmt: skip
        self._states.publish(message)

    # Records of switches --------------------------------------------------------------------------------------

    def publish_calibration(self) -> None:
        """Publish the switches that were assessed since, and keep the record."""
        runner = self._scheduler.runner
        record = runner.record
        if not record.fresh:
            return
        while record.fresh:
            found = record.fresh.popleft()
            self._calibrations.publish(Calibration(
                stamp=self._node.get_clock().now().to_msg(), predicted_seconds=found.predicted_seconds,
                low_seconds=found.low_seconds, high_seconds=found.high_seconds, measured_seconds=found.measured_seconds,
                inside=found.inside, predicted_gain=found.predicted_gain, measured_gain=found.measured_gain,
                switches=len(record.assessments), level=record.settings.level, coverage=record.coverage, bias=record.bias,
                paid=record.paid, hysteresis=record.hysteresis,
            ))  # fmt: skip
        runner.keep_record()

    # Plots, for rqt_plot and PlotJuggler ----------------------------------------------------------------------

    @property
    def _plot_seconds(self) -> float:
        rate = self._node.params.number('plot_hz')
        return 1 / rate if rate > 0 else _LONGEST_PLOT_SECONDS

    def _publish_plots(self) -> None:
        """Publish the figures that are known."""
        if not self._node.params.number('plot_hz'):
            return
        now = time.monotonic()
        if now - self._listeners_at >= _UNHEARD_SECONDS:
            self._listeners_at = now
            self._plotted = frozenset(name for name, plot in self._plots.items() if plot.get_subscription_count())
        if not self._plotted:
            return
        figures, view = self._watch.figures(now), self._scheduler.view
        best = self._explanations.last.best_latency_seconds if self._explanations.last is not None else math.nan
        values = {
            'latency_ms': figures.latency_seconds * 1e3,
            'fps': figures.fps,
            'energy_joules': figures.energy_joules,
            'regret': figures.latency_seconds / best if best > 0 else math.nan,
        }
        for (a, b), link in view.links().items():
            values[f'bandwidth_mbit_per_second/{a}_to_{b}'] = link.bytes_per_second * 8e-6
        for name, device in view.devices.items():
            values[f'load_percent/{name}'] = device.cpu_percent
        for name, value in values.items():
            if name in self._plotted and math.isfinite(value):
                self._plots[name].publish(Float64(data=float(value)))

    # Diagnostics ----------------------------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        """Publish one status for each device and one for the pipeline."""
        now, scheduler = time.monotonic(), self._scheduler
        if now - self._diagnostics_at < _UNHEARD_SECONDS and not self._diagnostics.get_subscription_count():
            return
        self._diagnostics_at = now
        view, plan, reasons = scheduler.view, scheduler.switch.active, scheduler.estimator.derating.reasons
        ready = view.ready(now)
        gone = [name for name in view.devices if name not in ready]
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for name in view.devices:
            health = device_health(name, view, self._watch, self._rising, plan, now, derating=reasons.get(name, ''))
            message.status.append(self._status(f'device {name}', f'{self._node.topics.fleet}/{name}', health))
        whole = pipeline_health(plan, self._watch, self._rising, scheduler.decision, gone, now, troubles())
        message.status.append(self._status('pipeline', self._node.topics.fleet, whole))
        self._diagnostics.publish(message)

    def _status(self, task: str, hardware: str, health: Health) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([health.level]), name=f'{self._node.topics.fleet}/{self._node.get_name()}: {task}',
            hardware_id=hardware, message=health.message,
            values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
        )  # fmt: skip
