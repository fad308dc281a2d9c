# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From messages to the state of the fleet, and from that to the planning problem.

The same for live messages and for a bag of them; time is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.image import COMPRESSED
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.fleet.pipeline import Pipeline
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.plans.coding import Pixels, image_encoding
from edge_dnn_partition.planning.plans.encodings import RAW, Permitted, TensorCoding
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan, StagePlan, Transfer, is_image
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.contention import HostLoad, Quota
from edge_dnn_partition.sensing.link import LinkEstimate

from .derating import Derating, DeratingSettings, DeviceHealth
from .fleet_view import FleetView
from .sharing import FleetUse, Sharing

_HEARTS: Final = ('worker', 'device_monitor', 'frame_source')
_NEWEST: Final = 0.3
"""Weight of the newest image in the size of an image..."""
_NEWEST_SHARE: Final = 0.2
"""... and in how small an encoding makes it."""


class CameraImages:
    """The camera's images: their size, whether they come as pixels, what encodings make of them.

    :param bytes_: of an image as the camera gives it, until one was seen.
    """

    def __init__(self, bytes_: float) -> None:
        self.bytes = bytes_
        self._are_pixels: bool | None = None
        self._shares: dict[str, float] = {}
        self.others: dict[str, float] = {}
        """The same of further cameras' images, by name, as far as they were seen."""

    @property
    def pixels(self) -> Pixels | None:
        """What is known of images that may be encoded; None: the camera's are compressed already."""
        return Pixels(dict(self._shares)) if self._are_pixels else None

    def on_source_status(self, message: Any) -> None:
        """Record what images the frame source gets (SourceStatus)."""
        if message.image_bytes > 0:
            pixels = message.image_encoding not in COMPRESSED
            weight = _NEWEST if pixels == self._are_pixels else 1.0  # the first says it all
            self._are_pixels = pixels
            self.bytes += weight * (message.image_bytes - self.bytes)
        for name, size in zip(message.input_names, message.input_bytes, strict=False):
            known = self.others.get(name, size)
            self.others[name] = known + _NEWEST * (size - known)

    def on_report(self, message: Any, plan: Plan) -> None:
        """Record how small a plan's encoding has made a frame's image (FrameReport).

        Other inputs go with it in one message: those that are raw count as they are, and images of the same encoding alike.
        """
        encoding = image_encoding(plan)
        if encoding == RAW or not self._are_pixels:
            return
        for hop in message.hops:
            if hop.from_stage != SOURCE_STAGE:
                continue
            here = [t for t in plan.transfers if t.from_stage == SOURCE_STAGE and t.to_device == hop.receiver]
            sizes = {t.tensor: self.bytes if t.tensor == IMAGE else self.others.get(t.tensor, 0.0) for t in here}
            plain = sum(sizes[t.tensor] for t in here if t.encoding == RAW)
            coded = sum(sizes[t.tensor] for t in here if t.encoding == encoding)
            if IMAGE in sizes and hop.size > plain and all(t.encoding in (RAW, encoding) for t in here):
                share = (hop.size - plain) / coded
                known = self._shares.get(encoding, share)
                self._shares[encoding] = known + _NEWEST_SHARE * (share - known)

    def preprocessing_seconds(self, profile: Profile, plan: Plan) -> float:
        """Return what a profile says of the preprocessing of images that come as the plan says."""
        seconds = profile.preprocess_seconds or 0.0
        known = {(coding.tensor, coding.encoding): coding for coding in profile.codings}
        for t in plan.transfers:
            coding = known.get((t.tensor, t.encoding)) if t.from_stage == SOURCE_STAGE and is_image(t.tensor) else None
            if coding is not None and profile.image_bytes > 0 and (self._are_pixels or t.tensor != IMAGE):
                size = self.bytes if t.tensor == IMAGE else self.others.get(t.tensor, 0.0)
                seconds += coding.decode_seconds * size / profile.image_bytes
        return seconds


class FleetEstimator:
    """What the fleet is like, from its messages. Not thread safe.

    :param heartbeat_timeout: seconds without a heartbeat after which a device counts as gone.
    :param input_bytes: of a camera image, until one was seen.
    """

    def __init__(self, model: Model, fleet: Fleet, *, heartbeat_timeout: float, input_bytes: float) -> None:
        self.model, self.fleet = model, fleet
        self.view = FleetView(fleet, heartbeat_timeout=heartbeat_timeout)
        self.images = CameraImages(input_bytes)
        self.derating = Derating()
        self.sharing = Sharing(fleet) if fleet.share is not None else None
        """What other fleets on the same hosts take; None in a fleet that is in no group."""
        self._health: dict[str, DeviceHealth] = {}
        self._given: dict[str, frozenset[str]] = {}
        self._joules: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {}
        """By device: what its meter has shown of each segment, and where the segments begin and end."""
        self._pipeline: Pipeline | None = None
        self.follow(fleet)

    def follow(self, fleet: Fleet) -> None:
        """Know the devices of a fleet that others have joined or left."""
        self.fleet, self._pipeline = fleet, None
        self.view.follow(fleet)
        if self.sharing is not None:
            self.sharing.fleet = fleet
        self._health = {name: self._health.get(name) or DeviceHealth() for name in fleet.devices}
        self._given = {name: frozenset(device.power.model_fields_set) for name, device in fleet.devices.items()}
        self._joules = {name: joules for name, joules in self._joules.items() if name in fleet.devices}

    def _knows(self, device: str, what: str) -> bool:
        """Return whether a device is in the fleet; what one says that may join counts from when it has.

        :raises PlanError: if it is not, nor may be.
        """
        if device not in self.fleet:
            raise PlanError(f'{what} from {device!r}, which is not in the fleet file; add it there')
        return device in self.view.devices

    @property
    def pipeline(self) -> Pipeline:
        """What the model and the profiles make of the problem.

        :raises PlanError: if there is no profile, or the profiles do not fit the model or each other.
        """
        if self._pipeline is None:
            profiles = {name: view.profile for name, view in self.view.devices.items() if view.profile is not None}
            self._pipeline = Pipeline(self.model, profiles, self.fleet)
        return self._pipeline

    def on_links(self, message: Any, now: float) -> None:
        """Record what a process measured of its links (Heartbeat).

        :raises PlanError: if the fleet file does not name its device.
        """
        if not self._knows(message.device, 'heartbeat'):
            return
        if message.node not in _HEARTS:
            raise PlanError(f'heartbeat from {message.node!r} on {message.device}, which is not a node of this package')
        if message.node in ('worker', 'frame_source'):
            rows = zip(message.peers, message.bytes_per_second, message.latency_seconds, message.age_seconds, strict=True)
            for peer, rate, latency, age in rows:
                estimate = LinkEstimate(float(rate), 0.0 if math.isnan(latency) else float(latency), measured=True)
                self.view.on_link(message.device, peer, message.incarnation, estimate, float(age), now)

    def on_worker(self, message: Any, now: float) -> bool:
        """Record a worker's heartbeat (Heartbeat); return whether it has restarted.

        :raises PlanError: if it has another model.
        """
        if message.model_sha256 != self.model.sha256:
            raise PlanError(f'{message.device} has a different model file than the scheduler; copy one file to all devices')
        view = self.view.devices[message.device]
        view.own_cores = message.process_cpu_percent / 100
        restarted = self.view.on_heartbeat(
            message.device, message.incarnation, message.speed_factor, now, stage_factor=message.stage_factor
        )
        view.least_resident_bytes = min(math.inf if restarted else view.least_resident_bytes, message.resident_bytes or math.inf)
        return restarted

    def on_telemetry(self, message: Any) -> None:
        """Record the state of a host (Telemetry).

        :raises PlanError: if the fleet file does not name its device.
        """
        if not self._knows(message.device, 'telemetry'):
            return
        view = self.view.devices[message.device]
        view.cpu_percent = message.cpu_percent
        view.memory_available_bytes = message.memory_available_bytes
        view.memory_total_bytes = message.memory_total_bytes
        view.on_quota(*quota_of(message))
        view.temperature_celsius = message.temperature_celsius
        self.view.on_host(message.device, host_load(message))
        health = self._health[message.device]
        health.battery_percent = message.battery_percent
        health.discharge_watts = message.battery_discharge_watts
        health.throttling = tuple(message.throttling)

    def on_share(self, use: FleetUse, now: float) -> None:
        """Record what another fleet of the group uses."""
        if self.sharing is not None:
            self.sharing.on_share(use, now)
            self.on_shares(now)

    def on_shares(self, now: float) -> None:
        """Count what the other fleets of the group use now."""
        if self.sharing is not None:
            for name in self.fleet.devices:
                self.view.on_shared(name, self.sharing.use(name, now))

    def on_energy(self, message: Any) -> None:
        """Record what a device draws (DeviceEnergy).

        :raises PlanError: if the fleet file does not name it.
        """
        if not self._knows(message.device, 'energy'):
            return
        health = self._health[message.device]
        health.measured = message.kind == 'measured'
        health.active_watts = message.active_watts
        known = message.covered_seconds > 0
        health.idle_watts = message.idle_joules / message.covered_seconds if known else math.nan
        self._joules[message.device] = tuple(message.boundaries), tuple(message.node_joules)

    def on_profile(self, message: Any) -> bool:
        """Record how fast a device runs the model (Profile); return whether the device is of this fleet.

        :raises PlanError: if it is of another model, or would not go with the other devices'; what was known stays.
        """
        if message.model_sha256 != self.model.sha256:
            raise PlanError(f'profile of {message.device} for another model; copy one model file to all devices')
        if message.device not in self.view.devices:
            return False
        profile, known = profile_of(message), self.view.devices[message.device].profile
        ends, layers = profile.boundaries[-1], len(self.model.layers)
        if ends != layers:
            raise PlanError(f'a profile of {message.device} ends with layer {ends} of {layers}; profile it again')
        if known is not None and known.boundaries != profile.boundaries and self._others_have(known.boundaries, message.device):
            raise PlanError(f'profile of {message.device} has other boundaries than the rest; install one release on all devices')
        self.view.on_profile(message.device, profile)
        self._pipeline = None
        return True

    def _others_have(self, boundaries: tuple[int, ...], device: str) -> bool:
        others = [view.profile for name, view in self.view.devices.items() if name != device and view.profile is not None]
        return bool(others) and all(profile.boundaries == boundaries for profile in others)

    def on_source_status(self, message: Any) -> None:
        """Record the frame source's counters (SourceStatus)."""
        self.images.on_source_status(message)

    def on_report(self, message: Any, plan: Plan | None, now: float) -> bool:
        """Record how a frame went (FrameReport); return whether it ran under the plan in force.

        :param plan: in force.
        """
        if plan is None or plan.version != message.plan_version:
            return False
        self.images.on_report(message, plan)
        for timing in message.stages:
            view = self.view.devices.get(timing.device)
            if view is None or view.profile is None or not 0 <= timing.stage < len(plan.stages):
                continue
            stage = plan.stages[timing.stage]
            known = view.profile.known_seconds(stage.layers)
            if any(map(is_image, stage.inputs)):
                profiled = self.images.preprocessing_seconds(view.profile, plan)
                slower = timing.run_seconds / known if known > 0 and timing.run_seconds > 0 else math.nan
                self.view.on_preprocessing(timing.device, timing.decode_seconds, profiled, now, slower)
            self.view.on_stage(timing.device, timing.run_seconds, known, now)
        return True

    def problem(
        self, devices: Sequence[str], now: float, permitted: Permitted, goal: Goal, derating: DeratingSettings
    ) -> Problem:
        """Return the planning problem under the fleet's present state.

        :param devices: those that can be planned with.
        :param permitted: the encodings that tensors may be sent in.
        :param goal: what is to be least.
        :param derating: how much batteries and throttling count.
        :raises PlanError: see `Pipeline`.
        """
        links = self.view.links() if goal.counts_scatter else self.view.expected_links(now)
        problem = self.pipeline.problem(
            devices=devices, factors=self.view.factors(now), preprocessing_factors=self.view.preprocessing_factors(now),
            links=links, input_bytes=self.images.bytes, other_bytes=self.images.others, permitted=permitted,
            encode_for=goal.objective.encode_for, pixels=self.images.pixels, memory_bytes=self.view.memory_bytes(),
        )  # fmt: skip
        if self.sharing is not None:
            problem = self.sharing.applied(problem, now)
        if goal.counts_scatter:
            problem = problem.scattering(*self.view.scatter(now))
        return self.under_power(problem, self.pipeline.boundaries, derating, now)

    def under_power(self, problem: Problem, boundaries: tuple[int, ...], derating: DeratingSettings, now: float) -> Problem:
        """Return a problem under what is known of the devices' power.

        :param boundaries: where the problem's segments begin and end; joules of other segments do not count.
        """
        for name, (measured, joules) in self._joules.items():
            self._health[name].node_joules = joules if measured == boundaries else ()
        return self.derating.applied(problem, self._health, self._given, derating, now)

    def without_watts(self, devices: Sequence[str]) -> tuple[str, ...]:
        """Return the devices whose watts neither the fleet file nor their worker gives."""
        known = self.fleet.devices
        return tuple(name for name in devices if not known[name].watts_given and math.isnan(self._health[name].active_watts))

    def temperature(self, devices: Sequence[str]) -> float:
        """Return that of the warmest of some devices, in degrees Celsius; NaN if none is known."""
        known = [t for t in (self.view.devices[name].temperature_celsius for name in devices) if not math.isnan(t)]
        return max(known, default=math.nan)


# Messages, live or from a bag, as the project's own types ---------------------------------------------------------


def plan_of(message: Any) -> Plan:
    """Return a plan from its message (Plan)."""
    stages = tuple(
        StagePlan(
            s.device,
            s.preprocess,
            tuple(zip(map(int, s.layer_ranges[::2]), map(int, s.layer_ranges[1::2]), strict=True)),
            tuple(s.inputs),
            tuple(s.outputs),
        )
        for s in message.stages
    )
    transfers = tuple(
        Transfer(t.tensor, t.from_stage, t.from_device, t.to_device, t.to_sink, t.encoding) for t in message.transfers
    )
    return Plan(
        message.version, message.model_sha256, message.source, message.sink, stages, transfers, message.objective,
        max(1, message.max_in_flight), message.latency_seconds, message.latency_deviation, message.energy_joules,
        message.bottleneck_seconds, message.reason, getattr(message, 'scheduler', 0),  # bags may be older than that
    )  # fmt: skip


def profile_of(message: Any) -> Profile:
    """Return a profile from its message (Profile).

    :raises PlanError: if its parts contradict each other.
    """
    seconds = message.preprocess_seconds
    return Profile(
        model_sha256=message.model_sha256,
        device=message.device,
        provider=message.provider,
        threads=message.threads,
        boundaries=tuple(map(int, message.boundaries)),
        segment_seconds=tuple(map(float, message.segment_seconds)),
        seam_seconds=tuple(map(float, message.seam_seconds)),
        preprocess_seconds=None if math.isnan(seconds) else seconds,
        relative_error=message.relative_error,
        throttled=message.throttled,
        probe_seconds=message.probe_seconds,
        codings=tuple(
            TensorCoding(c.tensor, c.encoding, c.size, c.encode_seconds, c.decode_seconds, c.error, c.top_changed)
            for c in message.codings
        ),
        image_bytes=message.image_bytes,
    )


def quota_of(message: Any) -> tuple[Quota, float]:
    """Return what telemetry says of a CPU quota, and how many cores are in use under it (Telemetry)."""
    known = hasattr(message, 'quota_cores')  # bags may be older than that
    return (Quota(message.quota_cores, message.quota_period_seconds), message.quota_used_cores) if known else (Quota(), math.nan)


def host_load(message: Any) -> HostLoad:
    """Return what telemetry says of how busy a host is (Telemetry)."""
    known = [percent for percent in message.cpu_percent_per_core if math.isfinite(percent)]
    cores = len(message.cpu_percent_per_core)
    busy = cores * sum(known) / (100 * len(known)) if known else math.nan
    return HostLoad(
        cores=cores, busy_cores=busy, clock_limit_hertz=message.clock_limit_hertz,
        clock_max_hertz=message.clock_max_hertz, memory_pressure=message.memory_pressure_percent / 100,
    )  # fmt: skip
