# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How often to do what may take long: so that it takes no more than a share of the time. Time is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class DutyCycleLimiter:
    """Spaces fragments of work by how long the last one took.

    :param share: of the time, that the work may take.
    :param free_seconds: work that takes no longer is not spaced.
    """

    share: float
    free_seconds: float = 0.0
    _due: float = -math.inf

    def due(self, now: float) -> bool:
        """Return whether the next fragment may begin."""
        return now >= self._due

    def spent(self, began: float, seconds: float) -> None:
        """Take in how long a fragment took that began at a time."""
        self._due = began + seconds / self.share if seconds > self.free_seconds else -math.inf

    def renew(self) -> None:
        """Let the next fragment begin at once."""
        self._due = -math.inf
