# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler: collects what the fleet measures, decides on a plan, and moves the fleet to it without a gap.

What it decides and how is in `control.scheduling.scheduler`; this node brings it messages and publishes what it decides.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from edge_dnn_partition.cache import cache_dir
from edge_dnn_partition.control.decision.auto import TakeoverSettings
from edge_dnn_partition.control.decision.hysteresis import Settings
from edge_dnn_partition.control.scheduling.exploration import Hope, Pair
from edge_dnn_partition.control.scheduling.scheduler import FleetScheduler
from edge_dnn_partition.control.scheduling.settings import SchedulerSettings
from edge_dnn_partition.control.scheduling.switch import Activate, Drop
from edge_dnn_partition.control.state.derating import DeratingSettings
from edge_dnn_partition.control.state.sharing import SETTLE_SECONDS, FleetUse, HostUse, use_of
from edge_dnn_partition.deployment import start_checks
from edge_dnn_partition.deployment.node_parameters import SCHEDULER
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.frames.plan_registry import PlanStatus
from edge_dnn_partition.execution.frames.result_codec import decode_report
from edge_dnn_partition.monitoring.health import StreamWatch
from edge_dnn_partition.monitoring.waiting import WaitingLog
from edge_dnn_partition.msg import (
    DeviceDescription,
    DeviceEnergy,
    Exploration,
    FrameFailure,
    FrameReport,
    Heartbeat,
    Share,
    SourceStatus,
    StageState,
    Telemetry,
)
from edge_dnn_partition.msg import Plan as PlanMessage
from edge_dnn_partition.msg import Profile as ProfileMessage
from edge_dnn_partition.nodes.conversions.plan_messages import PlanMemory, VersionMemory, plan_for, plan_message
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.scheduling.description import DescriptionPublisher
from edge_dnn_partition.nodes.scheduling.explanations import ExplanationPublisher
from edge_dnn_partition.nodes.scheduling.model_push import ModelPush
from edge_dnn_partition.nodes.scheduling.reports import ReportPublisher
from edge_dnn_partition.nodes.scheduling.services import SchedulerServices
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.encodings import Permitted
from edge_dnn_partition.planning.plans.plan import Plan

_SHARE_SECONDS = 0.5


class Scheduler(FleetNode):
    """One for a fleet; its namespace is ``/<fleet>`` (see docs/architecture.md)."""

    def __init__(self) -> None:
        self._offered: SchedulerServices | None = None
        """Its services; None while it is not configured."""
        super().__init__('scheduler', SCHEDULER, check=self._check, per_device=False, one_for='fleet')

    def setup(self) -> None:
        """Read the fleet file, connect."""
        self._fleet = self.load_fleet()
        self._model = start_checks.model_of(self._fleet)
        start_checks.check_scheduling(self._fleet, self._model, self.params)
        topics = self.topics
        self._moved_at = float('-inf')
        self._versions, self._memory = VersionMemory(self), PlanMemory(self, self._fleet.constraints)
        self._kept_plan: tuple[int, int] | None = None
        self._watch = StreamWatch()

        self._plans = self.advertise(PlanMessage, topics.plan, qos.PLAN)
        self._shadow_plans = self.advertise(PlanMessage, topics.shadow, qos.SHADOW)
        self._explorations = self.advertise(Exploration, topics.exploration, qos.EXPLORATION)
        self._scheduler = scheduler = FleetScheduler(
            self._model, self._fleet, settings_of(self.params, self._fleet), self, incarnation=self.incarnation,
            files=cache_dir('scheduler') / topics.fleet.replace('/', '-'),
        )  # fmt: skip
        description = DescriptionPublisher(self, self._fleet, self._model)
        self._pushes = ModelPush(self, self._fleet, self._model.sha256, scheduler, description)
        self._explanations = ExplanationPublisher(self)
        self._reports = ReportPublisher(self, scheduler, self._watch, self._explanations)
        self._offered = SchedulerServices(self, scheduler)

        self.subscribe(Heartbeat, topics.heartbeat, self._on_heartbeat, qos.heartbeat_reader())
        self.subscribe(Telemetry, topics.telemetry, self._on_telemetry, qos.TELEMETRY)
        self.subscribe(DeviceEnergy, topics.energy, self._on_energy, qos.TELEMETRY)
        self.subscribe(ProfileMessage, topics.profile, self._on_profile, qos.PROFILE)
        self.subscribe(DeviceDescription, topics.devices, self._on_description, qos.devices_reader())
        self.subscribe(SourceStatus, topics.source_status, self._on_source_status, qos.STATE)
        self.subscribe(StageState, topics.plan_state, self._on_stage, qos.PLAN_STATE)
        self.subscribe(FrameReport, topics.frame_report, self._on_report, qos.result_reader(), raw=True)
        self.subscribe(FrameFailure, topics.frame_failure, self._on_frame_failure, qos.FAILURES)
        if self._fleet.share is not None:
            shares = topics.shares(self._fleet.share.group)
            self.seals.join(self._fleet.share.group)
            self._shares = self.advertise(Share, shares, qos.SHARES)
            self.subscribe(Share, shares, self._on_share, qos.SHARES)
            self.every(_SHARE_SECONDS, self._publish_share)
        self._waiting = WaitingLog(self.info)
        timer = self.every(self.params.number('decision_period'), self._decide)
        self.params.on_change(lambda _, value: timer.set_period(value), 'decision_period')
        self.params.on_change(lambda *_: scheduler.configure(settings_of(self.params, self._fleet)))

    def start(self) -> None:
        """Give the workers time to send heartbeats; go on from what is on disk."""
        kept = self._memory.recall(self._model.sha256)
        try:
            earlier = None if kept is None else plan_for(kept, self._fleet, self._model)
        except PlanError as error:
            self.refuse('plan', f'the plan on disk is of no use: {error}')
            earlier = None
        self._scheduler.start(time.monotonic(), last_version=self._versions.last, earlier=earlier)

    def stop(self) -> None:
        """Leave the fleet to the plan in force."""
        self._scheduler.stop(time.monotonic())

    def teardown(self) -> None:
        """Keep what was learned."""
        if self._offered is not None:
            self._scheduler.runner.renew()
            self._offered.close()
            self._pushes.close()
            self._offered = None

    def _check(self, values: Mapping[str, Any]) -> None:
        """Refuse what the scheduler cannot plan for."""
        if self._offered is not None:
            start_checks.check_scheduling(self._fleet, self._model, values)

    def _decide(self) -> None:
        now = time.monotonic()
        if self._scheduler.switch.active is None:
            self._waiting.waiting(f'no plan yet: {self._scheduler.waits_for(now)}', now)
        else:
            self._waiting.over()
        self._scheduler.decide_in_turn(now)

    # Subscriptions --------------------------------------------------------------------------------------------

    def _on_heartbeat(self, message: Heartbeat) -> None:
        restarted = self._scheduler.on_heartbeat(message, time.monotonic())
        self._watch.on_heartbeat(message)
        if restarted:
            self.get_logger().info(f'{message.device} has restarted')

    def _on_description(self, message: DeviceDescription) -> None:
        self._pushes.on_description(message)
        self._scheduler.on_description(message, time.monotonic())

    def _on_profile(self, message: ProfileMessage) -> None:
        self._scheduler.on_profile(message, time.monotonic())

    def _on_telemetry(self, message: Telemetry) -> None:
        self._scheduler.estimator.on_telemetry(message)
        self._watch.on_telemetry(message, time.monotonic())

    def _on_energy(self, message: DeviceEnergy) -> None:
        self._scheduler.estimator.on_energy(message)
        self._reports.on_energy(message)

    def _on_source_status(self, message: SourceStatus) -> None:
        self._scheduler.estimator.on_source_status(message)
        self._watch.on_source_status(message)

    def _on_stage(self, message: StageState) -> None:
        self._scheduler.on_stage(message, time.monotonic())

    def _on_report(self, raw: bytes) -> None:
        message, now = decode_report(raw), time.monotonic()
        if not message.shadow:
            self._watch.on_report(message, now)
        self._scheduler.on_report(message, now)
        self._reports.publish_calibration()

    def _on_frame_failure(self, message: FrameFailure) -> None:
        if message.kind == FrameFailure.DEVICE:
            self._scheduler.on_frame_failure(message, time.monotonic())

    def _on_share(self, message: Share) -> None:
        """Record what another fleet of the group uses of the hosts."""
        if not len(message.hosts) == len(message.cores) == len(message.memory_bytes):
            raise PlanError(f'a share of {message.fleet!r} has not one figure per host; install one release everywhere')
        rows = zip(message.hosts, message.cores, message.memory_bytes, strict=True)
        uses = {host: HostUse(max(0.0, cores), max(0.0, held)) for host, cores, held in rows}
        self._scheduler.estimator.on_share(FleetUse(message.fleet, message.priority, message.moving, uses), time.monotonic())

    # What the scheduler decides (`control.scheduling.scheduler.Outlet`) -----------------------------------------

    def publish_plan(self, plan: Plan, status: PlanStatus, *, shadow: bool = False) -> None:
        """Publish a plan; keep its version on disk, and the plan once it is in force."""
        message = plan_message(plan, status)
        if status is PlanStatus.PROPOSED:
            self._versions.keep(plan.version)
        (self._shadow_plans if shadow else self._plans).publish(message)
        if status is PlanStatus.ACTIVE and not shadow and self._kept_plan != (plan.scheduler, plan.version):
            self._kept_plan = plan.scheduler, plan.version
            self._memory.keep(message)

    def publish_exploration(self, shares: Mapping[Pair, float], hopes: Mapping[Pair, Hope]) -> None:
        """Tell the workers what to probe."""
        message = Exploration(shares=list(shares.values()), bytes_per_second=[hopes[pair].amount for pair in shares])
        message.senders, message.receivers = [a for a, _ in shares], [b for _, b in shares]
        self._explorations.publish(message)

    def on_problem(self, problem: Problem, now: float) -> None:
        """Explain the plan in force."""
        self._explanations.on_problem(self._scheduler, problem, now)

    def on_move(self, now: float) -> None:
        """Tell the other fleets of the group at once."""
        self._moved_at = now
        self._publish_share()

    def on_move_end(self, outcome: Activate | Drop) -> None:
        """Answer the services that wait for a plan."""
        if self._offered is not None:
            self._offered.on_move_end(outcome)

    def others_publish(self) -> bool:
        """Return whether another scheduler of this fleet publishes plans."""
        return bool(self.count_publishers(self.topics.plan) > 1)

    def info(self, text: str) -> None:
        """Log a line."""
        self.get_logger().info(text)

    def warn(self, kind: str, text: str) -> None:
        """Log a warning, once for each kind while it recurs."""
        self.repeats.warning(kind, text)

    def _publish_share(self) -> None:
        """Tell the other fleets of the group what this one uses of the hosts."""
        if self._fleet.share is None:
            return
        now, estimator, switch = time.monotonic(), self._scheduler.estimator, self._scheduler.switch
        estimator.on_shares(now)
        uses: dict[str, HostUse] = {}
        if switch.active is not None:
            weights = {layer: float(part.weight_bytes) for layer, part in enumerate(self._model.layers)}
            profiles = {name: view.profile for name, view in estimator.view.devices.items() if view.profile is not None}
            uses = use_of(switch.active, self._watch.figures(now).fps, self._scheduler.fleet, profiles, weights)
        self._shares.publish(Share(
            stamp=self.get_clock().now().to_msg(), fleet=self._fleet.fleet, priority=self._fleet.share.priority,
            moving=switch.proposal is not None or now - self._moved_at < SETTLE_SECONDS, hosts=list(uses),
            cores=[use.cores for use in uses.values()], memory_bytes=[use.memory_bytes for use in uses.values()],
        ))  # fmt: skip


def settings_of(params: Any, fleet: Fleet) -> SchedulerSettings:
    """Return what a scheduler's parameters say, over the fleet file.

    :raises PlanError: if objective, weights and deadline do not fit each other.
    """
    decide = Settings(
        start_checks.goal_of(params, fleet), params['least_gain'], dwell_seconds=params['dwell_seconds'],
        confirmations=params['confirmations'],
    )  # fmt: skip
    derating = DeratingSettings(
        params['battery_weight'], params['mains_weight'], params['battery_limit'], params['spare_throttled'],
        params['most_slowdown'],
    )  # fmt: skip
    same = ('policy', 'fixed_plan', 'exploration', 'heartbeat_timeout', 'prepare_timeout', 'settle_seconds', 'input_bytes')
    return SchedulerSettings(
        decide=decide, takeover=TakeoverSettings(params['takeover_threshold'], params['takeover_seconds']), derating=derating,
        permitted=Permitted(tuple(params['encodings']), params['largest_error']), **{name: params[name] for name in same},
    )  # fmt: skip


NODE: Final = Scheduler
