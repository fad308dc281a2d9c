# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages of several topics belong together."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge_dnn_partition.errors import UserError, nearest
from edge_dnn_partition.planning.fleet.fleet import Fleet

_GAPS: Final = 9
"""So many gaps between messages tell a topic's period."""
Group = Mapping[str, Any]
"""One value of each input."""


class Synchroniser:
    """Groups each message of a reference with the nearest ones of other inputs, as far as their stamps differ by ``slop`` at most.

    The purpose is that of message_filters' ApproximateTime. What differs: one input sets the pace, so that fast ones (joints at
    500 Hz) need no long queue and slow ones may be used twice; a group is complete as soon as no nearer message can come,
    judged by each input's usual period, so that images of equal rate are never paired one off; and whatever is left out
    is counted, with the reason.

    :param names: of the inputs, the reference first.
    :param slop_seconds: by how much stamps may differ from the reference's.
    :param wait_seconds: how long one of the reference waits for others, on the steady clock.
    :param latest: further inputs, of which a group takes the newest value whatever its stamp is.
    """

    def __init__(self, names: Sequence[str], *, slop_seconds: float, wait_seconds: float, latest: Collection[str] = ()) -> None:
        self.reference, self._others = names[0], tuple(names[1:])
        self._slop, self._wait, self._latest = slop_seconds, wait_seconds, tuple(latest)
        self.dropped = 0
        """Messages of the reference that made no group."""
        self.reason = ''
        """Why the last one made none."""
        self._clear()

    def add(self, name: str, stamp: float, value: Any, now: float) -> list[Group]:
        """Take a message in; return the groups that are complete now, in the order of the reference's stamps.

        A stamp that goes back by more than messages wait (a bag that starts anew) makes it forget all before.

        :param stamp: in seconds.
        :param now: on the steady clock.
        """
        if name in self._latest:
            self._newest[name] = value
            return self.tick(now)
        if stamp < self._last.get(name, stamp) - self._wait - self._slop:
            self._clear()
        self._last[name] = max(stamp, self._last.get(name, stamp))
        if name == self.reference:
            insort(self._waiting, _Waiting(stamp, value, now), key=lambda one: one.stamp)
        else:
            self._queues[name].add(stamp, value, keep_seconds=self._wait + 2 * self._slop)
        return self.tick(now)

    def tick(self, now: float) -> list[Group]:
        """Return the groups that are complete now, among them those that have waited long enough."""
        groups: list[Group] = []
        while self._waiting:
            first = self._waiting[0]
            late = now - first.arrived >= self._wait
            found = {name: self._queues[name].nearest(first.stamp) for name in self._others}
            absent = [name for name in self._latest if name not in self._newest]
            if not late and (absent or not all(one.final for one in found.values())):
                break
            self._waiting.pop(0)
            far = {name: one for name, one in found.items() if not one.distance <= self._slop}
            if not absent and not far:
                groups.append({
                    self.reference: first.value, **{name: one.value for name, one in found.items()},
                    **{name: self._newest[name] for name in self._latest},
                })  # fmt: skip
                for name, one in found.items():  # later ones of the reference have none that is nearer before these
                    self._queues[name].forget_before(one.stamp)
                continue
            self.dropped += 1
            self.reason = self._why(absent, far)
        return groups

    def _why(self, absent: Sequence[str], far: Mapping[str, _Nearest]) -> str:
        silent = [*absent, *(name for name in far if name not in self._last)]
        if silent:
            return f'nothing has come of {" and ".join(silent)}; check topic and publisher'
        name, one = next(iter(far.items()))
        if one.value is None:
            return f'nothing comes of {name} any more; check its publisher'
        return (
            f'the nearest message of {name} is {one.distance:.3g} s from that of {self.reference}, more than slop, '
            f"{self._slop:g} s; raise synchronise.slop, or check the publishers' clocks and stamps"
        )

    def _clear(self) -> None:
        self._waiting: list[_Waiting] = []
        self._queues = {name: _Queue() for name in self._others}
        self._newest: dict[str, Any] = {}
        self._last: dict[str, float] = {}


def synchroniser_of(fleet: Fleet, names: Collection[str], latest: Collection[str]) -> Synchroniser:
    """Return what groups the inputs of a fleet's frames.

    :param names: of the inputs that have a source.
    :param latest: those of which the newest message counts.
    :raises UserError: if the reference is none of them.
    """
    unnamed = [name for name in names if name not in fleet.inputs]  # that of the camera
    matched = [name for name in (*unnamed, *fleet.inputs) if name in names and name not in latest]
    if not matched:
        raise UserError('inputs: with latest: true in all of them nothing begins a frame; leave it out in one')
    reference = fleet.synchronise.reference or matched[0]
    if reference not in matched:
        raise UserError(f'synchronise.reference: {reference!r} is no input that begins frames{nearest(reference, matched)}')
    matched.sort(key=lambda name: name != reference)
    return Synchroniser(matched, slop_seconds=fleet.synchronise.slop, wait_seconds=fleet.synchronise.wait, latest=latest)


@dataclass(frozen=True)
class _Waiting:
    """A message of the reference; ``arrived`` on the steady clock."""

    stamp: float
    value: Any
    arrived: float


@dataclass(frozen=True)
class _Nearest:
    """The message that is nearest to a stamp, and whether none can come that is nearer."""

    stamp: float
    value: Any
    distance: float
    final: bool


@dataclass(eq=False)
class _Queue:
    """The last messages of an input, by stamp."""

    stamps: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))

    def add(self, stamp: float, value: Any, keep_seconds: float) -> None:
        if self.stamps and stamp > self.stamps[-1]:
            self.gaps.append(stamp - self.stamps[-1])
        at = bisect_right(self.stamps, stamp)
        self.stamps.insert(at, stamp)
        self.values.insert(at, value)
        self.forget_before(self.stamps[-1] - keep_seconds)

    def forget_before(self, stamp: float) -> None:
        old = bisect_left(self.stamps, stamp)
        del self.stamps[:old], self.values[:old]

    def nearest(self, stamp: float) -> _Nearest:
        after = bisect_right(self.stamps, stamp)  # of equal stamps the one that came last
        places = [at for at in (after - 1, after) if 0 <= at < len(self.stamps)]
        if not places:
            return _Nearest(stamp, None, float('inf'), final=False)
        at = min(places, key=lambda place: abs(self.stamps[place] - stamp))
        distance = abs(self.stamps[at] - stamp)
        # The next one may be nearer if it is due within that distance behind the stamp.
        half = statistics.median(self.gaps) / 2 if self.gaps else 0.0
        final = distance == 0 or after < len(self.stamps) or distance < half
        return _Nearest(self.stamps[at], self.values[at], distance, final)
