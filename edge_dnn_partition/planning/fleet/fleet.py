# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""FLEET.yaml: the devices, their links, the source and the sink, with the schema checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from edge_dnn_partition.errors import PlanError, nearest
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.objectives import HALVES, Goal, Latency
from edge_dnn_partition.schema import Bytes, FilePath, Rate, Seconds, Strict, Watts, check
from edge_dnn_partition.units import shortened
from edge_dnn_partition.yaml_file import read_yaml

from .board import board, board_names
from .inputs import AnyInput, Camera, Synchronise
from .network import Network, NetworkKind

NAME_PATTERN = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_OWN_NAME: Final = '{fleet}'
"""Stands for the fleet's name in the file's other values."""
_NAME_LENGTH = 60
"""A ROS name has at most 255 characters for a fleet's, a device's and a topic's name together."""
ANYBODY: Final = '*'
"""Under ``devices``: what a device is that the file does not name; without it such a device does not join."""
TODO: Final = 'TODO'
"""What a value begins with that a person has to fill in; what belongs there follows."""


class Power(Strict):
    """Modelled power of a device. ``weight`` is what a joule of it counts in the objective energy."""

    idle: Watts = 0.0
    active: Watts = 0.0
    radio: Watts = 0.0
    weight: float = Field(default=1.0, ge=0)


class Emulate(Strict):
    """How a device is emulated on one machine: each run takes ``slowdown`` times its CPU time.

    With a ``board`` (a file in boards/) layers take what its figures say, and ``slowdown`` applies to images and encodings
    alone; without one, the board's file has a factor for them.
    """

    slowdown: float = Field(default=1.0, ge=1.0, le=1000.0)
    board: str | None = None

    @model_validator(mode='after')
    def _known(self) -> Emulate:
        if self.board is not None:
            try:
                board(self.board)
            except PlanError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def factor(self) -> float:
        """How many times slower everything is at first; with a board 1, as its figures include its speed."""
        return self.slowdown if self.board is None else 1.0

    @property
    def other_factor(self) -> float:
        """How many times slower than this machine, on top of ``factor``, it is at what the board has no figures for."""
        if self.board is None:
            return 1.0
        return self.slowdown if 'slowdown' in self.model_fields_set else board(self.board).other_slowdown

    def layer_seconds(self, model: Model) -> tuple[float, ...] | None:
        """Return what each layer takes by the board's figures; None: in proportion to this machine."""
        return None if self.board is None else board(self.board).layer_seconds(model)


class Device(Strict):
    """One computer of the fleet."""

    threads: int = Field(default=1, ge=1, le=1024)
    memory: Bytes | None = None
    power: Power = Field(default=Power(), examples=['{idle: 2.7 W, active: 4 W}'])
    providers: tuple[str, ...] = Field(default=('CPUExecutionProvider',), examples=['[CPUExecutionProvider]'])
    emulate: Emulate | None = Field(default=None, examples=['{slowdown: 8}'])

    @model_validator(mode='before')
    @classmethod
    def _boards_power(cls, given: Any) -> Any:
        """Fill in the watts of the emulated board where the file gives none."""
        emulate = given.get('emulate') if isinstance(given, Mapping) else None
        name = emulate.get('board') if isinstance(emulate, Mapping) else None
        own = given.get('power', {}) if name in board_names() else None
        if not isinstance(own, Mapping):
            return given
        return {**given, 'power': {**board(name).power.model_dump(mode='json', exclude_unset=True), **own}}

    def filled(self, known: Device) -> Device:
        """Return this device with what it leaves out as another says, which it is told to be, or says of itself."""
        given = {name: getattr(known, name) for name in known.model_fields_set - self.model_fields_set}
        return self.model_copy(update=given)

    @property
    def has_host(self) -> bool:
        """False where it is played on a machine with others: what that machine's telemetry says is not the device's."""
        return self.emulate is None

    @property
    def equivalent_cores(self) -> float:
        """The cores of the machine that it is worth."""
        return self.threads if self.emulate is None else self.threads / (self.emulate.factor * self.emulate.other_factor)

    @property
    def watts_given(self) -> bool:
        """Whether its joules are known without a meter, or have weight 0."""
        return 'active' in self.power.model_fields_set or self.power.weight == 0


class Link(Strict):
    """A connection of two devices, alike in both directions; rate and delay are first guesses
    unless ``emulate`` is set, or, for the delay alone, is ``delay``. Links with the same ``channel`` share their rate.
    """

    between: tuple[str, str] = Field(examples=['[pi, jetson]'])
    rate: Rate
    delay: Seconds = 0.0
    channel: str | None = None
    emulate: bool | Literal['delay'] = False


class ModelFile(Strict):
    """The ONNX file and the preprocessing file; relative paths start at the fleet file.

    ``postprocessing`` says what outputs mean (results/postprocess.py): ``{kind: classification, labels: labels.txt}``.
    ``shapes`` are those of inputs whose sizes the file leaves open; the preprocessing's shape and batch 1 need not be given.
    """

    path: FilePath
    shapes: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(default={})
    preprocessing: FilePath | None = Field(default=None, examples=['preprocessing.yaml'])
    postprocessing: dict[str, Any] | None = Field(default=None, examples=['{kind: classification, labels: labels.txt}'])


class Constraints(Strict):
    """Constraints on where layers may run."""

    private_until: str | None = None
    pin: dict[str, str] = Field(default={})
    exclude: tuple[str, ...] = Field(default=(), examples=['[jetson]'])


class Security(Strict):
    """``key_file``, as `keygen` writes it: whoever has none is not believed (docs/security.md)."""

    key_file: FilePath | None = None


class Share(Strict):
    """The fleets of a ``group`` share hosts; those of higher ``priority``, 0 to 10, come first.

    ``hosts`` names the host of a device; a device that it leaves out is on the host of its own name.
    """

    group: str
    priority: int = Field(default=5, ge=0, le=10)
    hosts: dict[str, str] = Field(default={})


class Fleet(Strict):
    """A whole fleet file. ``weights`` are of latency and energy, for the objective balanced; ``deadline`` is for deadline.

    ``devices`` are those that the file names, and later ones that joined (`with_device`); ``anybody`` is its entry ``"*"``, which
    holds for those that it does not name. Without ``devices`` there are the source and ``"*"``.
    ``processes``: the nodes of a device are in ``one`` process, or each in one of its own.
    """

    fleet: str = 'fleet'
    model: ModelFile | None = Field(default=None, examples=['{path: model.onnx, preprocessing: preprocessing.yaml}'])
    source: str
    sink: str | None = None
    objective: str = Latency.name
    weights: tuple[float, float] = HALVES
    deadline: Seconds | None = None
    devices: dict[str, Device] = Field(min_length=1, examples=['{pi: {}, jetson: {}}'])
    anybody: Device | None = Field(default=None, alias='devices.*')
    links: tuple[Link, ...] = Field(default=(), examples=['[{between: [pi, jetson], rate: 40 Mbit/s}]'])
    constraints: Constraints = Constraints()
    camera: Camera = Field(default=Camera(), examples=['{topic: image/compressed}'])
    inputs: dict[str, AnyInput] = Field(default={})
    synchronise: Synchronise = Synchronise()
    network: Network = Field(default=Network(), examples=['{kind: lan}'])
    security: Security = Security()
    share: Share | None = None
    processes: Literal['one', 'each'] = 'one'
    parameters: dict[str, dict[str, Any]] = Field(default={})

    @model_validator(mode='before')
    @classmethod
    def _without_devices(cls, given: Any) -> Any:
        """Take ``"*"`` out of the devices; where it is, or no devices are, the source need not be named."""
        devices, source = (given.get(key, {}) for key in ('devices', 'source')) if isinstance(given, Mapping) else (None, None)
        if not isinstance(devices, Mapping) or not isinstance(source, str) or (ANYBODY not in devices and 'devices' in given):
            return given
        anybody = devices.get(ANYBODY, {})
        named = {name: entry for name, entry in devices.items() if name != ANYBODY}
        return {**given, 'devices': named if source in named else {source: anybody, **named}, f'devices.{ANYBODY}': anybody}

    def __contains__(self, name: object) -> bool:
        """Return whether a device of this name is in the fleet, or may be."""
        return name in self.devices or (self.anybody is not None and isinstance(name, str) and check_device_name(name) is None)

    def device(self, name: str) -> Device:
        """Return a device by its name, as ``"*"`` says if the file does not name it.

        :raises PlanError: if there is no such device, or can be none.
        """
        if name in self.devices:
            return self.devices[name]
        if self.anybody is None:
            raise PlanError(f'no device is called {name!r}; the fleet file has {", ".join(self.devices)}')
        if (wrong := check_device_name(name)) is not None:
            raise PlanError(wrong)
        return self.anybody

    def with_device(self, name: str, device: Device | None) -> Fleet:
        """Return the fleet with a device that joined, or is now known better; None: without it."""
        devices = {**self.devices, **({} if device is None else {name: device})}
        if device is None:
            devices.pop(name, None)
        return self.model_copy(update={'devices': devices})

    @property
    def sink_device(self) -> str:
        """The device that needs the result; the source unless the file says otherwise."""
        return self.sink or self.source

    def host_of(self, device: str) -> str:
        """Return the host of a device, as the fleets of its group call it."""
        return device if self.share is None else self.share.hosts.get(device, device)

    @property
    def goal(self) -> Goal:
        """What plans minimise."""
        return Goal(self.objective, self.weights, math.inf if self.deadline is None else self.deadline)

    @property
    def emulated(self) -> bool:
        """True if any device or link of this fleet is emulated."""
        return any(d.emulate for d in self._kinds) or any(link.emulate for link in self.links)

    @property
    def network_kind(self) -> NetworkKind:
        """The network between the devices: one machine if all are emulated on it, unless the file says otherwise."""
        if self.network.kind is not None:
            return self.network.kind
        return 'machine' if len(self._kinds) == 1 or all(d.emulate for d in self._kinds) else 'lan'

    def site_of(self, device: str) -> str:
        """Return the site of a device; one that is in none is where the source is, which may have no name."""
        for site, devices in self.network.sites.items():
            if device in devices:
                return site
        return '' if device == self.source else self.site_of(self.source)

    def has_site(self, device: str) -> bool:
        """Return whether the file says where a device is; one that joined may be anywhere."""
        return device in self.devices or device in self.network.members

    @property
    def _kinds(self) -> list[Device]:
        """Its devices, and what others would be."""
        return [*self.devices.values(), *(() if self.anybody is None else (self.anybody,))]

    @model_validator(mode='after')
    def _check(self) -> Fleet:
        try:
            _ = self.goal
        except PlanError as error:
            raise ValueError(str(error)) from None
        for name in (*self.devices, *((self.share.group,) if self.share is not None else ())):
            if (wrong := check_device_name(name)) is not None:
                raise ValueError(wrong)
        known = list(self.devices)
        for what, device in (
            ('source', self.source),
            ('sink', self.sink_device),
            *((f'links[{i}].between', d) for i, link in enumerate(self.links) for d in link.between),
            *((f'constraints.pin.{layer}', d) for layer, d in self.constraints.pin.items()),
            *(('constraints.exclude', d) for d in self.constraints.exclude),
            *(('share.hosts', d) for d in (self.share.hosts if self.share is not None else ())),
            *(('network', d) for d in self.network.members),
        ):
            if device not in self.devices and (what != 'network' or device == self.network.router_device or device not in self):
                raise ValueError(f'{what}: no device is called {device!r}{nearest(device, known)}')
        seen: set[frozenset[str]] = set()
        for link in self.links:
            pair = frozenset(link.between)
            if len(pair) == 1:
                raise ValueError(f'links: a link connects two devices, but one goes from {link.between[0]} to itself; remove it')
            if pair in seen:
                raise ValueError(f'links: {" and ".join(sorted(pair))} have two links; remove one')
            seen.add(pair)
        return self


def check_device_name(name: str) -> str | None:
    """Return why a fleet's or a device's name is no good, with what to do; None: it is."""
    if len(name) > _NAME_LENGTH:
        return f'the name {shortened(name)!r} has {len(name)} letters; use at most {_NAME_LENGTH}'
    if not NAME_PATTERN.fullmatch(name):
        legal = re.sub(r'^([^A-Za-z])', r'n\1', re.sub(r'\W', '_', name.strip(), flags=re.ASCII)) or 'pi'
        return f'the name {name!r} is not a ROS name; use letters, digits and _, beginning with a letter, such as {legal!r}'
    return None


def check_watts(fleet: Fleet, goal: Goal, *, measured: bool) -> None:
    """Refuse to count joules where a device's watts are not known: a solver would take them for 0.

    :param measured: the fleet runs, so that a device that is not emulated may measure its watts.
    :raises PlanError: that names the devices.
    """
    if not goal.counts_joules:
        return
    unknown = [
        name for name, device in fleet.devices.items()
        if not device.watts_given and not (measured and device.emulate is None)
    ]  # fmt: skip
    if unknown:
        why = ' (an emulated device has no meter)' if measured else ''
        raise PlanError(
            f'objective {goal.name} counts joules, but the watts of {", ".join(unknown)} are not known{why}; give each '
            'power: {idle: 2.7 W, active: 4 W} in the fleet file, or {weight: 0} where joules do not count'
        )


def parse_fleet(document: Any, *, base: Path | None = None, what: str = 'the fleet file', name: str = '') -> Fleet:
    """Check a fleet that was read from YAML already.

    :param document: what the YAML loader returned; ``{fleet}`` in its values stands for the fleet's name.
    :param base: the folder that relative paths start from.
    :param name: the fleet's, if it is not the document's; of several parts, as in ``r1/arm``, within a namespace.
    :raises PlanError: if a key is unknown or missing, or a value does not fit.
    """
    if not isinstance(document, Mapping):
        raise PlanError(f'{what}: write a table with fleet, model, source, devices, links; see config/')
    if name:
        document = {**document, 'fleet': name}
    own = document.get('fleet', Fleet.model_fields['fleet'].default)
    if isinstance(own, str):
        for part in own.split('/') if len(own) <= _NAME_LENGTH else (own,):
            if (wrong := check_device_name(part)) is not None:
                raise PlanError(f'{what}: {wrong}')
        document = {key: value if key == 'fleet' else _named(value, own) for key, value in document.items()}
    if open_places := list(_to_fill_in(document, '')):
        raise PlanError(f'{what}: still to be filled in: {"; ".join(open_places[:8])}')
    return check(Fleet, document, what=what, base=base)


def _to_fill_in(value: Any, where: str) -> Iterator[str]:
    """Yield the places that `init` left to a person, with what belongs there."""
    if isinstance(value, str) and value.startswith(TODO):
        yield f'{where.lstrip(".")} ({value.removeprefix(TODO).lstrip(": ") or "its value"})'
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ():
        yield from _to_fill_in(item, f'{where}.{key}')


def _named(value: Any, fleet: str) -> Any:
    """Return a value of a document with the fleet's name where it stands for it."""
    if isinstance(value, str):
        return value.replace(_OWN_NAME, fleet)
    if isinstance(value, Mapping):
        return {key: _named(item, fleet) for key, item in value.items()}
    return [_named(item, fleet) for item in value] if isinstance(value, list) else value


def load_fleet(path: str | Path, name: str = '') -> Fleet:
    """Read and check a fleet file; relative paths in it start at its folder. For ``name`` see `parse_fleet`.

    :raises PlanError: if it cannot be read, is not YAML, or does not fit the schema.
    """
    path = Path(path)
    return parse_fleet(read_yaml(path), base=path.resolve().parent, what=str(path), name=name)
