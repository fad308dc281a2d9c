# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which DDS profile each process of a fleet gets, and the environment that makes Fast DDS read it."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import cache_dir, keep, needed, places, write_atomic
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import Fleet

from .dds_profile import NARROW_DATAGRAM_BYTES, NARROW_RATE, SEGMENT_BYTES, DdsProfile, Version, profile_xml

VARIABLES: Final[dict[str, Version]] = {'FASTRTPS_DEFAULT_PROFILES_FILE': 2, 'FASTDDS_DEFAULT_PROFILES_FILE': 3}
"""Fast DDS 2 reads the first only; 3 the second, and rmw_fastrtps gives it what the first names as well."""

OWN_CHOICES: Final = (*VARIABLES, 'ROS_DISCOVERY_SERVER', 'FASTDDS_BUILTIN_TRANSPORTS')
"""Who has set one of these knows what DDS shall do, and a profile of ours would undo it."""

LISTENERS: Final = ('device_monitor', 'worker', 'frame_source', 'scheduler')
"""The nodes that listen on the server's device. The first is the discovery server, at the fleet file's port: it runs on
every device, and has the least to do."""

PORTS_EACH: Final = 8
"""How many ports each of the others takes in turn, a new one at each start: to one that comes again under its old port
Fast DDS 2.14 does not connect again for minutes (measured: more than 70 s, against 1.3 s under another port)."""

PORT_COUNT: Final = 1 + PORTS_EACH * (len(LISTENERS) - 1)
"""How many ports a firewall must let through, from the fleet file's port on."""

_SEGMENTS_IN_MEMORY: Final = 16
_LEAST_SEGMENT_BYTES: Final = 512 * 1024


def dds_profile(fleet: Fleet, nodes: Sequence[str] = (), device: str | None = None) -> DdsProfile:
    """Return the profile of a fleet's process; where it listens, at the first of its ports.

    Shared memory is for the frame source, to which a camera on its machine sends whole images, and for processes of one
    device that have no other way to each other (``cloud``). The others do without: a process that was killed and comes
    again under its old port is not heard for up to half a minute by those that had that port open (Fast DDS 2.14,
    https://github.com/eProsima/Fast-DDS/pull/4728), small messages are no faster, and tensors have segments of their own.

    :param nodes: those that it runs; none for a tool.
    :param device: the device that it runs on. The scheduler of a fleet with a server belongs on the server's device.
    """
    kind, network = fleet.network_kind, fleet.network
    segment = _segment_bytes() if kind == 'cloud' or 'frame_source' in nodes else 0
    if kind == 'lan':
        slowest = min((link.rate for link in fleet.links), default=math.inf)
        return DdsProfile(kind, segment, datagram_bytes=datagram_bytes(slowest), interface=network.interface or '')
    if kind != 'cloud' or network.server is None:
        return DdsProfile(kind, segment)
    device = network.server_device if 'scheduler' in nodes else device
    listen = None
    if device == network.server_device and (indices := [LISTENERS.index(node) for node in nodes if node in LISTENERS]):
        index = min(indices)
        listen = network.port + (1 + PORTS_EACH * (index - 1) if index else 0)
    return DdsProfile(kind, segment, network.server, network.port, listen, network.tls)


def datagram_bytes(slowest: float) -> int:
    """Return the largest datagram for a network whose slowest link carries so many bytes per second; 0: Fast DDS's own."""
    return NARROW_DATAGRAM_BYTES if slowest < NARROW_RATE else 0


def dds_environment(profile: DdsProfile, present: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write a profile into the cache and return the environment that names it; nothing where the user chose his own.

    :param present: the environment so far; this process's if None.
    :raises PlanError: if a certificate does not fit, the server's name has no address, or this is to be the server and
        the address is not its own, or this machine has no such interface.
    """
    present = os.environ if present is None else present
    if chosen_by_user(present):
        return {}
    check_certificates(profile)
    if profile.interface and profile.interface not in (there := [name for _, name in socket.if_nameindex()]):
        raise PlanError(
            f'network.interface: this machine has no {profile.interface}, but {", ".join(there)}; bring it up, or name another'
        )
    if profile.kind == 'cloud':
        profile = replace(profile, server=_ipv4(profile.server))
    if profile.listen is not None:
        _check_own_address(profile.server)
        if not profile.serves:
            profile = replace(profile, listen=_next_port(profile.listen))
    # Under LOCALHOST rmw_fastrtps would add transports of its own, shared memory among them.
    environment = {} if profile.kind == 'lan' else {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SYSTEM_DEFAULT'}
    for variable, version in _variables(present).items():
        content = profile_xml(profile, version).encode()
        name = f'{profile.kind}-{hashlib.sha256(content).hexdigest()[:16]}.xml'
        path = needed(functools.partial(write_atomic, content=content), 'dds', name)
        if path.read_bytes() != content:  # a file that has been spoilt since
            write_atomic(path, content)
        environment[variable] = str(path)
    return environment


def chosen_by_user(present: Mapping[str, str]) -> str:
    """Return the name of a variable by which the user has set DDS up himself; empty if none.

    A variable that names a file of ours, such as one that `doctor --fleet` gave him for other tools, is not his choice.
    """
    own = {folder.resolve() for folder in places('dds')}
    for name in OWN_CHOICES:
        value = present.get(name, '')
        if value and not (name in VARIABLES and Path(value).resolve().parent in own):
            return name
    return ''


def _next_port(first: int) -> int:
    """Return the next of a node's ports, after the one that it had at its last start."""
    note = cache_dir('dds') / f'port-{first}'
    try:
        last = int(note.read_text(encoding='ascii'))
    except (OSError, ValueError):
        last = first - 1
    port = first + (last + 1 - first) % PORTS_EACH
    keep(note, str(port).encode())
    return port


def check_certificates(profile: DdsProfile) -> None:
    """Check that the files are there and belong together: Fast DDS would only log an error.

    :raises PlanError: which of them does not fit.
    """
    tls = profile.tls
    if tls is None:
        return
    context = ssl.create_default_context()
    with _named('ca', tls.ca):
        context.load_verify_locations(tls.ca)
    if profile.listen is not None:
        with _named('certificate, key', tls.certificate, tls.key):
            context.load_cert_chain(tls.certificate, tls.key, password='')


@contextmanager
def _named(what: str, *paths: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # SSLError is one
        reason = getattr(error, 'reason', None) or error.strerror
        files = ' and '.join(map(str, paths))
        advice = 'give PEM files that can be read, the key of the certificate and without a password'
        raise PlanError(f'network.tls, {what}: {files}: {reason}; {advice}') from error


def _ipv4(server: str) -> str:
    """Return the address of a name: not every Fast DDS looks names up."""
    try:
        return socket.gethostbyname(server)
    except OSError as error:
        raise PlanError(f'network.server: {server} has no IPv4 address ({error.strerror}); give one that has') from error


def _check_own_address(server: str) -> None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((server, 0))
    except OSError as error:
        raise PlanError(
            f'network.server: {server} is not an address of this machine ({error.strerror}); start the scheduler and the '
            f"server_device's processes there; behind a provider's NAT: sudo ip addr add {server}/32 dev lo"
        ) from error


def _variables(present: Mapping[str, str]) -> dict[str, Version]:
    """Return both variables, but without the one for Fast DDS 2 where only Fast DDS 3 is there: it would complain."""
    prefixes = [sys.prefix, *present.get('AMENT_PREFIX_PATH', '').split(os.pathsep)]
    libraries = [Path(prefix, 'lib') for prefix in prefixes if prefix]
    newer = any(any(folder.glob('libfastdds.so.3*')) for folder in libraries)
    older = any((folder / 'libfastrtps.so').exists() for folder in libraries)
    return {name: version for name, version in VARIABLES.items() if version == 3 or older or not newer}


def _segment_bytes() -> int:
    """A share of shared memory: a container may have 64 MB, and who writes past its end is killed."""
    try:
        status = os.statvfs('/dev/shm')  # noqa: S108 (it is only measured)
    except OSError:
        return SEGMENT_BYTES
    share = status.f_blocks * status.f_frsize // _SEGMENTS_IN_MEMORY
    return max(_LEAST_SEGMENT_BYTES, min(SEGMENT_BYTES, share))
