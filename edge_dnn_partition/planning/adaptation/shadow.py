# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A budget of shadow frames: a share of all frames, never exceeded."""

from __future__ import annotations

from edge_dnn_partition.errors import PlanError


class ShadowBudget:
    """Grants shadow frames; after ``n`` frames at most ``share * n`` have been granted.

    :param share: of the frames, from 0 to 1.
    :param saved: how many may be saved up for when they are of more use.
    :raises PlanError: if ``share`` is not from 0 to 1.
    """

    def __init__(self, share: float = 0.02, saved: float = 4.0) -> None:
        if not 0 <= share <= 1:
            raise PlanError(f'shadow_share: {share} must be from 0 to 1')
        self.share = share
        self.saved = max(saved, 1.0)
        self._credit = 0.0
        self.frames = 0
        self.granted = 0

    def frame(self) -> None:
        """Count a frame."""
        self.frames += 1
        self._credit = min(self._credit + self.share, self.saved)

    @property
    def available(self) -> bool:
        """Whether a shadow frame may run now."""
        # The count is compared as well, so that rounding of the credit grants nothing.
        return self._credit >= 1 - 1e-9 and self.granted + 1 <= self.share * self.frames + 1e-9

    @property
    def near(self) -> bool:
        """Whether a shadow frame may run now or soon, so that its plan should be prepared."""
        return self.share > 0 and self._credit >= 0.8

    def spend(self) -> None:
        """Count a shadow frame.

        :raises PlanError: if none is available.
        """
        if not self.available:
            raise PlanError('the budget of shadow frames is spent')
        self._credit = max(self._credit - 1, 0.0)
        self.granted += 1
