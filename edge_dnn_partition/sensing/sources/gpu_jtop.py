# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU of a Jetson as jtop tells it, its share of the memory included."""

from __future__ import annotations

from edge_dnn_partition.sensing.jtop import Jtop, number_in
from edge_dnn_partition.sensing.source import Source, Unavailable

from .gpu import GpuReading


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
            raise Unavailable('jtop knows no GPU')
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
