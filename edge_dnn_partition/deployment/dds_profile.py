# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The text of a Fast DDS profile for each kind of network, so that nobody who starts a fleet needs to know DDS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree as ET

Version = Literal[2, 3]
"""Fast DDS 2 (ROS 2 Jazzy) and 3 (Kilted and newer): the elements are the same, but for those in `_DIALECTS`."""

SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Holds an annotated image of 1920 x 1080 (6.2 MB); a segment is resident whole from the start. Of such images ten times a
second best-effort readers received 25 of 40 with 4 MiB, all with 8 MiB, as with 64 MiB; reliable ones all with any."""
RECEIVE_BUFFER_BYTES: Final = 2 * 1024 * 1024
LEASE_SECONDS: Final = 90
ANNOUNCEMENT_SECONDS: Final = 1
"""A process that starts hears of each other one when that announces itself the next time (Fast DDS 2.14), so that one
that was killed is found again sooner than with Fast DDS's own 3 s. About 0.5 kB a process each time."""
SPARSE_ANNOUNCEMENT_SECONDS: Final = 3
"""The same where a link is slow."""
HEARTBEAT_MILLISECONDS: Final = 200
LARGEST_LOCAL_FLEET: Final = 100
NARROW_DATAGRAM_BYTES: Final = 4_480
"""A fragment of three packets of a network with an MTU of 1500, and 48 bytes more: Fast DDS (2.14) counts 176 for its own
headers where it writes 128 to 136, and would cut such a fragment in two. What it repeats of its discovery fills datagrams of 9 kB
else, of which a link so slow that its queue holds two packets drops a part each time, so that nobody is found. Fragments
on such a link are as long at most; on a fast one of the same fleet they cross in parts, each with headers."""
NARROW_RATE: Final = 250_000.0
"""A link is that slow below so many bytes per second."""


@dataclass(frozen=True)
class DdsProfile:
    """What one process's profile depends on.

    :param kind: whether it reaches this machine alone, or one network.
    :param segment_bytes: what this process may have under way in shared memory; 0: it does not use that.
    :param datagram_bytes: of the largest datagram; 0: as Fast DDS likes it. See `NARROW_DATAGRAM_BYTES`.
    :param interface: the only one that is used, for the kind ``lan``; empty: all are.
    """

    kind: Literal['machine', 'lan']
    segment_bytes: int = 0
    datagram_bytes: int = 0
    interface: str = ''


@dataclass(frozen=True)
class _Dialect:
    namespace: str
    heartbeat_period: str


_DIALECTS: Final[dict[Version, _Dialect]] = {
    2: _Dialect('http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles', 'heartbeatPeriod'),
    3: _Dialect('http://www.eprosima.com', 'heartbeat_period'),
}


def profile_xml(profile: DdsProfile, version: Version) -> str:
    """Return the XML of a profile that Fast DDS takes for every participant and writer of a process."""
    root = ET.Element('dds')
    profiles = _add(root, 'profiles', xmlns=_DIALECTS[version].namespace)
    transports = _add(profiles, 'transport_descriptors')
    participant = _add(profiles, 'participant', profile_name='edge_dnn_partition', is_default_profile='true')
    rtps = _add(participant, 'rtps')
    used = [_shared_memory(transports, profile)] if profile.segment_bytes else []
    used.append(_NETWORKS[profile.kind](transports, profile))
    user = _add(rtps, 'userTransports')
    for name in used:
        _add(user, 'transport_id', name)
    _add(rtps, 'useBuiltinTransports', 'false')
    if profile.datagram_bytes:
        _property(rtps, 'fastdds.max_message_size', profile.datagram_bytes)
    builtin = _add(rtps, 'builtin')
    _patience(_add(builtin, 'discovery_config'), profile)
    if profile.kind == 'machine':
        _locator(_add(builtin, 'initialPeersList'), 'udpv4', address='127.0.0.1')
    if profile.kind != 'machine':
        _writer(profiles, version)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _shared_memory(transports: ET.Element, profile: DdsProfile) -> str:
    """Between processes of one machine; Fast DDS sees by itself who shares one. A segment is taken whole, at once."""
    return _transport(transports, 'shared_memory', ('type', 'SHM'), ('segment_size', profile.segment_bytes))


def _loopback(transports: ET.Element, _: DdsProfile) -> str:
    """Nothing leaves the machine."""
    name = _transport(
        transports, 'loopback', ('type', 'UDPv4'), ('receiveBufferSize', RECEIVE_BUFFER_BYTES),
        ('maxInitialPeersRange', LARGEST_LOCAL_FLEET),
    )  # fmt: skip
    _only(transports, 'address', '127.0.0.1')
    return name


def _only(transports: ET.Element, kind: str, value: str) -> None:
    """Let a transport use one interface alone."""
    _add(_add(transports[-1], 'interfaceWhiteList'), kind, value)


def _udp(transports: ET.Element, profile: DdsProfile) -> str:
    """Larger receive buffers hold a burst, up to what the kernel allows (net.core.rmem_max, which `doctor` checks).

    The send buffers stay: larger ones were measured to lose most large samples.
    """
    name = _transport(transports, 'udp', ('type', 'UDPv4'), ('receiveBufferSize', RECEIVE_BUFFER_BYTES))
    if profile.interface:
        _only(transports, 'interface', profile.interface)
    return name


_NETWORKS: Final = {'machine': _loopback, 'lan': _udp}


def _patience(discovery: ET.Element, profile: DdsProfile) -> None:
    """How processes find each other, and how long one may be out of reach before it is forgotten.

    A Wi-Fi that was away for 30 s made Fast DDS forget, and lose messages, with its own lease of 20 s.
    """
    if profile.kind != 'machine':
        _duration(discovery, 'leaseDuration', LEASE_SECONDS)
    sparse = profile.datagram_bytes > 0
    _duration(discovery, 'leaseAnnouncement', SPARSE_ANNOUNCEMENT_SECONDS if sparse else ANNOUNCEMENT_SECONDS)


def _property(rtps: ET.Element, name: str, value: object) -> None:
    entry = _add(_add(_add(rtps, 'propertiesPolicy'), 'properties'), 'property')
    _add(entry, 'name', name)
    _add(entry, 'value', value)


def _writer(profiles: ET.Element, version: Version) -> None:
    """Ask for acknowledgements by time, and not whenever a send buffer has filled.

    The latter comes in the middle of a large sample and has what is still under way sent twice. By time it is
    every 3 s in Fast DDS, too long for a lost message over Wi-Fi.
    """
    writer = _add(profiles, 'data_writer', profile_name='edge_dnn_partition_writer', is_default_profile='true')
    _add(_add(writer, 'qos'), 'disable_heartbeat_piggyback', 'true')
    period = _add(_add(writer, 'times'), _DIALECTS[version].heartbeat_period)
    _add(period, 'sec', 0)
    _add(period, 'nanosec', HEARTBEAT_MILLISECONDS * 1_000_000)


def _transport(transports: ET.Element, name: str, *settings: tuple[str, object]) -> str:
    descriptor = _add(transports, 'transport_descriptor')
    _add(descriptor, 'transport_id', name)
    for key, value in settings:
        _add(descriptor, key, value)
    return name


def _locator(parent: ET.Element, kind: str, **parts: object) -> None:
    locator = _add(_add(parent, 'locator'), kind)
    for key, value in parts.items():
        _add(locator, key, value)


def _duration(parent: ET.Element, name: str, seconds: int) -> None:
    _add(_add(parent, name), 'sec', seconds)


def _add(parent: ET.Element, name: str, text: object = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, name, attributes)
    if text is not None:
        element.text = str(text)
    return element
