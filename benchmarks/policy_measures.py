# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured of a policy's run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_dnn_partition.planning.cost_model.problem import Floats

NEAR = 1.1
"""A frame is near the oracle up to so many times its latency."""
_RUN = 5
"""Frames over which a policy must be near the oracle to have recovered."""


@dataclass(frozen=True)
class Measures:
    """Of one run, against the oracle of the same fleet."""

    mean_seconds: float
    over_oracle: float
    regret_seconds: float
    recovery_frames: float
    near_share: float


def measure(seconds: Floats, oracle: Floats, changes: Sequence[int]) -> Measures:
    """Return the measures of a run.

    :param seconds: ``(frames,)``, what each frame took but for noise.
    :param oracle: the same of the oracle.
    :param changes: frames at which something changed; the start is one.
    """
    return Measures(
        mean_seconds=float(seconds.mean()),
        over_oracle=float(seconds.mean() / oracle.mean()),
        regret_seconds=float((seconds - oracle).sum()),
        recovery_frames=recovery(seconds, oracle, changes),
        near_share=float((seconds <= NEAR * oracle).mean()),
    )


def recovery(seconds: Floats, oracle: Floats, changes: Sequence[int]) -> float:
    """Return after how many frames the next five are within 10 % of the oracle's, averaged over changes.

    A change that is not recovered from before the next one counts with all frames between; changes less than
    10 frames before the next are left out.
    """
    ends = [*changes[1:], len(seconds)]
    found = []
    for begin, end in zip(changes, ends, strict=True):
        if end - begin < 2 * _RUN:
            continue
        window = np.ones(_RUN)
        mine, best = (np.convolve(x[begin:end], window, 'valid') for x in (seconds, oracle))
        good = np.flatnonzero(mine <= NEAR * best)
        found.append(float(good[0]) if len(good) else float(end - begin))
    return float(np.mean(found)) if found else 0.0
