# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps processes running: restarts those that exit or hang, after growing delays, like launch's ``respawn``."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_dnn_partition.deployment.processes import TOOLS, NodeProcess
from edge_dnn_partition.deployment.supervisor import Supervisor
from edge_dnn_partition.errors import UserError

FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 60.0
MOST_STARTS: Final = 8
"""Attempts after which a process that never runs for a minute is given up."""
STEADY_SECONDS: Final = 60.0


REFUSED: Final = 2
"""Exit code of a process that rejected its input; restarting it does not help."""
_CRASHES: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP)


def memory_kills(root: Path = Path('/')) -> dict[str, int]:
    """Return how many processes the out-of-memory killer has ended: of this cgroup, and of the machine.

    :param root: of the file system, for tests.
    """
    found = {place: _counted(path) for place, path in (('cgroup', _cgroup_counter(root)), ('machine', root / 'proc/vmstat'))}
    return {place: count for place, count in found.items() if count is not None}


def _counted(path: Path | None) -> int | None:
    try:
        lines = path.read_text(encoding='ascii').splitlines() if path is not None else []
        return next((int(line.split()[1]) for line in lines if line.startswith('oom_kill ')), None)
    except (OSError, ValueError, IndexError):
        return None


def _cgroup_counter(root: Path) -> Path | None:
    """Return the file of this process's cgroup that counts kills, of version 2 or 1."""
    try:
        lines = (root / 'proc/self/cgroup').read_text(encoding='utf-8').splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, name = line.split(':', 2)
        if controllers == '' and (path := root / 'sys/fs/cgroup' / name.lstrip('/') / 'memory.events').exists():
            return path
        if 'memory' in controllers.split(','):
            # Within a container the path is often the host's, and the group is mounted as the root.
            for folder in (root / 'sys/fs/cgroup/memory' / name.lstrip('/'), root / 'sys/fs/cgroup/memory'):
                if (path := folder / 'memory.oom_control').exists():
                    return path
    path = root / 'sys/fs/cgroup/memory.events'  # a container with a cgroup namespace of its own
    return path if path.exists() else None


def describe_end(code: int, before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return what happened to a process that ended by itself.

    :param code: as `subprocess.Popen.returncode` has it.
    :param before: what `memory_kills` returned while it ran.
    :param after: what it returns now.
    """
    if code == REFUSED:
        return 'rejected its input (code 2); see its last lines above'
    if code >= 0:
        return f'exited with code {code}' + ('; see its last lines above' if code else '')
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f'signal {-code}'
    if -code == signal.SIGKILL:
        return f'was killed ({name}){_killer(before, after)}'
    if -code in _CRASHES:
        return f'crashed in native code ({name}); see its last lines above'
    return f'was ended by {name}'


def _killer(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    rose = {place for place, count in after.items() if count > before.get(place, count)}
    advice = 'give it more memory, or lower memory: in the fleet file'
    if 'cgroup' in rose:
        return f', most likely by the out-of-memory killer, which counted a kill in this cgroup; {advice}'
    if 'machine' in rose:
        return f', perhaps by the out-of-memory killer, which counted a kill on this machine; {advice}'
    return '; the out-of-memory killer counted no kill, so another process sent the signal' if after else ''


@dataclass
class Life:
    """The starts of one process; pure, with the time passed in.

    :param respawn: whether to restart it.
    :param tool: whether the fleet can do without it.
    """

    respawn: bool = True
    tool: bool = False
    starts: int = 0
    started_at: float = -math.inf
    due_at: float = -math.inf
    """When it is to be started; infinity while it runs, or once it is given up."""

    def begin(self, now: float) -> None:
        """It has been started."""
        self.starts, self.started_at, self.due_at = self.starts + 1, now, math.inf

    def end(self, code: int, now: float) -> tuple[float | None, str]:
        """It has ended by itself; return after how many seconds to start it again, None: not at all, and why not."""
        if not self.respawn:
            return None, ''
        if code == REFUSED:
            return None, 'restarting it would not help'
        if now - self.started_at >= STEADY_SECONDS:
            self.starts = 0
        if self.starts >= MOST_STARTS:
            return None, f'giving up after {self.starts} failures in a row'
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** max(0, self.starts - 1))
        self.due_at = now + wait
        return wait, ''


class Upkeep:
    """Starts processes through a supervisor and keeps them running; call `turn` a few times a second.

    :param processes: all of them; the fleet does without those of `TOOLS`.
    :param say: called with a line for each event.
    :param respawn: whether to restart what exits.
    :param kills: counts the kills of the out-of-memory killer, see `endings.memory_kills`.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        processes: Sequence[NodeProcess],
        say: Callable[[str], None],
        *,
        respawn: bool = True,
        kills: Callable[[], Mapping[str, int]] = memory_kills,
    ) -> None:
        self._supervisor, self._say, self._kills = supervisor, say, kills
        self._processes = {process.label: process for process in processes}
        self._lives = {process.label: Life(respawn, process.node in TOOLS) for process in processes}
        self._counted = dict(kills())
        self._hung: set[str] = set()
        self._over: set[str] = set()
        self._failed = False

    @property
    def failed(self) -> bool:
        """Whether the fleet cannot continue: a process that it needs was given up, or all of them have ended for good."""
        return self._failed or all(label in self._over for label, life in self._lives.items() if not life.tool)

    @property
    def unready(self) -> tuple[str, ...]:
        """Of those that the fleet needs, the ones that have not said that they are ready."""
        return tuple(label for label, life in self._lives.items() if not (life.tool or self._supervisor.ready(label)))

    @property
    def status(self) -> str:
        """How many run, in words."""
        running = set(self._supervisor.running)
        missing = [label for label in self._lives if label not in running]
        return f'{len(running)} processes running' + (f', missing: {", ".join(missing)}' if missing else '')

    def turn(self, now: float) -> None:
        """Start what is due, see what has ended, end what hangs.

        :param now: seconds, steady clock.
        :raises UserError: if a process cannot be started at all.
        """
        for label, life in self._lives.items():
            if now >= life.due_at or not life.starts:
                self._start(label, life, now)
        for label, line in self._supervisor.end_hung().items():
            self._hung.add(label)
            self._say(f'{label} {line}')
        for label, code in self._supervisor.ended().items():
            self._ended(label, self._lives[label], code, now)

    def _start(self, label: str, life: Life, now: float) -> None:
        first = not life.starts
        life.begin(now)
        try:
            self._supervisor.start(self._processes[label])
        except UserError as error:
            if first and not life.tool:
                raise
            self._after(label, life, f'cannot be started: {error}', life.end(1, now))

    def _ended(self, label: str, life: Life, code: int, now: float) -> None:
        after = self._kills() if code < 0 else self._counted
        what = 'was ended' if label in self._hung else describe_end(code, self._counted, after)
        # Several may be killed at once: of the kills in this cgroup each process that was ended explains one.
        self._counted = {place: min(count, self._counted.get(place, count) + 1) if place == 'cgroup' else count
                         for place, count in after.items()}  # fmt: skip
        self._hung.discard(label)
        self._after(label, life, what, life.end(code, now), asked=code == 0)

    def _after(self, label: str, life: Life, what: str, then: tuple[float | None, str], *, asked: bool = False) -> None:
        wait, reason = then
        if wait is not None:
            self._say(f'{label} {what}; restarting it in {wait:g} s')
            return
        self._over.add(label)
        if life.tool:
            self._say(f'{label} {what}{reason and "; " + reason}; the fleet continues without it')
        elif not asked or life.respawn:
            self._failed = True
            self._say(f'{label} {what}{reason and "; " + reason}')
