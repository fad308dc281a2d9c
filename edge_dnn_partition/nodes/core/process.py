# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The life of a process of nodes, from the signal handlers to the exit code, and the thread that spins each of them."""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from edge_dnn_partition import cache
from edge_dnn_partition.errors import BusyError, UserError
from edge_dnn_partition.monitoring.repeated_log import RepeatedLog
from edge_dnn_partition.text import printable
from edge_dnn_partition.transport.shared_memory import remove_leftovers

from . import signals
from .rclpy_gaps import WallClockWatch, make_executor
from .ticks import Ticks

if TYPE_CHECKING:
    from .base import FleetNode

_CHOICE = 'EDGE_DNN_PARTITION_EXECUTOR'
_TURN_SECONDS = 1.0
_DRAIN_STEP_SECONDS = 0.005
_LOOK_SECONDS = 0.02

Factories = Sequence[Callable[[], 'FleetNode']]


def run_nodes(load: Callable[[], Factories], args: Sequence[str] | None = None) -> int:
    """Run nodes until SIGINT, SIGTERM or SIGHUP; return the exit code.

    Each has a thread that spins it. They live and die together: one that fails ends the process, whose starter starts all again.

    An orderly end takes a fraction of a second; after `signals.LIMIT_SECONDS` the process ends by force, with
    the same code. Start node processes by ``python -m edge_dnn_partition.nodes NAME`` (or call
    `signals.install` first), so that a signal is heeded while rclpy is being imported.

    :param load: imports what makes the nodes, each another kind, and returns it; called once the process has joined the network,
        on a thread of its own: other processes become known meanwhile.
    :param args: the command line without the program's name; None: the process's own.
    :returns: 0; 2 if a node refused its input (one line on stderr), and would again; 1 if it failed otherwise.
    """
    stop = signals.install()
    remove_leftovers()  # of a process before this one that was killed
    faulthandler.enable()  # a crash in native code shows where, and so does SIGABRT to a process that hangs
    _live(load, args, stop)
    # The DDS participant goes with the last reference to it: while its threads are still at work on shared
    # memory, an exit can leave a lock there held for ever, on which other processes then wait.
    gc.unfreeze()
    gc.collect()
    return stop.code


def _live(load: Callable[[], Factories], args: Sequence[str] | None, stop: signals.StopSignals) -> None:
    """Make the nodes, wait until the process is to end, take the nodes down."""
    nodes: list[FleetNode] = []
    spinners: list[Spinner] = []

    def failed(error: BaseException | None) -> None:
        try:
            if not stop.is_set():
                stop.code = 1
                stop.code = _report(error, logged=any(node.has_logged(error) for node in nodes))
        finally:  # stderr may be a file on a full disk
            stop.ask()

    def thread_died(args: threading.ExceptHookArgs) -> None:
        """End the process when a thread of it has died: what it did nobody does any more, and who started it starts it again."""
        if args.exc_type is SystemExit or stop.is_set():
            return
        stop.code = 1
        try:
            traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)
            name = args.thread.name if args.thread is not None else 'unknown'
            sys.stderr.write(f'error: the thread {name!r} has died, so this process ends: start it again\n')
        finally:
            stop.ask()

    threading.excepthook = thread_died
    try:
        if stop.begin():
            _initialise(args)
            joined = _join_network()
            try:
                joined_at = time.monotonic()
                for factory in _loaded(load, stop):
                    node = factory()
                    node.failed, node.joined_at = failed, joined_at
                    nodes.append(node)
            finally:
                joined.destroy_node()
        if nodes:
            _join(nodes)
        if not stop.is_set():
            for node in nodes:
                first = functools.partial(_begin, node)
                spinners.append(Spinner(node, first=first, turn=node.notifier.alive, failed=failed, repeats=node.repeats))
                spinners[-1].start()
            stop.wait()
    except Exception as error:  # noqa: BLE001
        failed(error)
        stop.wait()
    _end(nodes, spinners, stop)


def _join_network() -> Node:
    """Return a node without topics, hidden from lists of nodes: the process takes part in DDS from now on."""
    return Node(f'_joining_{os.getpid()}', use_global_arguments=False, enable_rosout=False, start_parameter_services=False)


def _loaded(load: Callable[[], Factories], stop: signals.StopSignals) -> Factories:
    """Return what ``load`` returns, or nothing if the process is to end before."""
    found: Future[Factories] = Future()

    def run() -> None:
        try:
            found.set_result(load())
        except BaseException as error:  # noqa: BLE001
            found.set_exception(error)

    threading.Thread(target=run, name='imports', daemon=True).start()
    while not stop.is_set():
        if wait([found], _LOOK_SECONDS).done:
            return found.result()
    return ()


def _join(nodes: Sequence[FleetNode]) -> None:
    """Have nodes share what a process has once."""
    warn = nodes[0].repeats.warning
    cache.tell_troubles(lambda text: warn(text, text))
    for node, notifier in zip(nodes, nodes[0].notifier.shared(len(nodes)), strict=True):
        node.notifier, node.inboxes = notifier, nodes[0].inboxes
        node.neighbours = frozenset(other.kind for other in nodes)


def _begin(node: FleetNode) -> None:
    """Configure and activate the node, unless a lifecycle manager is to, and tell who started it that it is ready."""
    if node.params.flag('autostart'):
        node.autostart()
    node.notifier.ready()


def _initialise(args: Sequence[str] | None) -> None:
    """Initialise rclpy without its signal handlers.

    :raises UserError: if the ROS arguments are no good; rclpy has several errors for that.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except (RuntimeError, ValueError) as error:
        raise UserError('--ros-args: ' + str(error).removeprefix('failed to initialize rcl: ')) from error


def _report(error: BaseException | None, *, logged: bool) -> int:
    """Say on stderr why a node cannot go on; return the exit code."""
    if error is None:
        sys.stderr.write('error: the ROS context was shut down\n')
        return 1
    if isinstance(error, (UserError, NameValidationException)):
        sys.stderr.write('error: ' + printable(' '.join(str(error).split())) + '\n')
        return 1 if isinstance(error, BusyError) else 2
    if not logged:
        traceback.print_exception(error)
    return 1


def _drain(nodes: Sequence[FleetNode]) -> None:
    """Let nodes finish what is under way, in a second at most, while callbacks still come: what one waits for another may do."""
    deadline = time.monotonic() + min(1.0, max((node.begin_drain(ending=True) for node in nodes), default=0.0))
    while time.monotonic() < deadline and not all(node.drained() for node in nodes):
        time.sleep(_DRAIN_STEP_SECONDS)


def _end(nodes: Sequence[FleetNode], spinners: Sequence[Spinner], stop: signals.StopSignals) -> None:
    """Take nodes down step by step, those first that were made last; a step that fails does not keep the next from being taken."""

    def step(action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception:  # noqa: BLE001
            traceback.print_exc()

    step(lambda: _drain([node for node in nodes if node.active]))
    for node in nodes:
        node.ending.set()
    for spinner in spinners:
        spinner.ask_to_end()
    deadline = time.monotonic() + 0.1
    ended = [spinner.join(max(0.0, deadline - time.monotonic())) for spinner in spinners]
    for node in nodes[: len(spinners)]:
        step(node.stop_work)
    deadline = time.monotonic() + 1.2
    if not all(done or spinner.join(max(0.0, deadline - time.monotonic())) for done, spinner in zip(ended, spinners, strict=True)):
        signals.end_by_force(stop.code)
    for node, spinner in reversed(list(zip(nodes, spinners, strict=False))):
        step(node.shut_down)
        node.repeats.flush(ending=True)
        step(functools.partial(spinner.executor.shutdown, timeout_sec=0.2))
    for node in reversed(nodes):
        step(node.destroy_node)
    step(rclpy.try_shutdown)
    sys.stdout.flush()
    sys.stderr.flush()


class Spinner:
    """Spins one node on its own thread, logs what callbacks raise, and goes on.

    :param node: the node.
    :param repeats: takes the exceptions, and is flushed; by default one on the node's logger.
    :param first: called on the thread before the first spin (configuring may take long, and the main
        thread has to stay free for signals); what it raises is passed to ``failed``.
    :param turn: called at least once a second on the thread, once ``first`` is done.
    :param failed: called with the exception of ``first``, or with None when the context was shut down by
        somebody else; the spin ends after it.
    :param ticks: what is done at intervals, by default the node's.
    :param kind: ``events`` or ``single``; by default ``$EDGE_DNN_PARTITION_EXECUTOR``, else ``events``.
    """

    def __init__(
        self,
        node: Any,
        *,
        first: Callable[[], None] = lambda: None,
        turn: Callable[[], None] = lambda: None,
        failed: Callable[[BaseException | None], None] = lambda _: None,
        kind: str | None = None,
        repeats: RepeatedLog | None = None,
        ticks: Ticks | None = None,
    ) -> None:
        self._repeats = repeats or RepeatedLog(node.get_logger())
        self._node, self._context = node, node.context
        self._first = first
        self._turn = turn
        self._failed = failed
        self._ending = threading.Event()
        self.executor, self._spin, self._wake = make_executor(kind or os.environ.get(_CHOICE, 'events'), node.context)
        self.executor.add_node(node)
        self._ticks: Ticks = ticks or getattr(node, 'ticks', None) or Ticks()
        self._ticks.wake = self._wake
        self._thread = threading.Thread(target=self._run, name='spin', daemon=True)
        self._watch = WallClockWatch(node, self._wake)

    def start(self) -> None:
        """Begin to spin."""
        self._thread.start()
        self._watch.start()

    def ask_to_end(self) -> None:
        """Let the callback at work be the last one."""
        self._ending.set()
        self._watch.stop()
        self._wake()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end of the spin; return whether it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._first()
        except BaseException as error:  # noqa: BLE001
            self._failed(error)
            return
        # What is there now stays: it is not to be gone through again whenever Python looks for garbage, which takes
        # several milliseconds of a thread that publishes.
        gc.freeze()
        while not self._ending.is_set():
            try:
                self._turn()
                self._repeats.flush()
                self._spin(self._ticks.seconds_left(_TURN_SECONDS))
                self._ticks.run()
            except ExternalShutdownException:  # noqa: PERF203  the spin outlives what a callback raises
                break
            except Exception:  # noqa: BLE001
                if not self._context.ok():
                    break
                self._repeats.failure('a callback failed, going on')
                time.sleep(0.001)  # a callback that always fails must not starve the others
        if not self._ending.is_set():
            self._failed(None)
