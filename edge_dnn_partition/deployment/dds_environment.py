# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which DDS profile each process of a fleet gets, and the environment that makes Fast DDS read it."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import needed, places, write_atomic
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import Fleet

from .dds_profile import NARROW_DATAGRAM_BYTES, NARROW_RATE, SEGMENT_BYTES, DdsProfile, Version, profile_xml

VARIABLES: Final[dict[str, Version]] = {'FASTRTPS_DEFAULT_PROFILES_FILE': 2, 'FASTDDS_DEFAULT_PROFILES_FILE': 3}
"""Fast DDS 2 reads the first only; 3 the second, and rmw_fastrtps gives it what the first names as well."""

OWN_CHOICES: Final = (*VARIABLES, 'ROS_DISCOVERY_SERVER', 'FASTDDS_BUILTIN_TRANSPORTS')
"""Who has set one of these knows what DDS shall do, and a profile of ours would undo it."""

_SEGMENTS_IN_MEMORY: Final = 16
_LEAST_SEGMENT_BYTES: Final = 512 * 1024


def dds_profile(fleet: Fleet, nodes: Sequence[str] = ()) -> DdsProfile:
    """Return the profile of a fleet's process; of a ``wan`` DDS reaches the network of one site.

    Shared memory is for the frame source, to which a camera on its machine sends whole images. The others do without: a process
    that was killed and comes again under its old port is not heard for up to half a minute by those that had that port open
    (Fast DDS 2.14, https://github.com/eProsima/Fast-DDS/pull/4728), small messages are no faster, and tensors have segments of
    their own.

    :param nodes: those that it runs; none for a tool.
    """
    segment = _segment_bytes() if 'frame_source' in nodes else 0
    if fleet.network_kind == 'machine':
        return DdsProfile('machine', segment)
    within = (link for link in fleet.links if len({fleet.site_of(device) for device in link.between}) == 1)
    slowest = min((link.rate for link in within), default=math.inf)
    return DdsProfile('lan', segment, datagram_bytes(slowest), fleet.network.interface or '')


def datagram_bytes(slowest: float) -> int:
    """Return the largest datagram for a network whose slowest link carries so many bytes per second; 0: Fast DDS's own."""
    return NARROW_DATAGRAM_BYTES if slowest < NARROW_RATE else 0


def dds_environment(profile: DdsProfile, present: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write a profile into the cache and return the environment that names it.

    Nothing where the user chose his own, or a middleware that is not Fast DDS.

    :param present: the environment so far; this process's if None.
    :raises PlanError: if this machine has no such interface.
    """
    present = os.environ if present is None else present
    if other_middleware(present) or chosen_by_user(present):
        return {}
    if profile.interface and profile.interface not in (there := [name for _, name in socket.if_nameindex()]):
        raise PlanError(
            f'network.interface: this machine has no {profile.interface}, but {", ".join(there)}; bring it up, or name another'
        )
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


def other_middleware(present: Mapping[str, str]) -> str:
    """Return the name of ROS's middleware where that is not Fast DDS; empty if it is, or was not chosen."""
    name = present.get('RMW_IMPLEMENTATION', '')
    return '' if name.startswith('rmw_fastrtps') else name


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
