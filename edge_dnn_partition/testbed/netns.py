# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Names that tell who owns a network namespace, and the removal of what bears them.

A name is ``ednp-PID-START-RANDOM`` and a last part for the host; the owner's start time tells it
from a later process with the same pid. A host's folder in the shared memory has the same name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import Final

from edge_dnn_partition.errors import UserError

NAMESPACE_FOLDER: Final = '/var/run/netns'
SHARED_MEMORY: Final = '/dev/shm'  # noqa: S108 - the place itself, not a file in it
#: A command of the system that takes longer hangs.
COMMAND_SECONDS: Final = 30.0

_PREFIX: Final = 'ednp'
_NAME: Final = re.compile(rf'{_PREFIX}-(\d+)-(\d+)-[0-9a-f]{{8}}[-.]\w+')
#: How long what runs in a namespace may take to die of SIGKILL.
_DEATH_SECONDS: Final = 5.0
_CLONE_NEWNET: Final = 0x40000000


def new_stem() -> str:
    """The beginning of names that this process owns; another one each time."""
    return f'{_PREFIX}-{os.getpid()}-{_start_ticks(os.getpid())}-{secrets.token_hex(4)}'


def remove_leftovers() -> list[str]:
    """Remove what owners that are gone (killed, crashed) left: namespaces, what runs in them, shared memory.

    Only names of this package's form are looked at, and only where their owner is gone.

    :returns: the names removed.
    :raises UserError: if the system refuses.
    """
    names = {name for folder in (NAMESPACE_FOLDER, SHARED_MEMORY) if os.path.isdir(folder) for name in os.listdir(folder)}
    gone = [name for name in sorted(names) if owner_is_gone(name)]
    remove(gone)
    return gone


def owner_is_gone(name: str) -> bool:
    """Return whether a name is one of this package's, and the process that made it is no more."""
    match = _NAME.fullmatch(name)
    return match is not None and _start_ticks(int(match[1])) != int(match[2])


def remove(names: Sequence[str]) -> None:
    """Kill what runs in these namespaces, remove them and their shared memory; what is not there is passed over.

    :raises UserError: if the system refuses one, after the others have been removed.
    """
    kill_all(names)
    refused = None
    for name in names:
        shutil.rmtree(f'{SHARED_MEMORY}/{name}', ignore_errors=True)
        if os.path.exists(f'{NAMESPACE_FOLDER}/{name}'):
            try:
                run(['ip', 'netns', 'del', name])
            except UserError as error:
                if os.path.exists(f'{NAMESPACE_FOLDER}/{name}'):  # else another process was faster
                    refused = error
    if refused is not None:
        raise refused


def kill_all(names: Iterable[str]) -> None:
    """Kill every process in these namespaces, and wait until they are dead (5 s at most)."""
    inside = {_identity(f'{NAMESPACE_FOLDER}/{name}') for name in names} - {None, _identity('/proc/self/ns/net')}
    deadline = time.monotonic() + _DEATH_SECONDS
    while inside and time.monotonic() < deadline:
        pids = [int(pid) for pid in os.listdir('/proc') if pid.isdecimal() and _identity(f'/proc/{pid}/ns/net') in inside]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def enter(file: int) -> None:
    """Move this thread into the network namespace of an open file.

    :raises UserError: if the system refuses.
    """
    if ctypes.CDLL(None, use_errno=True).setns(file, _CLONE_NEWNET):
        raise UserError(f'setns: {os.strerror(ctypes.get_errno())}')


def run(command: Sequence[str], lines: Iterable[str] = ()) -> str:
    """Run a command of the system.

    It has a session of its own, so that a Ctrl-C ends this program and not a command halfway.

    :param lines: what it reads.
    :returns: what it printed.
    :raises UserError: if it fails, with the first line that it complained in, or takes over 30 s.
    """
    try:
        done = subprocess.run(
            command, input='\n'.join(lines), capture_output=True, text=True, check=False,
            timeout=COMMAND_SECONDS, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f'{command[0]}: {error}') from error
    if done.returncode:
        raise UserError(f'{" ".join(command)}: {first_complaint(done.stderr)}')
    return done.stdout


def first_complaint(text: str) -> str:
    """The first line that is not a warning; a command without one failed silently."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith('Warning')]
    return lines[0] if lines else 'failed without a word'


def _identity(path: str) -> tuple[int, int] | None:
    """What tells one namespace from another; None if there is none (any more) at this path."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None if it is gone, or dead and not yet reaped."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as file:
            fields = file.read().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] in 'ZX' else int(fields[19])
