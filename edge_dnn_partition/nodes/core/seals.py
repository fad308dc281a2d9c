# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages sealed with the fleet's key, if it has one, and checked before they are believed (docs/security.md)."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.msg import Sessions
from edge_dnn_partition.transport.seals import SEAL_BYTES, Reader, Seal, Sealer, Verdict, Vouchers

from . import qos
from .reading import reader
from .topics import Topics

if TYPE_CHECKING:
    from .wide import WideArea

Callback = Callable[[Any], None]

_PLACE: Final = secrets.token_bytes(SEAL_BYTES)
"""Stands where the seal goes while a message is serialised."""
_SOON_SECONDS: Final = 0.02
_AGAIN_SECONDS: Final = 5.0
"""So often this node names whom it has heard while there are processes that do not name it ..."""
_ANYWAY_SECONDS: Final = 60.0
"""... and so often anyway: all hear it, and name all, so that in a large fleet it is the most of what a node hears at rest."""
_HELD: Final = 64
"""So many messages of a latched topic wait for their process to show that it lives."""
_STRANGERS: Final = 256


class Seals:
    """Seals and checks for one node; without a key nothing is sealed. Callbacks run in the thread that spins.

    What the fleet's nodes send each other goes to its other sites as well, and comes from them.

    :param node: any node of rclpy; `close` takes what is made here out of it again.
    :param key: the fleet's; None: it has none.
    :param refuse: counts what is not believed, by kind, and logs it rarely.
    :param wide: the other sites; None: there are none. `close` ends it.
    """

    def __init__(
        self, node: Any, topics: Topics, key: bytes | None, refuse: Callable[[str, str], None], wide: WideArea | None = None
    ) -> None:
        self._node, self.topics, self._refuse, self._wide = node, topics, refuse, wide
        self._sealer = None if key is None else Sealer(key, secrets.randbits(64))
        self._vouchers = Vouchers(0 if self._sealer is None else self._sealer.session)
        self._said: list[SealedPublisher] = []
        self._waiting: list[Callable[[Seal], None]] = []
        """Each hands over what has waited for a session."""
        self._strangers: OrderedDict[int, float] = OrderedDict()
        """Since when sessions have not named this node."""
        self._missing_key_said = False
        self._said_at = time.monotonic()
        self._undo: list[tuple[Callable[[Any], Any], Any]] = []
        if self._sealer is not None:
            clock = Clock(clock_type=ClockType.STEADY_TIME)
            self._soon = node.create_timer(_SOON_SECONDS, self._say, clock=clock, autostart=False)
            again = node.create_timer(_AGAIN_SECONDS, self._say_again, clock=clock)
            self._undo += [(node.destroy_timer, self._soon), (node.destroy_timer, again)]
            self.join()

    def join(self, group: str = '') -> None:
        """Publish and follow which processes live in the fleet, or in a group of fleets.

        :param group: its name; empty: the fleet.
        """
        if self._sealer is None:
            return
        topic = self.topics.group_sessions(group) if group else self.topics.sessions
        publisher = self._node.create_publisher(Sessions, topic, qos.SESSIONS)
        self._said.append(SealedPublisher(self._two_ways(publisher, qos.SESSIONS), self._sealer))
        take = self._checking(self._node.resolve_topic_name(topic), self._sessions)
        subscription = self._node.create_subscription(Sessions, topic, take, qos.sessions_reader(), raw=True)
        self._from_elsewhere(topic, qos.sessions_reader(), take)
        self._undo += [(self._node.destroy_publisher, publisher), (self._node.destroy_subscription, subscription)]
        self._soon.reset()

    def close(self) -> None:
        """Take this out of the node again."""
        undo, self._undo = self._undo, []
        for destroy, entity in reversed(undo):
            destroy(entity)
        if self._wide is not None:
            self._wide.close()
            self._wide = None

    def publisher(self, message_type: type, publisher: Any, profile: QoSProfile) -> Any:
        """Return what seals the messages that go through a publisher, and sends them elsewhere; the publisher itself for others'.

        :param profile: of the publisher.
        :raises TypeError: if messages of this package have no place for a seal.
        """
        if not _has_seal(message_type):
            return publisher
        publisher = self._two_ways(publisher, profile)
        return publisher if self._sealer is None else SealedPublisher(publisher, self._sealer)

    def _two_ways(self, publisher: Any, profile: QoSProfile) -> Any:
        return publisher if self._wide is None else self._wide.publisher(publisher, profile)

    def when_lost(self, act: Callable[[], None]) -> None:
        """See `WideArea.when_lost`; never, where there is only one site."""
        if self._wide is not None:
            self._wide.when_lost(act)

    def _from_elsewhere(
        self, topic: str, profile: QoSProfile, take: Callback, arrived: Callable[[float], None] = lambda _: None
    ) -> None:
        if self._wide is not None:
            self._wide.subscribe(self._node.resolve_topic_name(topic), profile, take, arrived)

    def checked(
        self, message_type: type, topic: str, callback: Callback, profile: QoSProfile, *, raw: bool = False,
        arrived: Callable[[float], None] = lambda _: None,
    ) -> tuple[Callback, bool]:  # fmt: skip
        """Return the callback of a subscription, and whether it takes messages as bytes; those of other sites come to it as well.

        :param callback: takes the messages that are believed and can be, see `read`; as bytes, and these unread, if ``raw``.
        :param profile: of the subscription.
        :param arrived: called before each message of another site with when it came, by the steady clock.
        """
        if not _has_seal(message_type):
            return callback, raw
        take = callback if raw else self._reading(message_type, callback)
        if self._sealer is not None:
            take = self._believing(self._node.resolve_topic_name(topic), take, profile)
        self._from_elsewhere(topic, profile, take, arrived)
        return take, True

    def _reading(self, message_type: type, callback: Callback) -> Callback:
        """Return what takes messages as bytes, and refuses those that cannot be."""
        read = reader(message_type)

        def take(raw: bytes) -> None:
            try:
                message = read(raw)
            except WireError as error:
                self._refuse('WireError', str(error))
                return
            if message.seal and self._sealer is None and not self._missing_key_said:
                self._missing_key_said = True
                self._refuse('key', 'messages here are sealed, and this node has no key: give all devices security.key_file')
            callback(message)

        return take

    def advertise(self, message_type: type, topic: str, profile: QoSProfile) -> Any:
        """Return a new publisher of the node that seals; see `publisher`."""
        return self.publisher(message_type, self._node.create_publisher(message_type, topic, profile), profile)

    def subscribe(self, message_type: type, topic: str, callback: Callback, profile: QoSProfile) -> Any:
        """Return a new subscription of the node that believes only what is sealed; see `checked`."""

        def take_guarded(message: Any) -> None:
            try:
                callback(message)
            except UserError as error:
                self._refuse(type(error).__name__, str(error))

        take, raw = self.checked(message_type, topic, take_guarded, profile)
        return self._node.create_subscription(message_type, topic, take, profile, raw=raw)

    def _checking(self, name: str, take: Callable[[Seal, bytes], None]) -> Callable[[bytes], None]:
        sealer = self._sealer
        assert sealer is not None

        def check(raw: bytes) -> None:
            seal = sealer.check(name, raw)
            if seal is None:
                self._refuse('seal', f'a message on {name} has no valid seal; is the key the same on all devices?')
            else:
                take(seal, raw)

        return check

    def _believing(self, name: str, take: Callable[[bytes], None], profile: QoSProfile) -> Callable[[bytes], None]:
        latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        reader = Reader(self._vouchers, latched, profile.reliability == ReliabilityPolicy.RELIABLE)
        held: deque[tuple[Seal, bytes]] = deque(maxlen=_HELD)

        def come(seal: Seal, raw: bytes) -> None:
            verdict = reader.take(seal)
            if verdict is Verdict.BELIEVED:
                take(raw)
            elif verdict is Verdict.STRANGER:
                if latched:
                    held.append((seal, raw))
                self._stranger(seal.session, name)
            elif verdict is Verdict.KNOWN and not latched:  # those are sent again to a reader that was out of reach
                self._refuse('replay', f'a message on {name} was received before: is it a recording?')

        def hand_over(lives: Seal) -> None:
            ready = [(seal, raw) for seal, raw in held if seal.session == lives.session]
            for entry in ready:
                held.remove(entry)
                come(*entry)

        if latched:
            self._waiting.append(hand_over)
        return self._checking(name, come)

    def _stranger(self, session: int, name: str) -> None:
        since = self._strangers.setdefault(session, time.monotonic())
        if len(self._strangers) > _STRANGERS:
            self._strangers.popitem(last=False)
        if time.monotonic() - since > _AGAIN_SECONDS:
            self._refuse('replay', f'a message on {name} is from a process that has never named this one: is it a recording?')

    def _sessions(self, seal: Seal, raw: bytes) -> None:
        if self._vouchers.take(seal, deserialize_message(raw, Sessions).heard):
            self._soon.reset()
        if self._vouchers.since(seal.session) is not None:
            self._strangers.pop(seal.session, None)
            for hand_over in self._waiting:
                hand_over(seal)

    def _say_again(self) -> None:
        now = time.monotonic()
        for session in [session for session, since in self._strangers.items() if now - since > _ANYWAY_SECONDS]:
            del self._strangers[session]  # it has ended, or says something again
        if self._strangers or now - self._said_at > _ANYWAY_SECONDS - _AGAIN_SECONDS / 2:
            self._say()

    def _say(self) -> None:
        self._soon.cancel()
        self._said_at = time.monotonic()
        for publisher in self._said:
            publisher.publish(Sessions(heard=list(self._vouchers.heard)))


class SealedPublisher:
    """Seals what goes through a publisher; in all else it is that publisher."""

    def __init__(self, publisher: Any, sealer: Sealer) -> None:
        self._publisher, self._sealer = publisher, sealer
        self._topic: str = publisher.topic_name
        self._lock = threading.Lock()
        """Messages leave in the order of their counts."""

    def publish(self, message: Any) -> None:
        """Seal a message and publish it.

        :param message: of the publisher's type, or such a one as CDR that ends with an empty seal.
        """
        if isinstance(message, bytes):
            unsealed = memoryview(message)[:-4]
        else:
            message.seal = _PLACE
            raw = serialize_message(message)
            unsealed = memoryview(raw)[: raw.rfind(_PLACE) - 4]
        with self._lock:
            self._publisher.publish(self._sealer.seal(self._topic, unsealed))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


def _has_seal(message_type: Any) -> bool:
    """Return whether messages of a type are the fleet's own, all of which have a seal.

    :raises TypeError: if one has none.
    """
    if not message_type.__module__.startswith('edge_dnn_partition.'):
        return False
    if 'seal' not in message_type.get_fields_and_field_types():
        raise TypeError(f'{message_type.__name__} needs a last field `uint8[] seal`, as all messages of a fleet have')
    return True


def refuse_by(logger: Any) -> Callable[[str, str], None]:
    """Return a ``refuse`` for a node that counts nothing: each kind is logged once."""
    said: set[str] = set()

    def refuse(kind: str, reason: str) -> None:
        if kind not in said:
            said.add(kind)
            logger.warning(f'refused ({kind}): {reason}')  # noqa: G004

    return refuse
