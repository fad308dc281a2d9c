# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What ends or hangs is started again, later each time, and what will not mend is given up; ends are told in words."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.deployment import watchdog as watchdog_module
from edge_dnn_partition.deployment.processes import NodeProcess
from edge_dnn_partition.deployment.upkeep import (
    LONGEST_WAIT_SECONDS,
    MOST_STARTS,
    STEADY_SECONDS,
    Life,
    Upkeep,
    describe_end,
    memory_kills,
)
from edge_dnn_partition.deployment.watchdog import HANG_SECONDS, LONG_SECONDS, Notifier, Watchdog

CHILD = """
import time
from edge_dnn_partition.deployment.watchdog import Notifier
notifier = Notifier()
notifier.ready()
while True:
    notifier.alive()
    time.sleep(0.01)
"""


class Supervisor:
    """Processes that are only noted."""

    def __init__(self):
        self.running, self.started, self.codes, self.hung = [], [], {}, {}

    def start(self, process):
        self.running.append(process.label)
        self.started.append(process.label)

    def end(self, label, code):
        self.running.remove(label)
        self.codes[label] = code

    def ended(self):
        codes, self.codes = self.codes, {}
        return codes

    def end_hung(self):
        return self.hung

    def ready(self, label):
        return label in self.running


def upkeep(*nodes, kills=dict, **options):
    supervisor, said = Supervisor(), []
    processes = [NodeProcess(node, '/demo' if node in ('scheduler', 'dashboard') else '/demo/pi', {}) for node in nodes]
    made = Upkeep(supervisor, processes, said.append, kills=kills, **options)
    made.turn(0.0)
    assert supervisor.started == [process.label for process in processes] and made.unready == ()
    return made, supervisor, said


def test_what_is_not_ready_is_named_without_the_tools():
    kept, supervisor, _ = upkeep('worker', 'scheduler', 'dashboard')
    supervisor.running = ['pi/worker']
    assert kept.unready == ('scheduler',)


def test_what_ends_is_started_again_later_each_time_and_then_given_up():
    kept, supervisor, said = upkeep('worker', 'scheduler')
    now, waits = 0.0, []
    while not kept.failed:
        supervisor.end('pi/worker', 1)
        kept.turn(now)
        ended = now
        while 'pi/worker' not in supervisor.running and not kept.failed:
            now += 0.5
            kept.turn(now)
        waits.append(now - ended)
    assert waits[:-1] == [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]
    assert supervisor.started.count('pi/worker') == MOST_STARTS
    assert said[0] == 'pi/worker exited with code 1; see its last lines above; restarting it in 2 s'
    assert said[-1].endswith('; giving up after 8 failures in a row')
    assert 'scheduler' in supervisor.running


def test_of_several_kills_at_once_each_is_explained():
    counted = {'cgroup': 5, 'machine': 7}
    kept, supervisor, said = upkeep('worker', 'frame_source', 'scheduler', kills=lambda: counted)
    counted = {'cgroup': 7, 'machine': 9}
    for label in list(supervisor.running):
        supervisor.end(label, -9)
        kept.turn(1.0)
    assert ['most likely by the out-of-memory killer' in line for line in said] == [True, True, False]
    assert 'another process sent the signal' in said[2]


def test_one_that_lived_for_a_while_begins_anew():
    life = Life()
    for start in range(50):
        life.begin(100.0 * start)
        assert life.end(-9, 100.0 * start + STEADY_SECONDS) == (2.0, '')


def test_refused_input_does_not_loop():
    kept, supervisor, said = upkeep('worker', 'dashboard')
    supervisor.end('dashboard', 1)  # its port is taken
    kept.turn(1.0)
    assert not kept.failed and said[-1].endswith('restarting it in 2 s')
    kept.turn(3.0)
    for at in range(MOST_STARTS):
        supervisor.end('dashboard', 1)
        kept.turn(3.0 + 100 * at)
        kept.turn(3.0 + 100 * at + 60)
        if 'dashboard' not in supervisor.running:
            break
    assert not kept.failed and said[-1].endswith('; the fleet continues without it')
    kept, supervisor, said = upkeep('worker', 'visualisation', 'dashboard')
    supervisor.end('dashboard', 2)  # others may read the file of its token
    kept.turn(1.0)
    assert not kept.failed and said[-1].endswith('; restarting it would not help; the fleet continues without it')
    supervisor.end('pi/worker', 2)
    kept.turn(2000.0)
    assert kept.failed
    assert said[-1] == 'pi/worker rejected its input (code 2); see its last lines above; restarting it would not help'


@pytest.mark.parametrize(('code', 'failed'), [(1, True), (0, False), (-9, True)])
def test_without_respawn_a_failure_ends_all(code, failed):
    kept, supervisor, _ = upkeep('worker', 'scheduler', 'dashboard', respawn=False)
    supervisor.end('dashboard', code)
    kept.turn(1.0)
    assert not kept.failed
    supervisor.end('pi/worker', code)
    kept.turn(2.0)
    assert kept.failed is failed
    supervisor.end('scheduler', 0)
    kept.turn(3.0)
    assert kept.failed, 'nothing runs any more'
    assert supervisor.started == ['pi/worker', 'scheduler', 'dashboard']


def files(root, texts):
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [
        ({'proc/self/cgroup': '0::/fleet\n', 'sys/fs/cgroup/fleet/memory.events': 'oom 3\noom_kill 2\n',
          'proc/vmstat': 'pgfault 1\noom_kill 5\n'}, {'cgroup': 2, 'machine': 5}),
        ({'proc/self/cgroup': '5:cpu:/\n7:memory:/docker/1\n', 'sys/fs/cgroup/memory/memory.oom_control':
          'oom_kill_disable 0\noom_kill 4\n'}, {'cgroup': 4}),
        ({'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.events': 'oom_kill 1\n'}, {'cgroup': 1}),
        ({'proc/vmstat': 'oom_kill many\n'}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_kills_for_want_of_memory_are_counted(tmp_path, texts, expected):
    files(tmp_path, texts)
    assert memory_kills(tmp_path) == expected


def test_ends_are_told_in_words():
    assert 'most likely by the out-of-memory killer' in describe_end(-9, {'cgroup': 0, 'machine': 4}, {'cgroup': 1, 'machine': 5})
    assert 'perhaps by the out-of-memory killer' in describe_end(-9, {'machine': 4}, {'machine': 5})
    assert describe_end(-9, {'machine': 4}, {'machine': 4}).endswith('so another process sent the signal')
    assert describe_end(-9, {}, {}) == 'was killed (SIGKILL)'
    assert describe_end(-11, {}, {}) == 'crashed in native code (SIGSEGV); see its last lines above'
    assert describe_end(-15, {}, {}) == 'was ended by SIGTERM'
    assert describe_end(0, {}, {}) == 'exited with code 0'


class Trial:
    """A watchdog with a clock, states and kills of its own; processes speak as themselves."""

    def __init__(self):
        self.now, self.states, self.kills = 50.0, {}, []
        self.watchdog = Watchdog(clock=lambda: self.now, state=lambda pid: self.states.get(pid, 'S'), kill=self.kill)

    def kill(self, pid, number):
        self.kills.append((pid, number))

    def wait(self, seconds, sign=lambda: None):
        """Look each half second; return what was said."""
        found = {}
        for _ in range(round(2 * seconds)):
            self.now += 0.5
            sign()
            found |= self.watchdog.look()
        return found


@pytest.fixture
def trial():
    made = Trial()
    yield made
    made.watchdog.close()


def sign(notifier):
    """Send a heartbeat at once."""
    notifier._next_at = 0.0
    notifier.alive()


def test_a_full_queue_loses_nothing_for_good(trial):
    """As where many processes start at once: a queue may have ten places."""
    me, notifier = os.getpid(), Notifier(trial.watchdog.environment)
    notifier.ready()
    with notifier.busy():
        trial.wait(1)
        others = [Notifier(trial.watchdog.environment) for _ in range(600)]
        for other in others:
            sign(other)
    trial.wait(1, lambda: sign(notifier))
    assert trial.wait(HANG_SECONDS) == {me: 'hangs: no heartbeat for 10 s; ending it'}


def test_one_that_is_silent_is_shown_where_it_hangs_and_killed(trial):
    me, notifier = os.getpid(), Notifier(trial.watchdog.environment)
    notifier.ready()
    assert trial.wait(30, lambda: sign(notifier)) == {} and trial.watchdog.ready(me)
    assert trial.wait(HANG_SECONDS - 0.5) == {}
    assert trial.wait(0.5) == {me: 'hangs: no heartbeat for 10 s; ending it'}
    assert trial.kills == [(me, signal.SIGABRT)]
    assert trial.wait(2) == {}
    assert trial.kills[1:] == [(me, signal.SIGKILL)]
    trial.states[me] = 'Z'
    trial.wait(10)
    assert len(trial.kills) == 2


def test_what_takes_long_on_purpose_is_no_silence(trial):
    me, notifier = os.getpid(), Notifier(trial.watchdog.environment)
    trial.watchdog.started(me)
    assert trial.wait(LONG_SECONDS / 2) == {}, 'it loads a model'
    notifier.ready()
    with notifier.busy():
        assert trial.wait(LONG_SECONDS / 2) == {}, 'it is configured again'
    trial.states[me] = 't'
    assert trial.wait(60) == {}, 'somebody debugs it'
    trial.states[me] = 'T'
    assert trial.wait(1) == {me: 'is stopped (SIGSTOP): no heartbeat for 60 s; ending it'}


def test_a_process_of_several_threads_is_ready_and_alive_when_all_are_and_busy_while_one_is(trial):
    me, whole = os.getpid(), Notifier(trial.watchdog.environment)
    first, second = whole.shared(2)
    assert whole.shared(1) == [whole]

    def beat(*parts):
        whole._next_at = 0.0
        for part in parts:
            part.alive()

    first.ready()
    trial.wait(1)
    assert not trial.watchdog.ready(me), 'the second is configured still'
    second.ready()
    assert trial.wait(30, lambda: beat(first, second)) == {} and trial.watchdog.ready(me)
    with first.busy():
        with second.busy():
            pass
        assert trial.wait(60, lambda: beat(second)) == {}, 'the first loads a model, of which the end of the second says nothing'
    beat(first, second)
    assert trial.wait(HANG_SECONDS - 1, lambda: beat(first)) == {}
    assert trial.wait(2, lambda: beat(first)) == {me: 'hangs: no heartbeat for 10 s; ending it'}, 'the second hangs'


def test_a_watchdog_that_was_stopped_itself_blames_nobody(trial):
    Notifier(trial.watchdog.environment).ready()
    trial.wait(1)
    trial.now += 3600  # Ctrl-Z, and fg
    assert trial.wait(HANG_SECONDS - 1) == {}
    assert trial.kills == []


@given(st.binary(max_size=200))
def test_whatever_is_said_does_not_stop_it(text):
    watchdog = Watchdog()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(text, '\0' + watchdog.environment['NOTIFY_SOCKET'][1:])
        assert watchdog.look() == {}
    finally:
        watchdog.close()


def test_a_stopped_process_is_ended_in_truth(monkeypatch):
    """SIGABRT waits while a process is stopped; SIGKILL does not."""
    monkeypatch.setattr(watchdog_module, '_ABORT_SECONDS', 0.05)
    watchdog = Watchdog(0.2)
    environment = os.environ | watchdog.environment | {'PYTHONSAFEPATH': '1'}
    child = subprocess.Popen([sys.executable, '-c', CHILD], env=environment)
    try:
        deadline = time.monotonic() + 30
        said = {}
        while child.poll() is None:
            assert time.monotonic() < deadline
            said |= watchdog.look()
            if watchdog.ready(child.pid) and not said:
                child.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
        assert child.returncode == -signal.SIGKILL and 'is stopped' in said[child.pid]
    finally:
        child.kill()
        child.wait()
        watchdog.close()
