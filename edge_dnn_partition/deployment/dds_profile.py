# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The text of a Fast DDS profile for each kind of network, so that nobody who starts a fleet needs to know DDS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree as ET

from edge_dnn_partition.planning.fleet.fleet import NetworkKind, Tls

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
"""The same where a link is slow, or a discovery server tells."""
HEARTBEAT_MILLISECONDS: Final = 200
LARGEST_LOCAL_FLEET: Final = 100
SERVER_PREFIX: Final = '44.53.00.5f.45.50.52.4f.53.49.4d.41'
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

    All but the first two and the last two are for the kind ``cloud``.

    :param segment_bytes: what this process may have under way in shared memory; 0: it does not use that.
    :param server: the IPv4 address of the server.
    :param port: the TCP port of the discovery server.
    :param listen: the TCP port that this process is reached at, under the server's address; None for a process that
        only connects. The one that listens at ``port`` is the discovery server.
    :param tls: certificates, of which one who only connects needs that of the CA; None sends in clear.
    :param datagram_bytes: of the largest datagram; 0: as Fast DDS likes it. See `NARROW_DATAGRAM_BYTES`.
    :param interface: the only one that is used, for the kind ``lan``; empty: all are.
    """

    kind: NetworkKind
    segment_bytes: int = 0
    server: str = ''
    port: int = 0
    listen: int | None = None
    tls: Tls | None = None
    datagram_bytes: int = 0
    interface: str = ''

    @property
    def serves(self) -> bool:
        """Whether this process is the discovery server."""
        return self.listen is not None and self.listen == self.port


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
    _patience(_add(builtin, 'discovery_config'), profile, version)
    if profile.kind == 'machine':
        _locator(_add(builtin, 'initialPeersList'), 'udpv4', address='127.0.0.1')
    if profile.kind == 'cloud':
        _own_address(rtps, builtin, profile)
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


def _tcp(transports: ET.Element, profile: DdsProfile) -> str:
    """A process that listens is reached from behind any NAT; one that only connects is answered on its connection.

    The server's address is one of its machine's own. The element wan_addr, for one that is not, keeps the server's
    own processes from finding each other (Fast DDS 2.14).
    """
    name = _transport(transports, 'tcp', ('type', 'TCPv4'))
    tcp = transports[-1]
    if profile.listen is not None:
        _add(_add(tcp, 'listening_ports'), 'port', profile.listen)
    for check in ('calculate_crc', 'check_crc'):
        _add(tcp, check, 'false')  # TCP and TLS have their own
    _add(tcp, 'enable_tcp_nodelay', 'true')
    if profile.tls is not None:
        _tls(_add(tcp, 'tls'), profile.tls, listens=profile.listen is not None)
    return name


_NETWORKS: Final = {'machine': _loopback, 'lan': _udp, 'cloud': _tcp}


def _tls(parent: ET.Element, tls: Tls, *, listens: bool) -> None:
    """Who connects checks the certificate of who listens; TLS is 1.2 at least.

    Fast DDS (2.14, 3.6) does not ask who connects for a certificate, whatever is set here: it sets the mode of
    verification of a connection that it accepts after the handshake. So TLS keeps others from reading, not from coming.
    """
    if listens:
        _add(parent, 'private_key_file', tls.key)
        _add(parent, 'cert_chain_file', tls.certificate)
    _add(parent, 'verify_file', tls.ca)
    _add(_add(parent, 'verify_mode'), 'verify', 'VERIFY_PEER')
    options = _add(parent, 'options')
    for option in ('NO_COMPRESSION', 'NO_SSLV2', 'NO_SSLV3', 'NO_TLSV1', 'NO_TLSV1_1', 'SINGLE_DH_USE'):
        _add(options, 'option', option)


def _patience(discovery: ET.Element, profile: DdsProfile, version: Version) -> None:
    """How processes find each other, and how long one may be out of reach before it is forgotten.

    A Wi-Fi that was away for 30 s made Fast DDS forget, and lose messages, with its own lease of 20 s.
    """
    if profile.kind == 'cloud':
        _add(discovery, 'discoveryProtocol', 'SERVER' if profile.serves else 'CLIENT')
        if not profile.serves:
            servers = _add(discovery, 'discoveryServersList')
            if version == 2:
                servers = _add(_add(servers, 'RemoteServer', prefix=SERVER_PREFIX), 'metatrafficUnicastLocatorList')
            _tcp_locator(servers, profile.server, profile.port)
    if profile.kind != 'machine':
        _duration(discovery, 'leaseDuration', LEASE_SECONDS)
    sparse = profile.kind == 'cloud' or profile.datagram_bytes > 0
    _duration(discovery, 'leaseAnnouncement', SPARSE_ANNOUNCEMENT_SECONDS if sparse else ANNOUNCEMENT_SECONDS)


def _property(rtps: ET.Element, name: str, value: object) -> None:
    entry = _add(_add(_add(rtps, 'propertiesPolicy'), 'properties'), 'property')
    _add(entry, 'name', name)
    _add(entry, 'value', value)


def _own_address(rtps: ET.Element, builtin: ET.Element, profile: DdsProfile) -> None:
    if profile.serves:
        _add(rtps, 'prefix', SERVER_PREFIX)
        _tcp_locator(_add(builtin, 'metatrafficUnicastLocatorList'), profile.server, profile.port)


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


def _tcp_locator(parent: ET.Element, address: str, port: int) -> None:
    _locator(parent, 'tcpv4', address=address, physical_port=port, port=port)


def _duration(parent: ET.Element, name: str, seconds: int) -> None:
    _add(_add(parent, name), 'sec', seconds)


def _add(parent: ET.Element, name: str, text: object = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, name, attributes)
    if text is not None:
        element.text = str(text)
    return element
