# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's figures as flat float topics, for rqt_plot and PlotJuggler."""

from __future__ import annotations

import math
import time
from typing import Any, Final

from std_msgs.msg import Float64

from edge_dnn_partition.control.state.snapshot import FleetView
from edge_dnn_partition.monitoring.stream_watch import StreamWatch
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode

from .explanations import ExplanationPublisher

_LONGEST_PERIOD_SECONDS: Final = 3600.0


class PlotPublisher:
    """Publishes what is known, and nothing where nothing is.

    :param node: the scheduler.
    """

    def __init__(self, node: FleetNode, view: FleetView, watch: StreamWatch, explanations: ExplanationPublisher) -> None:
        self._node, self._view, self._watch, self._explanations = node, view, watch, explanations
        names = ['latency_ms', 'fps', 'energy_joules', 'regret']
        names += [f'bandwidth_mbit_per_second/{a}_to_{b}' for a, b in view.links()]
        names += [f'load_percent/{device}' for device in view.devices]
        self._publishers: dict[str, Any] = {
            name: node.advertise(Float64, node.topics.plot(name), qos.PLOT, overridable=True) for name in names
        }
        self._timer = node.every(self._period, self._publish)
        node.params.on_change(lambda *_: node.set_period(self._timer, self._period), 'plot_hz')

    @property
    def _period(self) -> float:
        rate = self._node.params.number('plot_hz')
        return 1 / rate if rate > 0 else _LONGEST_PERIOD_SECONDS

    def _publish(self) -> None:
        if not self._node.params.number('plot_hz'):
            return
        figures = self._watch.figures(time.monotonic())
        best = self._explanations.last.best_latency_seconds if self._explanations.last is not None else math.nan
        values = {
            'latency_ms': figures.latency_seconds * 1e3,
            'fps': figures.fps,
            'energy_joules': figures.energy_joules,
            'regret': figures.latency_seconds / best if best > 0 else math.nan,
        }
        for (a, b), link in self._view.links().items():
            values[f'bandwidth_mbit_per_second/{a}_to_{b}'] = link.bytes_per_second * 8e-6
        for name, device in self._view.devices.items():
            values[f'load_percent/{name}'] = device.cpu_percent
        for name, value in values.items():
            if math.isfinite(value):
                self._publishers[name].publish(Float64(data=float(value)))
