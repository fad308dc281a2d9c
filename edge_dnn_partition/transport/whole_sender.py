# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending half of a hop whose network carries messages whole and in order (Zenoh): what leaves next, what its answer shows.

Time is passed in; not thread safe. There are no fragments, no pace and no losses here; what a broken connection took with it is
sent again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.planning.fleet.fleet import Fleet

from .fragments import FRAME, NOWHERE, PROBE, Ack, TensorMessage
from .link import LinkState, Target
from .link_model import LinkModel
from .neighbours import Links
from .outgoing import Waiting
from .tensors import WireTensor
from .timing import HopTime

PING_BYTES: Final = 8
"""A probe of so many bytes shows the round trip. Of a tensor, the time on the link would have to be known."""
_PING_PRIORITY: Final = 1 << 30
PING_SECONDS: Final = 2.0
"""A ping leaves before a message, if none has for so long."""
AHEAD: Final = 2
"""So many messages to a device are under way, so that the link does not rest while one is answered; more are where they are
small: what has left cannot be dropped or overtaken any more."""
_AHEAD_SECONDS: Final = 0.05
_OVERDUE: Final = 3.0
_OVERDUE_SECONDS: Final = 1.0
"""A message is sent again after so many times its usual time and so many seconds: its connection may have broken unseen."""
_UNKNOWN_SECONDS: Final = 30.0
"""So many where the link has not been measured."""
_MOST_TIMES: Final = 4


@dataclass
class Flight:
    """A message that was handed over to the network; ``queued_at`` is infinite until that has taken all of it."""

    message: TensorMessage
    put_at: float
    queued_at: float = math.inf
    times: int = 1
    dropped: bool = False
    """Nobody waits for it any more. Its answer still shows the link's rate."""


@dataclass
class Way:
    """What is on its way to one target."""

    link: LinkModel
    present: bool = False
    """Somebody receives there."""
    waiting: dict[int, TensorMessage] = field(default_factory=dict)
    flights: dict[int, Flight] = field(default_factory=dict)

    def clear(self) -> None:
        """Drop all of it."""
        self.waiting.clear()
        self.flights.clear()

    def next(self, now: float) -> TensorMessage | None:
        """Return the message that leaves next; those that are too late are dropped."""
        for number in [number for number, message in self.waiting.items() if message.deadline <= now]:
            del self.waiting[number]
        return max(self.waiting.values(), key=lambda message: (message.priority, -message.number), default=None)


class WholeSender:
    """Sends messages to the targets on other devices of a fleet, and estimates the links by when they are acknowledged.

    The rate of a message is its bytes over the time from when the one before it was acknowledged, or from when it was handed over
    and half a round trip later, until its own acknowledgement.

    :param incarnation: of this process; other processes' acknowledgements are ignored.
    """

    def __init__(self, fleet: Fleet, device: str, incarnation: int) -> None:
        self.device, self.incarnation = device, incarnation
        self.links = Links(fleet, device)
        """To the devices of its targets."""
        self.ways: dict[Target, Way] = {}
        self.numbers = itertools.count(1)
        self.probing_share = 0.02
        """The share of an idle link that probes may take at most."""
        self.probe_period = 1.0
        """Seconds between probes of a link that nothing depends on, at least."""
        self._pinged: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        """When each device's last acknowledgement left it, by when it came."""

    def connect(self, target: Target) -> Way:
        """Return the way to a target, which is made if it is not there yet."""
        if target not in self.ways:
            self.ways[target] = Way(self.links.to(target[0]))
        return self.ways[target]

    def way(self, target: Target) -> Way:
        """Return the way to a target.

        :raises WireError: if it is not connected.
        """
        try:
            return self.ways[target]
        except KeyError:
            raise WireError(f'{target[0]} is not connected: connect() it before sending') from None

    def _ways_to(self, device: str) -> Iterator[Way]:
        return (way for (other, _), way in self.ways.items() if other == device)

    def _flights_to(self, device: str) -> list[Flight]:
        """Return what is under way to a device; not what is to leave again, which may be lost."""
        return [flight for way in self._ways_to(device) for number, flight in way.flights.items() if number not in way.waiting]

    # Leaving --------------------------------------------------------------------------------------------------

    def put(self, target: Target, message: TensorMessage, now: float) -> None:
        """Queue a message, and a ping before it if one is due."""
        way = self.way(target)
        if now - self._pinged.get(target[0], -math.inf) >= PING_SECONDS:
            self._pinged[target[0]] = now
            ping = self._probe_of(PING_BYTES)
            way.waiting[ping.number] = ping
        way.waiting[message.number] = message

    def probe(self, device: str, now: float) -> bool:
        """Queue a probe of a link, if one is due (`LinkProber`); return whether one was."""
        link, way = self.links[device], self.way((device, False))
        busy = bool(self._flights_to(device)) or any(other.waiting for other in self._ways_to(device))
        if busy or not way.present:
            return False
        probe = link.prober.next_probe(
            now, link.estimator, link.guard, ceiling=self.probing_share, period=self.probe_period,
            rate=link.estimator.estimate.bytes_per_second,
        )  # fmt: skip
        if probe is not None:
            self.put((device, False), self._probe_of(probe.fragments * probe.fragment_bytes), now)
        return probe is not None

    def _probe_of(self, size: int) -> TensorMessage:
        layout = (WireTensor('probe', 2, (size,), 'raw', 0, size),)
        return TensorMessage(PROBE, self.device, self.incarnation, NOWHERE, next(self.numbers), memoryview(bytes(size)), layout,
                             fragment_bytes=size, priority=_PING_PRIORITY if size == PING_BYTES else -_PING_PRIORITY)  # fmt: skip

    def take(self, now: float) -> tuple[Target, Flight] | None:
        """Return what is to be handed over to the network now, None if nothing is; tell `queued` when that has been done."""
        best: tuple[tuple[int, int], Target, TensorMessage] | None = None
        for target, way in self.ways.items():
            if not way.present:
                continue
            self._repeat(target, now)
            message = way.next(now)
            if message is None or not self._may_leave(target[0], message):
                continue
            rank = message.priority, -message.number
            if best is None or rank > best[0]:
                best = rank, target, message
        if best is None:
            return None
        _, target, message = best
        way = self.ways[target]
        del way.waiting[message.number]
        before = way.flights.pop(message.number, None)
        flight = Flight(message, now, times=1 if before is None else before.times + 1)
        way.flights[message.number] = flight
        return target, flight

    def _may_leave(self, device: str, message: TensorMessage) -> bool:
        flights = [flight for flight in self._flights_to(device) if len(flight.message.buffer) > PING_BYTES]
        if len(message.buffer) <= PING_BYTES or len(flights) < AHEAD:
            return True
        estimate = self.links[device].estimator.estimate
        window = 2 * estimate.bytes_per_second * (2 * estimate.latency_seconds + _AHEAD_SECONDS)
        return sum(len(flight.message.buffer) for flight in flights) + len(message.buffer) <= window

    def queued(self, flight: Flight, now: float) -> None:
        """Note that the network has taken a message."""
        flight.queued_at = now

    def _repeat(self, target: Target, now: float) -> None:
        """Let what is overdue leave again; what nobody waits for any more is given up."""
        way = self.ways[target]
        overdue = [
            n for n, flight in way.flights.items()
            if n not in way.waiting and flight.queued_at <= now and self._due(target[0], flight) <= now
        ]  # fmt: skip
        if overdue:
            way.link.on_silence(now, answered=False)
        for number in overdue:
            flight = way.flights[number]
            if flight.dropped or flight.message.deadline <= now or flight.message.kind == PROBE:
                del way.flights[number]
            else:
                way.waiting[number] = flight.message

    def _due(self, device: str, flight: Flight) -> float:
        """Return when a message is overdue: all that is before it on the link has its time as well."""
        estimate = self.links[device].estimator.estimate
        size = sum(len(other.message.buffer) for other in self._flights_to(device))
        usual = size / estimate.bytes_per_second + 2 * estimate.latency_seconds
        since = max(flight.put_at if math.isinf(flight.queued_at) else flight.queued_at, self._answered.get(device, -math.inf))
        patience = _OVERDUE_SECONDS if estimate.measured else _UNKNOWN_SECONDS
        return since + (_OVERDUE * usual + patience) * 2.0 ** (min(flight.times, _MOST_TIMES) - 1)

    def overdue_at(self) -> float:
        """Return when the first message under way to somebody who is there is overdue; infinite if none is under way."""
        return min((
            self._due(device, flight)
            for (device, _), way in self.ways.items() if way.present for n, flight in way.flights.items() if n not in way.waiting
        ), default=math.inf)  # fmt: skip

    def next_at(self, now: float) -> float:
        """Return when something is to leave; infinite if nothing is until there is an answer."""
        due = math.inf
        for (device, _), way in self.ways.items():
            if not way.present:
                continue
            if (message := way.next(now)) is not None and self._may_leave(device, message):
                return now
            due = min(due, *(self._due(device, flight) for n, flight in way.flights.items() if n not in way.waiting), math.inf)
        return due

    # What comes back ------------------------------------------------------------------------------------------

    def on_ack(self, ack: Ack, now: float) -> HopTime | None:
        """Learn from an acknowledgement; return the hop if it is of a frame's message that was under way."""
        if ack.incarnation != self.incarnation:
            return None
        for way in self._ways_to(ack.receiver):
            flight = way.flights.pop(ack.message, None)
            if flight is not None:
                way.waiting.pop(ack.message, None)
                seconds = self._learn(ack, flight, now)
                size = len(flight.message.buffer)
                timed = seconds > 0
                if flight.message.kind == FRAME:
                    return HopTime(self.device, ack.receiver, flight.message.address.from_stage, size, 0.0,
                                   seconds if timed else 0.0, size if timed else 0)  # fmt: skip
        return None

    def _learn(self, ack: Ack, flight: Flight, now: float) -> float:
        """Return how long a message was on the link; not more than 0 if that is not known."""
        link, end, size = self.links[ack.receiver], now - ack.held_seconds, len(flight.message.buffer)
        before, self._answered[ack.receiver] = self._answered.get(ack.receiver, -math.inf), end
        link.estimator.answered(now)
        if flight.times > 1:
            return 0.0
        if size <= PING_BYTES:
            link.estimator.round_trip(now, end - flight.put_at)
            return 0.0
        trip = 2 * link.estimator.estimate.latency_seconds
        seconds = end - max(flight.put_at + trip, before)
        if seconds <= 0:
            return 0.0
        limited = seconds < trip  # a connection begins slowly: it shows that the link carries so much
        believed = link.estimator.estimate.bytes_per_second
        link.estimator.transfer(now, size, seconds, sender_limited=limited)
        if flight.message.kind == FRAME:
            link.guard.tensor(now, size / seconds, size, at_least=limited)
        else:
            link.guard.probed(now, believed, link.estimator.estimate.bytes_per_second, size)
            link.guard.no_longer_overdue()
        return seconds

    def on_present(self, target: Target, present: bool, now: float) -> None:
        """Note whether somebody receives at a target. Who is there anew may not have got what was under way."""
        way = self.ways[target]
        if present and not way.present:
            way.link.on_new_receiver(now)
            for number, flight in list(way.flights.items()):
                if flight.dropped or flight.message.kind == PROBE:
                    del way.flights[number]
                else:
                    way.waiting[number] = flight.message
        way.present = present

    def on_states(self, states: Mapping[str, LinkState], now: float) -> None:
        """Take over what another process of this device has measured of the same links."""
        for device, state in states.items():
            if device in self.links:
                self.links[device].estimator.on_report(now - state.age_seconds, state.bytes_per_second)

    def on_exploration(self, worth: Mapping[str, tuple[float, float]], now: float) -> None:
        """Note which links the scheduler wants measured; see `TensorLink.on_exploration`."""
        for device, link in self.links.items():
            link.prober.on_exploration(now, *worth.get(device, (0.0, 0.0)))

    # Frames and devices ---------------------------------------------------------------------------------------

    def forget_frame(self, frame_number: int, now: float, *, late: bool = False) -> None:
        """Send nothing more of a frame; see `TensorLink.forget_frame`."""
        for (device, _), way in self.ways.items():
            if late and any(flight.message.address.frame_number == frame_number for flight in way.flights.values()):
                waiting = self._awaited(device, now)
                if waiting is not None:
                    way.link.on_given_up(waiting, now)
            for number, message in list(way.waiting.items()):
                if message.kind == FRAME and message.address.frame_number == frame_number:
                    del way.waiting[number]
            for flight in way.flights.values():
                flight.dropped |= flight.message.kind == FRAME and flight.message.address.frame_number == frame_number

    def forget_device(self, device: str) -> None:
        """Drop what is on its way to a device."""
        for way in self._ways_to(device):
            way.clear()

    def seconds_left(self, frame_number: int, now: float) -> float:
        """Return how long what is left here of a frame still takes to arrive; 0 if nothing is left."""
        return max((self._seconds_left(target, frame_number, now) for target in self.ways), default=0.0)

    def _seconds_left(self, target: Target, frame_number: int, now: float) -> float:
        way = self.ways[target]
        messages = [*(flight.message for flight in way.flights.values() if not flight.dropped), *way.waiting.values()]
        if not any(m.kind == FRAME and m.address.frame_number == frame_number for m in messages):
            return 0.0
        numbers = {m.number: m for m in messages}  # one that is sent again is in both
        before = max(m.number for m in numbers.values() if m.address.frame_number == frame_number)
        size = sum(len(m.buffer) for m in numbers.values() if m.number <= before)
        awaited = self._awaited(target[0], now)
        passed = awaited.seconds if awaited is not None else 0.0
        return max(way.link.seconds_for(size, now) - passed, way.link.estimator.estimate.latency_seconds)

    def _awaited(self, device: str, now: float) -> Waiting | None:
        """Return what is awaited of the oldest message under way to a device."""
        flights = [flight for flight in self._flights_to(device) if len(flight.message.buffer) > PING_BYTES]
        oldest = min(flights, key=lambda flight: flight.put_at, default=None)
        if oldest is None:
            return None
        size = len(oldest.message.buffer)
        return Waiting(size, now - max(oldest.put_at, self._answered.get(device, -math.inf)), size)

    def states(self, now: float) -> dict[str, LinkState]:
        """Return the state of each link, by the device at its other end."""
        return {device: link.state(now, self._awaited(device, now)) for device, link in self.links.items()}

    @property
    def bytes_waiting(self) -> int:
        """Bytes of frames that have not been acknowledged and that somebody waits for."""
        left = {m.number: m for way in self.ways.values() for m in way.waiting.values()}
        left |= {f.message.number: f.message for way in self.ways.values() for f in way.flights.values() if not f.dropped}
        return sum(len(message.buffer) for message in left.values() if message.kind == FRAME)
