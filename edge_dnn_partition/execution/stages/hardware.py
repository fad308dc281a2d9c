# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The hardware under a node: how long work takes on it, its links and its meters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.transport.link import Shaper

Reshape = Callable[[Callable[[float], dict[float, float]]], None]
"""Calls a function with the time while no fragment leaves; it returns when fragments that are on a link arrive, by when they
would have."""


class Hardware:
    """This machine as it is.

    A subclass may play another device on it, where the process is started so (`deployment.hardware`): it makes work take
    longer and holds fragments back. All methods but `connect` may be called from any thread.
    """

    real = True
    """False: this machine plays other devices of the fleet, too."""
    has_meters = True
    """False: what this machine's meters and telemetry say is not the device's."""

    def connect(self, node: Any, reshape: Reshape) -> None:
        """Subscribe to what changes the hardware at run time; called once, while the node is configured."""

    def at_work(self) -> AbstractContextManager[None]:
        """Return a block in which the device works for this process."""
        return nullcontext()

    def worked(self, busy_seconds: float, taken_seconds: float, layers: Sequence[tuple[int, int]] | None = None) -> None:
        """Return when the device has done some work that this machine has done; called on the thread that did it.

        :param busy_seconds: of this machine's processor.
        :param taken_seconds: by the clock, waiting for a core included.
        :param layers: ranges of the model's layers that were run; None: the work was an image or an encoding.
        """

    def interrupt(self) -> None:
        """Make `worked` return at once from now on: the process is to end."""

    def probe_seconds(self, busy_seconds: float, wall_seconds: float) -> float:  # noqa: ARG002
        """Return what the speed probe takes on this device, by its times on this machine's processor and clock."""
        return wall_seconds

    def profile(self, measured: Profile) -> Profile:
        """Return the device's profile.

        :param measured: of this machine.
        """
        return measured

    def shaper(self, receiver: str) -> Shaper | None:
        """Return what holds fragments to a device back; None: the link itself."""

    def delay(self, receiver: str) -> float:  # noqa: ARG002
        """Return for how many seconds this process delays what goes to a device; 0 on a real link."""
        return 0.0
