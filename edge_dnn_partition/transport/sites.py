# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where the processes of a fleet of several sites are, and the keys of what they publish, which say so.

A message of a fleet's topic ``/<fleet>/<leaf>`` has the key ``edge_dnn_partition/<fleet>/<site>/<device>/<leaf>``, of who sends it.
Readers subscribe to the sites that are not theirs, so that nothing of their own site goes to the router and comes back. A site that
the fleet file does not name, from which a device joined, begins with `JOINED`: all subscribe to all of those, whatever their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.planning.fleet.network import JOINED

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.fleet import Fleet
    from edge_dnn_partition.planning.fleet.network import Tls

ROOT: Final = 'edge_dnn_partition'
HOME: Final = '_'
"""Stands for the source's site where that has no name."""
ANYWHERE: Final = '*'
"""For ``others``: all sites, while their names are not known."""


@dataclass(frozen=True)
class Place:
    """Where a process is in a fleet of several sites.

    :param device: the one that it runs on, or beside.
    :param others: the sites that are not its own; one with a ``*`` may be its own as well (`is_own`).
    """

    fleet: str
    site: str
    device: str
    others: tuple[str, ...]
    router: str
    tls: Tls | None = None

    @property
    def own(self) -> str:
        """What the keys of its messages begin with."""
        return f'{root(self.fleet)}/{self.site}/{self.device}'

    def key(self, leaf: str) -> str:
        """Return the key of what it publishes under a topic of the fleet."""
        return f'{self.own}/{leaf}'

    def heard(self, leaf: str) -> tuple[str, ...]:
        """Return the keys of what devices of other sites publish under a topic of the fleet."""
        return tuple(f'{root(self.fleet)}/{site}/*/{leaf}' for site in self.others)

    def is_own(self, key: str) -> bool:
        """Return whether what has been heard is of this site, where it is heard over DDS."""
        return self.site not in self.others and key.startswith(f'{root(self.fleet)}/{self.site}/')


def root(fleet: str) -> str:
    """Return what the keys of a fleet begin with; a fleet's name may have several parts."""
    return f'{ROOT}/{fleet.replace("/", ".")}'


def common_name(fleet: str, device: str) -> str:
    """Return what a device's certificate calls it."""
    return f'{fleet.replace("/", ".")}.{device}'


def place(fleet: Fleet, device: str = '') -> Place | None:
    """Return where a process is; None if the fleet has only one site.

    :param device: the one that it runs on; empty for one of the fleet as a whole: that whose key lies on this machine, or, where
        that says nothing, the source.
    """
    network = fleet.network
    if network.router is None:
        return None
    if not device and network.tls is not None:
        here = [name for name in fleet.devices if network.tls.of(name).key.is_file()]
        device = here[0] if len(here) == 1 else ''
    device = device or fleet.source
    sites = dict.fromkeys([fleet.site_of(fleet.source) or HOME, *network.sites])
    own = fleet.site_of(device) or HOME
    others = tuple(site for site in sites if site != own and not site.startswith(JOINED))
    return Place(fleet.fleet, own, device, (*others, f'{JOINED}$*'), network.router, network.tls and network.tls.of(device))


def asking_place(fleet: str, site: str, device: str, router: str, tls: Tls | None) -> Place:
    """Return where a process is that does not have the fleet file yet.

    :param site: its name, which the fleet file may have as well or not.
    """
    return Place(fleet, f'{JOINED}{site}', device, (ANYWHERE,), router, tls)
