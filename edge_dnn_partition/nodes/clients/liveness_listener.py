# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Listens to a running fleet for the doctor: its found of life, and what the middleware says of who sent them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from edge_dnn_partition.deployment.fleet_key import fleet_key
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.monitoring.network_presence import DeviceLiveness, middleware_of
from edge_dnn_partition.msg import Heartbeat, Telemetry
from edge_dnn_partition.nodes.core import qos
from edge_dnn_partition.nodes.core.reading import read
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.seals import Sealer

_MOST_DEVICES: Final = 1000
_ENOUGH: Final = 10
"""Messages of each device after which no more are waited for."""


def listen(fleet: Fleet, seconds: float) -> dict[str, DeviceLiveness]:
    """Return what the devices published, by their names, also of those that the fleet file does not name.

    :param seconds: how long to listen at most.
    """
    found: dict[str, DeviceLiveness] = {}
    key = fleet_key(fleet)
    topics = Topics(fleet.fleet)
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('doctor', namespace=f'/{fleet.fleet}', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def take(raw: bytes, info: Mapping[str, Any], kind: type, topic: str) -> None:
        try:
            message = read(raw, kind)
        except UserError:
            return  # of another build, or forged; nodes count it
        name, model = getattr(message, 'node', 'device_monitor'), getattr(message, 'model_sha256', '')
        if message.device not in found and len(found) >= _MOST_DEVICES:
            return
        device = found.setdefault(message.device, DeviceLiveness())
        device.on_message(name, info['source_timestamp'], info['received_timestamp'], model)
        device.unsealed += key is not None and Sealer(key, 0).check(topic, raw) is None

    try:
        for kind, topic, profile in (
            (Heartbeat, topics.heartbeat, qos.heartbeat_reader()), (Telemetry, topics.telemetry, qos.TELEMETRY),
        ):  # fmt: skip
            node.create_subscription(kind, topic, partial(take, kind=kind, topic=topic), profile, raw=True)
        until = time.monotonic() + seconds
        while time.monotonic() < until and not all(
            name in found and found[name].messages >= _ENOUGH for name in fleet.devices
        ):
            executor.spin_once(timeout_sec=0.1)
        for topic in (topics.heartbeat, topics.telemetry):
            for end in node.get_publishers_info_by_topic(topic):
                device = end.node_namespace.rpartition('/')[2]
                if device in found:
                    found[device].middlewares.add(middleware_of(bytes(end.endpoint_gid[:2])))
    finally:
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    return found
