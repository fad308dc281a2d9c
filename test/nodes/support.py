# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Real node processes for tests: start them, watch them, signal them, see what they leave."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

SHARED_MEMORY = Path('/dev/shm')
PATIENCE_SECONDS = 30.0
"""How long a condition may take on a loaded machine before a test gives up; no figure of the product."""


def wait_until(condition, what, timeout_seconds=PATIENCE_SECONDS):
    """Return ``condition()`` as soon as it is true; fail with ``what`` if it does not become so."""
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f'waited {timeout_seconds} s in vain: {what}'
        time.sleep(0.005)
    return result


def spin_until(executor, condition, what, timeout_seconds=PATIENCE_SECONDS, alive=()):
    """Spin an executor of this process until ``condition()`` is true, or one of ``alive`` ended."""
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f'waited {timeout_seconds} s in vain: {what}'
        for process in alive:
            assert process.running, f'ended early:\n{process.output}'
        executor.spin_once(timeout_sec=0.05)
    return result


class NodeProcess:
    """One running process.

    :param arguments: for this Python.
    :param output: the file that takes stdout and stderr.
    """

    def __init__(self, arguments, output, environment=None):
        self.arguments = arguments
        self._output = output
        self._ended = threading.Event()
        self.signalled_at = self.ended_at = None
        with output.open('wb') as stream:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=output.parent,  # a checkout in front of the installed package would hide its messages
                env=os.environ | {'PYTHONUNBUFFERED': '1'} | (environment or {}),
            )
        self.pid = self._process.pid
        threading.Thread(target=self._reap, daemon=True).start()

    def _reap(self):
        self._process.wait()
        self.ended_at = time.monotonic()
        self._ended.set()

    @property
    def output(self):
        return self._output.read_text(errors='replace')

    @property
    def running(self):
        return not self._ended.is_set()

    @property
    def code(self):
        return self._process.returncode

    def wait_for(self, text, count=1):
        """Wait until the output has ``text`` at least ``count`` times."""

        def seen():
            assert self.running or self.output.count(text) >= count, f'ended early:\n{self.output}'
            return self.output.count(text) >= count

        try:
            wait_until(seen, f'{text!r} from {self.arguments}')
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self.output}') from None

    def wait_for_handlers(self):
        """Wait until the process keeps SIGTERM: blocked, or caught by a handler."""
        bit = 1 << (signal.SIGTERM - 1)

        def kept():
            try:
                status = Path(f'/proc/{self.pid}/status').read_text()
            except OSError:
                return True  # ended; its code tells
            masks = re.findall(r'^Sig(?:Blk|Cgt):\s*(\w+)', status, re.MULTILINE)
            return not self.running or any(int(mask, 16) & bit for mask in masks)

        wait_until(kept, f'signal handlers of {self.arguments}')

    def send(self, number):
        self.signalled_at = time.monotonic()
        self._process.send_signal(number)

    def end(self, timeout_seconds=PATIENCE_SECONDS):
        """Wait for the end; return the code and the seconds since the signal."""
        assert self._ended.wait(timeout_seconds), f'still running after {timeout_seconds} s:\n{self.output}'
        return self.code, self.ended_at - (self.signalled_at or self.ended_at)

    def assert_clean_end(self, number=signal.SIGTERM):
        """Send a signal (unless one was sent), and check the promise: code 0 within 2 s."""
        if self.signalled_at is None:
            self.send(number)
        code, seconds = self.end()
        assert code == 0, f'code {code} after signal:\n{self.output}'
        assert seconds < 2.0, f'took {seconds:.2f} s to end:\n{self.output}'

    def kill(self):
        if self.running:
            self._process.kill()
            self._ended.wait(5)


class Processes:
    """Starts processes and ends those that are left; a context manager."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self.all = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.all:
            if process.running:
                process.send(signal.SIGTERM)
        for process in self.all:
            if not process._ended.wait(3):
                process.kill()

    def start(self, *arguments, environment=None):
        output = self._folder / f'process_{len(self.all)}.log'
        process = NodeProcess([str(argument) for argument in arguments], output, environment)
        self.all.append(process)
        return process

    def start_node(self, name, namespace, *, environment=None, **parameters):
        """Start a node of the package as users do."""
        return self.start(
            '-m', 'edge_dnn_partition.nodes', name, *ros_arguments(namespace, **parameters),
            environment=environment,
        )  # fmt: skip


def ros_arguments(namespace, **parameters):
    """Return the command line's part for ROS."""
    result = ['--ros-args', '-r', f'__ns:={namespace}']
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        result += ['-p', f'{name}:={text}']
    return result


def lock_holders():
    """Return which processes hold a flock on which file: process ids by inode."""
    holders = {}
    for line in Path('/proc/locks').read_text().splitlines():
        words = line.split()
        if words[1] == 'FLOCK':
            holders.setdefault(int(words[5].split(':')[2]), set()).add(int(words[4]))
    return holders


class SharedMemoryWatch(threading.Thread):
    """Notes which Fast DDS files belong to watched processes, all the time; a context manager.

    A process holds a flock on ``<file>_el`` for each of its files, see `shared_memory.own_files`.

    :param processes: a `Processes`; those that it starts later are watched too.
    """

    def __init__(self, processes):
        super().__init__(daemon=True)
        self._processes = processes
        self._ending = threading.Event()
        self._seen = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self.join()

    def run(self):
        while not self._ending.wait(0.02):
            watched = {process.pid for process in self._processes.all}
            holders = lock_holders()
            for lock in SHARED_MEMORY.glob('fastrtps_*_el'):
                try:
                    inode = lock.stat().st_ino
                    owners = holders.get(inode, set()) & watched
                except OSError:
                    continue
                for pid in owners:
                    self._seen.setdefault(pid, set()).add((lock.name.removesuffix('_el'), inode))

    def segments(self, pid):
        """Return the own segments that a process was seen with (not its ports, which may be shared)."""
        return {name for name, _ in self._seen.get(pid, ()) if not name.startswith('fastrtps_port')}

    def left_over(self):
        """Return the files that watched processes had and that are still there, used by nobody.

        Names of ports are taken again by other processes of this machine: only the same file counts.
        """
        holders = lock_holders()
        left = []
        for name, inode in set().union(*self._seen.values()):
            lock = SHARED_MEMORY / f'{name}_el'
            with contextlib.suppress(FileNotFoundError):
                if lock.stat().st_ino == inode and not holders.get(inode):
                    left += [lock, SHARED_MEMORY / name, SHARED_MEMORY / f'sem.{name}_mutex']
        return sorted(file.name for file in left if file.exists())
