# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of ROS 2 and of this package's messages."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from edge_dnn_partition import __version__, ros_env
from edge_dnn_partition.cli.doctor_machine import Check

_TRY_SECONDS: Final = 20.0
_OPTIONAL: Final = 'optional'
_CONVERSION: Final = """
import sys
sys.path[:] = sys.argv[1:]
import numpy
from cv_bridge import CvBridge
CvBridge().imgmsg_to_cv2(CvBridge().cv2_to_imgmsg(numpy.zeros((2, 2, 3), 'uint8'), 'bgr8'))
print(numpy.__version__)
"""
NO_ROS: Final = 'run `make setup` in a checkout, or source a ROS 2 Jazzy: only demo, up, top and the nodes need it'


def installation() -> tuple[Check, ...]:
    """Check that there is one ROS 2 on the path, and not two."""
    places = ros_env.ros_prefixes()
    if not places:
        return (Check('ROS 2', 'warn', 'rclpy is not on the path', NO_ROS),)
    if len(places) > 1:
        found = ' and '.join(map(str, places))
        advice = 'two ROS 2 installations do not mix: use a shell without a sourced ROS 2, or run `make clean setup` in this one'
        return (Check('ROS 2', 'fail', f'found twice: {found}', advice),)
    if (wrong := ros_env.middleware_failure()) is not None:
        found, _, advice = wrong.partition('. ')
        return (Check('ROS 2', 'fail', found, advice),)
    failure = _import_failure('rclpy')
    if failure:
        advice = 'source its setup file again, or use its Python'
        return (Check('ROS 2', 'fail', f'{places[0]}: {failure}', advice),)
    distribution = os.environ.get('ROS_DISTRO')
    return (Check('ROS 2', 'ok', f'{places[0]}{f" ({distribution})" if distribution else ""}'),)


def middleware() -> tuple[Check, ...]:
    """Check which middleware rclpy uses, and how far discovery reaches."""
    if not ros_env.ros_prefixes() or ros_env.middleware_failure() is not None or _import_failure('rclpy'):
        return ()
    from importlib import import_module

    try:
        name = import_module('rclpy.utilities').get_rmw_implementation_identifier()
    except Exception as error:  # noqa: BLE001 (the middleware's library may fail to load in any way)
        chosen = os.environ.get('RMW_IMPLEMENTATION', 'not set')
        advice = f'unset RMW_IMPLEMENTATION (now {chosen}), or install that middleware'
        return (Check('middleware', 'fail', _one_line(error), advice),)
    reach = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    found = f'{name}, domain {os.environ.get("ROS_DOMAIN_ID", "0")}, discovery {reach}'
    if reach in ('LOCALHOST', 'OFF') or os.environ.get('ROS_LOCALHOST_ONLY') == '1':
        advice = 'cannot find other machines; for a fleet on several machines: export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET'
        return (Check('middleware', 'warn', found, advice),)
    return (Check('middleware', 'ok', found),)


def messages() -> tuple[Check, ...]:
    """Check that the messages import, and that they were built from this version of the sources."""
    if not ros_env.ros_prefixes():
        return ()
    again = 'run `make setup` (or colcon build) again'
    try:
        built_spec = importlib.util.find_spec('edge_dnn_partition.msg')
    except ImportError:
        built_spec = None
    failure = _import_failure('edge_dnn_partition.msg') if built_spec else 'they are not built'
    if failure:
        return (Check('messages', 'fail', failure, again),)
    prefix = ros_env.install_prefix()
    share = prefix / 'share' / 'edge_dnn_partition' if prefix else None
    if share is None or not (share / 'build_info.json').is_file():
        return (Check('messages', 'warn', 'can be imported, but the sources they were built from are unknown', again),)
    built = re.search(r'<version>(.*?)</version>', (share / 'package.xml').read_text(encoding='utf-8'))
    if built is None or built[1] != __version__:
        found = f'built for version {built[1] if built else "?"}, the Python part is {__version__}'
        return (Check('messages', 'fail', found, again),)
    info = json.loads((share / 'build_info.json').read_text(encoding='utf-8'))
    source = Path(info['source'])
    if (source / 'msg').is_dir() and messages_digest(source) != info['messages_sha256']:
        return (Check('messages', 'fail', f'built before the last change of msg/ or srv/ in {source}', again),)
    count = len(list((share / 'msg').glob('*.msg')))
    return (Check('messages', 'ok', f'{count}, built for version {__version__} in {prefix}'),)


def messages_digest(source: Path) -> str:
    """Return the hash of all message and service files of a checkout, as CMakeLists.txt computes it."""
    lines = [
        f'{kind}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n'
        for kind in ('msg', 'srv')
        for path in sorted((source / kind).glob(f'*.{kind}'))
    ]
    return hashlib.sha256(''.join(lines).encode()).hexdigest()


def optional_packages() -> tuple[Check, ...]:
    """Check what only a distribution's ROS 2 has: cv_bridge and launch."""
    if not ros_env.ros_prefixes():
        return ()
    checks = [cv_bridge()]
    # A folder launch/ in the working directory can be imported too: ask for what only the real one has.
    launch = None if _import_failure('launch') else importlib.import_module('launch')
    if hasattr(launch, 'LaunchDescription'):
        found = 'present: ros2 launch edge_dnn_partition fleet.launch.py'
        checks.append(Check('launch', 'ok', found, group=_OPTIONAL, short='launch'))
    else:
        found = 'not installed; `edge-dnn-partition up` starts the same processes'
        checks.append(Check('launch', 'ok', found, group=_OPTIONAL, short='launch', absent=True))
    return tuple(checks)


def cv_bridge() -> Check:
    """Check that cv_bridge and numpy are compatible: one built for numpy 1 fails, or ends the process, under numpy 2.

    It is tried in a process of its own.
    """
    if importlib.util.find_spec('cv_bridge') is None:
        found = 'not installed and not needed'
        return Check('cv_bridge', 'ok', found, group=_OPTIONAL, short='cv_bridge', absent=True)
    command = [sys.executable, '-c', _CONVERSION, *(entry or '.' for entry in sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TRY_SECONDS)
    except subprocess.TimeoutExpired:
        return Check('cv_bridge', 'warn', f'no answer within {_TRY_SECONDS:g} s', 'check its installation')
    if done.returncode == 0:
        found = f'converts, with numpy {done.stdout.strip()}'
        return Check('cv_bridge', 'ok', found, group=_OPTIONAL, short='cv_bridge')
    last = (done.stderr.strip() or 'no message').splitlines()[-1][:160]
    why = f'killed by signal {-done.returncode}' if done.returncode < 0 else last
    advice = "pip install 'numpy<2' in this environment: cv_bridge of Jazzy was built against numpy 1.26"
    return Check('cv_bridge', 'warn', f'incompatible with numpy {_numpy_version()}: {why}', advice)


def _numpy_version() -> str:
    try:
        return importlib.metadata.version('numpy')
    except importlib.metadata.PackageNotFoundError:
        return '?'


def _import_failure(module: str) -> str:
    """Return why a module cannot be imported in one line, or an empty text if it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (a broken installation can raise anything)
        return _one_line(error)
    return ''


def _one_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:160]}'
