# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Devices and links of a fleet file's ``emulate`` keys, played by this machine: injected into a node as its hardware."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from edge_dnn_partition.control.state.sharing import niceness
from edge_dnn_partition.execution.stages.hardware import Hardware, Reshape
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.fleet.fleet import Device, Emulate, Fleet
from edge_dnn_partition.planning.plans.profile import Profile

from .dilation import Dilation, SharedDevice, device_file
from .link import Channel, EmulatedLink


def played_profile(device: Device, measured: Profile, model: Model) -> Profile:
    """Return the profile of a device as it is played; the same for one that is not.

    With a board, segments take what its figures say, and what is no layer ``other_factor`` times what this machine takes.

    :param measured: of the machine that plays it.
    """
    if device.emulate is None:
        return measured
    seconds = device.emulate.layer_seconds(model)
    if seconds is None:
        return measured.scaled(device.emulate.factor)
    ends = zip(measured.boundaries, measured.boundaries[1:], strict=False)
    return dataclasses.replace(
        measured.scaled(device.emulate.other_factor),
        segment_seconds=tuple(math.fsum(seconds[start:stop]) for start, stop in ends),
        seam_seconds=(0.0,) * len(measured.seam_seconds), probe_seconds=measured.probe_seconds, held_back=(),
        relative_error=measured.relative_error if measured.guessed else 0.0, throttled=False,
    )  # fmt: skip


class EmulatedHardware(Hardware):
    """Plays one device: work is followed by a sleep (`Dilation`), links are shaped in user space (`EmulatedLink`).

    :param fleet: its ``emulate`` keys say which device and links are played, and how at first; the topic ``emulation``
        changes that.
    :param runs_stages: this process has the device's share of its fleet, where fleets of a group share the device.
    :raises UserError: if the file that sharing fleets have in common cannot be used.
    """

    real = False

    def __init__(self, fleet: Fleet, device: str, model: Model, *, runs_stages: bool) -> None:
        self._name, self._device, self._model = device, fleet.device(device), model
        self.has_meters = self._device.emulate is None
        emulate, shared = self._device.emulate or Emulate(), None
        if runs_stages and fleet.share is not None and self._device.emulate is not None:
            shared = SharedDevice(device_file(fleet.share.group, fleet.host_of(device)), niceness(fleet.share.priority))
        self._layer_seconds = emulate.layer_seconds(model)
        self._dilation = Dilation(emulate.factor, other_factor=emulate.other_factor, shared=shared)
        self._shapers: dict[str, EmulatedLink] = {}
        self._delays: dict[str, float] = {}
        channels: dict[str, Channel] = {}
        for link in fleet.links:
            if device not in link.between or not link.emulate:
                continue
            other = link.between[0] if link.between[1] == device else link.between[1]
            self._delays[other] = link.delay
            if link.emulate is True:
                channel = channels.setdefault(link.channel, Channel()) if link.channel else Channel()
                self._shapers[other] = EmulatedLink(link.rate, link.delay, channel=channel)
        self._logger: Any = None

    def connect(self, node: Any, reshape: Reshape) -> None:
        """Follow the topic ``emulation``."""
        from edge_dnn_partition.msg import Emulation
        from edge_dnn_partition.nodes.core import qos

        def on_emulation(message: Any) -> None:
            for device, slowdown in zip(message.devices, message.slowdowns, strict=True):
                if device == self._name:
                    self._dilation.factor = slowdown
            reshape(lambda now: self._change_links(message, now))

        self._logger = node.get_logger()
        node.subscribe(Emulation, node.topics.emulation, on_emulation, qos.EMULATION)

    def _change_links(self, message: Any, now: float) -> dict[float, float]:
        moved = {}
        rows = zip(
            message.link_senders, message.link_receivers, message.link_bytes_per_second, message.link_latency_seconds,
            strict=True,
        )  # fmt: skip
        for sender, receiver, rate, latency in rows:
            if sender != self._name or receiver not in self._delays:
                continue
            self._delays[receiver] = latency
            shaper = self._shapers.get(receiver)
            if shaper is not None and (times := shaper.change(now, rate, latency)) is not None:
                moved[times[0]] = times[1]
        return moved

    def at_work(self) -> AbstractContextManager[None]:
        """Return a block in which the device works for this process, of those that share it."""
        return self._dilation.at_work()

    def worked(self, busy_seconds: float, taken_seconds: float, layers: Sequence[tuple[int, int]] | None = None) -> None:
        """Sleep for what the played device would still be computing; layers of a board take what its figures say."""
        work = None
        if layers is not None and (seconds := self._layer_seconds) is not None:
            work = math.fsum(math.fsum(seconds[start:stop]) for start, stop in layers)
        self._dilation.pause(busy_seconds, taken_seconds, work)

    def interrupt(self) -> None:
        """End a sleep under way and make every later one empty."""
        self._dilation.interrupt()

    def probe_seconds(self, busy_seconds: float, wall_seconds: float) -> float:  # noqa: ARG002
        """Return the probe's processor time, dilated: waiting is other played devices' doing."""
        return busy_seconds * self._dilation.factor

    def profile(self, measured: Profile) -> Profile:
        """Return the profile of the played device; warn if this machine is too slow to play it."""
        profile = played_profile(self._device, measured, self._model)
        if self._logger is not None and profile.total_seconds < measured.total_seconds:
            self._logger.warning(  # rclpy's logger fills nothing in
                f'this machine takes {measured.total_seconds * 1e3:.1f} ms for the whole model: '  # noqa: G004
                'it is too slow to play this device'
            )
        return profile

    def shaper(self, receiver: str) -> EmulatedLink | None:
        """Return the played link to a device."""
        return self._shapers.get(receiver)

    def delay(self, receiver: str) -> float:
        """Return the played one-way delay to a device."""
        return self._delays.get(receiver, 0.0)
