# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending half of a hop, without clock, thread or network: messages go in, fragments come out, acknowledgements come back.

Time is passed in; not thread safe. `nodes.transport` puts it on DDS, simulations on links of their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.planning.fleet.fleet import Fleet

from .fragments import NOWHERE, PROBE, Ack, AckState, TensorMessage
from .link import LinkState, Shaping, Target
from .link_model import LinkModel
from .neighbours import Links
from .outbox import Outbox
from .outgoing import Waiting
from .segments import LEAST_BYTES, SegmentPool
from .tensors import WireTensor

CONFIRM_SECONDS: Final = 0.1
"""A probe that showed another rate than the estimate is repeated after this time: what kept the receiver busy is over then."""


@dataclass
class Peer:
    """What is on its way to one target."""

    link: LinkModel
    outbox: Outbox
    segments: SegmentPool | None = None
    """Shared memory, if the target is on this device and sees it."""
    receivers: int = 0
    """How many processes received at the last look; one that was killed is still counted for a while."""
    shared: dict[int, TensorMessage] = field(default_factory=dict)
    """Messages in shared memory that have not been acknowledged."""

    def clear(self) -> None:
        """Drop all of it."""
        self.outbox.clear()
        self.shared.clear()
        if self.segments is not None:
            self.segments.clear()


class FragmentSender:
    """Sends messages to the targets of a fleet, paced by what is known of each link.

    :param incarnation: of this process; other processes' acknowledgements are ignored.
    :param shaping: delays and shapes links that are emulated.
    """

    def __init__(self, fleet: Fleet, device: str, incarnation: int, shaping: Shaping | None = None) -> None:
        self.device, self.incarnation = device, incarnation
        self.links = Links(fleet, device, shaping)
        """To the devices of its targets."""
        self._own = LinkModel(device, local=True)
        self.peers: dict[Target, Peer] = {}
        self.numbers = itertools.count(1)
        self.probing_share = 0.02
        """The share of an idle link that probes may take at most."""
        self.probe_period = 1.0
        """Seconds between probes of a link that nothing depends on, at least."""

    def connect(self, target: Target, *, shared_memory: bool = True) -> Peer:
        """Return the way to a target, which is made if it is not there yet."""
        if target not in self.peers:
            local = target[0] == self.device
            link = self._own if local else self.links.to(target[0])
            on_silence = None if local else link.on_silence
            outbox = Outbox(link.shaper, local=local, numbers=self.numbers, on_silence=on_silence)
            link.set_pace(outbox)
            self.peers[target] = Peer(link, outbox, SegmentPool() if local and shared_memory else None)
        return self.peers[target]

    def peer(self, target: Target) -> Peer:
        """Return the way to a target.

        :raises WireError: if it is not connected.
        """
        try:
            return self.peers[target]
        except KeyError:
            raise WireError(f'{target[0]} is not connected: connect() it before sending') from None

    def peers_at(self, device: str) -> Iterator[Peer]:
        """Yield the ways to the targets on one device."""
        return (peer for (other, _), peer in self.peers.items() if other == device)

    def segment_for(self, peer: Peer, size: int, number: int) -> tuple[memoryview | None, str]:
        """Return shared memory for a message, and its name; None and '': the message travels in fragments."""
        if peer.segments is None or size < LEAST_BYTES or (segment := peer.segments.take(size)) is None:
            return None, ''
        return segment.fill(size, (self.incarnation, number)), segment.name

    def put(self, target: Target, message: TensorMessage, now: float, *, hoped: float = 0.0) -> bool:
        """Queue a message; return whether its first fragments may leave at once, since nothing else is on its way.

        :param hoped: a probe looks for this rate, in bytes per second.
        """
        peer = self.peer(target)
        link, outbox = peer.link, peer.outbox
        link.set_pace(outbox)
        if message.segment:
            peer.shared[message.number] = message
        alone = outbox.quiet and link.shaper is None and link.hold <= 0
        if message.kind != PROBE:  # no probe stands before it, to whichever target of the device
            for other in self.peers_at(target[0]):
                other.outbox.end_probe()
        outbox.put(message, now, hoped=hoped)
        return alone

    def probe(self, device: str, now: float) -> bool:
        """Queue a probe of a link, if one is due (`LinkProber`); return as `put`, False if none is due."""
        target = device, False
        outbox, link = self.peer(target).outbox, self.links[device]
        outboxes = [peer.outbox for peer in self.peers_at(device)]
        if not all(other.may_be_probed(now) for other in outboxes):
            return False
        probe = link.prober.next_probe(
            now, link.estimator, link.guard, ceiling=self.probing_share, period=self.probe_period, rate=outbox.rate,
            busy=not all(other.quiet for other in outboxes),
        )  # fmt: skip
        if probe is None:
            return False
        buffer = memoryview(bytes(probe.fragments * probe.fragment_bytes))
        layout = (WireTensor('probe', 2, (len(buffer),), 'raw', 0, len(buffer)),)
        message = TensorMessage(PROBE, self.device, self.incarnation, NOWHERE, next(self.numbers), buffer, layout,
                                fragment_bytes=probe.fragment_bytes)  # fmt: skip
        return self.put(target, message, now, hoped=probe.bytes_per_second)

    def on_exploration(self, worth: Mapping[str, tuple[float, float]], now: float) -> None:
        """Note which links the scheduler wants measured; see `TensorLink.on_exploration`."""
        for device, link in self.links.items():
            link.prober.on_exploration(now, *worth.get(device, (0.0, 0.0)))

    def on_ack(self, ack: Ack, now: float) -> bool:
        """Learn from an acknowledgement; return whether a second probe is to confirm it after `CONFIRM_SECONDS`."""
        if ack.incarnation != self.incarnation:
            return False
        outboxes = []
        for peer in self.peers_at(ack.receiver):
            shared = peer.shared.pop(ack.message, None) if ack.state != AckState.RUN else None
            if ack.state == AckState.MISSING and shared is not None:
                self._send_in_fragments(peer, shared, now)
            else:
                outboxes.append(peer.outbox)
        link = self._own if ack.receiver == self.device else self.links.get(ack.receiver)
        if link is None:
            return False
        link.on_ack(ack, outboxes, now)
        return ack.kind == PROBE and ack.state == AckState.COMPLETE and link.estimator.doubtful

    def waiting(self, device: str, numbers: Iterable[int]) -> list[TensorMessage]:
        """Return those of some messages to a device that are not acknowledged."""
        found = (peer.outbox.waiting(number) for peer in self.peers_at(device) for number in numbers)
        return [message for message in found if message is not None]

    def _send_in_fragments(self, peer: Peer, message: TensorMessage, now: float) -> None:
        """Send a message again, and all later ones, in fragments: its receiver does not see this process's memory."""
        if peer.segments is not None:
            peer.segments.clear()
            peer.segments = None
        peer.outbox.acknowledge(message.number)
        peer.outbox.put(replace(message, number=next(self.numbers), segment=''), now)

    def forget_frame(self, frame_number: int, now: float, *, late: bool = False) -> None:
        """Send nothing more of a frame; see `TensorLink.forget_frame`."""
        for peer in self.peers.values():
            if late and (waiting := peer.outbox.unanswered(now, frame_number)) is not None:
                peer.link.on_given_up(waiting, now)
            peer.outbox.drop_frame(frame_number)

    def forget_device(self, device: str) -> None:
        """Drop what is on its way to a device."""
        for peer in self.peers_at(device):
            peer.clear()

    def seconds_left(self, frame_number: int, now: float) -> float:
        """Return how long what is left here of a frame still takes to arrive; 0 if nothing is left."""
        left = ((peer.link, peer.outbox.bytes_left(frame_number)) for peer in self.peers.values())
        return max((link.seconds_for(size, now) for link, size in left if size), default=0.0)

    def on_receivers(self, target: Target, receivers: int, now: float) -> None:
        """Note how many processes receive at a target: if there are more than before, one may have replaced a dead one."""
        peer = self.peers[target]
        before, peer.receivers = peer.receivers, receivers
        if receivers > before:
            peer.link.on_new_receiver(now)
            peer.outbox.on_new_receiver()
            peer.link.set_pace(peer.outbox)

    def on_states(self, states: Mapping[str, LinkState], now: float) -> None:
        """Take over what another process of this device has measured of the same links."""
        for device, state in states.items():
            if device in self.links:
                self.links[device].estimator.on_report(now - state.age_seconds, state.bytes_per_second)
        for peer in self.peers.values():
            peer.link.set_pace(peer.outbox)

    def states(self, now: float) -> dict[str, LinkState]:
        """Return the state of each link, by the device at its other end."""
        waits: dict[str, Waiting] = {}
        for (device, _), peer in self.peers.items():
            found = peer.outbox.unanswered(now)
            if found is not None and (device not in waits or found.seconds > waits[device].seconds):
                waits[device] = found
        return {device: link.state(now, waits.get(device)) for device, link in self.links.items()}

    def next_at(self, now: float) -> float:
        """Return when an outbox has something to do; infinite if none has."""
        return min((peer.outbox.next_at(now) for peer in self.peers.values()), default=math.inf)

    @property
    def bytes_waiting(self) -> int:
        """Bytes that have not been acknowledged."""
        return sum(peer.outbox.bytes_unacknowledged for peer in self.peers.values())
