# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The planning problem: nodes, tensors, devices and links, as plain arrays.

A *node* is what a device runs as one fragment: a layer of a cost file, or a segment
of a real model. Nodes stand in topological order. A node may write several
tensors and read several; a tensor is sent at most once to each other device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import PlanError, nearest

from .parts import INPUT, Device, Link, Tensor
from .transfer_tables import Coding

if TYPE_CHECKING:
    from typing_extensions import Self

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Everything that the cost model needs (see ``docs/planning.md``).

    :param seconds: ``(nodes, devices)``; infinite where a node cannot run.
    :param weight_bytes: ``(nodes,)``.
    :param seam_seconds: ``(nodes - 1, devices)``: what is saved where node ``i`` and
        node ``i + 1`` both run on the device; ``None`` for nothing.
    :param coding: how tensors are encoded; ``None``: all go raw.
    :param node_joules: ``(nodes, devices)``: joules of a run above idle, learned from a meter; where NaN, or ``None`` for all,
        the device's ``active_watts`` times its seconds count.
    :param state_bytes: of what each node keeps from frame to frame, which moves with it; empty: none keeps anything.
    :raises PlanError: if a node's seconds on a device are not known (NaN).
    """

    source: str
    sink: str
    devices: tuple[Device, ...]
    links: tuple[Link, ...]
    node_names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    seconds: Floats
    weight_bytes: Floats
    seam_seconds: Floats | None = None
    coding: Coding | None = None
    node_joules: Floats | None = None
    state_bytes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if np.isnan(self.seconds).any():
            node, device = np.argwhere(np.isnan(self.seconds))[0]
            name = self.devices[device].name
            raise PlanError(f'the time of {self.node_names[node]!r} on {name} is unknown; profile it there')

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.node_names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The devices' names, in their order."""
        return tuple(device.name for device in self.devices)

    @cached_property
    def position(self) -> dict[str, int]:
        """The index of each device by name."""
        return {name: index for index, name in enumerate(self.names)}

    @property
    def source_index(self) -> int:
        """The index of the source."""
        return self.position[self.source]

    @property
    def sink_index(self) -> int:
        """The index of the sink."""
        return self.position[self.sink]

    def column(self, field: str) -> Floats:
        """Return one field of every device, shape ``(devices,)``."""
        columns = self._columns
        if field not in columns:
            columns[field] = np.array([getattr(device, field) for device in self.devices], dtype=np.float64)
        return columns[field]

    @cached_property
    def _columns(self) -> dict[str, Floats]:
        return {}

    @cached_property
    def work_joules(self) -> tuple[Floats, Floats | None]:
        """Joules of nodes above idle ``(nodes, devices)``, infinite where one cannot run, and of boundary overheads.

        Half of a boundary overhead's seconds belongs to each node beside it, at that node's watts.
        """
        able = np.isfinite(self.seconds)
        seconds, active = np.where(able, self.seconds, 0.0), self.column('active_watts')
        joules = seconds * active[None, :]
        if self.node_joules is None:
            overhead = None if self.seam_seconds is None else self.seam_seconds * active[None, :]
        else:
            joules = np.where(np.isfinite(self.node_joules), self.node_joules, joules)
            watts = np.divide(joules, seconds, out=np.zeros_like(joules), where=seconds > 0)
            overhead = None if self.seam_seconds is None else self.seam_seconds * (watts[:-1] + watts[1:]) / 2
        return np.where(able, joules, np.inf), overhead

    @cached_property
    def link_ends(self) -> tuple[Ints, Ints]:
        """The sender and the reader of each link, ``(links,)`` each."""
        place = self.position
        senders, readers = [place[link.sender] for link in self.links], [place[link.reader] for link in self.links]
        return np.array(senders, dtype=np.int64), np.array(readers, dtype=np.int64)

    def _by_pair(self, values: Sequence[float]) -> Floats:
        """Return a number of each link by sender and reader, ``(devices, devices)``; 0 without one."""
        table = np.zeros((len(self.devices),) * 2)
        table[self.link_ends] = values
        return table

    @cached_property
    def rate(self) -> Floats:
        """Bytes per second from a row's device to a column's; 0 without a link."""
        return self._by_pair([link.bytes_per_second for link in self.links])

    @cached_property
    def scatter(self) -> tuple[Floats, Floats] | None:
        """The scatter of devices ``(devices,)`` and of pairs of them ``(devices, devices)``; None: nothing scatters.

        Both directions of a link are one radio.
        """
        devices, links = self.column('deviation'), self._by_pair([link.deviation for link in self.links])
        return (devices, np.maximum(links, links.T)) if devices.any() or links.any() else None

    def scattering(self, devices: Mapping[str, float], links: Mapping[tuple[str, str], float]) -> Self:
        """Return the problem with this scatter of devices, by name, and of links, by sender and reader; others do not scatter."""
        return replace(
            self,
            devices=tuple(replace(device, deviation=devices.get(device.name, 0.0)) for device in self.devices),
            links=tuple(replace(link, deviation=links.get((link.sender, link.reader), 0.0)) for link in self.links),
        )

    def prolonged(self, reach: float) -> Self:
        """Return the problem with all that scatters at so many deviations above its median; joules stay."""
        devices, links = self.scatter or (np.zeros(len(self.devices)), np.zeros((len(self.devices),) * 2))
        factor = np.exp(reach * devices)[None, :]
        rate = self.rate * np.exp(-reach * links)
        place = self.position
        slower = tuple(
            replace(link, bytes_per_second=float(rate[place[link.sender], place[link.reader]])) for link in self.links
        )
        overheads = None if self.seam_seconds is None else self.seam_seconds * factor
        return replace(
            self, seconds=self.seconds * factor, seam_seconds=overheads, links=slower, node_joules=self.work_joules[0],
            devices=tuple(replace(device, deviation=0.0) for device in self.devices),
        ).scattering({}, {})  # fmt: skip

    @cached_property
    def latency(self) -> Floats:
        """Seconds that a transfer takes beside its bytes; 0 without a link."""
        return self._by_pair([link.latency_seconds for link in self.links])

    @cached_property
    def channel(self) -> Ints:
        """The index of the channel of each link, counted from 0; -1 without a link."""
        known: dict[object, int] = {}
        channel = np.full((len(self.devices),) * 2, -1, dtype=np.int64)
        keys: Iterable[object] = (i if link.channel is None else link.channel for i, link in enumerate(self.links))
        channel[self.link_ends] = [known.setdefault(key, len(known)) for key in keys]
        return channel

    @cached_property
    def shares_channels(self) -> bool:
        """Whether two links share a channel."""
        used = self.channel[self.channel >= 0]
        return len(np.unique(used)) < len(used)

    @cached_property
    def readings(self) -> tuple[Ints, Ints]:
        """Pairs (tensor, reading node) as two arrays."""
        tensors = [t for t, tensor in enumerate(self.tensors) for _ in tensor.readers]
        readers = [reader for tensor in self.tensors for reader in tensor.readers]
        return np.array(tensors, dtype=np.int64), np.array(readers, dtype=np.int64)

    @cached_property
    def producers(self) -> Ints:
        """The producer of each tensor."""
        return np.array([tensor.producer for tensor in self.tensors], dtype=np.int64)

    @cached_property
    def tensor_bytes(self) -> Floats:
        """The bytes of each tensor."""
        return np.array([tensor.bytes for tensor in self.tensors], dtype=np.float64)

    def wire_bytes(self, tensor: Ints, sender: Ints, reader: Ints) -> Floats:
        """Return the bytes that some transfers send, ``(transfers,)``."""
        return self.tensor_bytes[tensor] if self.coding is None else self.coding.wire_bytes[tensor, sender, reader]

    def coding_seconds(self, tensor: Ints, sender: Ints, reader: Ints) -> tuple[Floats, Floats]:
        """Return the encoding and decoding seconds of some transfers, ``(transfers,)`` each."""
        size = self.tensor_bytes[tensor]
        encode = self.column('encode_seconds')[sender] + self.column('encode_seconds_per_byte')[sender] * size
        decode = self.column('decode_seconds')[reader] + self.column('decode_seconds_per_byte')[reader] * size
        if self.coding is not None:
            encode = encode + self.coding.encode_seconds[tensor, sender, reader]
            decode = decode + self.coding.decode_seconds[tensor, sender, reader]
        return encode, decode

    @cached_property
    def at_sink(self) -> Bools:
        """Whether the sink needs each tensor."""
        return np.array([tensor.at_sink for tensor in self.tensors], dtype=np.bool_)

    @cached_property
    def node_inputs(self) -> tuple[tuple[int, ...], ...]:
        """The tensors that each node reads."""
        inputs: list[list[int]] = [[] for _ in self.node_names]
        for t, tensor in enumerate(self.tensors):
            for reader in tensor.readers:
                inputs[reader].append(t)
        return tuple(map(tuple, inputs))

    @cached_property
    def node_outputs(self) -> tuple[tuple[int, ...], ...]:
        """The tensors that each node writes."""
        outputs: list[list[int]] = [[] for _ in self.node_names]
        for t, tensor in enumerate(self.tensors):
            if tensor.producer != INPUT:
                outputs[tensor.producer].append(t)
        return tuple(map(tuple, outputs))

    @cached_property
    def is_chain(self) -> bool:
        """Whether every tensor goes from the source to one node, or to the next node and the sink only."""
        return all(
            (len(t.readers) <= 1 and not (t.readers and t.at_sink))
            if t.producer == INPUT
            else (not t.readers or t.readers == (t.producer + 1,))
            for t in self.tensors
        )

    @cached_property
    def evaluated(self) -> dict[bytes, Any]:
        """The costs of plans that have been asked for; see :func:`.evaluate.evaluate`."""
        return {}

    def like(self, other: Problem) -> Self:
        """Reuse what another problem has derived from fields that are equal here; return this problem.

        Successive decisions ask problems that differ in little.
        """
        same = {name for name in _COMPARED if (own := getattr(self, name)) is (theirs := getattr(other, name)) or own == theirs}
        for fields, names in _FROM.items():
            if same.issuperset(fields):
                self.__dict__.update({name: other.__dict__[name] for name in names if name in other.__dict__})
        return self

    def among(self, names: Collection[str]) -> Self:
        """Return the problem with only some of its devices; source and sink must be among them.

        The idle power of the others still counts: it is added to one of those that stay.
        """
        wanted = set(names)
        kept = [i for i, name in enumerate(self.names) if name in wanted]
        there = {self.names[i] for i in kept}
        devices = [self.devices[i] for i in kept]
        left = sum(device.energy_weight * device.idle_watts for device in self.devices if device.name not in there)
        payer = next((i for i, device in enumerate(devices) if device.energy_weight > 0), None)
        if left > 0 and payer is not None:
            more = devices[payer].idle_watts + left / devices[payer].energy_weight
            devices[payer] = replace(devices[payer], idle_watts=more)
        at = np.array(kept, dtype=np.int64)
        links = np.flatnonzero(np.isin(self.link_ends[0], at) & np.isin(self.link_ends[1], at)).tolist()
        return replace(
            self, devices=tuple(devices), links=tuple(self.links[k] for k in links),
            seconds=self.seconds[:, at], seam_seconds=None if self.seam_seconds is None else self.seam_seconds[:, at],
            node_joules=None if self.node_joules is None else self.node_joules[:, at],
            coding=None if self.coding is None else self.coding.among(at),
        )  # fmt: skip

    def state_seconds(self, before: Sequence[str], after: Sequence[str]) -> float:
        """Return what it takes to bring state, by way of the source, from where one plan has it to where another needs it.

        :return: seconds; infinite where a link is missing.
        """
        moved: dict[tuple[str, str], float] = {}
        for size, old, new in zip(self.state_bytes, before, after, strict=False):
            for pair in ((old, self.source), (self.source, new)) if size and old != new else ():
                if pair[0] != pair[1]:
                    moved[pair] = moved.get(pair, 0.0) + size
        seconds = 0.0
        for (sender, reader), size in moved.items():
            rate = self.rate[self.position[sender], self.position[reader]] if sender in self.position else 0.0
            seconds += size / rate if rate > 0 else np.inf
        return seconds

    def indices(self, assignment: Sequence[str] | Sequence[int] | Ints) -> Ints:
        """Return an assignment as device indices, shape ``(nodes,)``.

        :raises PlanError: if its length is not the number of nodes, or a device is unknown.
        """
        if len(assignment) != self.nodes:
            raise PlanError(f'an assignment must name one device for each of the {self.nodes} layers, not {len(assignment)}')
        try:
            return np.array([self.position[d] if isinstance(d, str) else d for d in assignment], dtype=np.int64)
        except KeyError as error:
            raise PlanError(f'unknown device {error}; the devices are {", ".join(self.names)}') from None

    def constrained(
        self, *, pin: Mapping[str, str] | None = None, exclude: Collection[str] = (), private_until: str | None = None
    ) -> Self:
        """Return the problem with constraints folded into ``seconds``.

        :param pin: the device of a node, by the node's name.
        :param exclude: devices that run nothing.
        :param private_until: a node's name. Nodes up to and including it run on the source, and the
            input and the tensors of earlier nodes do not leave it: nodes that read one
            of them run there too. The named node's own tensors may leave.
        :raises PlanError: for unknown names, or if the sink needs a private tensor.
        """
        seconds = self.seconds.copy()
        order = {name: index for index, name in reversed(list(enumerate(self.node_names)))}

        def node(name: str, what: str) -> int:
            if name not in order:
                raise PlanError(f'{what}: unknown layer {name!r}{nearest(name, order)}')
            return order[name]

        def device(name: str, what: str) -> int:
            if name not in self.position:
                raise PlanError(f'{what}: unknown device {name!r}{nearest(name, self.position)}')
            return self.position[name]

        for name in exclude:
            seconds[:, device(name, 'exclude')] = np.inf
        for layer, name in (pin or {}).items():
            others = np.arange(len(self.devices)) != device(name, 'pin')
            seconds[node(layer, 'pin'), others] = np.inf
        if private_until is not None:
            last = node(private_until, 'private_until')
            others = np.arange(len(self.devices)) != self.source_index
            private = set(range(last + 1))
            for tensor in self.tensors:
                if tensor.producer < last:
                    private.update(tensor.readers)
                    if tensor.at_sink and self.sink != self.source:
                        raise PlanError(
                            f'private_until: {tensor.name!r} may not leave the source, but the sink {self.sink!r} needs it; '
                            'name an earlier layer or make the source the sink'
                        )
            seconds[np.ix_(np.array(sorted(private), dtype=np.int64), np.flatnonzero(others))] = np.inf
        return replace(self, seconds=seconds).like(self)


_FROM: Final = {
    ('devices',): ('names', 'position', '_columns'),
    ('devices', 'links'): ('link_ends', 'rate', 'latency', 'channel', 'shares_channels', 'scatter'),
    ('tensors',): ('readings', 'producers', 'tensor_bytes', 'at_sink', 'is_chain'),
    ('tensors', 'node_names'): ('node_inputs', 'node_outputs'),
}
"""Which cached properties depend on which fields alone."""
_COMPARED: Final = ('devices', 'links', 'tensors', 'node_names')
