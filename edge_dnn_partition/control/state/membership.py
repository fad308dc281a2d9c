# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which devices a fleet has now: those of its file, and those that joined and have not left. Time is passed in."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Final

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import ANYBODY, Device, Fleet
from edge_dnn_partition.schema import check
from edge_dnn_partition.units import shortened

MOST_DEVICES: Final = 256
"""More do not join."""
FORGET_SECONDS: Final = 30.0
"""Who joined and has not been heard for so long is forgotten, and joins again with its next sign."""
_LATE_SECONDS: Final = 5.0
"""Signs of a device that has left are late ones for so long."""
_LONGEST_ENTRY: Final = 8192


class Membership:
    """A device joins by what its monitor says of it, or, as messages of several topics come in any order, by a profile or a sign
    of life of its worker. Not thread safe.

    :param fleet: as its file says.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._file = fleet
        self.fleet = fleet
        """With those that joined; another object whenever that changes."""
        self._incarnations: dict[str, int] = {}
        """Of the monitors, by device."""
        self._heard_at: dict[str, float] = {}
        """Of those that joined."""
        self._left_at: dict[str, float] = {}

    def joins(self, device: str, now: float, *, late: bool = False) -> bool:
        """Take in a device's message; return whether it joins by that.

        :param late: the message may be one that was on its way when the device left.
        """
        if device in self._heard_at:
            self._heard_at[device] = now
        if device in self.fleet.devices or device not in self._file:
            return False
        if late and now - self._left_at.get(device, -math.inf) < _LATE_SECONDS:
            return False
        self._add(device, self._file.device(device), now)
        return True

    def on_description(self, device: str, incarnation: int, entry: str, *, leaving: bool, now: float) -> bool:
        """Take in what a device's monitor says (DeviceDescription); return whether that changes the fleet, or the device leaves.

        :param entry: as under ``devices`` of a fleet file, as JSON.
        :raises PlanError: if the fleet does not welcome it, or the entry is no good.
        """
        if device not in self._file:
            raise PlanError(
                f'{device!r} wants to join, but the fleet file does not welcome it: write it, or {ANYBODY!r} for anybody, '
                'under devices'
            )
        if leaving:
            if self._incarnations.pop(device, incarnation) != incarnation:
                return False  # another process of that device has come since
            self._left_at[device] = now
            return device in self.fleet.devices
        known = _entry_of(device, entry)
        self._incarnations[device] = incarnation
        self._left_at.pop(device, None)
        if self._file.anybody is None:
            return False
        filled = self._file.device(device).filled(known)
        if self.fleet.devices.get(device) == filled:
            return False
        self._add(device, filled, now)
        return True

    def _add(self, device: str, entry: Device, now: float) -> None:
        if device not in self.fleet.devices and len(self.fleet.devices) >= MOST_DEVICES:
            raise PlanError(f'{device!r} does not join: the fleet has {MOST_DEVICES} devices already')
        if device not in self._file.devices:
            self._heard_at[device] = now
        self.fleet = self.fleet.with_device(device, entry)

    def tidy(self, needed: Collection[str], now: float) -> bool:
        """Let those go that joined, are not needed, and have left or fallen silent; return whether there are any.

        :param needed: devices of plans.
        """
        self._left_at = {name: at for name, at in self._left_at.items() if now - at < _LATE_SECONDS or name in self._heard_at}
        gone = [
            name for name, at in self._heard_at.items()
            if name not in needed and (name in self._left_at or now - at > FORGET_SECONDS)
        ]  # fmt: skip
        for name in gone:
            del self._heard_at[name]
            self._incarnations.pop(name, None)
            self.fleet = self.fleet.with_device(name, None)
        return bool(gone)


def _entry_of(device: str, text: str) -> Device:
    if len(text) > _LONGEST_ENTRY:
        raise PlanError(f'{device} describes itself in {len(text)} letters; use at most {_LONGEST_ENTRY}')
    try:
        entry = json.loads(text or '{}')
    except (ValueError, RecursionError) as error:
        raise PlanError(f'{device} describes itself in no JSON: {shortened(str(error))}') from None
    if not isinstance(entry, dict):
        raise PlanError(f'{device} describes itself by {shortened(text)}, which is no table')
    return check(Device, entry, what=f'{device} describes itself')
