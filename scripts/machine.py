# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the setup needs of the machine, and the environment that its commands run in."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

MAKE_ROOM = 'make room, or check out on another disk, and run it again: it goes on where it was'
GIGABYTES = {'run': 1.3, 'export': 1.1}
"""What the packages take on disk, downloads and builds included; each other group 0.2."""


class SetupError(Exception):
    """The setup cannot go on: one line that says what to do."""


def ros_is_sourced(venv: Path) -> bool:
    """Return whether this shell has a ROS 2 of its own, that is one other than ``venv``."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return any(prefix and Path(prefix).resolve() != venv.resolve() for prefix in prefixes)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would change the Python of the environment.

    PYTHONPATH stays: under a sourced ROS 2 it is where ROS is found.
    """
    dropped = ('PYTHONHOME', 'VIRTUAL_ENV', '_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'PIP_USER', 'PIP_REQUIRE_VIRTUALENV')
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment.setdefault('PATH', os.defpath)
    return environment


def check_machine(*, sourced: bool) -> None:
    """Check what the setup cannot install by itself.

    :raises SetupError: one line with all that is missing and how to get it.
    """
    missing: list[tuple[str, str]] = []
    compiler = os.environ.get('CXX', '').split() or ['c++']
    if not any(shutil.which(name) for name in (compiler[0], 'g++', 'clang++')):
        missing.append(('a C++ compiler', 'g++'))
    if not shutil.which('make'):
        missing.append(('make', 'make'))
    version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    if importlib.util.find_spec('ensurepip') is None:
        missing.append(('the venv module of this Python', f'{version}-venv'))
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        missing.append(('the headers of this Python', f'{version}-dev'))
    if missing:
        what = ', '.join(name for name, _ in missing)
        packages = ' '.join(package for _, package in missing)
        raise SetupError(f'missing: {what}; on Debian or Ubuntu: sudo apt install {packages}')
    if sourced:
        check_sourced_ros()
    elif (sys.platform, platform.machine()) != ('linux', 'x86_64') or not platform.libc_ver()[0].startswith('glibc'):
        raise SetupError(
            f'there are no ROS 2 wheels for {platform.machine()} {platform.system()}: install ROS 2 Jazzy and run '
            '`source /opt/ros/jazzy/setup.bash` first, or `pip install .` for the part that needs no ROS'
        )


def check_room(folder: Path, gigabytes: float) -> None:
    """Check that the disk has room for what is to be installed.

    :raises SetupError: that says how much is needed.
    """
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise SetupError(f'{folder} has {free:.1f} GB of free disk, and the setup takes {gigabytes:.1f} GB: {MAKE_ROOM}')


def disk_full(gigabytes: float) -> SetupError:
    """Return the error for a disk that became full meanwhile."""
    return SetupError(f'the disk is full, of this folder or of {tempfile.gettempdir()}: the setup takes {gigabytes:.1f} GB here, '
                      f'and 0.5 GB there for downloads (TMPDIR names another folder for these): {MAKE_ROOM}')  # fmt: skip


def check_sourced_ros() -> None:
    """Check that the sourced ROS 2 runs under this Python."""
    probe = subprocess.run([sys.executable, '-c', 'import rclpy; from rclpy import impl; import std_msgs.msg'],
                           capture_output=True, text=True, env=clean_environment(), check=False)  # fmt: skip
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or ['no reason given'])[-1]
        raise SetupError(
            f'the sourced ROS 2 does not import under {sys.executable} ({reason}): name its own Python with '
            'PYTHON=/usr/bin/python3 make setup, or use a shell without a sourced ROS 2'
        )
