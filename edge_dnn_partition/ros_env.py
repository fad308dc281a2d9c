# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Makes ROS 2 work in a process that was started without a setup file sourced first."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from . import cache
from .errors import UserError

_PROBE_SECONDS = 20.0
_GUARD = '_EDGE_DNN_PARTITION_ENVIRONMENT'


def install_prefix() -> Path | None:
    """Return the prefix that this package was installed to with its messages, or None."""
    candidates = [*Path(__file__).resolve().parents, Path(sys.prefix)]
    for folder in candidates:
        if (folder / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'edge_dnn_partition').is_file():
            return folder
    return None


def prepare() -> None:
    """Set AMENT_PREFIX_PATH and LD_LIBRARY_PATH so that this package's messages are found.

    A sourced workspace stays first in both. The dynamic linker reads its variable when a process starts,
    so this replaces the process by itself where it had to change it: call it first, from an executable only.
    """
    _prepare_log_folder()
    prefix = install_prefix()
    if prefix is None:
        return
    index = _split('AMENT_PREFIX_PATH')
    if str(prefix) not in index:
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join([*index, str(prefix)])
    libraries = _split('LD_LIBRARY_PATH')
    folder = str(prefix / 'lib')
    if folder in libraries or os.environ.get(_GUARD) == folder:
        return
    os.environ['LD_LIBRARY_PATH'] = os.pathsep.join([*libraries, folder])
    os.environ[_GUARD] = folder
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the same program again)


def _prepare_log_folder() -> None:
    """Give rcl's log another folder where its own cannot be written: rcl would not start then, nor without a home folder."""
    with contextlib.suppress(RuntimeError):
        os.environ.setdefault('HOME', str(Path.home()))
    given, home = os.environ.get('ROS_LOG_DIR'), os.environ.get('ROS_HOME')
    folder = given or (os.path.join(home, 'log') if home else os.path.expanduser('~/.ros/log'))
    try:
        cache.check_writable(Path(folder))
    except OSError as error:
        os.environ['ROS_LOG_DIR'] = spare = str(cache.spare_dir('log'))
        cache.cannot_write(Path(folder), error, f"ROS's log is in {spare}")


def ros_prefixes() -> tuple[Path, ...]:
    """Return the prefixes of the ROS 2 installations that this process would take rclpy from."""
    found = []
    for entry in sys.path:
        folder = Path(entry or '.')
        if (folder / 'rclpy' / '__init__.py').is_file() and folder.resolve() not in found:
            found.append(folder.resolve())
    return tuple(found)


def require_ros(verb: str) -> None:
    """Check that ROS 2 and this package's messages can be imported.

    :raises UserError: one line that says how to get them.
    """
    how = 'run `make setup` in a checkout, or build the package with colcon under a sourced ROS 2 (see README.md)'
    if importlib.util.find_spec('rclpy') is None:
        raise UserError(f'`{verb}` needs ROS 2, which this Python lacks: {how}')
    places = ros_prefixes()
    if len(places) > 1:
        raise UserError(
            f'`{verb}` found two ROS 2 installations, {places[0]} and {places[1]}, which do not mix: use a shell in '
            'which no ROS 2 is sourced, or run `make clean setup` in this one'
        )
    if (wrong := middleware_failure()) is not None:
        raise UserError(f'`{verb}`: {wrong}')
    if importlib.util.find_spec('edge_dnn_partition.msg') is None:
        raise UserError(f"`{verb}` needs this package's messages, which are not built: {how}")


def middleware_failure() -> str | None:
    """Return why rclpy cannot be imported under the middleware that the environment asks for, with what to do; None if it can.

    Where that is not installed, rcl ends the process that imports it: so another one tries.
    """
    chosen = {name: os.environ[name] for name in ('RMW_IMPLEMENTATION', 'RCL_ASSERT_RMW_ID_MATCHES') if os.environ.get(name)}
    if not chosen:
        return None
    command = [sys.executable, '-c', 'import sys; sys.path[:] = sys.argv[1:]; import rclpy', *(entry or '.' for entry in sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        reason = f'rclpy does not load within {_PROBE_SECONDS:g} s'
    else:
        if done.returncode == 0:
            return None
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f'it ends with code {done.returncode}']
        reason = re.sub(r'^(\[[^]]*\] ?)+: ', '', lines[-1]).partition(', at ')[0][:160]
    asked = ' '.join(f'{name}={value}' for name, value in chosen.items())
    package = next(iter(chosen.values())).replace('_', '-')
    installed = ', '.join(installed_middlewares()) or 'none that ament knows of'
    return (
        f'the environment asks for {asked}, which does not load here ({reason}); installed: {installed}. '
        f'Run `unset {" ".join(chosen)}`, or install it (sudo apt install ros-$ROS_DISTRO-{package})'
    )


def installed_middlewares() -> list[str]:
    """Return the middlewares that are installed, as RMW_IMPLEMENTATION calls them."""
    prefixes = [Path(part) for part in _split('AMENT_PREFIX_PATH')] + [Path(sys.prefix)]
    index = 'share/ament_index/resource_index/rmw_typesupport'
    found = {path.name for prefix in prefixes for path in (prefix / index).glob('rmw_*')}
    return sorted(found - {'rmw_implementation'})


def _split(variable: str) -> list[str]:
    return [part for part in os.environ.get(variable, '').split(os.pathsep) if part]
