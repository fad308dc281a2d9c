# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The router between the sites of fleets: a Zenoh session that others connect to, and the rules for what each may do.

Who has a certificate of a fleet's device may publish under that device's name, and read all of that fleet. All else is denied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import PlanError

from .zenoh_session import common_name, open_session, root, runtime, settings

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.fleet import Fleet

_PUBLISHES: Final = ('put', 'delete', 'declare_queryable', 'reply', 'liveliness_token')
_READS: Final = ('declare_subscriber', 'query', 'liveliness_query', 'declare_liveliness_subscriber')
_WITHIN: Final = ('**', '**/@adv/**')
"""What stands behind a key's beginning; Zenoh's own parts, behind an @, are not in ``**``."""


_THREADS: Final = 8
"""Of a router, which has several connections that may break at once; see `runtime`."""


def open_router(found: dict[str, Any]) -> Any:
    """Open a router with `router_settings`; the first thing that a process does with Zenoh.

    :raises zenoh.ZError: if the address is taken.
    """
    runtime(_THREADS)
    return open_session(found)


def router_settings(fleets: Iterable[Fleet]) -> dict[str, Any]:
    """Return Zenoh's configuration of a router for some fleets, which all name the same one.

    :raises PlanError: if they do not, or a file cannot be read.
    """
    fleets = list(fleets)
    for fleet in fleets:
        if fleet.network.router is None:
            raise PlanError(f'the fleet {fleet.fleet} needs no router: network.kind is {fleet.network_kind}, not wan')
        if fleet.network.router != fleets[0].network.router:
            raise PlanError(f'the fleets {fleets[0].fleet} and {fleet.fleet} name different routers; start one for each')
    first = fleets[0]
    protocol, _, address = (first.network.router or '').partition('/')
    here = '[::]' if '[' in address else '0.0.0.0'  # noqa: S104  other machines come to it
    tls = first.network.tls and first.network.tls.of(first.network.router_device or 'router')
    found = settings('router', listen=[f'{protocol}/{here}:{address.rpartition(":")[2]}'], tls=tls)
    if tls is not None:
        found['access_control'] = access(fleets)
    return found


def access(fleets: Iterable[Fleet]) -> dict[str, Any]:
    """Return what Zenoh's access control allows, by the names in certificates."""
    rules: list[dict[str, Any]] = []
    subjects: list[dict[str, Any]] = []
    policies: list[dict[str, Any]] = []

    def rule(name: str, messages: Iterable[str], flow: str, keys: Iterable[str]) -> str:
        every = [f'{key}/{rest}' for key in keys for rest in _WITHIN]
        rules.append({'id': name, 'permission': 'allow', 'messages': [*messages], 'flows': [flow], 'key_exprs': every})
        return name

    for fleet in fleets:
        whole = root(fleet.fleet)
        read = [
            rule(f'{whole} reads', _READS, 'ingress', [whole]),
            rule(f'{whole} hears', (*_PUBLISHES, *_READS), 'egress', [whole]),
        ]
        for device in fleet.devices:
            name = common_name(fleet.fleet, device)
            own = rule(f'{name} publishes', _PUBLISHES, 'ingress', [f'{whole}/*/{device}'])
            subjects.append({'id': name, 'cert_common_names': [name]})
            policies.append({'rules': [*read, own], 'subjects': [name]})
    return {'enabled': True, 'default_permission': 'deny', 'rules': rules, 'subjects': subjects, 'policies': policies}
