# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""jetson-stats' service, through its Python package jtop where the user has installed it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any, Final

from .nvml import Import
from .source import Unavailable

_START: Final = 'sudo systemctl start jtop.service, and add the user to the group jtop'


class Jtop:
    """One connection to jtop's service, whose own thread takes in a sample each interval.

    :param load: imports jtop.
    :param interval_seconds: how often the service samples.
    """

    def __init__(self, load: Import = importlib.import_module, interval_seconds: float = 0.5) -> None:
        self._load, self._interval = load, interval_seconds
        self._jtop: Any = None

    def open(self) -> None:
        """Connect.

        :raises Unavailable: if jtop is not installed, or its service does not answer.
        """
        if self._jtop is not None:
            return
        try:
            module = self._load('jtop')
        except ImportError:
            raise Unavailable('the Python package jetson-stats (jtop) is not installed') from None
        client = module.jtop(interval=self._interval)
        try:
            client.start()
        except (module.JtopException, OSError) as error:
            raise Unavailable(f'jtop: {" ".join(str(error).split())[:120]}', _START) from error
        self._jtop = client

    def total_watts(self) -> float:
        """Return the board's power as jtop sums it, in watts; NaN if it has none."""
        return number_in(self._answer('power'), 'tot', 'power') / 1e3

    def gpus(self) -> Mapping[str, Any]:
        """Return jtop's GPUs by name."""
        return _plain(self._answer('gpu'))

    def shared_memory_bytes(self) -> tuple[float, float]:
        """Return what the GPU has of the memory, and all of it; NaN if jtop does not tell."""
        memory = self._answer('memory')
        return 1024 * number_in(memory, 'RAM', 'shared'), 1024 * number_in(memory, 'RAM', 'tot')

    def _answer(self, name: str) -> Any:
        client, self._jtop = self._jtop, None
        try:
            alive = client is not None and client.ok(spin=True)  # raises what its thread has met
        except Exception as error:  # its thread may meet anything
            raise Unavailable(f'jtop: {" ".join(str(error).split())[:120]}', _START) from error
        if not alive:
            raise Unavailable('jtop no longer answers', _START)
        self._jtop = client
        return getattr(client, name)


def number_in(document: Any, *keys: str) -> float:
    """Return the number at a path of keys in nested mappings, NaN if there is none."""
    for key in keys:
        document = _plain(document).get(key)
    return float(document) if isinstance(document, (int, float)) else math.nan


def _plain(value: Any) -> Mapping[str, Any]:
    """Return what is a dictionary, or has jtop's likeness of one, as a dictionary; else an empty one."""
    return dict(value.items()) if hasattr(value, 'items') else {}
