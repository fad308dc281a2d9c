# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's side of `control.state.sharing`: tells its group's fleets what this one takes, and hears of theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from edge_dnn_partition.control.scheduling.fleet_estimator import FleetEstimator
from edge_dnn_partition.control.state.sharing import SETTLE_SECONDS, FleetUse, HostUse, Sharing, use_of
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.msg import Share
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.plans.plan import Plan

_PERIOD_SECONDS: Final = 0.5


class ShareController:
    """Does nothing in a fleet that is in no group.

    :param node: the scheduler.
    :param plan: returns the plan in force.
    :param moving: returns whether another is proposed.
    :param fps: returns how many frames a second have results.
    """

    def __init__(
        self, node: FleetNode, fleet: Fleet, fleet_estimator: FleetEstimator, *, plan: Callable[[], Plan | None],
        moving: Callable[[], bool], fps: Callable[[float], float],
    ) -> None:  # fmt: skip
        self._node, self._fleet, self._fleet_estimator = node, fleet, fleet_estimator
        self._plan, self._moving, self._fps = plan, moving, fps
        self._moved_at = float('-inf')
        self._weights = {layer: float(part.weight_bytes) for layer, part in enumerate(fleet_estimator.model.layers)}
        self._sharing: Sharing | None = None
        if fleet.share is not None:
            self._sharing = fleet_estimator.sharing = Sharing(fleet)
            node.seals.join(fleet.share.group)
            self._publisher = node.advertise(Share, node.topics.shares(fleet.share.group), qos.SHARES)
            node.subscribe(Share, node.topics.shares(fleet.share.group), self._hear, qos.SHARES)
            node.every(_PERIOD_SECONDS, self.tell)

    def moved(self, now: float) -> None:
        """A plan was proposed or has come into force: the others hear of it at once."""
        self._moved_at = now
        self.tell()

    def wait(self, now: float) -> str:
        """Return why a better plan is to wait; empty if it need not."""
        return '' if self._sharing is None else self._sharing.wait(now)

    @property
    def words(self) -> str:
        """Who shares the hosts, for a plan's reason; empty if nobody."""
        words = '' if self._sharing is None else self._sharing.words(time.monotonic())
        return f'; the hosts are shared with {words}' if words else ''

    def tell(self) -> None:
        """Publish what this fleet takes."""
        if self._fleet.share is None:
            return
        now, plan = time.monotonic(), self._plan()
        self._fleet_estimator.shared(now)  # who has gone says nothing
        uses: dict[str, HostUse] = {}
        if plan is not None:
            profiles = {name: view.profile for name, view in self._fleet_estimator.view.devices.items() if view.profile is not None}
            uses = use_of(plan, self._fps(now), self._fleet, profiles, self._weights)
        self._publisher.publish(
            Share(
                stamp=self._node.get_clock().now().to_msg(), fleet=self._fleet.fleet, priority=self._fleet.share.priority,
                moving=self._moving() or now - self._moved_at < SETTLE_SECONDS, hosts=list(uses),
                cores=[use.cores for use in uses.values()], memory_bytes=[use.memory_bytes for use in uses.values()],
            )
        )  # fmt: skip

    def _hear(self, message: Share) -> None:
        assert self._sharing is not None
        if not len(message.hosts) == len(message.cores) == len(message.memory_bytes):
            raise PlanError(f'a share of {message.fleet!r} whose hosts and figures differ in number; is it of this release?')
        rows = zip(message.hosts, message.cores, message.memory_bytes, strict=True)
        uses = {host: HostUse(max(0.0, cores), max(0.0, held)) for host, cores, held in rows}
        now = time.monotonic()
        self._sharing.take(FleetUse(message.fleet, message.priority, message.moving, uses), now)
        self._fleet_estimator.shared(now)
