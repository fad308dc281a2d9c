# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Latency, energy and their mixtures: costs that add up over nodes and transfers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .problem import Bools, Floats, Ints, Problem
from .transfer_tables import ByTransfer

Place = Ints | int
"""Which tensor or device: one, or several in an array."""


@dataclass(frozen=True, eq=False)
class LinearCost:
    """A cost that is a sum over nodes and transfers.

    :param node: ``(nodes, devices)``; infinite where a node cannot run.
    :param hop: ``(devices, devices)``: each transfer; infinite without a link, 0 on the diagonal.
    :param hop_per_byte: ``(devices, devices)``: each byte of a transfer; 0 without a link.
    :param boundary overhead: ``(nodes - 1, devices)``: what is saved by two neighbours on one device.
    :param coding: what a tensor's encoding adds to its transfer; below 0 where it saves.
    """

    node: Floats
    hop: Floats
    hop_per_byte: Floats
    overhead: Floats | None
    coding: ByTransfer | None = None

    def transfer(self, problem: Problem, tensor: int) -> Floats:
        """Return the cost of sending a tensor, ``(devices, devices)``."""
        total = self.hop + problem.tensors[tensor].bytes * self.hop_per_byte
        return total if self.coding is None else total + self.coding.whole(tensor)

    def of_transfers(self, problem: Problem, tensor: Place, sender: Place, reader: Place) -> Floats:
        """Return the cost of some transfers beside ``hop``, in the shape that the three broadcast to."""
        total = np.asarray(self.hop_per_byte[sender, reader] * problem.tensor_bytes[tensor], dtype=np.float64)
        return total if self.coding is None else total + self.coding[tensor, sender, reader]

    def prices(self, problem: Problem, tensor: Place, sender: Place, reader: Place) -> Floats:
        """Return the cost of some transfers, in the shape that the three broadcast to; infinite without a link."""
        return np.asarray(self.hop[sender, reader] + self.of_transfers(problem, tensor, sender, reader), dtype=np.float64)

    def plus(self, other: LinearCost, weight: float, own_weight: float = 1.0) -> LinearCost:
        """Return ``own_weight`` times this plus ``weight`` times the other."""

        def mix(a: Floats, b: Floats) -> Floats:
            infinite = np.isinf(a) | np.isinf(b)
            mixed = own_weight * np.where(infinite, 0.0, a) + weight * np.where(infinite, 0.0, b)
            return np.where(infinite, np.inf, mixed)

        overhead = None
        if self.overhead is not None and other.overhead is not None:
            overhead = own_weight * self.overhead + weight * other.overhead
        coding = None
        if self.coding is not None and other.coding is not None:
            coding = self.coding.holding(own_weight * self.coding.values + weight * other.coding.values)
        return LinearCost(
            mix(self.node, other.node), mix(self.hop, other.hop), mix(self.hop_per_byte, other.hop_per_byte), overhead, coding
        )

    def among(self, devices: Ints) -> LinearCost:
        """Return the cost restricted to some devices, given by index."""
        pairs = np.ix_(devices, devices)
        return LinearCost(
            self.node[:, devices], self.hop[pairs], self.hop_per_byte[pairs],
            None if self.overhead is None else self.overhead[:, devices],
                None if self.coding is None else self.coding.among(devices),
        )  # fmt: skip

    def value(self, problem: Problem, assignment: np.ndarray) -> float:
        """Return the cost of an assignment (device indices); infinite where it cannot run."""
        total = float(self.node[np.arange(problem.nodes), assignment].sum())
        tensor, sender, reader = transfers(problem, assignment)
        total += float(self.prices(problem, tensor, sender, reader).sum())
        if not np.isfinite(total):
            return float('inf')
        if self.overhead is not None:
            stays = np.flatnonzero(assignment[1:] == assignment[:-1])
            total -= float(self.overhead[stays, assignment[stays]].sum())
        return total


def transfers(problem: Problem, assignment: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the transfers of an assignment: tensors, senders and readers, three arrays of one length."""
    count = len(problem.tensors)
    producers = problem.producers
    homes = np.where(producers < 0, problem.source_index, assignment[producers])
    needed = np.zeros((count, len(problem.devices)), dtype=np.bool_)
    tensor, reader = problem.readings
    needed[tensor, assignment[reader]] = True
    needed[problem.at_sink, problem.sink_index] = True
    needed[np.arange(count), homes] = False
    sent, target = np.nonzero(needed)
    return sent, homes[sent], target


def _hops(problem: Problem) -> tuple[Bools, Floats]:
    """Return where a link is, and seconds per byte on it (0 without one)."""
    linked = problem.rate > 0
    per_byte = np.divide(1.0, problem.rate, out=np.zeros_like(problem.rate), where=linked)
    return linked, np.asarray(per_byte, dtype=np.float64)


def _finish(hop: Floats, per_byte: Floats, linked: np.ndarray) -> tuple[Floats, Floats]:
    hop = np.where(linked, hop, np.inf)
    per_byte = np.where(linked, per_byte, 0.0)
    np.fill_diagonal(hop, 0.0)
    np.fill_diagonal(per_byte, 0.0)
    return hop, per_byte


def coding_cost(problem: Problem, per_byte: Floats, per_second: Floats) -> ByTransfer | None:
    """Return the cost that encodings add to each tensor's transfers.

    :param per_byte: ``(devices, devices)``: cost of a byte on a link.
    :param per_second: ``(devices,)``: cost of a second of encoding or decoding.
    """
    coding = problem.coding
    if coding is None:
        return None
    sender, reader = coding.wire_bytes.ends
    saved = (problem.tensor_bytes[:, None] - coding.wire_bytes.values[:, :-1]) * per_byte[sender, reader]
    spent = coding.encode_seconds.values[:, :-1] * per_second[sender]
    spent += coding.decode_seconds.values[:, :-1] * per_second[reader]
    total = np.zeros(coding.wire_bytes.values.shape)
    total[:, :-1] = np.where((problem.rate[sender, reader] > 0) & (sender != reader), spent - saved, 0.0)
    return coding.wire_bytes.holding(total)


def coding_seconds_prices(problem: Problem) -> tuple[Floats, Floats]:
    """Return the seconds that a byte on each link ``(devices, devices)`` and a second of coding on each device take."""
    return _hops(problem)[1], np.ones(len(problem.devices))


def coding_joules_prices(problem: Problem) -> tuple[Floats, Floats]:
    """Return the same in weighted joules."""
    _, per_byte = _hops(problem)
    weight = problem.column('energy_weight')
    radio = weight * problem.column('radio_watts')
    idle = float((weight * problem.column('idle_watts')).sum())
    return (radio[:, None] + radio[None, :] + idle) * per_byte, weight * problem.column('active_watts') + idle


def latency_cost(problem: Problem) -> LinearCost:
    """Return the latency in seconds as a linear cost."""
    linked, per_byte = _hops(problem)
    column = problem.column
    hop = problem.latency + column('encode_seconds')[:, None] + column('decode_seconds')[None, :]
    coding = coding_cost(problem, *coding_seconds_prices(problem))
    per_byte = per_byte + column('encode_seconds_per_byte')[:, None] + column('decode_seconds_per_byte')[None, :]
    return LinearCost(problem.seconds, *_finish(hop, per_byte, linked), problem.seam_seconds, coding)


def energy_cost(problem: Problem, latency: LinearCost | None = None) -> LinearCost:
    """Return the weighted energy in joules as a linear cost.

    Idle power runs for the whole latency on every device of the fleet: it is a
    multiple of the latency, which is linear itself.

    :param latency: the result of `latency_cost`, if at hand.
    """
    linked, per_byte = _hops(problem)
    column = problem.column
    weight = column('energy_weight')
    active, radio = weight * column('active_watts'), weight * column('radio_watts')
    idle = float((weight * column('idle_watts')).sum())
    joules, saved = problem.work_joules
    able = np.isfinite(problem.seconds)
    node = np.full(joules.shape, np.inf)
    node[able] = (np.where(able, joules, 0.0) * weight[None, :] + idle * np.where(able, problem.seconds, 0.0))[able]
    hop = active[:, None] * column('encode_seconds')[:, None] + active[None, :] * column('decode_seconds')[None, :]
    byte = (radio[:, None] + radio[None, :]) * per_byte
    coding = coding_cost(problem, *coding_joules_prices(problem))
    byte = byte + active[:, None] * column('encode_seconds_per_byte')[:, None]
    byte = byte + active[None, :] * column('decode_seconds_per_byte')[None, :]
    latency = latency or latency_cost(problem)
    hop = hop + idle * np.where(linked, latency.hop, 0.0)
    byte = byte + idle * latency.hop_per_byte
    overhead = None
    if problem.seam_seconds is not None and saved is not None:
        overhead = saved * weight[None, :] + idle * problem.seam_seconds
    return LinearCost(node, *_finish(hop, byte, linked), overhead, coding)


def stage_count(assignment: np.ndarray) -> int:
    """Return the number of stages: maximal runs of consecutive nodes on one device."""
    return 1 + int((assignment[1:] != assignment[:-1]).sum())


def device_once(assignment: np.ndarray) -> bool:
    """Return whether no device has two stages."""
    changes = np.flatnonzero(np.diff(assignment)) + 1
    heads = assignment[np.concatenate(([0], changes))]
    return len(np.unique(heads)) == len(heads)
