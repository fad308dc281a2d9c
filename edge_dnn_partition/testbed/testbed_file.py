# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The file of a testbed: a fleet file whose devices and links are played on one machine, and what befalls them.

It says more than a fleet file: how much of the machine a device may take, how long a link's queue is, how rates and
loads change over time, and what fails when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pydantic import Field, model_validator

from edge_dnn_partition.errors import PlanError, UserError, nearest
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet, Link, Power
from edge_dnn_partition.schema import Bytes, FilePath, Seconds, Strict, check
from edge_dnn_partition.sensing.power.boards import named_model
from edge_dnn_partition.yaml_file import read_yaml

CAMERA_TOPIC: Final = 'image'
_RADIO_BYTES_PER_SECOND: Final = 5e6
"""At this rate a radio's joules per byte are given as watts."""


class TestbedDevice(Device):
    """A device that is played here: ``emulate.slowdown`` says how slow it is.

    ``cores`` and ``memory_limit`` are what the kernel lets all its processes have: they keep devices apart. ``board``
    names a power model (sensing/power/boards.py), whose figures count where ``power`` is not given.
    """

    cores: float | None = Field(default=None, ge=0.1, le=1024)
    memory_limit: Bytes | None = None
    board: str | None = None

    @property
    def modelled_power(self) -> Power:
        """The power figures, in watts: those given, else the board's for as many busy cores as there are threads."""
        if self.board is None or 'power' in self.model_fields_set:
            return self.power
        model = named_model(self.board)
        return Power.model_construct(
            idle=model.idle_watts, active=model.idle_watts + self.threads * model.core_watts + model.gpu_watts,
            radio=model.joules_per_byte * _RADIO_BYTES_PER_SECOND,
        )  # fmt: skip


class TestbedLink(Link):
    """A link that is played here; ``queue`` is the time that its full queue takes to drain."""

    queue: Seconds = 0.05


class TraceUse(Strict):
    """A CSV file (see `traces`) with the rate of a link, or the load of a device, over time."""

    file: FilePath
    link: tuple[str, str] | None = None
    device: str | None = None

    @model_validator(mode='after')
    def _one(self) -> TraceUse:
        if (self.link is None) == (self.device is None):
            raise ValueError('give link: [a, b] or device: name')
        return self


class Fault(Strict):
    """What happens at a time: a device's processes are killed or started again, a link is cut or healed."""

    at: Seconds
    kill: str | None = None
    start: str | None = None
    cut: tuple[str, str] | None = None
    heal: tuple[str, str] | None = None

    @model_validator(mode='after')
    def _one(self) -> Fault:
        if len(self.action) != 1:
            raise ValueError('give one of kill: device, start: device, cut: [a, b], heal: [a, b]')
        return self

    @property
    def action(self) -> dict[str, Any]:
        """What happens to what."""
        return {name: given for name in ('kill', 'start', 'cut', 'heal') if (given := getattr(self, name)) is not None}


class TestbedFile(Fleet):
    """A whole file. ``scheduler`` is the device on whose network the scheduler runs; the source if it is not given."""

    devices: dict[str, TestbedDevice] = Field(min_length=1)  # type: ignore[assignment]
    links: tuple[TestbedLink, ...] = ()
    scheduler: str | None = None
    traces: tuple[TraceUse, ...] = ()
    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, document: Any, *, base: Path | None = None, what: str = 'the testbed file') -> TestbedFile:
        """Check a file that was read from YAML already.

        :param base: the folder that relative paths start from.
        :raises PlanError: if a key is unknown or missing, or a value does not fit.
        """
        if not isinstance(document, Mapping):
            raise PlanError(f'{what}: expected a table with model, source, devices, links; see config/testbed.yaml')
        return check(cls, document, what=what, base=base)

    @classmethod
    def read(cls, path: str | Path) -> TestbedFile:
        """Read and check a file; relative paths in it start at its folder.

        :raises PlanError: if it cannot be read, is no YAML, or does not fit the schema.
        """
        path = Path(path)
        return cls.parse(read_yaml(path, kind='testbed file'), base=path.resolve().parent, what=str(path))

    @property
    def scheduler_device(self) -> str:
        """The device on whose network the scheduler runs."""
        return self.scheduler or self.source

    def link(self, a: str, b: str) -> TestbedLink:
        """Return the link between two devices.

        :raises UserError: if there is none.
        """
        for link in self.links:
            if {a, b} == set(link.between):
                return link
        raise UserError(f'there is no link between {a} and {b}')

    def fleet_document(self, *, user_space: bool, delayed: bool = False, compressed: bool = True) -> dict[str, Any]:
        """Return the fleet file that the nodes get: they are told nothing of traces, faults and limits.

        :param user_space: links are held to their rate by the sending processes; else by the kernel.
        :param delayed: the kernel delays, too; else only delays are left to the processes.
        :param compressed: whether the camera's topic carries compressed images.
        """
        document: dict[str, Any] = self.model_dump(mode='json', exclude_defaults=True)
        for key in ('traces', 'faults', 'scheduler'):
            document.pop(key, None)
        for name, device in self.devices.items():
            table = document['devices'][name]
            for key in ('cores', 'memory_limit', 'board'):
                table.pop(key, None)
            table['power'] = device.modelled_power.model_dump(mode='json', exclude_defaults=True)
            table.setdefault('emulate', {})
        for link, table in zip(self.links, document.get('links', ()), strict=True):
            table.pop('queue', None)
            table['emulate'] = True if user_space else 'delay' if link.delay > 0 and not delayed else False
        document['camera'] = {'topic': CAMERA_TOPIC, 'compressed': compressed}
        document['network'] = {'kind': 'machine' if user_space else 'lan'}
        return document

    @model_validator(mode='after')
    def _check_testbed(self) -> TestbedFile:
        devices = list(self.devices)
        for what, name in self._named_devices():
            if name not in self.devices:
                raise ValueError(f'{what}: no device is called {name!r}{nearest(name, devices)}')
        pairs = {frozenset(link.between) for link in self.links}
        for what, pair in (
            *((f'traces[{i}].link', use.link) for i, use in enumerate(self.traces)),
            *((f'faults[{i}]', fault.cut or fault.heal) for i, fault in enumerate(self.faults)),
        ):
            if pair is not None and frozenset(pair) not in pairs:
                raise ValueError(f'{what}: there is no link between {pair[0]} and {pair[1]}')
        if shared := [link.channel for link in self.links if link.channel is not None]:
            raise ValueError(f'links: channel {shared[0]!r}: the links of a testbed have rates of their own')
        if self.network_given:
            raise ValueError('network: the testbed makes its own; remove the key')
        if any(a.at > b.at for a, b in pairwise(self.faults)):
            raise ValueError('faults: must be in order of time')
        try:
            _ = [device.modelled_power for device in self.devices.values()]
        except UserError as error:
            raise ValueError(f'devices: {error}') from None
        return self

    @property
    def network_given(self) -> bool:
        """Whether the file says what lies between the devices."""
        return 'network' in self.model_fields_set

    def _named_devices(self) -> Iterator[tuple[str, str]]:
        if self.scheduler is not None:
            yield 'scheduler', self.scheduler
        for i, use in enumerate(self.traces):
            if use.device is not None:
                yield f'traces[{i}].device', use.device
        for i, fault in enumerate(self.faults):
            if (device := fault.kill or fault.start) is not None:
                yield f'faults[{i}]', device
