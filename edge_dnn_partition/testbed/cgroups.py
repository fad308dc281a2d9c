# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Limits that keep emulated devices apart: cores and memory of a group of processes, by cgroup version 1 or 2.

A quota alone plays a slow device badly (a run shorter than its period is not slowed at all): that is what `dilation` is
for. A quota keeps a device that is playing tricks, or preparing a model, from slowing the others.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edge_dnn_partition.errors import UserError

from .netns import owner_is_gone

ROOT: Final = Path('/sys/fs/cgroup')
_PERIOD_MICROSECONDS: Final = 10_000
_CONTROLLERS: Final = ('cpu', 'memory')
_REMOVAL_SECONDS: Final = 2.0


class Cgroup:
    """One device's limits; `make` sets them, `remove` takes them away once its processes have ended.

    :param name: of the form that `netns.new_stem` begins, so that one that is left is known by its owner.
    :param cores: how much of a core its processes may take together; None: no limit.
    :param memory_bytes: what they may hold together: the kernel kills what goes beyond; None: no limit.
    :param root: where the cgroups are, for tests.
    """

    def __init__(self, name: str, *, cores: float | None = None, memory_bytes: float | None = None, root: Path = ROOT) -> None:
        self._root = root
        self._name = name
        self._wanted = {'cpu': cores, 'memory': memory_bytes}

    @property
    def folders(self) -> list[Path]:
        """Its folders: one, or with version 1 one for each controller; none without a limit."""
        wanted = [controller for controller in _CONTROLLERS if self._wanted[controller] is not None]
        if not wanted:
            return []
        return [self._root / self._name] if _unified(self._root) else [self._root / each / self._name for each in wanted]

    def make(self) -> None:
        """Make the group with its limits.

        :raises UserError: if the system refuses.
        """
        try:
            if self.folders and _unified(self._root):
                (self._root / 'cgroup.subtree_control').write_text('+cpu +memory')
            for folder in self.folders:
                folder.mkdir()
            for path, text in self._settings():
                path.write_text(text)
        except OSError as error:
            self.remove()
            raise UserError(f'no cgroup for limits of cores and memory: {error}; leave cores and memory_limit out') from error

    def _settings(self) -> list[tuple[Path, str]]:
        cores, memory = self._wanted['cpu'], self._wanted['memory']
        found = []
        if cores is not None:
            quota = round(cores * _PERIOD_MICROSECONDS)
            if _unified(self._root):
                found.append((self._root / self._name / 'cpu.max', f'{quota} {_PERIOD_MICROSECONDS}'))
            else:
                folder = self._root / 'cpu' / self._name
                found += [(folder / 'cpu.cfs_period_us', str(_PERIOD_MICROSECONDS)), (folder / 'cpu.cfs_quota_us', str(quota))]
        if memory is not None:
            unified = self._root / self._name / 'memory.max'
            split = self._root / 'memory' / self._name / 'memory.limit_in_bytes'
            found.append((unified if _unified(self._root) else split, str(round(memory))))
        return found

    def prefix(self) -> list[str]:
        """What to put before a command so that it runs within these limits; it becomes the command, with the same pid."""
        if not self.folders:
            return []
        files = ' '.join(str(folder / 'cgroup.procs') for folder in self.folders)
        return ['sh', '-c', 'for file in $0; do echo $$ > "$file" || exit 126; done; exec "$@"', files]

    def remove(self) -> None:
        """Remove the group, as soon as the last of its processes is gone (2 s at most); again is harmless."""
        _remove(self.folders)


def remove_leftovers(root: Path = ROOT) -> list[str]:
    """Remove groups whose owner is gone; others, and names of another form, are left alone.

    :returns: the names removed.
    """
    places = [root] if _unified(root) else [root / controller for controller in _CONTROLLERS]
    gone = [path for place in places if place.is_dir() for path in place.iterdir() if path.is_dir() and owner_is_gone(path.name)]
    _remove(gone)
    return sorted({path.name for path in gone})


def _unified(root: Path) -> bool:
    return (root / 'cgroup.controllers').exists()


def _remove(folders: Iterable[Path]) -> None:
    deadline = time.monotonic() + _REMOVAL_SECONDS
    for folder in folders:
        while folder.exists():
            with contextlib.suppress(OSError):
                os.rmdir(folder)
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
