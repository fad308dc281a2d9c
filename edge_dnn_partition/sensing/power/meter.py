# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a power meter is: a source whose readings are of power."""

from __future__ import annotations

from edge_dnn_partition.sensing.source import Source

from .reading import Kind, PowerReading, Scope, Total


class Meter(Source[tuple[PowerReading, ...]]):
    """A power meter; each of its readings has another scope or is of another part of it.

    Joules go on from where they were after a failure: a meter that is probed anew must not begin at 0.
    """


def reading_of(
    total: Total,
    source: str,
    scope: Scope,
    *,
    resolution_watts: float,
    resolution_joules: float,
    kind: Kind = 'measured',
    note: str = '',
    response_seconds: float = 0.0,
) -> PowerReading:
    """Return what has been added up as a reading."""
    return PowerReading(
        source,
        scope,
        watts=total.watts,
        joules=total.joules,
        covered_seconds=total.covered_seconds,
        resolution_watts=resolution_watts,
        resolution_joules=resolution_joules,
        kind=kind,
        note=note,
        response_seconds=response_seconds,
    )
