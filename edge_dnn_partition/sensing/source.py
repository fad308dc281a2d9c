# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a source of telemetry is: found by probing, able to say what it found or why not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

Reading = TypeVar('Reading')


class Unavailable(Exception):  # noqa: N818 (a state that is said, not a fault)
    """This device does not tell, or not now.

    :param reason: one line.
    :param advice: what to do about it; empty if nothing is to be done.
    """

    def __init__(self, reason: str, advice: str = '') -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class Source(ABC, Generic[Reading]):
    """One thing that a device tells of itself; it reads below a root folder, which tests replace.

    ``period_seconds`` is the least time between two readings, for what is slow to read or to change;
    a sampler gives the last reading in between.
    """

    name: str
    period_seconds: float = 0.0

    @abstractmethod
    def probe(self) -> str:
        """Look for the source and say what was found, in one line; called again after a failure.

        :raises Unavailable: if this device does not have it.
        """

    @abstractmethod
    def read(self, now_seconds: float) -> Reading:
        """Return the present reading.

        :param now_seconds: the time, on a steady clock.
        :raises Unavailable: if there is none at this time.
        :raises OSError: if a file cannot be read; the sampler says which.
        """
