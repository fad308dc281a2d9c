# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Asks a running fleet what a device needs to know to join it."""

from __future__ import annotations

import functools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from edge_dnn_partition.cache import cache_dir
from edge_dnn_partition.deployment.dds_environment import dds_environment
from edge_dnn_partition.deployment.dds_profile import DdsProfile
from edge_dnn_partition.deployment.fleet_description import (
    FILE_NAME,
    NOTHING_GIVEN,
    FleetDescription,
    FleetFile,
    Means,
    missing_files,
    write_fleet,
)
from edge_dnn_partition.deployment.fleet_key import read_key
from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.msg import DeviceDescription
from edge_dnn_partition.msg import FleetDescription as DescriptionMessage
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.seals import Seals
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.nodes.transport.blob_client import TURN_SECONDS, BlobClient, Fetched
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.blobs import BlobStore
from edge_dnn_partition.units import format_bytes

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_dnn_partition.nodes.core.wide import WideArea
    from edge_dnn_partition.transport.sites import Place

SECONDS: Final = 20.0
"""How long a fleet is looked for."""
_TURN_SECONDS: Final = 0.1
_SAY_SECONDS: Final = 2.0
_OTHERS_SECONDS: Final = (0.5, 3.0)
"""How long it is listened for who is there after the fleet has answered: at least, and if not all have said so, at most."""


def join_fleet(
    name: str, device: str, *, means: Means = NOTHING_GIVEN, seconds: float = SECONDS,
    say: Callable[[str], None] = print, wait: Callable[[], bool] = lambda: True,
) -> tuple[Fleet, Path]:
    """Return a running fleet that this machine may join as a device, and the file of it, which is in the cache from now on.

    :param seconds: how long to look for it.
    :param say: takes lines about what it waits for.
    :param wait: asked meanwhile whether to go on.
    :raises UserError: if it is not found, does not welcome the device, or a file of it cannot be had.
    """
    key = None if means.key_file is None else read_key(means.key_file)
    where = None
    if means.router:
        from edge_dnn_partition.transport.sites import asking_place

        tls = means.tls
        where = asking_place(name, means.site or device, device, means.router, tls and tls.of(device))
    folder = cache_dir('joined', name.replace('/', '-'), device)
    with _network(), JoiningClient(name, device, key, where) as client:
        description = client.description(seconds, wait)
        fleet = write_fleet(description, folder, name, device, means)
        fleet.device(device)
        if device == fleet.source:
            raise PlanError(f'{device} is the source, which needs the fleet file: run `up FLEET.yaml --device {device}`')
        store = BlobStore()
        if missing := missing_files(description, folder):
            client.fetch(missing, store, say, wait)
        for file in missing:
            store.place(file.sha256, folder / file.path)
    return fleet, folder / FILE_NAME


@contextmanager
def _network() -> Iterator[None]:
    """Use DDS as on any network, for as long as what the fleet's is is not known."""
    found = dds_environment(DdsProfile('lan', 0))
    before = {name: os.environ.get(name) for name in found}
    os.environ.update(found)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value


class JoiningClient:
    """Listens to one fleet; leave its ``with`` block to end it.

    :param fleet: its name.
    :param device: the name of this device.
    :param key: the fleet's; None: it has none.
    :param place: where this device is, if the fleet is to be found through a router.
    """

    def __init__(self, fleet: str, device: str, key: bytes | None, place: Place | None = None) -> None:
        self._topics, self._key, self._place = Topics(fleet, device), key, place
        self._soon: deque[Callable[[], None]] = deque()
        """What is to be done in the thread that spins."""
        self._trouble = ''
        """With the router."""
        self._found: DescriptionMessage | None = None
        self._heard: set[str] = set()
        """Devices whose monitors have said what they are, or that they leave."""
        self._taken: DeviceDescription | None = None
        self._refused = ''

    def __enter__(self) -> Self:
        """Join the network."""
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('joining', namespace=f'/{self._topics.fleet}/{self._topics.device}', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._seals = Seals(self._node, self._topics, self._key, self._refuse, self._wide())
        self._seals.subscribe(DescriptionMessage, self._topics.description, self._on_description, qos.DESCRIPTION)
        self._seals.subscribe(DeviceDescription, self._topics.devices, self._on_device, qos.devices_reader())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave it."""
        self._seals.close()
        self._executor.shutdown(timeout_sec=0.5)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _wide(self) -> WideArea | None:
        if self._place is None:
            return None
        from edge_dnn_partition.nodes.core.wide import WideArea

        return WideArea(self._place, self._soon.append, functools.partial(setattr, self, '_trouble'))

    def _spin(self, seconds: float) -> None:
        while self._soon:
            self._soon.popleft()()
        self._executor.spin_once(timeout_sec=min(seconds, TURN_SECONDS) if self._place is not None else seconds)

    def _refuse(self, _kind: str, reason: str) -> None:
        self._refused = reason

    def _on_description(self, message: DescriptionMessage) -> None:
        self._found = message

    def _on_device(self, message: DeviceDescription) -> None:
        self._heard.add(message.device)
        if message.device == self._topics.device:
            self._taken = None if message.leaving else message

    def description(self, seconds: float, wait: Callable[[], bool] = lambda: True) -> FleetDescription:
        """Return what the fleet says of itself.

        :param seconds: how long to wait for it.
        :param wait: asked meanwhile whether to go on waiting.
        :raises UserError: if there is no such fleet, it cannot be believed, or has a device of this name already.
        """
        fleet, until = self._topics.fleet, time.monotonic() + seconds
        while self._found is None and time.monotonic() < until and wait():
            self._spin(_TURN_SECONDS)
        message = self._found
        if message is None:
            raise UserError(self._why_nothing(seconds))
        if message.seal and self._key is None:
            raise UserError(f'the fleet {fleet!r} has a key, without which nobody joins: copy it here, and give --key FILE')
        least, most = (time.monotonic() + seconds for seconds in _OTHERS_SECONDS)
        while (now := time.monotonic()) < most and (now < least or not self._all_heard) and wait():
            self._spin(_TURN_SECONDS)
        if self._taken is not None:
            raise UserError(f'the fleet {fleet!r} has a device {self._topics.device!r} already: give another name, --device NAME')
        if not len(message.paths) == len(message.sha256) == len(message.bytes) == len(message.whole):
            raise UserError('the fleet describes its files incompletely: install one release everywhere')
        rows = zip(message.paths, message.sha256, message.bytes, message.whole, strict=True)
        description = FleetDescription(message.fleet_file, tuple(FleetFile(*row) for row in rows))
        description.check()
        return description

    def fetch(self, files: Sequence[FleetFile], store: BlobStore, say: Callable[[str], None], wait: Callable[[], bool]) -> None:
        """Have files of the fleet come into a store.

        :raises UserError: if one cannot be had.
        """
        client, left = BlobClient(self._seals, self._topics, store), {file.sha256: file for file in files}
        whole, failures, said_at = sum(file.bytes for file in left.values()), [], -math.inf

        def ended(sha256: str, result: Fetched) -> None:
            left.pop(sha256)
            if not result.done:
                failures.append(result.failure)

        for file in left.values():
            client.fetch(file.sha256, file.bytes, functools.partial(ended, file.sha256))
        try:
            while left and not failures and wait():
                client.turn()
                self._spin(TURN_SECONDS)
                if time.monotonic() - said_at > _SAY_SECONDS:
                    said_at, progress = time.monotonic(), client.progress()
                    have = whole - sum(file.bytes for file in left.values()) + (0 if progress is None else progress.have)
                    say(f'fetching the files of {self._topics.fleet}: {format_bytes(have)} of {format_bytes(whole)}')
        finally:
            client.close()
        if failures or left:
            raise UserError(f'the files of {self._topics.fleet!r} have not come: {failures[0] if failures else "it was ended"}')

    @property
    def _all_heard(self) -> bool:
        """Never true from elsewhere: who is there is not counted over the router."""
        return self._place is None and len(self._heard) >= int(self._node.count_publishers(self._topics.devices))

    def _why_nothing(self, seconds: float) -> str:
        fleet = self._topics.fleet
        if self._refused:
            return f'the fleet {fleet!r} cannot be believed: {self._refused}'
        if self._place is not None:
            why = self._trouble or f'its scheduler may not run, or not welcome {self._topics.device!r}, or not be {fleet!r}'
            return f'no fleet {fleet!r} was found within {seconds:g} s at {self._place.router}: {why}'
        kind = 'edge_dnn_partition/msg/FleetDescription'
        topics = (name for name, types in self._node.get_topic_names_and_types() if kind in types)
        others = sorted({name.strip('/').rpartition('/')[0] for name in topics} - {fleet})
        known = f'; fleets here: {", ".join(others)}' if others else ''
        domain = os.environ.get('ROS_DOMAIN_ID') or '0'
        return (
            f'no fleet {fleet!r} was found within {seconds:g} s in ROS_DOMAIN_ID {domain}{known}: start its scheduler, or check '
            'the network with `edge-dnn-partition doctor`'
        )
