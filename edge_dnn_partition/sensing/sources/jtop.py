# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""jetson-stats' service, through its Python package jtop where the user has installed it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any, Final

from edge_dnn_partition.sensing.power.reading import Meter, PowerIntegral, PowerReading
from edge_dnn_partition.sensing.source import Source, Unavailable
from edge_dnn_partition.sensing.sources.gpu import GpuReading
from edge_dnn_partition.sensing.sources.jetson import find_rails
from edge_dnn_partition.sensing.sources.nvidia import Import

_INTERVAL_SECONDS: Final = 0.5
_START: Final = 'sudo systemctl start jtop.service, and add the user to the group jtop'


class Jtop:
    """One connection to jtop's service, whose own thread takes in a sample each interval.

    :param load: imports jtop.
    """

    def __init__(self, load: Import = importlib.import_module) -> None:
        self._load = load
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
        client = module.jtop(interval=_INTERVAL_SECONDS)
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


class JtopGpuSource(Source[tuple[GpuReading, ...]]):
    """Asks jtop's service.

    :param jtop: the connection, which the power meter of the same service shares.
    """

    name = 'jtop_gpu'
    period_seconds = 0.5

    def __init__(self, jtop: Jtop) -> None:
        self._jtop = jtop

    def probe(self) -> str:
        """Name the GPUs."""
        self._jtop.open()
        names = list(self._jtop.gpus())
        if not names:
            raise Unavailable('jtop finds no GPU')
        return ', '.join(names)

    def read(self, now_seconds: float) -> tuple[GpuReading, ...]:
        """Return the present use."""
        used, total = self._jtop.shared_memory_bytes()
        return tuple(
            GpuReading(
                name,
                percent=number_in(gpu, 'status', 'load'),
                memory_used_bytes=used,
                memory_total_bytes=total,
                hertz=1e3 * number_in(gpu, 'freq', 'cur'),
            )
            for name, gpu in self._jtop.gpus().items()
        )


_STEP_WATTS: Final = 0.04


class JtopMeter(Meter):
    """Asks jtop's service for the board's power.

    :param jtop: the connection, which the GPU's source shares.
    :param root: of sysfs: where it has the rails, jtop would read the same ones.
    """

    name = 'jtop_meter'
    period_seconds = 0.5

    def __init__(self, jtop: Jtop, root: str = '') -> None:
        self._jtop, self._root = jtop, root
        self._total = PowerIntegral()

    def probe(self) -> str:
        """Say that jtop has a total."""
        if find_rails(self._root):
            raise Unavailable('the INA3221 is read without jtop')
        self._jtop.open()
        if not math.isfinite(self._jtop.total_watts()):
            raise Unavailable('jtop has no total power')
        return "jtop's total"

    def read(self, now_seconds: float) -> tuple[PowerReading, ...]:
        """Return the board's power."""
        self._total.update(now_seconds, self._jtop.total_watts())
        return (self._total.reading('jtop', 'board', _STEP_WATTS),)
