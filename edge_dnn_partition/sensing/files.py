# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the small files of proc and sysfs: what is missing, unreadable or nonsense is NaN."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

_LARGEST: Final = 1 << 20
COMMAND_SECONDS: Final = 1.0
"""How long a command such as vcgencmd may take."""

Run = Callable[[Sequence[str]], str]


def read_text(path: str) -> str:
    """Return a file's text without its last newline (and the zero byte of a device tree's strings).

    :raises OSError: if it is missing, unreadable, or its driver fails.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while True:  # a file of proc comes in parts of a page or more
            part = os.read(handle, _LARGEST)
            if not part:
                break
            parts.append(part)
    finally:
        os.close(handle)
    return b''.join(parts).decode('utf-8', 'replace').rstrip('\0\n\r ')


def text_or_empty(path: str) -> str:
    """Return a file's text, empty where it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return ''


def number(text: str, *, scale: float = 1.0, low: float = -math.inf, high: float = math.inf) -> float:
    """Return the text's first word as a number times ``scale``; NaN if it is none, or not within the bounds."""
    try:
        value = float(text.split(maxsplit=1)[0]) * scale
    except (IndexError, ValueError):
        return math.nan
    return value if low <= value <= high and math.isfinite(value) else math.nan


def read_number(path: str, *, scale: float = 1.0, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a file's number, see `number`; NaN too where the file cannot be read."""
    return number(text_or_empty(path), scale=scale, low=low, high=high)


def listing(folder: str) -> list[str]:
    """Return the full paths of a folder's entries in natural order (2 before 10), empty if there is no such folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [f'{folder}/{name}' for name in sorted(names, key=_natural)]


def _natural(name: str) -> tuple[str, int, str]:
    stem = name.rstrip('0123456789')
    digits = name[len(stem) :]
    return (stem, int(digits) if digits else -1, name)


def run_command(command: Sequence[str]) -> str:
    """Return what a command prints.

    :raises OSError: if it is missing, fails or takes longer than `COMMAND_SECONDS`.
    """
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, errors='replace'
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f'{" ".join(command)} gave no answer in {COMMAND_SECONDS:g} s') from error
    if done.returncode != 0:
        said = ' '.join((done.stderr or done.stdout).split())[:120]
        raise OSError(f'{" ".join(command)} failed with {done.returncode}: {said or "no output"}')
    return done.stdout
