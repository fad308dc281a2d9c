# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Messages to send, and what takes all that leaves an outbox; time is passed in."""

import math

import numpy as np

from edge_dnn_partition.transport.fragments import FRAME, Address, TensorMessage


def message(number, size=100, fragment_bytes=10, *, kind=FRAME, frame=1):
    buffer = np.arange(size, dtype=np.uint64).astype(np.uint8).data
    return TensorMessage(kind, 'pi', 1, Address('m', 1, frame, 0, 0), number, buffer, fragment_bytes=fragment_bytes)


def drain(outbox, now=0.0, limit=1000, until=math.inf):
    """Take all that leaves until nothing is due without an acknowledgement; return (time, fragment index, ready)."""
    taken = []
    while len(taken) < limit and outbox._queue and outbox.next_at(now) < until:
        now = max(now, outbox.next_at(now))
        ready = outbox.take(now)
        assert ready is not None, 'next_at named a time at which nothing leaves'
        taken.append((now, ready[1].index, ready))
    return taken


def drain_ready(outbox, now=0.0):
    """Take what leaves until something has to wait for an acknowledgement."""
    taken = []
    while math.isfinite(at := outbox.next_at(now)) and at < 1e8:
        now = at
        taken.append((now, outbox.take(now)))
    return taken
