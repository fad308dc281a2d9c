# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a node publishes and receives beyond its site: the same sealed messages as over DDS, over its process's Zenoh session."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message

from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.sites import Place, place
from edge_dnn_partition.transport.zenoh_session import WidePublisher, WideSession, WideSubscription

from . import qos

Soon = Callable[[Callable[[], None]], None]


class WideArea:
    """The other sites, for one node. The process has one session, as long as a node of it needs one.

    :param soon: does something in the thread that spins the node, see `Ticks.soon`.
    :param trouble: see `WideSession`.
    """

    _lock: ClassVar = threading.Lock()
    _sessions: ClassVar[dict[Place, tuple[WideSession, int]]] = {}

    def __init__(self, place: Place, soon: Soon, trouble: Callable[[str], None]) -> None:
        self.place, self._soon = place, soon
        self._undo: list[Callable[[], None]] = []
        with self._lock:
            session, users = self._sessions.get(place) or (WideSession(place, trouble), 0)
            self._sessions[place] = session, users + 1
        self.session = session

    def publisher(self, publisher: Any, profile: QoSProfile) -> Any:
        """Return what publishes here and there; the publisher itself if its topic is not one of the fleet."""
        if (leaf := self._leaf(publisher.topic_name, profile)) is None:
            return publisher
        there = self.session.publisher(leaf, latched=_latched(profile), files=profile is qos.BLOBS)
        self._undo.append(there.close)
        return TwoWays(publisher, there)

    def subscribe(self, topic: str, profile: QoSProfile, take: Callable[[bytes], None], arrived: Callable[[float], None]) -> None:
        """Take what devices of other sites publish under a topic, in the thread that spins.

        :param topic: resolved.
        :param arrived: called before each message with when it came, by the steady clock.
        """
        if (leaf := self._leaf(topic, profile)) is None:
            return
        inbox = _Inbox(self._soon, take, arrived, profile.depth)
        subscriptions: list[WideSubscription] = self.session.subscribe(leaf, inbox.come, latched=_latched(profile))
        self._undo += [inbox.close, *(subscription.close for subscription in subscriptions)]

    def when_lost(self, act: Callable[[], None]) -> None:
        """Do something, in a thread of the session's, whenever the router is lost."""
        self.session.when_lost.append(act)
        self._undo.append(lambda: self.session.when_lost.remove(act))

    def _leaf(self, topic: str, profile: QoSProfile) -> str | None:
        """Return what a topic is called in its fleet; None if it is none of it, or for tensors, which have links of their own."""
        if profile in (qos.TENSORS, qos.ACKS):
            return None
        fleet = f'/{self.place.fleet}/'
        return topic.removeprefix(fleet) if topic.startswith(fleet) else None

    def close(self) -> None:
        """Take this out again, and end the session if no other node of the process has it."""
        undo, self._undo = self._undo, []
        for close in reversed(undo):
            close()
        with self._lock:
            session, users = self._sessions.pop(self.place)
            if users > 1:
                self._sessions[self.place] = session, users - 1
        if users == 1:
            session.close()


def wide_area(fleet: Fleet, device: str, soon: Soon, warn: Callable[[str, str], None]) -> WideArea | None:
    """Return the other sites, for a node; None if there are none.

    :param device: see `place`.
    :param warn: logs a line, by a key for those that are alike; called in the thread that spins.
    """
    where = place(fleet, device)
    return None if where is None else WideArea(where, soon, lambda words: soon(lambda: warn(words, words)))


class TwoWays:
    """Publishes over DDS and to other sites; in all else it is the publisher over DDS."""

    def __init__(self, publisher: Any, there: WidePublisher) -> None:
        self._publisher, self._there = publisher, there

    def publish(self, message: Any) -> None:
        """Publish a message, or its bytes; nothing while its node is not active."""
        raw = message if isinstance(message, bytes) else serialize_message(message)
        self._publisher.publish(raw)
        if getattr(self._publisher, 'is_activated', True):
            self._there.put(raw)

    def get_subscription_count(self) -> int:
        """Return how many readers there are; those elsewhere count as one."""
        return int(self._publisher.get_subscription_count()) + self._there.matched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


class _Inbox:
    """Messages on their way from Zenoh's thread to that which spins; where too many wait, the oldest go."""

    def __init__(self, soon: Soon, take: Callable[[bytes], None], arrived: Callable[[float], None], depth: int) -> None:
        self._soon, self._take, self._arrived = soon, take, arrived
        self._waiting: deque[tuple[float, bytes]] = deque(maxlen=max(1, depth))
        self._closed = False

    def come(self, raw: bytes) -> None:
        """Take a message in, in any thread."""
        self._waiting.append((time.monotonic(), raw))
        self._soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._waiting and not self._closed:
            at, raw = self._waiting.popleft()
            self._arrived(at)
            self._take(raw)

    def close(self) -> None:
        """Hand over no more."""
        self._closed = True


def _latched(profile: QoSProfile) -> int:
    return profile.depth if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL else 0
