# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Devices that are only heard, for large fleets on a small machine: ``python footprint_ghosts.py FLEET DEVICE GHOST ...``.

Each says, in its own name and at another time, whatever the device named first says of itself: heartbeats, telemetry, energy, its
profile. Eight share a DDS participant: that all participants of fifty devices find each other is more than two cores can do beside
what is measured, so that what DDS takes of a process for each participant is not in the figures. Ends when standard input does.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
from functools import partial
from typing import Any, Final

_IN_A_PARTICIPANT: Final = 8
_SPREAD_SECONDS: Final = 0.2
"""The ghosts speak one after the other within so long, as devices do that do not know of each other."""


class Chorus:
    """Repeats a device's messages in the names of the ghosts."""

    def __init__(self, topics: Any, device: str, ghosts: list[str]) -> None:
        import rclpy
        from edge_dnn_partition.msg import DeviceEnergy, Heartbeat, Profile, Telemetry
        from rclpy.signals import SignalHandlerOptions

        from edge_dnn_partition.nodes.core import qos

        self._device, self._due, self._order = device, list[Any](), itertools.count()
        self._some = threading.Condition()
        kinds = (
            (Heartbeat, topics.heartbeat, qos.HEARTBEAT), (Telemetry, topics.telemetry, qos.TELEMETRY),
            (DeviceEnergy, topics.energy, qos.TELEMETRY), (Profile, topics.profile, qos.PROFILE),
        )  # fmt: skip
        self._voices: dict[type, list[tuple[str, Any]]] = {kind: [] for kind, *_ in kinds}
        self._kept = []
        for number, ghost in enumerate(ghosts):
            if number % _IN_A_PARTICIPANT == 0:
                context = rclpy.Context()
                rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
                node = rclpy.create_node(
                    'ghost', namespace=f'/{topics.fleet}/{ghost}', context=context, start_parameter_services=False,
                    enable_rosout=False,
                )  # fmt: skip
                self._kept.append((context, node))
            for kind, topic, profile in kinds:
                self._voices[kind].append((ghost, node.create_publisher(kind, topic, profile)))
        self.node = rclpy.create_node('ghosts', namespace=f'/{topics.fleet}')
        for kind, topic, profile in kinds:
            self.node.create_subscription(kind, topic, partial(self._heard, kind), profile)
        threading.Thread(target=self._speak, daemon=True).start()

    def _heard(self, kind: type, message: Any) -> None:
        if message.device != self._device:
            return
        now, voices = time.monotonic(), self._voices[kind]
        with self._some:
            for number, (ghost, publisher) in enumerate(voices):
                at = now + number * _SPREAD_SECONDS / len(voices)
                heapq.heappush(self._due, (at, next(self._order), ghost, number, publisher, message))
            self._some.notify()

    def _speak(self) -> None:
        while True:
            with self._some:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._some.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, _, ghost, number, publisher, message = heapq.heappop(self._due)
                incarnation = getattr(message, 'incarnation', 0)
                message.device = ghost
                if incarnation:
                    message.incarnation = incarnation ^ (number + 1)
                publisher.publish(message)
                message.device = self._device
                if incarnation:
                    message.incarnation = incarnation


def main() -> int:
    """Speak for the ghosts until standard input ends."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from edge_dnn_partition.nodes.core.topics import Topics

    fleet, device, *ghosts = sys.argv[1:]
    rclpy.init(args=[])
    chorus = Chorus(Topics(fleet), device, ghosts)
    executor = SingleThreadedExecutor()
    executor.add_node(chorus.node)
    threading.Thread(target=executor.spin, daemon=True).start()
    sys.stdout.write('ready\n')
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == '__main__':
    sys.exit(main())
