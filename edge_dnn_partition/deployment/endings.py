# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Describes how a process ended, by its exit code: rejected input, a crash in native code, a kill and by whom."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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
