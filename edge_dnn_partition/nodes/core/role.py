# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A role that one node of a kind has at a time: claims it, or waits until it is free (`role_claim`)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.deployment.role_claim import CLAIM_SECONDS, DISCOVERY_SECONDS, Claim, RoleClaim
from edge_dnn_partition.msg import Claim as ClaimMessage

from . import qos

if TYPE_CHECKING:
    from .base import FleetNode

_LOOK_SECONDS = CLAIM_SECONDS / 4
_ALONE_SECONDS = 0.5
"""How often an active node checks whether another has come ..."""
_FRESH_SECONDS = 2.0
"""... and how old the claim is at most that such a one finds: it says for how long this node has been active."""
_DEVICE_DISCOVERY_SECONDS = 0.8
"""Two workers of one device do no harm for a moment: of what both send the second copy is left aside. The fleet waits for each."""


class Role:
    """Made while a node is configured; used in the thread that spins.

    :param device: whose role it is; empty: the fleet's.
    :param started: when the node joined the network, steady clock.
    :param give_way: called with who has the role, where this node is active and is to yield.
    """

    def __init__(self, node: FleetNode, device: str, started: float, give_way: Callable[[str], None]) -> None:
        self._node, self._give_way = node, give_way
        discovery = _DEVICE_DISCOVERY_SECONDS if device else DISCOVERY_SECONDS
        self._claim = RoleClaim(node.incarnation, started, time.monotonic(), discovery)
        topic = node.topics.claim(node.kind, device)
        self._publisher = node.advertise(ClaimMessage, topic, qos.CLAIM, always=True)
        node.subscribe(ClaimMessage, topic, self._on_claim, qos.claim_reader())
        self._wanted: tuple[Callable[[], None], Callable[[str], None] | None] | None = None
        self._reported: Claim | None = None
        self._publish_at = 0.0
        self._tick = node.every(_LOOK_SECONDS, self._look, always=True)

    def want(self, take: Callable[[], None], refused: Callable[[str], None] | None = None) -> None:
        """Call ``take`` when the role is free, at once if it is; the last call counts.

        :param refused: called instead, with who has the role, if a node has it; None: wait until it is free.
        """
        self._wanted = take, refused
        self._tick.start()
        self._look()

    def taken(self) -> None:
        """The node has become active."""
        self._claim.active_since = time.monotonic()
        self._publish(active=True)
        self._tick.start()

    def left(self) -> None:
        """The node is not active any more, nor wants to be."""
        self._wanted = None
        self._claim.active_since = None
        self._publish(active=False)

    def _look(self) -> None:
        now = time.monotonic()
        if self._claim.active_since is not None:
            alone = self._publisher.get_subscription_count() <= 1  # this node itself; a claim waits for who comes
            self._tick.set_period(_ALONE_SECONDS if alone else CLAIM_SECONDS)
            if not alone or now >= self._publish_at:
                self._publish(active=True)
        elif self._wanted is None:
            self._tick.stop()
        else:
            self._tick.set_period(_LOOK_SECONDS)
            take, refused = self._wanted
            holder = self._claim.holder(now)
            if holder is not None and refused is not None:
                self._wanted = None
                refused(self._words(holder))
            elif holder is not None:
                if self._reported is None or self._reported.incarnation != holder.incarnation:
                    self._node.get_logger().error(f'standing by: {self._words(holder)}')
                self._reported = holder
            elif self._claim.free(now, others=self._node.count_publishers(self._publisher.topic_name) > 1):
                self._wanted = None
                take()

    def _words(self, holder: Claim) -> str:
        path = f'{self._node.get_namespace()}/{self._node.kind}'
        return (
            f'{path} is active already, on host {holder.host} as process {holder.process}, for {holder.active_seconds:.0f} s; '
            f'was the fleet started twice? End one of them'
        )

    def _on_claim(self, message: Any) -> None:
        claim = Claim(
            message.incarnation, message.active, message.active_seconds, message.displaces, message.host, message.process
        )
        before = self._claim.displaces
        yields = self._claim.on_claim(claim, time.monotonic())
        if yields:
            self._claim.active_since = None
            self._give_way(self._words(claim))
        elif self._claim.displaces != before:
            self._publish(active=True)

    def _publish(self, *, active: bool) -> None:
        now, claim = time.monotonic(), self._claim
        self._publish_at = now + _FRESH_SECONDS
        self._publisher.publish(
            ClaimMessage(
                incarnation=claim.incarnation, active=active, displaces=claim.displaces, host=socket.gethostname(),
                process=os.getpid(), active_seconds=0.0 if claim.active_since is None else now - claim.active_since,
            )
        )  # fmt: skip
