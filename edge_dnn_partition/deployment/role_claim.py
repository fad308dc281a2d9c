# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which of several nodes of one kind is the active one: the one that was active first; another takes over when it is gone.

Each active node says several times a second that it is. One that is to become active listens first. Two that are active nonetheless
(they could not hear each other) settle it when they meet: the one with the smaller incarnation compares their ages and yields, or
tells the other one to. Since only one of them decides, exactly one yields, however the messages cross. Time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CLAIM_SECONDS: Final = 0.2
"""How often an active node says that it is."""
DISCOVERY_SECONDS: Final = 1.5
"""So long after it has started a process knows which others there are, which announce themselves every second, unless the machine
is very busy ..."""
LISTENING_SECONDS: Final = 0.5
"""... which shows where its own start takes long, so that it listens for so long after that ..."""
SETTLED_SECONDS: Final = 5.0
"""... unless it has been there for so long."""
SILENT_SECONDS: Final = 1.0
"""Another node of the kind that is there and says nothing for so long is inactive, or dead and not forgotten yet."""
GONE_SECONDS: Final = 3.0
"""One that was heard to be active has to be silent for so long: it may be held up."""
_OTHERS: Final = 16


@dataclass(frozen=True)
class Claim:
    """What a node says of itself; as in ``Claim.msg``."""

    incarnation: int
    active: bool
    active_seconds: float = 0.0
    displaces: int = 0
    host: str = ''
    process: int = 0


@dataclass
class RoleClaim:
    """One node's side.

    :param incarnation: of this node.
    :param started: when its process joined the network, in seconds of a steady clock; as are all times here.
    :param listening: since when it hears claims.
    :param discovery: how long it takes to know of others, in seconds.
    """

    incarnation: int
    started: float
    listening: float
    discovery: float = DISCOVERY_SECONDS
    active_since: float | None = None
    """None: this node is not active."""
    displaces: int = 0
    _others: dict[int, tuple[Claim, float]] = field(default_factory=dict)
    """By incarnation, those that are active and when they said so."""

    def on_claim(self, claim: Claim, now: float) -> bool:
        """Record another node's claim; return whether this node, being active, must yield to it."""
        other = claim.incarnation
        if other == self.incarnation:
            return False
        self._others.pop(other, None)
        if not claim.active:
            return False
        self._others[other] = (claim, now)
        while len(self._others) > _OTHERS:
            del self._others[next(iter(self._others))]
        if self.active_since is None:
            return False
        if other < self.incarnation:
            return claim.displaces == self.incarnation
        if other != self.displaces and claim.active_seconds > now - self.active_since:
            return True
        self.displaces = other
        return False

    def holder(self, now: float) -> Claim | None:
        """Return the claim of another node that is active; None if none is, as far as is known."""
        return next((claim for claim, at in reversed(self._others.values()) if now - at < SILENT_SECONDS), None)

    def free(self, now: float, *, others: bool) -> bool:
        """Return whether this node may become active.

        :param others: other nodes of the kind are known to the network, which takes a while to forget those that were killed.
        """
        if not others:
            age = now - self.started
            return age >= SETTLED_SECONDS or (age >= self.discovery and now - self.listening >= LISTENING_SECONDS)
        heard = max((at for _, at in self._others.values()), default=None)
        if heard is None:
            return now - self.listening >= SILENT_SECONDS
        return now - heard >= GONE_SECONDS
