# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A worker's energy: reads the device's meters on a thread of its own, counts joules, publishes the totals."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Final

from std_msgs.msg import Float32

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.frames.result_codec import Report
from edge_dnn_partition.execution.stages.engine import processor_of
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.execution.stages.stage_energy import StageEnergy, StageRun, Sum
from edge_dnn_partition.msg import DeviceEnergy
from edge_dnn_partition.msg import StageEnergy as StageEnergyMessage
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet
from edge_dnn_partition.planning.plans.plan import StagePlan
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.host import HostMeter
from edge_dnn_partition.sensing.power.attribution import Energy
from edge_dnn_partition.sensing.power.boards import device_model
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.segment_joules import SegmentJoules
from edge_dnn_partition.sensing.sources.power_topic import ExternalMeter
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.timing import HopTime, Radio

_MOST_SETTLED: Final = 400
"""Runs in one message; older ones are in the totals only."""

_SENSOR_SECONDS: Final = 0.5
_REST_SECONDS: Final = 1.0
"""Between readings where no stage has run for `_LONG_SECONDS`, if that is longer."""
_LONG_SECONDS: Final = 5.0
"""Longer than runs are kept to be settled."""


def fleet_model(device: Device) -> PowerModel | None:
    """Return the fleet file's power figures of a device as a model, None if it gives none of its work."""
    given = device.power.model_fields_set
    if 'active' not in given:
        return None
    idle = device.power.idle if 'idle' in given else math.nan
    return PowerModel(idle, device.power.active, source='the fleet file')


class EnergyMonitor:
    """The energy of one worker's device. One without meters has the fleet file's figures.

    :param node: the worker.
    :param publisher: of DeviceEnergy.
    :param device: as the fleet file describes it, with the parameters' threads.
    :param hardware: of the device.
    :param fleet: with the radios' watts.
    """

    def __init__(self, node: FleetNode, publisher: Any, device: Device, hardware: Hardware, fleet: Fleet) -> None:
        self._node, self._publisher = node, publisher
        self._ending: threading.Event | None = None
        """Set to end the thread that runs; None: none does."""
        self._ran_at = -math.inf
        self._stir = threading.Event()
        """Ends a wait of the thread."""
        self._settled: list[StageEnergyMessage] = []
        self._lock = threading.Lock()
        self.threads = device.threads
        self._processor = processor_of(device.providers[0])
        self._meter: HostMeter | None = None
        figures = fleet_model(device)
        model = figures
        if hardware.has_meters:
            self._meter = HostMeter(more=self._heard(), only_power=True, gpus=self._processor == 'gpu',
                                    deadline_seconds=_SENSOR_SECONDS)  # fmt: skip
            model = figures if figures is not None else self._board()
        self._energy = StageEnergy(model, whole_device=figures is not None, processor=self._processor)
        self._radio, self._name = Radio.of_fleet(fleet), node.topics.device
        self._at_source = self._name == fleet.source

    def profiled(self, profile: Profile) -> None:
        """Begin to learn the joules of the profile's segments, where there is a meter."""
        seconds = (profile.preprocess_seconds or 0.0, *profile.segment_seconds)
        self._energy.learn_segments(SegmentJoules(profile.boundaries, seconds, profile.seam_seconds), self._at_work)

    @property
    def _at_work(self) -> int:
        """What a stage keeps busy: its threads, or one GPU."""
        return 1 if self._processor == 'gpu' else self.threads

    def start(self) -> None:
        """Begin to read the meters, on the thread ``energy``."""
        self._ending = threading.Event()
        threading.Thread(target=self._watch, args=(self._ending,), name='energy', daemon=True).start()

    def stop(self) -> None:
        """End it: the thread ends with the reading that is under way."""
        if self._ending is not None:
            self._ending.set()
            self._ending = None
            self._stir.set()

    def ran(self, address: Address, stage: int, plan: StagePlan, start: float, end: float, cores: float) -> Energy:
        """Take in a run; return what is known of its energy at once.

        :param address: of the frame.
        :param stage: index in the plan.
        :param plan: the stage.
        :param start: seconds, steady clock; likewise ``end``.
        :param cores: that it kept busy on average.
        """
        rested, self._ran_at = self._at_rest, end
        if rested:
            self._stir.set()
        run = StageRun(address.plan_version, stage, address.frame_number, address.attempt, (plan.preprocess, plan.layers))
        return self._energy.ran(run, start, end, cores)

    def received(self, hop: HopTime, arrived: float) -> None:
        """Take in a hop that was received here."""
        if not self._at_source:
            self._moved(hop, self._radio.seconds(hop), arrived)

    def sent(self, hop: HopTime) -> None:
        """Take in a hop that left here, when it has been acknowledged."""
        if not self._at_source:
            self._moved(hop, self._radio.seconds(hop), time.monotonic())

    def on_report(self, report: Report) -> None:
        """Take in all hops of a frame, on the source's device: its other workers know of their own hops only."""
        for hop in report.hops:
            self._moved(hop, report.latency_seconds, time.monotonic())

    def _moved(self, hop: HopTime, seconds: float, end: float) -> None:
        joules = self._radio.joules_at(hop, self._name)
        if joules > 0:
            self._energy.moved(end - seconds, end, joules)

    def _heard(self) -> list[ExternalMeter]:
        topic = self._node.params.text('power_topic')
        if not topic:
            return []
        meter = ExternalMeter(topic)
        self._node.subscribe(
            Float32, topic, lambda message: meter.on_watts(time.monotonic(), message.data), qos.SENSOR, overridable=True
        )
        return [meter]

    def _board(self) -> PowerModel | None:
        try:
            return device_model()
        except (UserError, OSError) as error:
            self._node.get_logger().warning(f'no power model: {error}')
            return None

    @property
    def _at_rest(self) -> bool:
        return time.monotonic() - self._ran_at > _LONG_SECONDS

    def _watch(self, ending: threading.Event) -> None:
        failed = False
        while True:
            period = 1 / self._node.params.number('energy_hz')
            self._stir.wait(max(period, _REST_SECONDS) if self._at_rest else period)
            self._stir.clear()
            if ending.is_set():
                return
            try:
                now = time.monotonic()
                done = self._energy.take(now, self._meter.sample(now) if self._meter is not None else None)
            except Exception as error:  # noqa: BLE001 (a sensor must not end the thread, nor the worker)
                if not failed:
                    self._node.get_logger().warning(f'energy is unknown for now: {type(error).__name__}: {error}')
                failed = True
                continue
            with self._lock:
                self._settled = [*self._settled, *(_run_message(run, energy) for run, energy in done)][-_MOST_SETTLED:]

    def publish(self) -> None:
        """Publish the totals and what has been settled since the last time."""
        totals = self._energy.snapshot()
        self._energy.threads = self._at_work
        active, deviation = self._energy.active_watts(self._at_work)
        with self._lock:
            settled, self._settled = self._settled, []
        sums: dict[str, Any] = {}
        for name in ('total', 'idle', 'radio', 'other', 'stages'):
            part: Sum = getattr(totals, name)
            known = part.count > 0 and totals.covered_seconds > 0
            sums[f'{name}_joules'] = part.joules if known else math.nan
            if name != 'radio':
                sums[f'{name}_deviation_joules'] = part.error_joules if known else math.nan
        if totals.covered_seconds > 0 and not totals.stages.count:
            sums['stages_joules'] = sums['stages_deviation_joules'] = 0.0  # nothing ran, which is known
        message = DeviceEnergy(
            device=self._node.topics.device, incarnation=self._node.incarnation, kind=totals.kind, source=totals.source,
            scope=totals.scope, watts=totals.watts, covered_seconds=totals.covered_seconds,
            uncovered_seconds=totals.uncovered_seconds, active_watts=active, active_watts_deviation=deviation,
            settled=settled, **sums,
            totals=[
                StageEnergyMessage(plan_version=version, stage=stage, runs=part.count, joules=part.joules,
                                   deviation_joules=part.error_joules)
                for (version, stage), part in totals.by_stage.items()
            ],
        )  # fmt: skip
        if (learned := self._energy.segments(time.monotonic())) is not None:
            boundaries, segments = learned
            message.boundaries = list(boundaries)
            message.node_joules = segments.joules.tolist()
            message.node_deviation_joules = segments.deviation.tolist()
            message.node_measured = segments.measured.tolist()
        message.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _run_message(run: StageRun, energy: Energy) -> StageEnergyMessage:
    return StageEnergyMessage(
        plan_version=run.version, stage=run.stage, frame_number=run.frame, attempt=run.attempt, runs=1,
        joules=energy.joules, deviation_joules=energy.error_joules,
    )  # fmt: skip
