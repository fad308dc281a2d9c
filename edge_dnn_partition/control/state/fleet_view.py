# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The state of the fleet as estimates: devices, links, their scatter and what may be better than estimated. Time is passed in."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from statistics import median
from typing import Final

from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.compute import ComputeEstimator
from edge_dnn_partition.sensing.contention import HostLoad, host_factor
from edge_dnn_partition.sensing.link import LinkEstimate, speed_of
from edge_dnn_partition.sensing.windowed_max import HeldMax

from .device_view import GIVEN_CHANCE, MORE, SEEN_SECONDS, DeviceView
from .shared_links import SharedLinks
from .sharing import OthersUse

_LINK_SCATTER: Final = 0.2
"""By how much a link's rate is taken to scatter until it was measured a few times, as a logarithm's deviation."""
_FEW: Final = 4
_SOURCE_SECONDS: Final = 10.0
"""The source's worker is waited for so long at the start; then the others run the model without it."""
_RATES: Final = 12
_RATES_SECONDS: Final = 60.0
"""The scatter of a link's rate is that of so many different rates, of so long."""
_SCATTER_SECONDS: Final = 1.0
"""It is looked at again after so long, if no other rate came."""
_SAME_SECONDS: Final = 0.4
"""So often an estimate is taken in that stays the same; heartbeats repeat those of all links."""
_SAME_MEASUREMENT_SECONDS: Final = 0.02
_MOST_SCATTER: Final = 0.8
"""More is no scatter: such a link has made a step."""
_LATENCY_SECONDS: Final = 3.0
"""Of processes that measured a link within so long the longest latency counts: who has sent little does not know of a rise yet."""
_TELLING: Final = 0.02
"""An expected rate is replaced once it has changed by this share."""
_DRIFT: Final = 2.0
"""A link may be so many times as fast as it was measured, or as many as it scatters by..."""
_DRIFT_CHANCE: Final = 0.3
_DRIFT_SECONDS: Final = 30.0
"""... and the chance of that grows up to this one in so long. Of recorded uplinks of cars 2 to 20 % of the values, each of
0.5 to 3 s, are by more than twice another than the one before."""


@dataclass(frozen=True)
class _Reported:
    estimate: LinkEstimate
    measured_at: float
    heard_at: float

    def repeats(self, before: _Reported) -> bool:
        """Return whether this is what a heartbeat said a moment before."""
        same = self.estimate == before.estimate and abs(self.measured_at - before.measured_at) < _SAME_MEASUREMENT_SECONDS
        return same and self.heard_at - before.heard_at < _SAME_SECONDS


def _latest(reports: Mapping[int, _Reported]) -> LinkEstimate:
    latest = max(reports.values(), key=lambda report: report.measured_at)
    if len(reports) == 1:
        return latest.estimate
    recent = (report.estimate for report in reports.values() if report.measured_at >= latest.measured_at - _LATENCY_SECONDS)
    return replace(latest.estimate, latency_seconds=max(estimate.latency_seconds for estimate in recent))


def _deviation(values: Sequence[float]) -> float:
    """Return the standard deviation, without the slow exactness of `statistics.stdev`."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


class FleetView:
    """The state of the fleet. Not thread safe.

    :param heartbeat_timeout: seconds without a heartbeat after which a device counts as gone.
    """

    def __init__(self, fleet: Fleet, *, heartbeat_timeout: float = 1.0) -> None:
        self.fleet = fleet
        self.heartbeat_timeout = heartbeat_timeout
        self.devices: dict[str, DeviceView] = {}
        self._links: dict[tuple[str, str], dict[int, _Reported]] = {}
        self._estimates = {
            pair: LinkEstimate(link.rate, link.delay, measured=False)
            for link in fleet.links for pair in (link.between, (link.between[1], link.between[0]))
        }  # fmt: skip
        self._log_rates: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        """Of each link, when it was measured lately, and the rate's logarithm."""
        self._scatters: dict[tuple[str, str], tuple[tuple[float, float], float, float]] = {}
        """Of each link, its last rate when the scatter was looked at, when that was, and the scatter."""
        self._expected: dict[tuple[str, str], tuple[LinkEstimate, LinkEstimate]] = {}
        self._given = dict(self._estimates)
        self._played = any(link.emulate for link in fleet.links)
        self._shared = SharedLinks(fleet)
        self._seen: dict[tuple[str, str], HeldMax] = {}
        self.follow(fleet)

    def follow(self, fleet: Fleet) -> None:
        """Know the devices of a fleet that others have joined or left; what is known of those that stay is kept."""
        self.fleet = fleet
        for name, device in fleet.devices.items():
            self.devices.setdefault(name, DeviceView()).busy_cores = device.equivalent_cores
        if gone := self.devices.keys() - fleet.devices.keys():
            self.devices = {name: view for name, view in self.devices.items() if name not in gone}
            for known in (self._links, self._estimates, self._log_rates, self._scatters, self._expected, self._seen):
                for pair in [pair for pair in known if not gone.isdisjoint(pair)]:
                    del known[pair]
            self._shared.forget(gone)

    def on_leave(self, device: str) -> None:
        """Record that a device takes part no longer: it counts as gone until it is heard again."""
        self.devices[device].seen_at = -math.inf

    def on_heartbeat(
        self, device: str, incarnation: int, speed_factor: float, now: float, *, stage_factor: float = 0.0
    ) -> bool:
        """Record a worker's heartbeat; return whether the worker has restarted.

        :param stage_factor: of a stage that takes longer than its profile says, see `ComputeEstimator.overdue`.
        """
        view = self.devices[device]
        restarted = view.incarnation not in (0, incarnation)
        if view.incarnation != incarnation:
            view.compute = ComputeEstimator()
            view.decode = ComputeEstimator(stage_seconds=60.0)
        view.incarnation = incarnation
        view.seen_at = now
        view.compute.probe(speed_factor, alone=not self.fleet.devices[device].has_host)
        view.on_overdue(now, stage_factor)
        return restarted

    def on_host(self, device: str, load: HostLoad) -> None:
        """Record a host's load; telemetry says nothing of a device that is not the host itself."""
        config, view = self.fleet.devices[device], self.devices[device]
        if config.has_host:
            busy = max(0.0, load.busy_cores - view.others.lesser_cores)
            load = replace(load, busy_cores=busy, own_cores=view.own_cores, first_cores=view.others.first_cores)
            view.compute.host(host_factor(load, config.threads))

    def on_shared(self, device: str, others: OthersUse) -> None:
        """Record what other fleets of the group keep busy of a device's host, where no telemetry shows it."""
        config, view = self.fleet.devices[device], self.devices[device]
        view.others = others
        if not config.has_host:
            load = HostLoad(
                cores=config.threads, busy_cores=others.first_cores + others.equal_cores, own_cores=0.0,
                first_cores=others.first_cores,
            )  # fmt: skip
            view.compute.host(host_factor(load, config.threads))

    def on_link(
        self, sender: str, receiver: str, node: int, estimate: LinkEstimate, age_seconds: float, now: float
    ) -> None:
        """Record what one process measured of a link; the latest of several processes counts."""
        if (sender, receiver) not in self._given and self._played:
            return  # what is played has the links of its file alone
        if receiver in self.devices and math.isfinite(estimate.bytes_per_second) and estimate.bytes_per_second > 0:
            reports = self._links.setdefault((sender, receiver), {})
            before, report = reports.get(node), _Reported(estimate, now - age_seconds, now)
            if before is not None and report.repeats(before):
                return
            reports[node] = report
            if before is None or before.estimate.bytes_per_second != estimate.bytes_per_second:
                rates = self._log_rates.setdefault((sender, receiver), deque(maxlen=_RATES))
                rates.append((now, math.log(estimate.bytes_per_second)))
            while len(reports) > 4:
                reports.pop(min(reports, key=lambda key: reports[key].measured_at))
            latest = estimate if len(reports) == 1 else _latest(reports)
            pair = sender, receiver
            self._seen.setdefault(pair, HeldMax(SEEN_SECONDS)).add(now, latest.bytes_per_second)
            if latest != self._estimates.get(pair):
                self._estimates[pair] = latest
            at = max(report.measured_at for report in reports.values())
            self._shared.report(pair, latest, at, now, self._estimates)

    def on_profile(self, device: str, profile: Profile) -> None:
        """Record a profile; what stages have taken over another one says nothing of it."""
        view = self.devices[device]
        if view.profile is not None and view.profile != profile:
            for estimator in (view.compute, view.decode):
                estimator.forget_stages()
        view.profile = profile

    def on_stage(self, device: str, measured_seconds: float, profiled_seconds: float, now: float) -> None:
        """Record a stage's time."""
        self.devices[device].on_stage(now, measured_seconds, profiled_seconds)

    def on_preprocessing(
        self, device: str, measured_seconds: float, profiled_seconds: float, now: float, slower: float = math.nan
    ) -> None:
        """Record the preprocessing's time; it depends on the images and so has a factor of its own.

        :param slower: how much slower the device was at that time, by the layers that it ran in the same stage; NaN: as it is
            estimated. That part is not due to the images, and passes.
        """
        view = self.devices[device]
        present = slower if math.isfinite(slower) and slower > 0 else view.factor(now)
        view.decode.stage(now, measured_seconds, profiled_seconds * present)

    def alive(self, now: float) -> tuple[str, ...]:
        """The devices whose workers are alive, in the fleet file's order."""
        return tuple(name for name, view in self.devices.items() if now - view.seen_at <= self.heartbeat_timeout)

    def ready(self, now: float) -> tuple[str, ...]:
        """The devices that are alive and profiled."""
        return tuple(name for name in self.alive(now) if self.devices[name].profile is not None)

    def missing(self, now: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the devices whose workers are not alive, and those that are, but not profiled."""
        alive = dict.fromkeys(self.alive(now))
        return (
            tuple(name for name in self.devices if name not in alive),
            tuple(name for name in alive if self.devices[name].profile is None),
        )

    def awaits_source(self, now: float, since: float) -> bool:
        """True while plans wait for the source's worker: it is not profiled yet, or has sent no heartbeat and still may.

        :param since: when the scheduler started.
        """
        source = self.devices[self.fleet.source]
        if source.seen_at == -math.inf:
            return now - since < _SOURCE_SECONDS
        return source.profile is None and now - source.seen_at <= self.heartbeat_timeout

    def links(self) -> Mapping[tuple[str, str], LinkEstimate]:
        """The estimate of each link, by sender and receiver; the fleet file's guess until it was measured.

        An estimate that has not changed is the same object.
        """
        return {**self._estimates, **self._shared.suspects}

    def expected_links(self, now: float) -> Mapping[tuple[str, str], LinkEstimate]:
        """What a link counts as, by sender and receiver, where the mean of a transfer's time is to be least.

        Where a rate scatters log-normally, that is a rate that is lower than the middle one: a transfer takes ``exp(s**2 / 2)``
        times as long in the mean.
        """
        found = dict(self.links())
        for pair in self._log_rates.keys() & found.keys():
            estimate, (known, expected) = found[pair], self._expected.get(pair, (None, None))
            share = math.exp(-(min(self._scatter(pair, now), _MOST_SCATTER) ** 2) / 2)
            rate = estimate.bytes_per_second * share
            if estimate is not known or expected is None or abs(expected.bytes_per_second / rate - 1) > _TELLING:
                expected = replace(estimate, bytes_per_second=rate) if share < 1 - _TELLING else estimate
                self._expected[pair] = estimate, expected
            found[pair] = expected
        return found

    def hopes(self, now: float) -> dict[tuple[str, str], tuple[float, float]]:
        """Return what links may carry above their estimate, in bytes per second, and the chance that they do.

        That is what they carried of late, what the fleet file says, or more than was measured some seconds ago.

        Under a device's name twice: how many times as fast as estimated it may be, and the chance.
        """
        found = {(name, name): hope for name, view in self.devices.items() if (hope := view.hope(now)) is not None}
        for pair, estimate in self.links().items():
            seen = self._seen[pair].add(now, estimate.bytes_per_second) if pair in self._seen else 0.0
            given = self._given[pair].bytes_per_second if pair in self._given else 0.0
            if seen > MORE * estimate.bytes_per_second:
                found[pair] = max(seen, given), 1.0
            elif estimate.measured and given > MORE * estimate.bytes_per_second:
                found[pair] = given, GIVEN_CHANCE
            elif estimate.measured:
                age = now - max((report.measured_at for report in self._links.get(pair, {}).values()), default=now)
                more = max(_DRIFT, math.exp(self._scatter(pair, now)))
                found[pair] = more * estimate.bytes_per_second, _DRIFT_CHANCE * min(age / _DRIFT_SECONDS, 1.0)
        return found

    def _scatter(self, pair: tuple[str, str], now: float) -> float:
        """Return by how much a link's rate scatters; it is asked for many links several times at each decision."""
        found = self._log_rates.get(pair)
        if found is None or len(found) < _FEW:
            return _LINK_SCATTER
        known = self._scatters.get(pair)
        if known is not None and known[0] is found[-1] and now - known[1] <= _SCATTER_SECONDS:
            return known[2]
        rates = [rate for at, rate in found if now - at <= _RATES_SECONDS]
        scatter = _LINK_SCATTER if len(rates) < _FEW else _deviation(rates)
        self._scatters[pair] = found[-1], now, scatter
        return scatter

    def used_by(self, devices: Collection[str]) -> set[str]:
        """Return the devices of a plan, with those where images come from and results go to."""
        return {*devices, self.fleet.source, self.fleet.sink_device}

    def estimates_of(
        self, now: float, devices: Collection[str], links: Collection[tuple[str, str]] = ()
    ) -> dict[Hashable, float]:
        """The estimates of a plan's devices, source and sink: each one's factor, and each measured link's `speed_of`.

        :param links: others, by sender and receiver; a device is named twice.
        """
        devices = self.used_by(devices)
        names = {*devices, *(a for a, b in links if a == b)}
        found: dict[Hashable, float] = {name: self.devices[name].factor(now) for name in names}
        for pair in {*permutations(devices, 2), *links}:
            if reports := self._links.get(pair):
                found[pair] = speed_of(_latest(reports).bytes_per_second, _latest(reports).latency_seconds)
        return found

    def factors(self, now: float) -> dict[str, float]:
        """Each device's time now over its profiled time."""
        return {name: view.factor(now) for name, view in self.devices.items()}

    def memory_bytes(self) -> dict[str, float]:
        """What each device's worker may hold of stages by its host's memory and its control group's limit; infinite: unknown."""
        found = {}
        for name, view in self.devices.items():
            bound = view.memory_total_bytes - view.least_resident_bytes
            found[name] = max(0.0, bound) if math.isfinite(bound) else math.inf
        return found

    def preprocessing_factors(self, now: float) -> dict[str, float]:
        """Each device's time for the preprocessing now over its profiled time.

        A device that has not decoded lately is taken to find the images as hard, relative to the
        one that its profile was made with, as the median of those that have.
        """
        known = {name: view.decode.factor(now) for name, view in self.devices.items() if view.decode.measured(now)}
        usual = median(known.values()) if known else 1.0
        return {name: known.get(name, usual) * view.factor(now) for name, view in self.devices.items()}

    def scatter(self, now: float) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
        """By how much devices' times and links' rates scatter, as deviations of their logarithms."""
        devices = {name: view.compute.deviation(now) for name, view in self.devices.items()}
        return devices, {pair: self._scatter(pair, now) for pair in self._estimates}

    def deviation(self, devices: Sequence[str], now: float) -> float:
        """The largest relative standard deviation of some devices' factors."""
        return max((self.devices[name].compute.deviation(now) for name in devices), default=0.0)
