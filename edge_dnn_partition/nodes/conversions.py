# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Wire messages to the project's own types, and back."""

from __future__ import annotations

from builtin_interfaces.msg import Time

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.msg import Telemetry
from edge_dnn_partition.sensing.host import HostSample, Interface


def telemetry_to_message(sample: HostSample, *, device: str, incarnation: int, stamp: Time) -> Telemetry:
    """Return a host's state as a message.

    :param device: whose state it is.
    :param incarnation: of the process that measured it.
    :param stamp: when.
    """
    message = Telemetry(
        device=device,
        incarnation=incarnation,
        cpu_percent=sample.cpu_percent,
        cpu_percent_per_core=list(sample.cpu_percent_per_core),
        load_1min=sample.load_1min,
        memory_total_bytes=sample.memory_total_bytes,
        memory_available_bytes=sample.memory_available_bytes,
        swap_used_bytes=sample.swap_used_bytes,
        temperature_celsius=sample.temperature_celsius,
        clock_hertz=sample.clock_hertz,
        clock_max_hertz=sample.clock_max_hertz,
        interfaces=[interface.name for interface in sample.interfaces],
        sent_bytes_per_second=[interface.sent_bytes_per_second for interface in sample.interfaces],
        received_bytes_per_second=[interface.received_bytes_per_second for interface in sample.interfaces],
    )
    message.header.stamp = stamp
    message.header.frame_id = device
    return message


def telemetry_from_message(message: Telemetry) -> HostSample:
    """Return what a telemetry message says of a host.

    :raises WireError: if its lists of interfaces contradict each other.
    """
    names = list(message.interfaces)
    sent, received = list(message.sent_bytes_per_second), list(message.received_bytes_per_second)
    if not len(names) == len(sent) == len(received):
        raise WireError(
            f'telemetry of {message.device!r}: {len(names)} interfaces with {len(sent)} sent and '
            f'{len(received)} received rates'
        )
    return HostSample(
        cpu_percent=message.cpu_percent,
        cpu_percent_per_core=tuple(message.cpu_percent_per_core),
        load_1min=message.load_1min,
        memory_total_bytes=message.memory_total_bytes,
        memory_available_bytes=message.memory_available_bytes,
        swap_used_bytes=message.swap_used_bytes,
        temperature_celsius=message.temperature_celsius,
        clock_hertz=message.clock_hertz,
        clock_max_hertz=message.clock_max_hertz,
        interfaces=tuple(map(Interface, names, sent, received)),
    )
