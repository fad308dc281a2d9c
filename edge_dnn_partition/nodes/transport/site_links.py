# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The way to each device of a fleet: over DDS within the site, over Zenoh to other sites, or wherever the fleet file says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.fragments import Address
from edge_dnn_partition.transport.link import Expect, LinkState, OnMessage, Target, TensorLink
from edge_dnn_partition.transport.timing import HopTime, StageTime

from .dds_link import DdsLink

if TYPE_CHECKING:
    from .zenoh_link import ZenohLink


class BothListeners:
    """The receiving ends of one target, here and elsewhere."""

    def __init__(self, *listeners: Any) -> None:
        self._listeners = listeners

    @property
    def held_bytes(self) -> int:
        """Bytes held of incomplete messages."""
        return sum(listener.held_bytes for listener in self._listeners)


class SiteLinks:
    """A `TensorLink` of two, each for the devices that it reaches.

    :param fleet: says which devices are in this device's site.
    """

    def __init__(self, fleet: Fleet, device: str, near: DdsLink, far: ZenohLink | None) -> None:
        self._fleet, self._device = fleet, device
        self._near, self._far = near, far
        self._all: tuple[TensorLink, ...] = (near,) if far is None else (near, far)
        self.reshape = near.reshape
        """See `DdsLink.reshape`; links between sites are not emulated."""

    def _ways(self, device: str) -> tuple[TensorLink, ...]:
        """Return what may reach a device; two if it joined, and the fleet file does not say where it is."""
        if self._fleet.network.tensors == 'zenoh':
            far = device != self._device
        elif self._far is None:
            far = False
        elif not self._fleet.has_site(device):
            return self._all
        else:
            far = self._fleet.site_of(device) != self._fleet.site_of(self._device)
        return (self._all[far],)

    def _to(self, target: Target) -> TensorLink:
        """Return what reaches a target, in this device's site rather than elsewhere; the last one while nothing does."""
        *more, last = self._ways(target[0])
        return next((link for link in more if link.connected(target)), last)

    def set_probing(self, share: float, period: float) -> None:
        """Let probes take so large a share of an idle link, and come so many seconds after each other at least."""
        for sender in (self._near.sender, *(() if self._far is None else (self._far.sender,))):
            sender.probing_share, sender.probe_period = share, period

    @property
    def devices(self) -> list[str]:
        """See `TensorLink`."""
        return [*dict.fromkeys(device for link in self._all for device in link.devices)]

    @property
    def bytes_waiting(self) -> int:
        """See `TensorLink`."""
        return sum(link.bytes_waiting for link in self._all)

    def connect(self, target: Target) -> None:
        """See `TensorLink`."""
        for link in self._ways(target[0]):
            link.connect(target)

    def connected(self, target: Target) -> bool:
        """See `TensorLink`."""
        return self._to(target).connected(target)

    def send(
        self, target: Target, address: Address, arrays: Mapping[str, Any], encodings: Mapping[str, str], *,
        stages: tuple[StageTime, ...] = (), hops: tuple[HopTime, ...] = (), encode_seconds: float = 0.0,
        deadline: float = math.inf, priority: int = 0,
    ) -> None:  # fmt: skip
        """See `TensorLink`."""
        self._to(target).send(
            target, address, arrays, encodings, stages=stages, hops=hops, encode_seconds=encode_seconds, deadline=deadline,
            priority=priority,
        )  # fmt: skip

    def listen(
        self, to_source: bool, on_message: OnMessage, *, expect: Expect = lambda _: None, max_bytes: int = 1 << 30
    ) -> BothListeners:
        """See `TensorLink`."""
        return BothListeners(*(link.listen(to_source, on_message, expect=expect, max_bytes=max_bytes) for link in self._all))

    def forget_frame(self, frame_number: int, *, late: bool = False) -> None:
        """See `TensorLink`."""
        for link in self._all:
            link.forget_frame(frame_number, late=late)

    def forget_device(self, device: str) -> None:
        """See `TensorLink`."""
        for link in self._ways(device):
            link.forget_device(device)

    def seconds_left(self, frame_number: int) -> float:
        """See `TensorLink`."""
        return max(link.seconds_left(frame_number) for link in self._all)

    def states(self) -> dict[str, LinkState]:
        """See `TensorLink`."""
        found = {link: link.states() for link in self._all}
        return {device: state for link in self._all for device, state in found[link].items() if link is self._to((device, False))}

    def on_states(self, states: Mapping[str, LinkState]) -> None:
        """See `TensorLink`."""
        for link in self._all:
            link.on_states(states)

    def probe(self, device: str) -> None:
        """See `TensorLink`."""
        self._to((device, False)).probe(device)

    def on_exploration(self, worth: Mapping[str, tuple[float, float]]) -> None:
        """See `TensorLink`."""
        for link in self._all:
            link.on_exploration(worth)

    def stop(self) -> None:
        """See `TensorLink`."""
        for link in self._all:
            link.stop()


def site_links(
    node: FleetNode, fleet: Fleet, hardware: Hardware, *, on_sent: Callable[[HopTime], None] = lambda _: None
) -> SiteLinks:
    """Return a node's way to each device of its fleet; for the parameters see `DdsLink`."""
    device = node.topics.device
    far = _far(node, fleet, device, on_sent)
    return SiteLinks(fleet, device, DdsLink(node, fleet, hardware, on_sent=on_sent), far)


def _far(node: FleetNode, fleet: Fleet, device: str, on_sent: Callable[[HopTime], None]) -> ZenohLink | None:
    """Return what goes over Zenoh; nothing of it is imported where nothing does."""
    if fleet.network_kind != 'wan' and fleet.network.tensors != 'zenoh':
        return None
    from edge_dnn_partition.transport.sites import place
    from edge_dnn_partition.transport.zenoh_lan import lan_place, lan_settings
    from edge_dnn_partition.transport.zenoh_session import settings

    try:
        from .zenoh_link import ZenohLink
    except ImportError as error:
        raise UserError('network.tensors zenoh needs Zenoh: pip install "edge-dnn-partition[wan]", or eclipse-zenoh') from error
    where = place(fleet, device)
    if where is None:
        return ZenohLink(lan_place(fleet, device), lan_settings(fleet.network.interface), node, fleet, on_sent=on_sent)
    return ZenohLink(where, settings('client', connect=[where.router], tls=where.tls), node, fleet, on_sent=on_sent)
