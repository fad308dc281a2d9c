# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""To which devices a device has links: to few where the fleet is large, and to more as they are needed.

A worker measures the links to its neighbours, whether a plan needs them or not. Others come to be when a plan or the scheduler's
exploration names them, or when the device at the other end begins to send. So what a device has and measures does not grow with
the fleet, and the whole fleet's links grow as its devices do, not with their square.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from edge_dnn_partition.planning.fleet.fleet import Fleet

from .link import Shaping
from .link_model import GUESS, LinkModel

FEW: Final = 8
"""A device has so many neighbours that no link of the fleet file names, at most."""


def neighbours(fleet: Fleet, device: str) -> tuple[str, ...]:
    """Return the devices that a device measures its links to from the start: source and sink, those that the fleet file's links
    name, and the `FEW` that follow it in the file, in a ring.
    """
    names = list(fleet.devices)
    here = names.index(device) + 1 if device in fleet.devices else 0
    named = (end for link in fleet.links if device in link.between for end in link.between)
    ring = [*names[here:], *names[:here]]
    return tuple(other for other in dict.fromkeys([fleet.source, fleet.sink_device, *named, *ring[:FEW]]) if other != device)


class Links(Mapping[str, LinkModel]):
    """A device's links, by the device at the other end, as far as there are any. Not thread safe.

    :param fleet: gives the first guesses.
    """

    def __init__(self, fleet: Fleet, device: str, shaping: Shaping | None = None) -> None:
        self._shaping = shaping
        self._guesses = {
            end: (link.rate, link.delay) for link in fleet.links if device in link.between for end in link.between if end != device
        }  # fmt: skip
        self._links: dict[str, LinkModel] = {}

    def to(self, device: str) -> LinkModel:
        """Return the link to a device, which is made if there is none yet."""
        if device not in self._links:
            self._links[device] = LinkModel(device, self._guesses.get(device, GUESS), self._shaping)
        return self._links[device]

    def __getitem__(self, device: str) -> LinkModel:
        return self._links[device]

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)
