# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What every node shares: a lifecycle, gated and guarded callbacks, parameters, names, a clean end."""

from __future__ import annotations

import functools
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_services_default

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.runtime.deployment.node_parameters import AUTOSTART
from edge_dnn_partition.runtime.deployment.notify import Notifier
from edge_dnn_partition.runtime.deployment.parameters import Parameter, Value
from edge_dnn_partition.runtime.monitoring.repeated_log import RepeatedLog

from .later import allow_later
from .parameters import ParameterTable
from .printable_logger import PrintableLogger
from .process import run_node
from .qos import with_overrides
from .role import Role
from .seals import Seals
from .topics import Topics
from .transitions import guard_transitions

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet_state.fleet import Fleet

__all__ = ['FleetNode', 'Parameter', 'run_node']

_DRAIN_STEP_SECONDS = 0.005
_LONGEST_REASON = 400


class FleetNode(LifecycleNode):
    """A lifecycle node of a fleet.

    A node overrides the hooks `setup`, `start`, `begin_drain`, `drained`, `stop`, `give_up`, `teardown` and `stop_work`,
    and makes its entities in `setup` with `advertise`, `subscribe`, `every` and `serve`: these are silent while the
    node is not active (unless ``always``, or kept for late readers), survive what a callback raises, and go at clean-up.

    :param name: the node's name.
    :param parameters: its parameters; ``autostart`` is added.
    :param check: see `ParameterTable`.
    :param per_device: whether its namespace is ``/<fleet>/<device>``; else it is ``/<fleet>``.
    :param one_for: of what one such node alone may be active at a time; empty: of nothing.
    :param kwargs: for `rclpy.node.Node`.
    :raises UserError: if the namespace or a parameter is no good.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[Parameter] = (),
        *,
        check: Callable[[Mapping[str, Value]], None] | None = None,
        per_device: bool = True,
        one_for: Literal['', 'device', 'fleet'] = '',
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._started, self._one_for = time.monotonic(), one_for
        self.kind = name
        """Its name, unless it was given another."""
        self.role: Role | None = None
        """Of a node that is the only one of its kind, while it is configured."""
        self.failed: Callable[[BaseException], None] = lambda _: None
        """Called when it could not be started."""
        self.active = False
        """Whether the lifecycle state is active."""
        self.ending = threading.Event()
        """Set when the process is about to end, for threads of the node's own to look at."""
        self.incarnation = secrets.randbits(63)
        """Random, new each time the node is configured: what it knew and counted before is gone then."""
        self.refused: Counter[str] = Counter()
        """How often messages were refused, by kind of reason."""
        self.last_refusal = ''
        """Why, the last time."""
        self.repeats = RepeatedLog(self.get_logger())
        """For what may come often: it is said once, and then counted."""
        self.notifier = Notifier()
        """Tells who started this process that it does not hang."""
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []
        self._timers_gated: list[Any] = []
        self._failure: Exception | None = None
        self._yielding = False
        namespace = self.get_namespace()
        self.topics = Topics.of_device(namespace) if per_device else Topics.of_fleet(namespace)
        self.params = ParameterTable(self, [AUTOSTART, *parameters], check=check)
        self.seals = Seals(self, self.topics, None, self.refuse)
        """What it says and hears goes through them; with the fleet's key from `load_fleet` on."""
        guard_transitions(self)

    def get_logger(self) -> Any:
        """Return the node's logger, which writes out what in a text would steer a terminal."""
        return PrintableLogger(super().get_logger())

    # Hooks --------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Configure: make the entities, load what is needed; may raise `UserError`."""

    def start(self) -> None:
        """Activate. Publishers work already; callbacks come after it."""

    def stop(self) -> None:
        """Deactivate. Publishers still work; no callback comes after it."""

    def teardown(self) -> None:
        """Let go of what `setup` made, other than the entities; called after a failed `setup` as well."""

    def begin_drain(self, *, ending: bool) -> float:  # noqa: ARG002
        """Take nothing more on; return for how many seconds at most to wait until `drained` says so, while callbacks come.

        :param ending: the process ends, and so a second is the most that is waited for; else the node is deactivated.
        """
        return 0.0

    def drained(self) -> bool:
        """Return whether nothing is under way any more."""
        return True

    def give_up(self) -> None:
        """The node ends after having been active: account for what is under way. Publishers still work."""

    def stop_work(self) -> None:
        """Make long work (an inference, a thread) end soon. Called once, from the main thread, at the end."""

    def load_fleet(self) -> Fleet:
        """Return what the parameter ``fleet_file`` names, whose key the node uses from now on; the first thing that `setup` does.

        :raises UserError: if the file or the key is no good.
        """
        # What reads fleet files takes 17 MB, which a node without one has no use for.
        from edge_dnn_partition.planning.fleet_state.fleet import load_fleet
        from edge_dnn_partition.runtime.deployment.fleet_key import fleet_key

        fleet = load_fleet(self.params.text('fleet_file'))
        self.seals = Seals(self, self.topics, fleet_key(fleet), self.refuse)
        return fleet

    # Entities -----------------------------------------------------------------------------------------------

    def advertise(
        self, message_type: type, topic: str, qos: QoSProfile, *, always: bool = False, overridable: bool = False
    ) -> Any:
        """Return a publisher; while the node is not active it drops what is published, unless ``always``.

        :param overridable: whether the parameters ``qos_overrides.TOPIC.publisher.…`` change its quality of service.
        :raises UserError: if what they say is no good.
        """
        create = self.create_publisher if always else self.create_lifecycle_publisher
        publisher = with_overrides(create, message_type, topic, qos, overridable=overridable)
        self._entities.append((self.destroy_publisher if always else self.destroy_lifecycle_publisher, publisher))
        return self.seals.publisher(message_type, publisher)

    def flush(self, *publishers: Any, seconds: float = 0.5) -> bool:
        """Wait until the readers have what reliable publishers sent: it would die with this process.

        :param seconds: for all of them together; a reader that is out of reach is not waited for longer.
        :return: whether they have.
        """
        deadline = time.monotonic() + seconds
        heard = True
        for publisher in publishers:
            heard &= publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline - time.monotonic())))
        return heard

    def subscribe(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        *,
        overridable: bool = False,
        raw: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return a subscription whose callback is `guarded`; for ``overridable`` see `advertise`.

        What is kept for late readers (transient local) is heard while the node is inactive, too: it comes once.

        :param raw: the callback takes messages as bytes.
        """
        always = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        hear, raw = self.seals.hearing(message_type, topic, self.guarded(callback, always=always), qos, raw=raw)
        create = functools.partial(self.create_subscription, callback=hear, raw=raw, **kwargs)
        entity = with_overrides(create, message_type, topic, qos, overridable=overridable)
        self._entities.append((self.destroy_subscription, entity))
        return entity

    def create_timer(
        self, timer_period_sec: float, callback: Any, callback_group: Any = None, clock: Clock | None = None, autostart: bool = True
    ) -> Any:
        """Return a timer as rclpy's nodes do, but on the steady clock unless another is given.

        Theirs stand still while the wall clock catches up after a step back, and with simulated time whenever that does.
        """
        return super().create_timer(timer_period_sec, callback, callback_group, clock or self._steady, autostart)

    def every(self, seconds: float, callback: Callable[[], None], *, always: bool = False) -> Any:
        """Return a timer whose callback is `guarded`; it runs while the node is active, or ``always``."""
        timer = self.create_timer(
            seconds, self.guarded(callback, always=always), autostart=always or self.active
        )
        self._entities.append((self.destroy_timer, timer))
        if not always:
            self._timers_gated.append(timer)
        return timer

    def set_period(self, timer: Any, seconds: float) -> None:
        """Change how often a timer of `every` fires, from now on."""
        running = not timer.is_canceled()
        timer.cancel()
        timer.timer_period_ns = round(seconds * 1e9)
        if running:
            timer.reset()

    def serve(
        self, service_type: type, name: str, callback: Callable[[Any, Any], Any], qos: QoSProfile = qos_profile_services_default
    ) -> Any:
        """Return a service that always answers: if the node is not active or the callback fails, with success false and why.

        :param callback: returns the response, or a `Later` that is given it.
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
        allow_later(entity)
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

        return call

    def refuse(self, kind: str, reason: str) -> None:
        """Count something refused, and say so in one line, once (see `RepeatedLog`).

        :param kind: what it is counted under; one of a few fixed words.
        :param reason: in words.
        """
        if len(reason) > _LONGEST_REASON:  # it may quote what came, and heartbeats quote it
            reason = f'{reason[:_LONGEST_REASON]}…'
        self.refused[kind] += 1
        self.last_refusal = reason
        self.repeats.warning(f'refused {kind}', f'refused ({kind}, {self.refused[kind]} so far): {reason}')

    # Lifecycle ----------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Finish what is under way, before the process ends; called from the main thread, while callbacks still come."""
        deadline = time.monotonic() + min(1.0, self.begin_drain(ending=True))
        while time.monotonic() < deadline and not self.drained():
            time.sleep(_DRAIN_STEP_SECONDS)

    def when_drained(self, action: Callable[[], None]) -> None:
        """Call ``action`` once what is under way is finished, or has had its time; callbacks come meanwhile."""
        deadline = time.monotonic() + self.begin_drain(ending=False)
        self._once(action, lambda: self.drained() or time.monotonic() >= deadline)

    def _once(self, action: Callable[[], None], ready: Callable[[], bool] = lambda: True) -> None:
        """Call ``action`` a little later, once ``ready`` says so, or the process ends."""

        def look() -> None:
            if self.ending.is_set() or ready():
                timer.cancel()
                self.destroy_timer(timer)
                action()

        timer = self.create_timer(_DRAIN_STEP_SECONDS, look)

    def autostart(self) -> None:
        """Configure and activate, as a lifecycle manager would, the latter when no other node has this one's role."""
        if self._made(self.trigger_configure):
            if self.role is None:
                self._made(self.trigger_activate)
            else:
                self.role.want(lambda: self._made(self.trigger_activate))

    def _made(self, trigger: Callable[[], TransitionCallbackReturn]) -> bool:
        """Make a transition of a start; return whether it was made, else the process is told."""
        if self.ending.is_set():
            return False
        made = trigger() == TransitionCallbackReturn.SUCCESS
        if not made:
            self.failed(self._failure or RuntimeError(f'{self.get_name()} could not be started'))
        return made

    def _give_way(self, reason: str) -> None:
        """Yield to another node that has this one's role: account for all as at the process's end, and stand by anew."""
        self.get_logger().error(f'yields: {reason}')

        def leave() -> None:
            if self.active:
                self._yielding = True
                self.trigger_deactivate()
                self._yielding = False
                self.trigger_cleanup()
                self._once(self.autostart)  # later, when the executor has let go of the old entities

        self.when_drained(leave)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Set up; a failure leaves the node unconfigured."""
        result = super().on_configure(state)
        self.incarnation = secrets.randbits(63)
        if result == TransitionCallbackReturn.SUCCESS and not self._hook('setup', self.setup):
            self._clean()
            result = TransitionCallbackReturn.FAILURE
        elif result == TransitionCallbackReturn.SUCCESS and self._one_for:
            self.role = Role(self, self.topics.device if self._one_for == 'device' else '', self._started, self._give_way)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the publishers, start, let callbacks through; a failure leaves the node inactive."""
        result = super().on_activate(state)
        if result != TransitionCallbackReturn.SUCCESS:
            return result
        if not self._hook('start', self.start):
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        self.active = True
        for timer in self._timers_gated:
            timer.reset()
        if self.role is not None:
            self.role.taken()
        self.get_logger().info('active')
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold callbacks back, stop, close the publishers."""
        self._deactivate(giving_up=self._yielding)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let everything go."""
        result = super().on_cleanup(state)
        self._clean()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop if active, let everything go."""
        if self.active:
            self._deactivate(giving_up=True)
        result = super().on_shutdown(state)
        self._clean()
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        if self.active:
            self._deactivate()
        super().on_error(state)
        self._clean()
        return TransitionCallbackReturn.SUCCESS

    def shut_down(self) -> None:
        """Make the lifecycle's last transition, from whatever state the node is in."""
        if self._state_machine.current_state[1] in ('unconfigured', 'inactive', 'active'):
            self.trigger_shutdown()

    def has_logged(self, error: BaseException | None) -> bool:
        """Return whether an exception is one that a hook raised, which is in the log already."""
        return error is not None and error is self._failure

    def _deactivate(self, *, giving_up: bool = False) -> None:
        self.active = False
        for timer in self._timers_gated:
            timer.cancel()
        self._hook('stop', self.stop)
        if giving_up:
            self._hook('give_up', self.give_up)
        if self.role is not None:
            self.role.left()

    def _clean(self) -> None:
        self._hook('teardown', self.teardown)
        self.role = None
        entities, self._entities, self._timers_gated = self._entities, [], []
        for destroy, entity in reversed(entities):
            destroy(entity)
        self.seals.close()
        self.seals = Seals(self, self.topics, None, self.refuse)

    def _hook(self, name: str, hook: Callable[[], None]) -> bool:
        """Call a hook, which rclpy would let fail in silence; return whether it went well."""
        try:
            with self.notifier.busy() if not self.ending.is_set() else nullcontext():  # nobody may listen at the end
                hook()
        except Exception as error:  # noqa: BLE001
            self._failure = error
            text = str(error) if isinstance(error, UserError) else f'\n{traceback.format_exc()}'
            self.get_logger().error(f'{name} failed: {text}')
            return False
        return True
