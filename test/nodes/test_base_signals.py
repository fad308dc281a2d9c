# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Node processes end within 2 s of a signal with code 0, and outlive what goes wrong inside."""

import random
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from support import SHARED_MEMORY, SharedMemoryWatch, ros_arguments, spin_until, wait_until

from edge_dnn_partition.deployment.watchdog import Watchdog

TRIAL = Path(__file__).with_name('trial_node.py')
PAIRS_AT_ONCE = 5
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def start_trial(nodes, kind, namespace='/trial/device', *, environment=None, **parameters):
    return nodes.start(TRIAL, kind, *ros_arguments(namespace, **parameters), environment=environment)


def test_twenty_signals_while_tensors_flow(nodes):
    """Ten pairs of processes, one sending 3.2 MB tensors to the other; each process gets a signal, half of them either one."""
    chance = random.Random('flow')
    with SharedMemoryWatch(nodes) as watch:
        for _ in range(10 // PAIRS_AT_ONCE):
            pairs = []
            for pair in range(PAIRS_AT_ONCE):
                receiver = start_trial(nodes, 'receiver', f'/trial/to_{pair}')
                sender = start_trial(nodes, 'sender', f'/trial/from_{pair}', to=f'to_{pair}')
                pairs.append((sender, receiver))
            for _, receiver in pairs:
                receiver.wait_for('tensor 1\n')
            for at, pair in enumerate(pairs):
                first, second = chance.sample(pair, 2)
                time.sleep(chance.uniform(0, 0.2))
                first.send(SIGNALS[at % 2])
                time.sleep(chance.uniform(0, 0.05))  # an end takes longer, so that fragments still flow
                second.send(SIGNALS[(at + 1) % 2])
            for pair in pairs:
                for process in pair:
                    process.assert_clean_end()
                    assert 'Traceback' not in process.output
        assert len(nodes.all) == 20
        assert all(watch.segments(process.pid) for process in nodes.all)
    assert watch.left_over() == []


def test_twenty_signals_during_start(nodes):
    """The signal comes at any time from the first line of the package to shortly after activation, half of them either one."""
    chance = random.Random('start')
    with SharedMemoryWatch(nodes) as watch:
        for _ in range(5):
            batch = [start_trial(nodes, 'ticker', f'/trial/device_{i}') for i in range(4)]
            for process in batch:
                process.wait_for_handlers()
            for at, process in enumerate(batch):
                if at == len(batch) - 1:  # on a loaded machine all others may get theirs before they are that far
                    process.wait_for('start\n')
                process.send(SIGNALS[at % 2])
                time.sleep(chance.uniform(0, 0.4))
            for process in batch:
                process.assert_clean_end()
        assert len(nodes.all) == 20
        assert any('start\n' not in process.output for process in nodes.all), 'no signal came early'
        assert any(watch.segments(process.pid) for process in nodes.all), 'every signal came early'
    assert watch.left_over() == []


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_at_the_first_line(nodes, number):
    """As users start a node: the signal is kept while the process replaces itself and imports."""
    started = [nodes.start_node('device_monitor', f'/trial/device_{i}') for i in range(2)]
    for process in started:
        process.wait_for_handlers()
        process.assert_clean_end(number)
        assert process.output == ''


class Manager:
    """A lifecycle manager in this process."""

    def __init__(self, context, node_name):
        self._node = Node('manager', context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._change = self._node.create_client(ChangeState, f'{node_name}/change_state')
        self._get = self._node.create_client(GetState, f'{node_name}/get_state')
        assert self._change.wait_for_service(30)
        assert self._get.wait_for_service(30)

    def _ask(self, client, request):
        future = client.call_async(request)
        spin_until(self._executor, future.done, f'answer of {client.srv_name}')
        return future.result()

    def change(self, transition):
        request = ChangeState.Request()
        request.transition.id = transition
        return self._ask(self._change, request).success

    def state(self):
        return self._ask(self._get, GetState.Request()).current_state.id

    def close(self):
        self._executor.shutdown()
        self._node.destroy_node()


@pytest.fixture
def manager(context):
    made = []

    def make(node_name):
        made.append(Manager(context, node_name))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize('executor', ['events', 'single'])
def test_invalid_transition_is_answered_and_survived(nodes, manager, executor):
    ticker = start_trial(nodes, 'ticker', environment={'EDGE_DNN_PARTITION_EXECUTOR': executor})
    ticker.wait_for('tick 1\n')
    lifecycle = manager('/trial/device/ticker')
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, 99):
        assert not lifecycle.change(transition)
    assert lifecycle.state() == State.PRIMARY_STATE_ACTIVE
    ticks = ticker.output.count('tick ')
    ticker.wait_for('tick ', ticks + 3)
    assert 'Traceback' not in ticker.output
    ticker.assert_clean_end()


def test_managed_from_outside(nodes, manager):
    ticker = start_trial(nodes, 'ticker', autostart=False)
    lifecycle = manager('/trial/device/ticker')
    assert lifecycle.state() == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):
        assert lifecycle.change(Transition.TRANSITION_CONFIGURE)
        before = ticker.output
        time.sleep(0.2)  # four ticks, if it did not hold them back
        assert ticker.output == before
        assert lifecycle.change(Transition.TRANSITION_ACTIVATE)
        ticker.wait_for('tick ', before.count('tick ') + 2)
        assert lifecycle.change(Transition.TRANSITION_DEACTIVATE)
        before = ticker.output
        time.sleep(0.2)
        assert ticker.output == before
        assert lifecycle.change(Transition.TRANSITION_CLEANUP)
    assert ticker.output.count('stop\n') == 2
    assert ticker.output.count('teardown\n') == 2
    ticker.assert_clean_end(signal.SIGINT)


@pytest.mark.parametrize('executor', ['events', 'single'])
def test_exception_in_a_callback_is_logged_and_survived(nodes, executor):
    environment = {'EDGE_DNN_PARTITION_EXECUTOR': executor}
    ticker = start_trial(nodes, 'ticker', fail_at=2, refuse_at=4, environment=environment)
    raw = start_trial(nodes, 'ticker', '/trial/other', raw=True, environment=environment)
    ticker.wait_for('tick 8\n')
    assert ticker.output.count('ValueError: a bug in a callback') == 1
    assert 'refused (UserError, 1 so far): this input is no good' in ticker.output
    raw.wait_for('a callback failed, going on')
    raw.wait_for('tick ', raw.output.count('tick ') + 9)  # the callback fails at each second tick
    ticker.assert_clean_end()
    raw.assert_clean_end()
    assert raw.output.count('Traceback') == 1
    assert re.search(r'\.\.\. and [1-9]\d* more of this in the last \d+ s: ValueError: a bug in a callback', raw.output)


def test_a_thread_that_dies_ends_its_process_with_the_reason(nodes):
    ticker = start_trial(nodes, 'ticker', die_at=2)
    assert ticker.end()[0] == 1
    assert ticker.output.count('ValueError: a bug in a callback') == 1
    assert "error: the thread 'helper' has died, so this process ends" in ticker.output
    assert ticker.output.rstrip().endswith('stop\nteardown'), 'no orderly end'


def test_the_hooks_are_called_at_the_end(nodes):
    ticker = start_trial(nodes, 'ticker')
    ticker.wait_for('tick 1\n')
    ticker.assert_clean_end()
    assert ticker.output.rstrip().endswith('stop\nteardown')


def test_long_work_is_told_to_end(nodes):
    busy = start_trial(nodes, 'busy')
    busy.wait_for('working')
    busy.assert_clean_end()
    assert 'work stopped' in busy.output
    assert 'by force' not in busy.output


def test_a_thread_that_is_left_behind_holds_nothing_up(nodes):
    ticker = start_trial(nodes, 'ticker', linger=True)
    ticker.wait_for('tick 2\n')
    ticker.assert_clean_end()
    assert 'ending by force' not in ticker.output


def test_a_callback_that_never_returns_ends_by_force(nodes):
    with SharedMemoryWatch(nodes) as watch:
        stuck = start_trial(nodes, 'ticker', block_at=2)
        stuck.wait_for('tick 2\n')
        stuck.assert_clean_end()
        assert 'ending by force' in stuck.output
        assert watch.segments(stuck.pid)
    assert watch.left_over() == []


def test_a_library_that_never_lets_the_interpreter_go_does_not_keep_the_process(nodes):
    with SharedMemoryWatch(nodes) as watch:
        seized = start_trial(nodes, 'ticker', seize=True)
        seized.wait_for('tick 2\n')
        seized.assert_clean_end()
        assert 'ending by force' not in seized.output  # no Python code could run
    for name in watch.left_over():  # the one end that cannot take its files along
        (SHARED_MEMORY / name).unlink(missing_ok=True)


def test_a_node_that_hangs_is_ended_by_the_watchdog_and_shows_where(nodes):
    """As `up`, the launch files and systemd have it; the other node shows that one that works is left alone."""
    watchdog = Watchdog(3.0)
    try:
        hung = start_trial(nodes, 'ticker', environment=watchdog.environment, seize_at=3)
        well = start_trial(nodes, 'ticker', '/trial/other', environment=watchdog.environment)
        said = {}
        wait_until(lambda: said.update(watchdog.look()) or not hung.running, 'the end of the one that hangs')
        assert list(said) == [hung.pid] and hung.code in (-signal.SIGABRT, -signal.SIGKILL)
        assert 'Fatal Python error: Aborted' in hung.output and 'in _tick' in hung.output
        assert watchdog.ready(well.pid)
        well.assert_clean_end()
    finally:
        watchdog.close()


@pytest.mark.parametrize(
    ('namespace', 'parameters', 'code', 'text'),
    [
        ('/trial/device', {'setup_fails': 'user'}, 2, 'error: the model is missing: give one'),
        ('/trial/device', {'setup_fails': 'bug'}, 1, 'ZeroDivisionError: a bug in setup'),
        ('/trial/device', {'setup_fails': 'maybe'}, 2, 'error: setup_fails must be one of no, user, bug'),
        ('/trial/device', {'fail_at': 'soon'}, 2, 'error: fail_at must be a whole number'),
        ('/trial', {}, 2, "error: the namespace '/trial' does not name a fleet and a device"),
        ('/trial/jetson-1', {}, 2, 'error: --ros-args'),
    ],
)
def test_a_start_that_fails_says_why(nodes, namespace, parameters, code, text):
    process = start_trial(nodes, 'ticker', namespace, **parameters)
    assert process.end()[0] == code
    assert text in process.output
    assert process.output.count('Traceback') == (1 if code == 1 else 0)


def test_no_such_node(nodes):
    process = nodes.start('-m', 'edge_dnn_partition.nodes', 'camera')
    assert process.end()[0] == 2
    assert 'error: name a node first: one of device_monitor' in process.output
