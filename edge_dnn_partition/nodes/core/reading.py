# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From received bytes to a message that is safe to use: not too long, complete, with figures within range.

What a figure may be follows from the unit in its name. NaN stands for what is unknown, and passes where a message says so.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Any, Final

from rclpy.serialization import deserialize_message

from edge_dnn_partition.errors import WireError

MOST_BYTES: Final = 1 << 20
"""Of a message that carries no tensors: the plan and the profile of a model of thousands of layers have a tenth of that."""
MOST_RESULT_BYTES: Final = 1 << 30
_LARGEST: Final = 1e18
_SIGNED: Final = re.compile(r'(joules|celsius|dbm|battery_discharge_watts|seam_seconds|value|deviation)$')
"""What may be less than 0."""
_KNOWN: Final = {
    'HopAck': {'spread_seconds', 'held_seconds'},
    'FrameReport': {'latency_seconds'},
    'StageTiming': {'queue_seconds', 'decode_seconds', 'run_seconds', 'cpu_seconds'},
    'HopTiming': {'encode_seconds', 'spread_seconds'},
    'Heartbeat': {'age_seconds', 'stage_factor'},
    'Emulation': {'slowdowns', 'link_bytes_per_second', 'link_latency_seconds'},
    'Share': {'cores', 'memory_bytes'},
}
"""What is never unknown, by message."""
_ALIKE: Final = {
    'Heartbeat': ('peers', 'bytes_per_second', 'latency_seconds', 'age_seconds'),
    'Emulation': ('link_senders', 'link_receivers', 'link_bytes_per_second', 'link_latency_seconds', 'link_channels'),
    'Share': ('hosts', 'cores', 'memory_bytes'),
}
"""Lists that have one entry for each thing, by message."""
_RANGES: Final = {('Emulation', 'slowdowns'): (1e-3, 1e4), ('Emulation', 'link_bytes_per_second'): (1.0, 1e12),
                  ('Emulation', 'link_latency_seconds'): (0.0, 60.0), ('Heartbeat', 'speed_factor'): (0.0, 1e6)}  # fmt: skip
_LITTLE_ENDIAN: Final = b'\0\1\0\0'
_STAMP: Final = slice(4, 12)
"""Of a heartbeat in CDR; the ages of links are its last field but the seal."""
_TIME: Final = struct.Struct('<iI')
_HEARTBEATS: Final = 512
"""So many are known at most."""
_SHOWN: Final = ('Result', 'FleetState', 'Decision', 'Calibration', 'Classification', 'Detections', 'Embedding', 'Plan')
"""People read these, and `plan_for` checks a plan."""

Check = Callable[[Any], Iterator[str]]
"""Yields the names of figures that cannot be."""


def read(raw: bytes, message_type: Any) -> Any:
    """Return the message in some bytes.

    :raises WireError: if they are too many or no such message, or a figure cannot be.
    """
    name = message_type.__name__
    most = MOST_RESULT_BYTES if name == 'Result' else MOST_BYTES
    if len(raw) > most:
        raise WireError(f'a {name} of {len(raw)} bytes exceeds the limit of {most}')
    try:
        message = deserialize_message(raw, message_type)
    except Exception as error:  # noqa: BLE001  the middleware has kinds of errors of its own
        raise WireError(f'not a valid {name}: {error}; install the same build on all devices') from None
    check_figures(message)
    return message


def reader(message_type: Any) -> Callable[[bytes], Any]:
    """Return `read` for one subscription; heartbeats that say what was said before are not read again."""
    return HeartbeatReader() if message_type.__name__ == 'Heartbeat' else functools.partial(read, message_type=message_type)


class HeartbeatReader:
    """Reads heartbeats, most of which differ from the last one of their node in the stamp and the ages of links alone.

    Reading one takes 70 us, finding it among those that are known 5 us. What it returns is changed when the node says the same
    again.
    """

    def __init__(self) -> None:
        self._ends: dict[int, set[int]] = {}
        """Where the ages begin in heartbeats of a length."""
        self._known: dict[bytes, Any] = {}
        """By what comes between the stamp and the ages."""

    def __call__(self, raw: bytes) -> Any:
        """Return the message in some bytes, see `read`.

        :raises WireError: as `read`.
        """
        for end in self._ends.get(len(raw), ()):
            message = self._known.get(raw[_STAMP.stop : end])
            if message is None:
                continue
            ages = array('d', raw[end : end + 8 * len(message.peers)])
            if all(0 <= age <= _LARGEST for age in ages):
                message.stamp.sec, message.stamp.nanosec = _TIME.unpack(raw[_STAMP])
                message.age_seconds = ages
                return message
        from edge_dnn_partition.msg import Heartbeat

        message = read(raw, Heartbeat)
        end = len(raw) - 8 * len(message.age_seconds) - 4 - len(message.seal)
        if raw[:4] == _LITTLE_ENDIAN and raw[end : len(raw) - 4 - len(message.seal)] == message.age_seconds.tobytes():
            if len(self._known) >= _HEARTBEATS:
                self._known.clear()
                self._ends.clear()
            self._ends.setdefault(len(raw), set()).add(end)
            self._known[raw[_STAMP.stop : end]] = message
        return message


def check_figures(message: Any) -> None:
    """Raise if a figure is infinite, far too large, negative where that cannot be, or unknown where it is known always.

    :raises WireError: with the first one found.
    """
    kind: Any = type(message)
    if kind.__name__ in _SHOWN:
        return
    wrong = next(_checker(kind)(message), None)
    if wrong is not None:
        raise WireError(f'a {kind.__name__}{_of(message)} with impossible figures: {wrong}')


def _of(message: Any) -> str:
    device = getattr(message, 'device', '') or getattr(message, 'sender', '')
    return f' of {device[:80]!r}' if device else ''


@functools.cache
def _checker(kind: Any) -> Check:
    name = kind.__name__
    parts: list[Callable[[Any], Iterator[str]]] = []
    for field, described in kind.get_fields_and_field_types().items():
        inner = re.sub(r'^sequence<(.*?)(, \d+)?>$', r'\1', described)
        many = inner != described
        if inner in ('double', 'float'):
            parts.append(_numbers(name, field, many=many))
        elif inner.startswith('edge_dnn_partition/'):
            parts.append(_nested(inner.partition('/')[2], field, many=many))
    if alike := _ALIKE.get(name):
        parts.append(functools.partial(_alike, alike))

    def check(message: Any) -> Iterator[str]:
        for part in parts:
            yield from part(message)

    return check


def _alike(fields: tuple[str, ...], message: Any) -> Iterator[str]:
    if len({len(getattr(message, field)) for field in fields}) > 1:
        yield f'{", ".join(fields)} have different lengths'


def _numbers(name: str, field: str, *, many: bool) -> Check:
    least, most = _RANGES.get((name, field), (-_LARGEST if _SIGNED.search(field) else 0.0, _LARGEST))
    known = field in _KNOWN.get(name, ())

    def check(message: Any) -> Iterator[str]:
        value = getattr(message, field)
        for number in value if many else (value,):
            if not (least <= number <= most or (not known and math.isnan(number))):
                yield field
                return

    return check


def _nested(name: str, field: str, *, many: bool) -> Check:
    from edge_dnn_partition import msg

    inner = _checker(getattr(msg, name))

    def check(message: Any) -> Iterator[str]:
        value = getattr(message, field)
        for one in value if many else (value,):
            yield from (f'{field}.{wrong}' for wrong in inner(one))

    return check
