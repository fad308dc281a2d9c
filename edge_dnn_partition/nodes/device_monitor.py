# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The node `device_monitor`: says what its device is, publishes the state of its host, and that it lives; hands on files."""

from __future__ import annotations

import json
import math
import platform
import time
from typing import TYPE_CHECKING, Any, Final

from sensor_msgs.msg import BatteryState
from std_msgs.msg import Float32

from edge_dnn_partition import __version__
from edge_dnn_partition.cache import troubles
from edge_dnn_partition.deployment.node_parameters import DEVICE_MONITOR
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.msg import DeviceDescription, Heartbeat, Telemetry
from edge_dnn_partition.nodes.conversions.conversions import telemetry_to_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.transport.blob_server import BlobServer
from edge_dnn_partition.sensing.host import HostMeter, HostSample
from edge_dnn_partition.sensing.power.boards import device_model
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.source import Source
from edge_dnn_partition.sensing.sources.battery import BatteryTopicSource
from edge_dnn_partition.sensing.sources.power_topic import ExternalMeter
from edge_dnn_partition.transport.blobs import BlobStore

if TYPE_CHECKING:
    from edge_dnn_partition.nodes.transport.model_fetcher import ModelFetcher

_SENSOR_SECONDS: Final = 0.5
"""How long a sensor may take before it is left out: meanwhile this node does nothing else."""
_FAREWELL_SECONDS: Final = 0.1
"""How long the last word is waited for."""


class DeviceMonitor(FleetNode):
    """Publishes DeviceDescription, Telemetry and Heartbeat of the device that it runs on.

    :param root: of the proc and sysfs that are read; empty for this machine's own.
    :param kwargs: for `FleetNode`.
    """

    def __init__(self, *, root: str = '', **kwargs: Any) -> None:
        super().__init__('device_monitor', DEVICE_MONITOR, one_for='device', **kwargs)
        self._root = root
        self._timer: Any = None
        self._left_out: tuple[str, ...] = ()
        self._site = ''
        self.params.on_change(self._follow_rate, 'rate_hz')

    def setup(self) -> None:
        """Make the publishers, the subscriptions and the timer."""
        if self.params.text('fleet_file'):
            self._site = self.load_fleet().site_of(self.topics.device)
        self._meter = HostMeter(self._root, self._heard(), self._model(), deadline_seconds=_SENSOR_SECONDS)
        self._telemetry = self.advertise(Telemetry, self.topics.telemetry, qos.TELEMETRY, overridable=True)
        self._heartbeat = self.advertise(Heartbeat, self.topics.heartbeat, qos.HEARTBEAT)
        self._description = self.advertise(DeviceDescription, self.topics.devices, qos.DEVICES)
        BlobServer(self, self.topics, self.topics.device, BlobStore().find)
        self._models: ModelFetcher | None = None
        if self.params.text('fleet_file'):
            self._models = self._model_fetcher()
        self._timer = self.every(1 / self.params.number('rate_hz'), self._publish)

    def start(self) -> None:
        """Take the first reading, so that the first telemetry knows rates, and say what this device is."""
        self._describe(self._meter.sample(time.monotonic()))

    def begin_drain(self, *, ending: bool) -> float:
        """Say that the device leaves, if its process ends: the fleet need not wait for heartbeats that do not come."""
        if ending:
            self._description.publish(DeviceDescription(
                stamp=self.get_clock().now().to_msg(), device=self.topics.device, incarnation=self.incarnation, leaving=True
            ))  # fmt: skip
        return 0.0

    def give_up(self) -> None:
        """Let the word reach those that hear it."""
        self.flush(self._description, seconds=_FAREWELL_SECONDS)

    def teardown(self) -> None:
        """Forget the timer, which is about to go."""
        self._timer = None

    def _heard(self) -> list[Source[Any]]:
        """Subscribe to what the parameters name and return it as sources."""
        sources: list[Source[Any]] = []
        topic = self.params.text('power_topic')
        if topic:
            meter = ExternalMeter(topic)
            sources.append(meter)
            self.subscribe(
                Float32, topic, lambda message: meter.on_watts(time.monotonic(), message.data), qos.SENSOR, overridable=True
            )
        topic = self.params.text('battery_topic')
        if topic:
            battery = BatteryTopicSource(topic)
            discharge = ExternalMeter(topic, name='battery_topic_meter', kind='battery')
            sources += [battery, discharge]

            def take(message: BatteryState) -> None:
                now = time.monotonic()
                reading = battery.on_state(
                    now,
                    fraction=message.percentage,
                    volts=message.voltage,
                    amperes=message.current,
                    discharging=_discharging(message),
                )
                discharge.on_watts(now, math.nan if reading.charging else reading.discharge_watts)

            self.subscribe(BatteryState, topic, take, qos.SENSOR, overridable=True)
        return sources

    def _model(self) -> PowerModel | None:
        """Return the power model of this device, which stands in where nothing measures."""
        try:
            return device_model(self._root)
        except (UserError, OSError) as error:
            self.get_logger().warning(f'no power model: {error}')
            return None

    def _model_fetcher(self) -> ModelFetcher:
        from edge_dnn_partition.nodes.transport.model_fetcher import ModelFetcher

        return ModelFetcher(self, lambda: self._describe(self._meter.sample(time.monotonic())))

    def _describe(self, sample: HostSample) -> None:
        cores, memory = sample.limits.whole_cores, sample.memory.total_bytes
        self._description.publish(DeviceDescription(
            stamp=self.get_clock().now().to_msg(), device=self.topics.device, incarnation=self.incarnation,
            site=self._site, entry=json.dumps({'threads': cores}), release=__version__, machine=platform.machine(), cores=cores,
            memory_bytes=memory, providers=self._providers(),
            meters=list(self._meter.meters()), model_sha256=sorted(self._models.models) if self._models is not None else [],
        ))  # fmt: skip

    def _providers(self) -> list[str]:
        """Return what onnxruntime can use here; nothing where the worker, which loads it, is in another process."""
        if 'worker' not in self.neighbours:
            return []
        from edge_dnn_partition.execution.stages.engine import available_providers

        return list(available_providers())

    def _follow_rate(self, _name: str, rate_hz: float) -> None:
        if self._timer is not None:
            self._timer.set_period(1 / rate_hz)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        device = self.topics.device
        sample = self._meter.sample(time.monotonic())
        self._say_what_is_left_out()
        self._telemetry.publish(
            telemetry_to_message(
                sample, device=device, incarnation=self.incarnation, stamp=stamp, left_out=self._left_out
            )
        )
        resident = sample.process.resident_bytes
        self._heartbeat.publish(
            Heartbeat(
                stamp=stamp,
                device=device,
                node='device_monitor',
                incarnation=self.incarnation,
                resident_bytes=int(resident) if math.isfinite(resident) else 0,
                process_cpu_percent=sample.process.cpu_percent,
                speed_factor=math.nan,
                refused=sum(self.refused.values()),
                last_refusal=self.last_refusal,
                troubles=troubles(),
            )
        )

    def _say_what_is_left_out(self) -> None:
        """Log each source that begins to fail or hang, once."""
        broken = [state for state in self._meter.states() if state.status in ('failed', 'hanging')]
        left_out = tuple(f'{state.name}: {state.found}' for state in broken)
        for text in left_out:
            if text not in self._left_out:
                self.get_logger().warning(f'skipped for now: {text}')
        self._left_out = left_out


def _discharging(message: BatteryState) -> bool:
    """Return whether the battery gives power; many drivers leave the status unknown and tell by the current's sign."""
    status = message.power_supply_status
    if status == BatteryState.POWER_SUPPLY_STATUS_UNKNOWN:
        return bool(message.current < 0)
    return bool(status == BatteryState.POWER_SUPPLY_STATUS_DISCHARGING)


NODE: Final = DeviceMonitor
