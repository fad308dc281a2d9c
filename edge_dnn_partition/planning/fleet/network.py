# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What lies between the devices of a fleet: one machine, one network, or sites behind NATs with a router that all reach."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from edge_dnn_partition.schema import FilePath, Strict

NetworkKind = Literal['machine', 'lan', 'wan']
DEVICE: Final = '{device}'
"""Stands in the paths of a certificate and its key for the name of the device that they belong to."""
JOINED: Final = '+'
"""What the name of a site begins with that the fleet file does not name: a device joined from there."""
_SITE: Final = re.compile(r'\+?[A-Za-z0-9][A-Za-z0-9_.-]*')
_ROUTER: Final = r'^(tls|quic|tcp)/([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]):\d{1,5}$'
_CLOUD: Final = (
    'kind cloud is gone; write {kind: wan, router: tls/ADDRESS:7447, router_device: box, tls: {ca: keys/ca.pem, '
    "certificate: 'keys/{device}.pem', key: 'keys/{device}.key'}, sites: {box: [box]}}; see docs/wide_area.md"
)


class Tls(Strict):
    """PEM files, as `keygen --wan` makes them: the CA's certificate, and each device's own with its key."""

    ca: FilePath
    certificate: FilePath
    key: FilePath

    def of(self, device: str) -> Tls:
        """Return the files of one device."""
        paths = {name: Path(str(getattr(self, name)).replace(DEVICE, device)) for name in ('ca', 'certificate', 'key')}
        return self.model_copy(update=paths)


class Network(Strict):
    """What lies between the devices.

    ``machine``: all on one; ``lan``: one network, Wi-Fi or cable, on ``interface`` alone if it is named; ``wan``: several
    ``sites``, each with a network of its own, whose devices all reach the ``router``, as ``tls/host:port``, ``quic/host:port``
    or, where all of it is within a VPN, ``tcp/host:port``. It runs on the ``router_device``, or is one that runs already.
    ``tensors`` says what carries tensors in a ``lan``; it carries all else over DDS.
    """

    kind: NetworkKind | None = None
    interface: str | None = Field(default=None, pattern=r'^[^\s/]{1,15}$')
    router: str | None = Field(default=None, pattern=_ROUTER)
    router_device: str | None = None
    tls: Tls | None = None
    sites: dict[str, tuple[str, ...]] = Field(default={}, examples=['{box: [cloud]}'])
    tensors: Literal['dds', 'zenoh'] = 'dds'

    @property
    def members(self) -> tuple[str, ...]:
        """The devices that it names."""
        router = () if self.router_device is None else (self.router_device,)
        return (*router, *(device for site in self.sites.values() for device in site))

    @model_validator(mode='before')
    @classmethod
    def _not_cloud(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get('kind') == 'cloud':
            raise ValueError(_CLOUD)
        return given

    @model_validator(mode='after')
    def _whole(self) -> Network:
        wide = ('router', 'router_device', 'tls', 'sites')
        if self.kind == 'wan':
            for key in ('router', 'sites'):
                if not getattr(self, key):
                    raise ValueError(f'kind wan needs {key}; see docs/wide_area.md')
            if wrong := [name for name in self.sites if not _SITE.fullmatch(name)]:
                raise ValueError(f'sites: the name {wrong[0]!r} is no good; use letters, digits, _, . and -')
            sites = [device for site in self.sites.values() for device in site]
            if twice := sorted({device for device in sites if sites.count(device) > 1}):
                raise ValueError(f'sites: {twice[0]} is in two; take it out of one')
            if (self.tls is None) != (self.router or '').startswith('tcp/'):
                raise ValueError('a router at tls/… or quic/… needs tls: {ca, certificate, key}, and one at tcp/… has none')
        elif extra := [key for key in wide if key in self.model_fields_set]:
            raise ValueError(f'{extra[0]} needs kind: wan; set it, or remove {extra[0]}')
        if self.interface is not None and self.kind not in ('lan', 'wan'):
            raise ValueError('interface needs kind: lan or wan; set it, or remove interface')
        if self.tensors == 'zenoh' and self.kind != 'lan':
            raise ValueError('tensors needs kind: lan; set it, or remove tensors (between sites it is zenoh anyway)')
        return self
