# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The router between the sites of fleets: a Zenoh session that others connect to, and the rules for what each may do.

Who has a certificate of a fleet's device may publish under that device's name, and read all of that fleet. All else is denied.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import PlanError

from .sites import common_name, root
from .zenoh_session import close_session, open_session, runtime, settings

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.fleet import Fleet

_PUBLISHES: Final = ('put', 'delete', 'declare_queryable', 'reply', 'liveliness_token')
_READS: Final = ('declare_subscriber', 'query', 'liveliness_query', 'declare_liveliness_subscriber')
_WITHIN: Final = ('**', '**/@adv/**')
"""What stands behind a key's beginning; Zenoh's own parts, behind an @, are not in ``**``."""

_MOST_JOINED: Final = 256
_GATHER_SECONDS: Final = 0.3
"""So long it is waited for others who come at the same time."""
_END_SECONDS: Final = 2.0
_THREADS: Final = 8
"""Of a router, which has several connections that may break at once; see `runtime`."""


def open_router(found: dict[str, Any]) -> Any:
    """Open a router with `router_settings`; the first thing that a process does with Zenoh.

    :raises zenoh.ZError: if the address is taken.
    """
    runtime(_THREADS)
    return open_session(found)


class RunningRouter:
    """A router for some fleets, which lets those in that join them.

    Zenoh's access control knows only names that were listed when it began. Who comes with a certificate of a device that its fleet
    welcomes, but which no file names, is let in by beginning anew; the others connect again by themselves.

    :param say: takes a line about that, in any thread.
    :raises PlanError: see `router_settings`.
    """

    def __init__(self, fleets: Iterable[Fleet], say: Callable[[str], None] = lambda _: None) -> None:
        self._fleets, self._say = list(fleets), say
        self._known: dict[str, None] = {}
        """The names of certificates that no file has, of those who came."""
        self._come: dict[str, None] = {}
        self.settings = router_settings(self._fleets)
        self._session: Any = None
        self._changed = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name='router', daemon=True)

    def open(self) -> None:
        """Listen.

        :raises zenoh.ZError: if the address is taken.
        """
        self._open()
        self._thread.start()

    def _open(self) -> None:
        self._session = open_router(self.settings)
        if 'access_control' in self.settings:
            self._listener = self._session.info.declare_link_events_listener(lambda event: self._on_link(event.link))
            for link in self._session.info.links():  # who was there before the listener
                self._on_link(link)

    def _on_link(self, link: Any) -> None:
        name = link.auth_identifier or ''
        if name in self._known or len(self._known) >= _MOST_JOINED or all(joining(fleet, name) is None for fleet in self._fleets):
            return
        self._come[name] = None
        self._changed.set()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            if self._ending:
                return
            time.sleep(_GATHER_SECONDS)
            self._changed.clear()
            come, self._come = self._come, {}
            new = [name for name in come if name not in self._known]
            if not new:
                continue
            self._known.update(dict.fromkeys(new))
            if str(self.settings['listen/endpoints'][0]).startswith('quic/'):  # whose socket Zenoh has until the process ends
                self._say(f'{", ".join(new)} cannot join over QUIC, unless the file of the router names it under devices')
                continue
            self._say(f'{", ".join(new)} may join: the router begins anew, and all connect again')
            self.settings = router_settings(self._fleets, self._known)
            close_session(self._session)
            while not self._ending:
                try:
                    self._open()
                    break
                except Exception as error:  # noqa: BLE001  Zenoh is not imported here
                    self._say(f'the router does not begin yet: {error}')
                    time.sleep(_GATHER_SECONDS)

    def close(self) -> None:
        """Listen no more."""
        self._ending = True
        self._changed.set()
        self._thread.join(_END_SECONDS)
        close_session(self._session)


def router_settings(fleets: Iterable[Fleet], more: Iterable[str] = ()) -> dict[str, Any]:
    """Return Zenoh's configuration of a router for some fleets, which all name the same one.

    :param more: see `access`.
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
        found['access_control'] = access(fleets, more)
    return found


def joining(fleet: Fleet, name: str) -> str | None:
    """Return the device that a certificate names, if the fleet welcomes it although the file does not name it."""
    device = name.removeprefix(common_name(fleet.fleet, ''))
    return device if device != name and device in fleet and device not in fleet.devices else None


def access(fleets: Iterable[Fleet], more: Iterable[str] = ()) -> dict[str, Any]:
    """Return what Zenoh's access control allows, by the names in certificates.

    :param more: such names, of devices that joined; those that `joining` does not return are left out.
    """
    fleets, more = list(fleets), list(more)
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
        joined = (device for name in more if (device := joining(fleet, name)) is not None)
        for device in (*fleet.devices, *joined):
            name = common_name(fleet.fleet, device)
            own = rule(f'{name} publishes', _PUBLISHES, 'ingress', [f'{whole}/*/{device}'])
            subjects.append({'id': name, 'cert_common_names': [name]})
            policies.append({'rules': [*read, own], 'subjects': [name]})
    return {'enabled': True, 'default_permission': 'deny', 'rules': rules, 'subjects': subjects, 'policies': policies}
