# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Starts node processes and keeps them running until the user ends it, for ``up`` and ``join``."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_dnn_partition.deployment.processes import NodeProcess

_TURN_SECONDS: Final = 0.2


def heed_signals() -> threading.Event:
    """Return what is set once the user ends this process, or a supervisor does."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def keep_up(
    verb: str, processes: Sequence[NodeProcess], asked: threading.Event, *, respawn: bool = True, health_file: str | None = None
) -> int:
    """Run processes until ``asked`` is set, or that cannot be; return the exit code.

    :param verb: what its own lines begin with.
    :param respawn: start a process again that has ended.
    :param health_file: is kept fresh while all processes are ready; None: none is.
    """
    from edge_dnn_partition.deployment.beacon import Beacon
    from edge_dnn_partition.deployment.supervisor import Supervisor
    from edge_dnn_partition.deployment.upkeep import Upkeep
    from edge_dnn_partition.deployment.watchdog import Notifier, Watchdog
    from edge_dnn_partition.monitoring.waiting import WaitingLog

    lock = threading.Lock()

    def show(label: str, line: str) -> None:
        with lock:
            sys.stdout.write(f'[{label}] {line}\n')
            sys.stdout.flush()

    def say(line: str) -> None:
        with lock, suppress(OSError):  # a log on a full disk
            sys.stderr.write(f'{verb}: {line}\n')

    notifier, told, waiting = Notifier(), False, WaitingLog(say)
    health = Beacon(health_file) if health_file else None
    with closing(Watchdog()) as watchdog, Supervisor(on_line=show, watchdog=watchdog) as supervisor:
        upkeep = Upkeep(supervisor, processes, say, respawn=respawn)
        while not asked.is_set():
            upkeep.turn(time.monotonic())
            if upkeep.failed:
                sys.stderr.write('error: the fleet cannot continue; the lines above say why\n')
                return 1
            if not told and (unready := upkeep.unready):
                waiting.waiting(f'starting; not ready yet: {", ".join(unready)}', time.monotonic())
            elif not told:
                told = True
                say('all processes are ready')
                notifier.ready()
            notifier.alive(f'STATUS={upkeep.status}')
            if health is not None and not upkeep.unready:
                health.alive(time.monotonic(), upkeep.status)
            asked.wait(_TURN_SECONDS)
    return 0
