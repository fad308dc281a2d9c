# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What rclpy of Jazzy lacks, and how this package does without: all that reaches into rclpy's own objects.

======================  ==================================================  =================================================
gap                     upstream                                            way out, once every supported rclpy has the change
======================  ==================================================  =================================================
a service's response    ros2/rclpy#1473: EventsExecutor takes no            make the callbacks of `FleetNode.serve`
cannot come later       coroutine; mended by #1478, in Jazzy by #1613       coroutines; delete `DeferredResponse` and
                                                                            `allow_deferred`
an impossible           ros2/rclpy#1209: it raises, and nobody gets a       delete the ``except`` in `guard_transitions`; the
transition              response; mended by #1319                           rest of it is this package's own rule
waits stand still       ros2/ros2#1080, ros2/rclpy#1490: waits are by the   delete `WallClockWatch`
when the wall clock     wall clock, whichever clock a timer has
is set back
`spin` never returns    none known; EventsExecutor's in the wheels of PyPI  nothing: `Ticks` need a spin that ends
a value for one node    ros2/launch_ros#233: a node's full name outweighs   give the names as ``/<fleet>/<device>/worker``; delete
of a process            ``/**``, wherever it stands; no other pattern is    `own_parameters`
                        known to rclpy
a callback gets         none known; EventsExecutor passes message and       delete `timed`; declare the callback with both
message and info as     information as one tuple                            arguments
one argument
======================  ==================================================  =================================================
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, ClassVar

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.task import Future as RosFuture

from edge_dnn_partition.errors import UserError

try:
    from rclpy.experimental import EventsExecutor

    _HAS_EVENTS = True
except ImportError:  # rclpy before Jazzy's 7.1
    _HAS_EVENTS = False

if TYPE_CHECKING:
    from .base import FleetNode

_WATCH_SECONDS = 0.25
_STEP_SECONDS = 0.02
"""A wall clock that goes back by less was slewed, or holds a wait up by no more than that."""
_LONGEST_WAIT_SECONDS = 1.0
"""A message waits this long at most to be taken: more is a step of the wall clock."""

# Responses that come later -----------------------------------------------------------------------------------------


class DeferredResponse:
    """Returned by a service's callback in place of a response; `send` may be called from any thread."""

    def __init__(self) -> None:
        self._response: Future[Any] = Future()

    @property
    def sent(self) -> bool:
        """Whether there is a response."""
        return self._response.done()

    def send(self, response: Any) -> None:
        """Send the response; only the first one counts."""
        with contextlib.suppress(InvalidStateError):
            self._response.set_result(response)

    def attach(self, send: Callable[[Any], None]) -> None:
        """Call ``send`` with the response, as soon as there is one."""

        def sending(response: Future[Any]) -> None:
            with contextlib.suppress(InvalidHandle):  # the node has been cleaned up meanwhile
                send(response.result())

        self._response.add_done_callback(sending)

    def follow(self, node: FleetNode, work: Future[Any], answer: Callable[[Future[Any]], Any], response: Any) -> None:
        """Answer when work on another thread has ended.

        :param answer: returns the response from the work, or another `DeferredResponse`; called in the thread that spins; may
            raise `UserError`.
        :param response: is filled with the reason if ``answer`` raises.
        """

        def finish() -> None:
            try:
                found = answer(work)
            except Exception as error:  # noqa: BLE001
                if not isinstance(error, UserError):
                    node.repeats.failure('a service failed')
                response.success, response.message = False, str(error)
                found = response
            if isinstance(found, DeferredResponse):
                found.attach(self.send)
            else:
                self.send(found)

        work.add_done_callback(lambda _: node.ticks.soon(finish))


def allow_deferred(service: Any) -> None:
    """Let a service's callback return a `DeferredResponse`."""
    send = service.send_response

    def send_or_wait(response: Any, header: Any) -> None:
        if isinstance(response, DeferredResponse):
            response.attach(lambda whole: send(whole, header))
        else:
            send(response, header)

    service.send_response = send_or_wait



# The lifecycle's service -------------------------------------------------------------------------------------------

_LEAVE = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN)
_ENTER = (Transition.TRANSITION_ACTIVATE,)


def guard_transitions(node: FleetNode) -> None:
    """Answer an impossible transition with success false, where rclpy raises and gives no answer.

    The active state is left when what is under way is finished, and entered if no other node has this one's role.
    """
    (service,) = (service for service in node.services if service.srv_type is ChangeState)
    change = service.callback

    def refused(request: Any, response: Any, reason: str) -> Any:
        node.get_logger().warning(f'transition {request.transition.label or request.transition.id} refused: {reason}')
        response.success = False
        return response

    def attempt(request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except Exception as error:  # noqa: BLE001
            return refused(request, response, str(error).partition(', at ')[0])

    def answer(request: Any, response: Any) -> Any:
        wanted, deferred = request.transition, DeferredResponse()
        if node.active and _is(wanted, 'deactivate', 'shutdown', numbers=_LEAVE):
            node.when_drained(lambda: deferred.send(attempt(request, response)))
        elif node.role is not None and not node.active and _is(wanted, 'activate', numbers=_ENTER):
            node.role.want(
                lambda: deferred.send(attempt(request, response)),
                lambda reason: deferred.send(refused(request, response, reason)),
            )
        else:
            return attempt(request, response)
        return deferred

    service.callback = answer
    allow_deferred(service)


def _is(transition: Transition, *labels: str, numbers: tuple[int, ...]) -> bool:
    """Return whether a transition is one of some, by number or by label as rclpy takes it."""
    return transition.label in labels if transition.label else transition.id in numbers


def own_parameters(node: Any, kind: str) -> None:
    """Let a node of a process of several take values that are given as ``KIND.NAME``; one given as ``NAME`` outweighs it."""
    given = node._parameter_overrides  # noqa: SLF001
    for name, value in [*given.items()]:
        if name.startswith(own := f'{kind}.') and (plain := name.removeprefix(own)) not in given:
            given[plain] = Parameter(plain, value.type_, value.value)
            if plain == 'use_sim_time':  # it is declared already
                node.set_parameters([given[plain]])


# Executors and clocks ----------------------------------------------------------------------------------------------


def make_executor(kind: str, context: Any) -> tuple[Executor, Callable[[float], None], Callable[[], None]]:
    """Return an executor, what spins it for some seconds at most, and what ends such a spin early, or the next one.

    EventsExecutor where there is one: a 1 kB message there and back between two processes took half the
    time and half the CPU time of SingleThreadedExecutor's (medians 0.46-0.48 against 0.94-1.28 ms one way
    on a loaded 2-core machine, 0.6 against 1.4 ms CPU per round). Its `spin()` waits for ever in the PyPI
    wheels, hence `spin_until_future_complete` with a future that completes when the spin is to end (its `wake()` does not
    end it). Each spin has a future of its own, as each adds a callback to it.

    :param kind: ``events`` or ``single``.
    """
    if kind != 'events' or not _HAS_EVENTS:
        single: Any = SingleThreadedExecutor(context=context)
        return single, lambda seconds: single.spin_once(timeout_sec=seconds), lambda: single.create_task(lambda: None)
    events = EventsExecutor(context=context)
    woken, end = threading.Event(), RosFuture()

    def spin(seconds: float) -> None:
        nonlocal end
        end = RosFuture()
        if not woken.is_set():
            events.spin_until_future_complete(end, timeout_sec=seconds)
        woken.clear()

    def wake() -> None:
        woken.set()
        end.set_result(None)

    return events, spin, wake


class WallClockWatch:
    """Ends waits early when the wall clock is set back, on one thread for all of this process.

    rclpy waits on condition variables of C++, which wait for a time of the wall clock where the library was built for a glibc
    before 2.30, as the wheels are. All timers would stand still until that time has come.
    """

    _watches: ClassVar[list[WallClockWatch]] = []

    def __init__(self, node: Any, wake: Callable[[], None]) -> None:
        self._node, self._wake = node, wake

    def start(self) -> None:
        """Begin to watch."""
        self._watches.append(self)
        if len(self._watches) == 1:
            threading.Thread(target=self._run, name='wall clock', daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        with contextlib.suppress(ValueError):
            self._watches.remove(self)

    @classmethod
    def _run(cls) -> None:
        ahead = time.time() - time.monotonic()
        while cls._watches:
            time.sleep(_WATCH_SECONDS)
            before, ahead = ahead, time.time() - time.monotonic()
            if ahead < before - _STEP_SECONDS:
                for watch in [*cls._watches]:
                    watch.end_wait()

    def end_wait(self) -> None:
        """End the wait under way, and have rclpy look at its timers."""
        for timer in list(self._node.timers):
            with contextlib.suppress(InvalidHandle):  # it has just gone
                if not timer.is_canceled():
                    timer.reset()  # EventsExecutor looks at all timers of that clock
        self._wake()


def timed(callback: Callable[[Any], None], arrived: Callable[[float], None]) -> Callable[..., None]:
    """Return a subscription's callback that first passes on when the middleware received its message, by the steady clock.

    A busy process may take a message much later.
    """

    def take(*given: Any) -> None:
        message, info = given if len(given) == 2 else given[0]  # EventsExecutor gives both as one
        arrived(arrived_at(time.monotonic(), time.time(), info['received_timestamp'] * 1e-9))
        callback(message)

    kind = inspect.Parameter.POSITIONAL_ONLY
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in ('message', 'info')])
    take.__signature__ = signature  # type: ignore[attr-defined]  # rclpy counts the arguments
    return take


def arrived_at(now: float, wall: float, received: float) -> float:
    """Return when a message came by the clock of ``now``; now, if its reception by the wall clock cannot be."""
    waited = wall - received
    return now - waited if 0.0 <= waited <= _LONGEST_WAIT_SECONDS else now
