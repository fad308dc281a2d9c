# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's check of the DDS profile that a fleet's processes get."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from edge_dnn_partition.cli.doctor_checks import Check
from edge_dnn_partition.errors import UserError

NAME: Final = 'DDS profile'
IN_WORDS: Final = {
    'machine': 'loopback; other machines neither see nor disturb it',
    'lan': 'UDP, patient with a Wi-Fi that is away for a while',
    'cloud': "TCP to the server's address, shared memory within a machine",
}


def dds_profile_check(fleet_file: str | None = None) -> tuple[Check, ...]:
    """Check which profile is in force: ours by the fleet's kind of network, or what the user chose.

    :param fleet_file: the fleet that is asked about; without one the answer is general.
    """
    try:
        from edge_dnn_partition.deployment.dds_environment import chosen_by_user, dds_environment, dds_profile
        from edge_dnn_partition.planning.fleet.fleet import load_fleet
    except ImportError:
        return ()  # a package is missing; packages() says which
    middleware = os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    if not middleware.startswith('rmw_fastrtps'):
        return (Check(NAME, 'ok', f'none: {middleware} has a configuration of its own'),)
    try:
        chosen = chosen_by_user(os.environ)
    except OSError:
        return ()  # the cache cannot be written; cache_folder() says so
    if chosen:
        return (_of_user(chosen, os.environ[chosen]),)
    if fleet_file is None:
        found = "by the fleet file's network: machine, lan or cloud (doctor --fleet FLEET.yaml says which)"
        return (Check(NAME, 'ok', found),)
    try:
        fleet = load_fleet(fleet_file)
        environment = dds_environment(dds_profile(fleet))
    except UserError as error:
        return (Check(NAME, 'fail', str(error), 'mend the fleet file'),)
    kind = fleet.network_kind
    exports = ' '.join(f'{name}={path}' for name, path in environment.items())
    interface = fleet.network.interface
    found = f'{kind}: {IN_WORDS[kind]}' + (f', on {interface} alone' if interface else '')
    if (kind == 'cloud' or interface) and any(os.environ.get(name) != path for name, path in environment.items()):
        advice = f'ros2 tools and camera drivers find the fleet only after: export {exports}'
        return (Check(NAME, 'warn', found, advice),)
    return (Check(NAME, 'ok', found),)


def _of_user(variable: str, value: str) -> Check:
    found = f'yours: {variable}={value}'
    if not variable.endswith('_PROFILES_FILE'):
        return Check(NAME, 'ok', found)
    advice = f'mend the file, or unset {variable} to get the profile that fits the fleet file: Fast DDS ignores this one'
    try:
        root = ET.fromstring(Path(value).read_bytes())  # noqa: S314 (the user's own file)
    except OSError as error:
        return Check(NAME, 'fail', f'{found}: {error.strerror}', advice)
    except ET.ParseError as error:
        return Check(NAME, 'fail', f'{found}: is no XML ({error})', advice)
    if root.tag.rpartition('}')[2] not in ('dds', 'profiles'):
        return Check(NAME, 'fail', f'{found}: begins with <{root.tag}>, where <dds> or <profiles> belongs', advice)
    return Check(NAME, 'ok', found)
