# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy tells a robot to do: chunks of actions, and the one trajectory that they are blended into.

A chunk holds the actions of the next seconds, made from what was observed some time ago (Zhao et al. 2023, ACT). When it
arrives, its first actions are past and the robot follows the chunk before it. So actions are due by the clock, not by their
place in the chunk; past ones are dropped, and the new chunk's weight grows from 0 now to 1 after ``blend_seconds``: what is
commanded never jumps. (LeRobot's asynchronous inference gives the new chunk a weight of 0.7 at once.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Actions:
    """One chunk of actions.

    :param joints: their names, in the order of the columns.
    :param positions: ``[steps, joints]``, finite; row i is due ``i * period_seconds`` after the observation.
    :param period_seconds: above 0.
    :param blend_seconds: for how long a chunk is blended with what is commanded when it arrives.
    """

    joints: tuple[str, ...]
    positions: Positions
    period_seconds: float
    blend_seconds: float


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What is to be done from now on.

    :param observed_at: when what the newest chunk rests on was observed, in seconds.
    :param times: ``[points]``, rising, in seconds.
    :param positions: ``[points, joints]``.
    """

    joints: tuple[str, ...]
    observed_at: float
    times: NDArray[np.float64]
    positions: Positions


class ChunkBlender:
    """Makes one trajectory of chunks that arrive one after the other; time is passed in, not thread safe."""

    def __init__(self) -> None:
        self._current: Trajectory | None = None
        """With a point at the time at which it was made."""

    def take(self, actions: Actions, observed_at: float, now: float) -> Trajectory | None:
        """Return what is to be done after a chunk has arrived; None if the chunk is dropped.

        It is dropped if it was observed no later than the one before it, or if all its actions are past.

        :param observed_at: when what it rests on was observed, on the clock of ``now``.
        """
        if self._current is not None and (now < self._current.times[0] or self._current.joints != actions.joints):
            self._current = None  # the clock was set back, or it is another robot
        due = np.asarray(observed_at + actions.period_seconds * np.arange(len(actions.positions)), np.float64)
        left = due > now
        if not left.any() or (self._current is not None and observed_at <= self._current.observed_at):
            return None
        times, positions = due[left], actions.positions[left]
        begin = positions[:1]
        if self._current is not None:
            begin = self.positions(np.array([now]))
            weights = np.clip((times - now) / max(actions.blend_seconds, 1e-9), 0, 1)[:, None]
            positions = weights * positions + (1 - weights) * self.positions(times)
        self._current = Trajectory(
            actions.joints, observed_at, np.concatenate([[now], times]), np.concatenate([begin, positions])
        )
        return Trajectory(actions.joints, observed_at, times, positions)

    def positions(self, times: NDArray[np.float64]) -> Positions:
        """Return what is commanded at some times, ``[times, joints]``: between points linearly, after the last one that one.

        :raises ValueError: before the first chunk.
        """
        if self._current is None:
            raise ValueError('no chunk has arrived')
        columns = [np.interp(times, self._current.times, column) for column in self._current.positions.T]
        return np.stack(columns, axis=1)
