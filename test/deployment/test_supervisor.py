# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Processes are started, watched, restarted, and all of them end, whatever they do and however their starter ends.

The children are real processes; in place of the nodes they run `CHILD`, found through PYTHONPATH.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import edge_dnn_partition
from edge_dnn_partition.deployment import supervisor as module
from edge_dnn_partition.deployment.processes import NodeProcess
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.transport.shared_memory import FOLDER

CHILD = """
import os, signal, sys, time
kind, arguments = sys.argv[1], sys.argv[2:]
if kind == 'polite':
    signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))
elif kind == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(kind, os.getpid(), os.environ.get('TRIAL'), *arguments, flush=True)
if kind == 'talker':
    sys.stdout.buffer.write(b'one\\ntwo \\xff\\n\\nthree')
    sys.stdout.buffer.flush()
    print('a complaint', file=sys.stderr)
    sys.exit(3)
while True:
    time.sleep(0.01)
"""

STARTER = """
import sys, time
from edge_dnn_partition.deployment.processes import NodeProcess
from edge_dnn_partition.deployment.supervisor import Supervisor
supervisor = Supervisor({'PYTHONPATH': sys.argv[1]}, lambda label, line: print(label, line, flush=True))
supervisor.start(NodeProcess('worker', '/demo/pi', {}))
time.sleep(600)
"""


def wait_until(condition, what):
    """Return what ``condition`` gives as soon as it is true; the limit is for a broken machine, not a figure."""
    deadline = time.monotonic() + 30
    while not (result := condition()):
        assert time.monotonic() < deadline, f'waited in vain: {what}'
        time.sleep(0.002)
    return result


def gone(pid):
    """Tell whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] in 'ZX'
    except OSError:
        return True


def kill(pids):
    """End what has not ended; return those."""
    left = [pid for pid in pids if not gone(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


class Trial:
    """A supervisor of trial processes, and what they said."""

    def __init__(self, folder):
        self.lines = []
        environment = {'PYTHONPATH': str(folder), 'TRIAL': 'yes'}
        self.supervisor = Supervisor(environment, self.note)
        self.pids = []

    def start(self, kind, device='pi', parameters=None):
        """Start a process and wait until it runs; return its label."""
        process = NodeProcess(kind, f'/demo/{device}', parameters or {})
        before = len(self.said(process.label))
        self.supervisor.start(process)
        words = wait_until(lambda: self.said(process.label)[before:], f'a word from {process.label}')[0].split()
        self.pids.append(int(words[1]))
        return process.label

    def note(self, *line):
        self.lines.append(line)

    def said(self, label):
        return [line for name, line in self.lines if name == label]


@pytest.fixture
def folder(tmp_path):
    for name, text in (('__init__.py', ''), ('nodes/__init__.py', ''), ('nodes/__main__.py', CHILD)):
        path = tmp_path / 'edge_dnn_partition' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def trial(folder):
    made = Trial(folder)
    yield made
    made.supervisor.stop(made.supervisor.running)
    assert kill(made.pids) == [], 'processes were left behind'


def test_every_line_comes_with_its_label(trial):
    trial.start('talker', 'pi', {'runs': 5, 'name': 'a b'})
    trial.start('talker', 'cloud')
    for device, *arguments in (('pi', '-p', 'runs:=5', '-p', 'name:="a b"'), ('cloud',)):
        first, *rest = wait_until(
            lambda device=device: len(said := trial.said(f'{device}/talker')) == 5 and said, f'all lines of {device}'
        )
        assert first.split()[2:] == ' '.join(['yes', '--ros-args', '-r', f'__ns:=/demo/{device}', *arguments]).split()
        assert rest == ['one', 'two �', '', 'threea complaint']


def test_lines_that_cannot_be_written_hold_nobody_up(trial):
    """As where the log is on a full disk; a pipe that nobody empties is full after 64 kB."""

    def write(label, line):
        trial.note(label, line)
        raise OSError('no space left')

    trial.supervisor._on_line = write
    label = trial.start('talker', 'pi', {'name': 'x' * 70_000})
    assert wait_until(trial.supervisor.ended, 'the end') == {label: 3}
    assert trial.said(label)[-1] == 'threea complaint'


def test_those_that_end_by_themselves_are_told_once(trial):
    quick, steady = trial.start('talker'), trial.start('steady')
    wait_until(lambda: trial.supervisor.running == (steady,), 'the end of the talker')
    assert trial.supervisor.ended() == {quick: 3}
    assert trial.supervisor.ended() == {}
    assert trial.supervisor.codes == {quick: 3}
    trial.supervisor.signal(steady, signal.SIGKILL)
    wait_until(lambda: not trial.supervisor.running, 'the end of the steady one')
    assert trial.supervisor.ended() == {steady: -signal.SIGKILL}
    trial.supervisor.signal(steady, signal.SIGKILL)
    trial.supervisor.signal('none/such', signal.SIGKILL)


def test_one_that_was_killed_starts_anew_under_its_label(trial):
    label = trial.start('polite')
    trial.supervisor.signal(label, signal.SIGKILL)
    assert wait_until(trial.supervisor.ended, 'the end') == {label: -signal.SIGKILL}
    assert trial.start('polite') == label
    assert trial.supervisor.running == (label,)
    assert trial.supervisor.codes == {}, 'the code of the one before is still told'
    assert trial.pids[0] != trial.pids[1]
    assert trial.supervisor.stop([label]) == {label: 0}


def test_a_label_that_runs_is_not_started_twice(trial):
    label = trial.start('polite')
    with pytest.raises(UserError, match='pi/polite is already running; stop it'):
        trial.supervisor.start(NodeProcess('polite', '/demo/pi', {}))
    assert not gone(trial.pids[0])
    assert trial.supervisor.stop([label]) == {label: 0}
    wait_until(lambda: 'bye' in trial.said(label), 'its last word')
    assert trial.start('polite') == label


def test_stopping_asks_first_and_kills_who_does_not_listen(trial, monkeypatch):
    polite, plain, stubborn = (trial.start(kind) for kind in ('polite', 'plain', 'stubborn'))
    assert trial.supervisor.stop(['none/such']) == {}
    assert trial.supervisor.stop([polite, plain]) == {polite: 0, plain: -signal.SIGTERM}
    wait_until(lambda: 'bye' in trial.said(polite), 'its last word')
    assert trial.supervisor.running == (stubborn,)
    assert gone(trial.pids[0])
    monkeypatch.setattr(module, 'LIMIT_SECONDS', 0.1)
    assert trial.supervisor.stop([stubborn]) == {stubborn: -signal.SIGKILL}
    assert trial.supervisor.running == ()
    assert trial.supervisor.codes == {polite: 0, plain: -signal.SIGTERM, stubborn: -signal.SIGKILL}


def test_one_that_hangs_is_ended_too(trial, monkeypatch):
    label = trial.start('polite')
    trial.supervisor.signal(label, signal.SIGSTOP)
    monkeypatch.setattr(module, 'LIMIT_SECONDS', 0.1)
    assert trial.supervisor.stop([label]) == {label: -signal.SIGKILL}


def test_leaving_the_block_ends_all_even_by_an_error_and_clears_dead_ports(trial):
    port = FOLDER / f'fastrtps_port{10**9 + os.getpid()}'  # no real port has this number
    port.touch()
    try:
        with pytest.raises(KeyError, match='what went wrong'), trial.supervisor:
            for device in ('pi', 'jetson', 'cloud'):
                trial.start('plain', device)
            raise KeyError('what went wrong')
        assert all(gone(pid) for pid in trial.pids)
        assert set(trial.supervisor.codes.values()) == {-signal.SIGTERM}
        assert not port.exists()
    finally:
        port.unlink(missing_ok=True)


def test_children_outlive_the_thread_that_asked_for_them(trial):
    asker = threading.Thread(target=trial.start, args=['plain'])
    asker.start()
    asker.join()
    wait_until(lambda: not Path(f'/proc/self/task/{asker.native_id}').exists(), 'the end of the thread')
    time.sleep(0.2)
    assert trial.supervisor.running == ('pi/plain',)
    assert trial.supervisor.stop(['pi/plain']) == {'pi/plain': -signal.SIGTERM}


def test_children_do_not_outlive_a_starter_that_is_killed(folder):
    package = Path(edge_dnn_partition.__file__).parent
    environment = os.environ | {'PYTHONPATH': str(package.parent), 'PYTHONSAFEPATH': '1'}
    starter = subprocess.Popen([sys.executable, '-c', STARTER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment)
    with starter:
        label, _, pid, *_ = starter.stdout.readline().split()
        assert label == 'pi/worker'
        assert not gone(pid)
        starter.kill()
        try:
            wait_until(lambda: gone(pid), 'the end of the child')
        finally:
            kill([int(pid)])
