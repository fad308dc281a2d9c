# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the way of a message shows of its link: how it was sent, and what of it was lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MUCH_LOST: Final = 0.3
_HALF: Final = 0.5


@dataclass(frozen=True)
class PacingSample:
    """How a message was sent, for what its acknowledgement can show of the link; rates in bytes per second.

    :param pace: the fastest that its fragments were to leave. They cannot show more: fragments that left in one burst may
        come in one, out of a token bucket or side by side from a buffer. Infinite if they were not paced.
    :param asked: from this rate on its first fragments show that there is room; 0 if they did not look for it.
    :param far: they looked for so much that the link's own rate has shown, if not all of it came.
    :param blocked: the link held them up as they were sent (the queue of this device's own interface was full), so that
        they may have left as slowly as it carries them.
    """

    pace: float = float('inf')
    asked: float = 0.0
    far: bool = False
    blocked: bool = False

    def sender_limited(self, *, as_they_left: bool) -> bool:
        """True if what was measured is not the link but how the fragments left: at the pace, or later on a busy computer.

        :param as_they_left: they came no further apart than they left.
        """
        return as_they_left and math.isfinite(self.pace) and not self.blocked

    def shows_the_rate(self, measured: float) -> bool:
        """True if a rate measured with these fragments is news by itself, not one sample of several."""
        return self.asked > 0 and (self.far or measured >= self.asked)


@dataclass(frozen=True)
class Waiting:
    """What of a message on its way is waited for.

    :param size: bytes of which word is to come next: what is left of it, or a run of its fragments.
    :param seconds: since when there was no word.
    :param most: no more bytes than this have come in `SLOW_RUN_SECONDS`, or there would have been word.
    """

    size: int
    seconds: float
    most: int


@dataclass(frozen=True)
class Loss:
    """What the receiver's list of missing fragments says.

    :param share: of the fragments that were sent; 0 if it says nothing of the rate: a single fragment, a few of those that
        looked for room, a message that is still being sent or that nobody knows.
    :param packets: of each fragment. Where one of them is lost, the fragment is, but the others have crossed.
    :param rate: the fastest pace at which one of those fragments left, in bytes per second; 0 if they were not paced.
    """

    share: float = 0.0
    packets: int = 1
    rate: float = 0.0

    @property
    def carried(self) -> float:
        """What the link carried over what came whole.

        If most were lost, they will have lost more than one packet each; so it is less than that would make it.
        """
        if self.share >= 1:
            return 1.0
        return 1 + min(self.share / (1 - self.share), 1.0) * (self.packets - 1) / self.packets

    @property
    def bears(self) -> float:
        """The most that the link can bear, in bytes per second; infinite where little was lost, which may be by chance."""
        if not self.rate or self.share <= MUCH_LOST:
            return math.inf
        return self.rate * (1 - self.share + self.share * min((self.packets - 1) / self.packets, _HALF))
