# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts node processes and makes sure that all of them end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.transport.shared_memory import DEAD_SECONDS, remove_leftovers

from .processes import NodeProcess
from .watchdog import Watchdog

if TYPE_CHECKING:
    from typing_extensions import Self

_PR_SET_PDEATHSIG: Final = 1
LIMIT_SECONDS: Final = 3.0
_LAST_WORDS_SECONDS: Final = 0.5
"""How long to wait for the last lines of a process that has exited."""


def _die_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends, and so when its parent dies, however that comes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Node processes by label; leaving its ``with`` block stops them all.

    A node that is in a process with others stands for that process.

    They do not outlive this process; the thread that calls :meth:`start` may end before them.

    :param environment: what is added to this process's own.
    :param on_line: called with label and line for each line that a process prints, from threads of its own.
    :param prefix: what to put before a process's command: a program that becomes it, such as ``nice``.
    :param watchdog: watches their heartbeats; None: nobody does.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str, str], None] | None = None,
        prefix: Callable[[NodeProcess], Sequence[str]] = lambda _: (),
        watchdog: Watchdog | None = None,
    ) -> None:
        # Else `python -m` would take the package from a checkout in the current folder, which has no messages built.
        self._environment = {**os.environ, 'PYTHONSAFEPATH': '1', **(environment or {})}
        for name in ('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'):  # of this process
            self._environment.pop(name, None)
        self._environment |= watchdog.environment if watchdog is not None else {}
        self._watchdog = watchdog
        self._on_line = on_line
        self._prefix = prefix
        # The processes end with the thread that starts them: it must live as long as this does.
        self._starter = ThreadPoolExecutor(1, 'starter')
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._started: dict[str, NodeProcess] = {}
        self._readers: dict[str, threading.Thread] = {}
        self.codes: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all."""
        self.stop()

    def start(self, process: NodeProcess) -> None:
        """Start a node in a process of its own.

        :raises UserError: if one with its label runs.
        """
        if process.label in self.running:
            raise UserError(f'{process.label} is already running; stop it before starting it again')
        module = [sys.executable, '-m', 'edge_dnn_partition.nodes', *process.nodes]
        command = [*self._prefix(process), *module, *process.ros_arguments()]
        started = self._starter.submit(
            subprocess.Popen,
            command,
            env={**self._environment, **process.environment(self._environment)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            preexec_fn=_die_with_parent if sys.platform == 'linux' else None,  # one prctl call
            start_new_session=True,
        ).result()
        self._processes[process.label] = started
        self._started[process.label] = process
        if self._watchdog is not None:
            self._watchdog.started(started.pid)
        self.codes.pop(process.label, None)
        reader = threading.Thread(target=self._read, args=(process.label, started), daemon=True)
        reader.start()
        self._readers[process.label] = reader

    def _read(self, label: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if self._on_line is not None:
                with contextlib.suppress(OSError, ValueError):  # a full disk: a process whose lines nobody reads would stand still
                    self._on_line(label, line.rstrip('\n'))

    @property
    def running(self) -> tuple[str, ...]:
        """The labels of the processes that run."""
        return tuple(label for label, process in self._processes.items() if process.poll() is None)

    def _label(self, label: str) -> str:
        """Return the label of the process that has a node."""
        return next((process.label for process in self._started.values() if process.runs(label)), label)

    def ready(self, label: str) -> bool:
        """Return whether a process has told the watchdog that it is ready."""
        process = self._processes.get(label)
        return process is not None and self._watchdog is not None and self._watchdog.ready(process.pid)

    def end_hung(self) -> dict[str, str]:
        """End the processes that hang, and return a line for each, by label; they come up in `ended`."""
        lines = self._watchdog.look() if self._watchdog is not None else {}
        return {label: lines[process.pid] for label, process in self._processes.items() if process.pid in lines}

    def ended(self) -> dict[str, int]:
        """Return labels and exit codes of processes that ended by themselves since the last call."""
        found = {}
        for label, process in list(self._processes.items()):
            code = process.poll()
            if code is not None:
                self._readers[label].join(_LAST_WORDS_SECONDS)
                found[label] = self.codes[label] = code
                del self._processes[label]
        return found

    def pid(self, label: str) -> int:
        """Return the process number of one that runs.

        :raises UserError: if it does not.
        """
        if self._label(label) not in self.running:
            raise UserError(f'{label} is not running; running are: {", ".join(self.running) or "none"}')
        return self._processes[self._label(label)].pid

    def signal(self, label: str, number: int) -> None:
        """Send a signal to a process that runs."""
        with contextlib.suppress(ProcessLookupError, KeyError):
            self._processes[self._label(label)].send_signal(number)

    def stop(self, labels: Sequence[str] | None = None) -> dict[str, int]:
        """End processes (all, if none is named) and wait; return their exit codes.

        First asked with SIGTERM, after three seconds killed. When all are ended, what they left in shared memory goes.
        """
        chosen = {
            label: process
            for label, process in self._processes.items()
            if labels is None or label in map(self._label, labels)
        }
        for process in chosen.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        deadline = time.monotonic() + LIMIT_SECONDS
        codes = {}
        for label, process in chosen.items():
            try:
                codes[label] = process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                codes[label] = process.wait()
            self.codes[label] = codes[label]
            del self._processes[label]
        if labels is None and chosen:
            time.sleep(DEAD_SECONDS)
            remove_leftovers()
        return codes
