# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses how each tensor is encoded on each link, from what the devices measured, under the links' present rates.

A transfer's encoding changes nothing but the cost of that transfer. So for a cost that adds up the best one of each
transfer is part of every best plan that has this transfer, and taking it beforehand leaves the planners exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from edge_dnn_partition.planning.cost_model.linear import coding_joules_prices, coding_seconds_prices
from edge_dnn_partition.planning.cost_model.problem import Floats, Ints, Problem
from edge_dnn_partition.planning.cost_model.transfer_tables import ByTransfer, Coding, columns_of
from edge_dnn_partition.planning.objectives import Criterion

from .encodings import ENCODINGS, RAW, Permitted, is_lossy
from .plan import IMAGE, SOURCE_STAGE, Plan, is_image
from .profile import Profile

_MOST_AT_ONCE: Final = 1 << 18
"""Numbers compared in one step; a large fleet has many more."""


@dataclass(frozen=True)
class Pixels:
    """Images that arrive as pixels, so that they may be encoded.

    :param shares: encoded bytes over raw ones, by encoding, where frames have been observed; else as profiled.
    """

    shares: Mapping[str, float] = field(default_factory=dict)


class CodingChooser:
    """Sizes and seconds of encoded tensors on profiled devices; chooses an encoding for each transfer.

    Images are profiled on samples, so their bytes and seconds count per raw byte. To and from a device without a profile
    tensors go raw.

    :param sizes: bytes by tensor, raw.
    :param profiles: by device.
    :param pixels: the names of further cameras' images that arrive as pixels; of the first camera's `choose` is told.
    """

    def __init__(self, sizes: Mapping[str, float], profiles: Mapping[str, Profile], pixels: Collection[str] = ()) -> None:
        self.profiles, self._pixels = profiles, frozenset(pixels)
        images = {coding.tensor for profile in profiles.values() for coding in profile.codings if is_image(coding.tensor)}
        sizes = {**sizes, **dict.fromkeys(sorted(images), 1.0)}
        self._names = [name for name in sizes if any(c.tensor == name for p in profiles.values() for c in p.codings)]
        self._row = {name: i for i, name in enumerate(self._names)}
        self._raw = np.array([sizes[name] for name in self._names], dtype=np.float64)
        self._tables = {name: self._table(profile) for name, profile in profiles.items()}
        self._raw_only = self._table(None)
        self._allowed: dict[tuple[Permitted, str], np.ndarray] = {}

    def _table(self, profile: Profile | None) -> Floats:
        """Return sizes, encoding and decoding seconds, ``(3, tensors, encodings)``; infinite where not measured."""
        table = np.full((3, len(self._names), len(ENCODINGS)), np.inf)
        table[:, :, 0] = 0.0
        table[0, :, 0] = self._raw
        for coding in () if profile is None else profile.codings:
            if profile is not None and coding.tensor in self._row:
                place = self._row[coding.tensor], ENCODINGS.index(coding.encoding)
                numbers = np.array([coding.size, coding.encode_seconds, coding.decode_seconds])
                table[:, place[0], place[1]] = numbers / profile.image_bytes if is_image(coding.tensor) else numbers
        return table

    def _permitted(self, permitted: Permitted, device: str) -> np.ndarray:
        """Return which encodings of which tensors a device may send, ``(tensors, encodings)``."""
        if (permitted, device) not in self._allowed:
            allowed = np.zeros((len(self._names), len(ENCODINGS)), dtype=np.bool_)
            allowed[:, 0] = True
            for coding in self.profiles[device].codings if device in self.profiles else ():
                if coding.tensor in self._row:
                    allowed[self._row[coding.tensor], ENCODINGS.index(coding.encoding)] = permitted.allows(coding)
            self._allowed[permitted, device] = allowed
        return self._allowed[permitted, device]

    def choose(
        self, problem: Problem, bundles: Sequence[Sequence[str]], permitted: Permitted, criterion: Criterion,
        factors: Mapping[str, float], given: Mapping[tuple[str, str, str], str] | None = None,
        pixels: Pixels | None = None,
    ) -> Problem:  # fmt: skip
        """Return the problem with the best permitted encoding of each transfer.

        :param problem: without encodings.
        :param bundles: the names of the model's tensors in each of the problem's tensors.
        :param criterion: weights of seconds or of joules; see `Objective.encode_for`.
        :param factors: each device's time now over its profiled time.
        :param given: use these, as in ``Coding.encodings``, instead of the best ones; one that was not measured counts as raw.
        :param pixels: for the first camera's images, if they arrive as pixels; None: they are compressed and go as they are.
        """
        if not self._names:
            return problem
        tables = np.stack([self._tables.get(name, self._raw_only) for name in problem.names], axis=-1)
        speed = np.array([factors.get(name, 1.0) for name in problem.names])
        allowed = np.stack([self._permitted(permitted, name) for name in problem.names], axis=-1)
        whole = self._raw
        for name in filter(is_image, self._names):
            image = self._row[name]
            whole = whole.copy()
            whole[image] = sum(problem.tensor_bytes[t] for t, names in enumerate(bundles) if name in names)
            tables[:, image] *= np.maximum(whole[image], 1.0)
            for encoding, share in pixels.shares.items() if pixels is not None and name == IMAGE else ():
                tables[0, image, ENCODINGS.index(encoding)] = share * whole[image]
            if (pixels is None) if name == IMAGE else (name not in self._pixels):
                allowed[image, 1:] = False
                tables[:, image, 1:] = tables[:, image, :1]  # what a plan asks for is not done
        size, encode, decode = tables[0], tables[1] * speed, tables[2] * speed
        per_byte, per_second = coding_joules_prices(problem) if criterion.joules > 0 else coding_seconds_prices(problem)
        sending = np.where(allowed, np.where(allowed, encode, 0.0) * per_second, np.inf)
        reading = np.where(np.isfinite(decode), decode, 0.0) * per_second
        reading[~np.isfinite(decode)] = np.inf  # not measured, also where it would be free
        sends, reads = np.nonzero(problem.rate > 0)  # a large fleet has few of all pairs
        byte_price = per_byte[sends, reads]
        column = columns_of(sends, reads, len(problem.names))
        best = np.zeros((len(self._names), len(sends) + 1), dtype=np.int8)
        arrays = [np.zeros((len(bundles), len(sends) + 1)) for _ in range(3)]
        arrays[0] += problem.tensor_bytes[:, None]
        bundle_of = {name: t for t, names in enumerate(bundles) for name in names if name in self._row}
        at_once = max(1, _MOST_AT_ONCE // (len(ENCODINGS) * max(1, len(sends))))
        for start in range(0, len(self._names), at_once):
            rows = np.arange(start, min(start + at_once, len(self._names)))
            to_size, to_encode, to_decode = size[rows][:, :, sends], encode[rows][:, :, sends], decode[rows][:, :, reads]
            if given is None:
                total = sending[rows][:, :, sends] + to_size * byte_price + reading[rows][:, :, reads]
                total[np.isnan(total)] = np.inf  # not measured, and free where it were
                chosen = total.argmin(axis=1)  # of equal ones the first, which changes less
            else:
                chosen = self._given(given, problem, column, len(sends))[rows]
            place = np.arange(len(rows))[:, None], chosen, np.arange(len(sends))
            parts = [part[place] for part in (to_size, to_encode, to_decode)]
            if given is not None:
                known = np.isfinite(parts[0] + parts[1] + parts[2])
                chosen = np.where(known, chosen, 0)
                raw = (to_size[:, 0], to_encode[:, 0], to_decode[:, 0])
                parts = [np.where(known, part, instead) for part, instead in zip(parts, raw, strict=True)]
            best[rows, :-1] = chosen
            used = [i for i, row in enumerate(rows) if self._names[row] in bundle_of]
            targets = np.array([bundle_of[self._names[rows[i]]] for i in used], dtype=np.int64)[:, None], np.arange(len(sends))
            parts[0] = parts[0] - whole[rows][:, None]
            for array, part in zip(arrays, parts, strict=True):
                np.add.at(array, targets, part[used])
        wire, encode_seconds, decode_seconds = (ByTransfer(column, array) for array in arrays)
        coding = Coding(
            wire_bytes=wire, encode_seconds=encode_seconds, decode_seconds=decode_seconds,
            encodings=_Chosen(ByTransfer(column, best), self._row, problem.position),
        )  # fmt: skip
        return replace(problem, coding=coding).like(problem)

    def _given(self, given: Mapping[tuple[str, str, str], str], problem: Problem, column: Ints, pairs: int) -> Ints:
        """Return the encoding of each tensor for each pair of a sender and a reader, by its place in `ENCODINGS`."""
        chosen = np.zeros((len(self._names), pairs + 1), dtype=np.int64)
        for (name, sender, reader), encoding in given.items():
            if name in self._row and sender in problem.position and reader in problem.position:
                pair = column[problem.position[sender], problem.position[reader]]
                chosen[self._row[name], pair] = ENCODINGS.index(encoding)
        return chosen[:, :-1]


class _Chosen(Mapping[tuple[str, str, str], str]):
    """The encodings by tensor, sender and reader where they are not raw, looked up on demand: a large fleet has millions.

    :param best: places in `ENCODINGS`.
    """

    def __init__(self, best: ByTransfer, row: Mapping[str, int], position: Mapping[str, int]) -> None:
        self._best = best
        self._row = row
        self._position = position

    def __getitem__(self, key: tuple[str, str, str]) -> str:
        tensor, sender, reader = key
        number = int(self._best[self._row[tensor], self._position[sender], self._position[reader]])
        if not number:
            raise KeyError(key)
        return ENCODINGS[number]

    def __len__(self) -> int:
        return int(np.count_nonzero(self._best.values))

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        tensors, devices = list(self._row), list(self._position)
        senders, readers = self._best.ends
        for n, at in np.argwhere(self._best.values[:, :-1]).tolist():
            yield tensors[n], devices[senders[at]], devices[readers[at]]


def with_encodings(plan: Plan, encodings: Mapping[tuple[str, str, str], str]) -> Plan:
    """Return the plan with the encodings of its transfers; those within a device stay raw."""

    def encoding(tensor: str, sender: str, reader: str) -> str:
        return RAW if sender == reader else encodings.get((tensor, sender, reader), RAW)

    return replace(
        plan,
        transfers=tuple(replace(t, encoding=encoding(t.tensor, t.from_device, t.to_device)) for t in plan.transfers),
    )


def image_encoding(plan: Plan) -> str:
    """Return how a plan sends images to another device; raw where it does not."""
    return next((t.encoding for t in plan.transfers if (t.tensor, t.from_stage) == (IMAGE, SOURCE_STAGE)), RAW)


def within_error(plan: Plan, profiles: Mapping[str, Profile], permitted: Permitted) -> Plan:
    """Return the plan with lossy encodings replaced by lossless ones until the sum of the errors is permitted.

    Errors of several tensors may add up. The largest error is replaced first, by the smallest permitted lossless encoding.
    """
    errors: dict[tuple[str, str], float] = {}
    for t in plan.transfers:
        if is_lossy(t.encoding):
            errors[t.tensor, t.encoding] = max(
                (c.error for p in profiles.values() for c in p.codings if (c.tensor, c.encoding) == (t.tensor, t.encoding)),
                default=np.inf,
            )
    dropped: set[tuple[str, str]] = set()
    for key in sorted(errors, key=lambda k: (-errors[k], k)):
        if sum(error for k, error in errors.items() if k not in dropped) <= permitted.largest_error * (1 + 1e-9):
            break
        dropped.add(key)

    def lossless(tensor: str, sender: str, reader: str) -> str:
        there = {c.encoding for c in profiles[reader].codings if c.tensor == tensor}
        known = [
            (c.size, c.encoding) for c in profiles[sender].codings
            if c.tensor == tensor and not is_lossy(c.encoding) and permitted.allows(c) and c.encoding in there
        ]  # fmt: skip
        return min(known, default=(0, RAW))[1]

    return replace(
        plan,
        transfers=tuple(
            replace(t, encoding=lossless(t.tensor, t.from_device, t.to_device))
            if (t.tensor, t.encoding) in dropped
            else t
            for t in plan.transfers
        ),
    )
