# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The errors that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Collection


class UserError(Exception):
    """Bad input: the message is one line and says what is wrong and what to do.

    The command line prints it as ``error: <message>`` and exits with code 2; a
    node logs it, counts what it refused, and goes on as before.
    """


class BusyError(UserError):
    """Something that another process holds at present, such as a port: a process ends with code 1, and trying again may help."""


class ModelError(UserError):
    """A model file that cannot be read, checked, prepared, split or run."""


class PlanError(UserError):
    """A plan, cost file or fleet file that is malformed or cannot be met."""


class WireError(UserError):
    """A message whose parts contradict each other, or that nobody expects."""


class DeviceError(ModelError):
    """A run that failed for memory, for its execution provider or for what nobody knows: it may succeed on another device."""


class NotReadyError(WireError):
    """A frame of a plan that is not prepared here, not yet or not any more; nothing is wrong with the frame."""


def nearest(word: str, known: Collection[str]) -> str:
    """Return a hint at the nearest known word, or at all of a few, to end an error with."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    if close:
        return f'; did you mean {close[0]!r}?'
    return f'; known are {", ".join(map(str, list(known)[:20]))}' if known else ''
