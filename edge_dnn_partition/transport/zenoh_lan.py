# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Zenoh within one network: processes find each other by multicast and connect directly, without a router."""

from __future__ import annotations

import os
from typing import Any, Final

from edge_dnn_partition.planning.fleet.fleet import Fleet

from .sites import HOME, Place
from .zenoh_session import settings

_GROUP: Final = '224.0.0.224'
_FIRST_PORT: Final = 7500
"""Each ROS domain has one of its own, from this on. Not Zenoh's usual one, where other programs meet."""


def lan_place(fleet: Fleet, device: str) -> Place:
    """Return where a process is: beside all others."""
    return Place(fleet.fleet, HOME, device, (HOME,), '')


def lan_settings(interface: str | None = None) -> dict[str, Any]:
    """Return Zenoh's configuration for a process.

    :param interface: the only one that is used; None: all are.
    """
    port = _FIRST_PORT + int(os.environ.get('ROS_DOMAIN_ID') or 0)
    only = '' if interface is None else f'#iface={interface}'
    return settings('peer', listen=[f'tcp/0.0.0.0:0{only}']) | {
        'scouting/multicast/enabled': True, 'scouting/multicast/address': f'{_GROUP}:{port}',
        'scouting/multicast/interface': interface or 'auto',
    }  # fmt: skip
