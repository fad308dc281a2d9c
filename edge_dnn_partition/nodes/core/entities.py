# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A node's publishers, subscriptions, timers and services: gated by its lifecycle, guarded against exceptions, and sealed."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_services_default

from edge_dnn_partition.deployment.watchdog import Notifier
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.monitoring.repeated_log import RepeatedLog
from edge_dnn_partition.text import printable

from .qos import with_overrides
from .rclpy_gaps import allow_deferred, own_parameters, timed
from .seals import Seals
from .ticks import Tick, Ticks
from .topics import Topics

_LONGEST_REASON = 400


class EntityNode(LifecycleNode):
    """A lifecycle node whose entities are silent while it is not active (unless ``always``, or kept for late readers).

    They survive what a callback raises.

    :param name: the node's name.
    :param per_device: whether its namespace is ``/<fleet>/<device>``; else it is ``/<fleet>``.
    :param kwargs: for `rclpy.node.Node`.
    :raises UserError: if the namespace is no good.
    """

    def __init__(self, name: str, *, per_device: bool, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        own_parameters(self, name)
        self.active = False
        """Whether the lifecycle state is active."""
        self.ending = threading.Event()
        """Set when the process is about to end, for threads of the node's own to look at."""
        self.refused: Counter[str] = Counter()
        """How often messages were refused, by kind of reason."""
        self.last_refusal = ''
        """Why, the last time."""
        self.repeats = RepeatedLog(self.get_logger())
        """For log lines that may repeat: logged once, then counted."""
        self.notifier = Notifier()
        """Reports to who started this process that it does not hang."""
        self.arrived = 0.0
        """When the message that a raw subscription's callback handles was received, by the steady clock."""
        self.inboxes: dict[str, Callable[[Any], bool]] = {}
        """Of this process's nodes, by topic: they take what is sent as it is, and return False while not active."""
        self.neighbours: frozenset[str] = frozenset()
        """The kinds of this process's nodes."""
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []
        self._ticks_gated: list[Tick] = []
        self.ticks = Ticks()
        """What it does at intervals, or soon."""
        namespace = self.get_namespace()
        self.topics = Topics.of_device(namespace) if per_device else Topics.of_fleet(namespace)
        self.seals = Seals(self, self.topics, None, self.refuse)
        """They seal what it publishes and check what it receives."""

    def get_logger(self) -> Any:
        """Return the node's logger, which writes out what in a text would steer a terminal."""
        return PrintableLogger(super().get_logger())

    def set_parameters_atomically(self, parameter_list: Iterable[Parameter]) -> Any:
        """Set parameters; one for the start only may be given the value that it has: ``ros2 param load`` sends all of a dump."""
        asked = list(parameter_list)
        new = [given for given in asked if not self._keeps(given)]
        return super().set_parameters_atomically(new) if new or not asked else SetParametersResult(successful=True)

    def _keeps(self, given: Parameter) -> bool:
        if not self.has_parameter(given.name) or not self.describe_parameter(given.name).read_only:
            return False
        return bool(self.get_parameter(given.name).value == given.value)

    def advertise(
        self, message_type: type, topic: str, qos: QoSProfile, *, always: bool = False, overridable: bool = False
    ) -> Any:
        """Return a publisher; while the node is not active it drops what is published, unless ``always``.

        :param overridable: whether the parameters ``qos_overrides.TOPIC.publisher.…`` change its quality of service.
        :raises UserError: if these parameters are invalid.
        """
        create = self.create_publisher if always else self.create_lifecycle_publisher
        publisher = with_overrides(create, message_type, topic, qos, overridable=overridable)
        self._entities.append((self.destroy_publisher if always else self.destroy_lifecycle_publisher, publisher))
        if self.active and not always:
            publisher.on_activate(None)  # rclpy does that at the next activation only
        return self.seals.publisher(message_type, publisher, qos)

    def flush(self, *publishers: Any, seconds: float = 0.5) -> bool:
        """Wait until the readers have what reliable publishers sent: it would die with this process.

        :param seconds: for all of them together; a reader that is out of reach is not waited for longer.
        :return: whether they have.
        """
        deadline = time.monotonic() + seconds
        received = True
        for publisher in publishers:
            received &= publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline - time.monotonic())))
        return received

    def subscribe(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        *,
        overridable: bool = False,
        raw: bool = False,
        foreign: bool = False,
        seals: Seals | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return a subscription whose callback is `guarded`; for ``overridable`` see `advertise`.

        Transient-local messages are received while the node is inactive, too: they are sent once.

        :param raw: the callback takes messages as bytes, and finds in ``arrived`` when its message was received.
        :param foreign: they come from users' nodes, of whichever type they are: they have no seals.
        :param seals: of another fleet, whose topic it is; None: the node's own.
        """
        always = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        with_time = raw
        take = self.guarded(callback, always=always)
        arrived = functools.partial(setattr, self, 'arrived')
        if not foreign:
            take, raw = (seals or self.seals).checked(message_type, topic, take, qos, raw=raw, arrived=arrived)
        take = timed(take, arrived) if with_time else take
        create = functools.partial(self.create_subscription, callback=take, raw=raw, **kwargs)
        entity = with_overrides(create, message_type, topic, qos, overridable=overridable)
        self._entities.append((self.destroy_subscription, entity))
        return entity

    def unsubscribe(self, subscription: Any) -> None:
        """Let a subscription go before the node's other entities."""
        self._entities.remove((self.destroy_subscription, subscription))
        self.destroy_subscription(subscription)

    def open_inbox(self, topic: str, callback: Callable[[Any], None]) -> None:
        """Take what nodes of this process send to a topic, while active; ``callback``, `guarded`, is called in their thread."""
        take = self.guarded(callback)

        def take_if_active(handed: Any) -> bool:
            active = self.active and not self.ending.is_set()
            if active:
                take(handed)
            return active

        self.inboxes[topic] = take_if_active
        self._entities.append((self.inboxes.pop, topic))

    def every(self, seconds: float, callback: Callable[[], None], *, always: bool = False) -> Tick:
        """Return a tick on the steady clock whose callback is `guarded`; it runs while the node is active, or ``always``."""
        tick = self.ticks.every(seconds, self.guarded(callback, always=always), start=always or self.active)
        self._entities.append((self.ticks.remove, tick))
        if not always:
            self._ticks_gated.append(tick)
        return tick

    def serve(
        self, service_type: type, name: str, callback: Callable[[Any, Any], Any], qos: QoSProfile = qos_profile_services_default
    ) -> Any:
        """Return a service that always answers: if the node is not active or the callback fails, with success false and why.

        :param callback: returns the response, or a `DeferredResponse`.
        """

        def answer(request: Any, response: Any) -> Any:
            try:
                if not self.active:
                    raise UserError(f'{self.get_name()} is not active; activate it first')
                return callback(request, response)
            except Exception as error:  # noqa: BLE001
                if isinstance(error, UserError):
                    self.refuse(type(error).__name__, str(error))
                else:
                    self.repeats.failure(f'service {name} failed')
                if hasattr(response, 'success'):
                    response.success = False
                if hasattr(response, 'message'):
                    response.message = str(error)
                return response

        entity = self.create_service(service_type, name, answer, qos_profile=qos)
        allow_deferred(entity)
        self._entities.append((self.destroy_service, entity))
        return entity

    def client(self, service_type: type, name: str) -> Any:
        """Return a client of another node's service."""
        entity = self.create_client(service_type, name)
        self._entities.append((self.destroy_client, entity))
        return entity

    def guarded(self, callback: Callable[..., None], *, always: bool = False) -> Callable[..., None]:
        """Return ``callback`` so that it never raises.

        It does nothing while the node is not active (unless ``always``) or is ending. A `UserError` is
        counted and logged in one line, anything else is logged with its traceback; both once, and then with their number.
        """

        def call(*args: Any) -> None:
            if self.ending.is_set() or not (always or self.active):
                return
            try:
                callback(*args)
            except UserError as error:
                self.refuse(type(error).__name__, str(error))
            except Exception:  # noqa: BLE001
                if not self.ending.is_set():
                    self.repeats.failure('a callback failed, going on')
            if self.ticks.next_at <= time.monotonic():  # messages may come without end
                self.ticks.run()

        return call

    def refuse(self, kind: str, reason: str) -> None:
        """Count something refused, and log one line, once (see `RepeatedLog`).

        :param kind: what it is counted under; one of a few fixed words.
        :param reason: in words.
        """
        if len(reason) > _LONGEST_REASON:  # it may quote the message, and heartbeats quote it
            reason = f'{reason[:_LONGEST_REASON]}…'
        self.refused[kind] += 1
        self.last_refusal = reason
        self.repeats.warning(f'refused {kind}', f'refused ({kind}, {self.refused[kind]} so far): {reason}')


class PrintableLogger:
    """A logger of rclpy in whose texts nothing steers the terminal: names from files and messages are in them.

    :param logger: what it stands for in everything else.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    # One method for each level: rclpy wants one level for each place that it is called from.

    def debug(self, text: str, **options: Any) -> bool:
        """Log for developers."""
        return bool(self._logger.debug(printable(text), **options))

    def info(self, text: str, **options: Any) -> bool:
        """Log what goes on."""
        return bool(self._logger.info(printable(text), **options))

    def warning(self, text: str, **options: Any) -> bool:
        """Log what someone should know."""
        return bool(self._logger.warning(printable(text), **options))

    def error(self, text: str, **options: Any) -> bool:
        """Log what has failed."""
        return bool(self._logger.error(printable(text), **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)
