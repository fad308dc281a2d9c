# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Runs tests that need no ROS under an emulated aarch64 Python: ``make test-arm64 ARM64_TESTS=test/sensing``.

For Debian 12 on another processor: its arm64 Python and libraries and its qemu-user-static are unpacked below build/arm64/, and
the package's requirements come as aarch64 wheels; nothing is installed. The processor is that of a Raspberry Pi 4. It takes some
ten times as long as without emulation. What needs torch is skipped, as everywhere without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from check_arm64 import FOLDER, install_uv, uv_environment
from machine import clean_environment
from requirements import ROOT, names_of

PYTHON = '3.11'
PROCESSOR = 'cortex-a72'
PLATFORM = 'aarch64-manylinux_2_36'
TOO_NEW = 'onnxruntime<1.24'
"""1.32 crashes while it reads /sys for the processor's caches: qemu shows those of the host."""
TOOLS = ('pytest', 'pytest-timeout', 'hypothesis', 'networkx')
DEFAULT = ('test/sensing', 'test/planning', 'test/graph')

ROOT_FOLDER = FOLDER / 'root'
QEMU = FOLDER / 'qemu' / 'usr' / 'bin' / 'qemu-aarch64-static'
SITE = FOLDER / 'site'
LAUNCHER = FOLDER / 'python'
_APT = """APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
Dir::State "{0}/state";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
"""


def unpack_python() -> None:
    """Unpack Debian's arm64 Python with the libraries that it and the wheels need."""
    apt = FOLDER / 'apt'
    for folder in ('state/lists/partial', 'cache/archives/partial'):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / 'status').touch()
    (apt / 'apt.conf').write_text(_APT.format(apt))
    environment = clean_environment() | {'APT_CONFIG': str(apt / 'apt.conf')}
    packages = [f'python{PYTHON}', 'libstdc++6', 'libgomp1']
    for command in (['update'], ['install', '-y', '--no-install-recommends', '--download-only', *packages]):
        subprocess.run(['apt-get', '-qq', *command], env=environment, check=True)
    for package in sorted((apt / 'cache' / 'archives').glob('*.deb')):
        subprocess.run(['dpkg-deb', '-x', package, ROOT_FOLDER], check=True)


def unpack_qemu() -> None:
    """Unpack Debian's emulator for this processor."""
    folder = FOLDER / 'qemu'
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(['apt-get', '-qq', 'download', 'qemu-user-static'], cwd=folder, check=True)
    for package in folder.glob('*.deb'):
        subprocess.run(['dpkg-deb', '-x', package, folder], check=True)
        package.unlink()


def install_wheels() -> None:
    """Install the package's requirements and the tests' as aarch64 wheels, and have Python start others by the launcher."""
    uv = install_uv()
    subprocess.run(
        [uv, 'pip', 'install', '-q', '--no-config', '--target', SITE, '--python-version', PYTHON,
         '--python-platform', PLATFORM, '--only-binary', ':all:', *names_of(None), TOO_NEW, *TOOLS],
        env=uv_environment(uv), check=True)  # fmt: skip
    (SITE / 'sitecustomize.py').write_text(f'import sys\n\nsys.executable = {str(LAUNCHER)!r}\n')


def write_launcher() -> None:
    """Write what starts the emulated Python."""
    python = ROOT_FOLDER / 'usr' / 'bin' / f'python{PYTHON}'
    LAUNCHER.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {PROCESSOR} -L {ROOT_FOLDER} {python} "$@"\n')
    LAUNCHER.chmod(0o755)


def main() -> int:
    """Make what is missing, run the tests, and return pytest's exit code; 2 if they cannot be run."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        if not LAUNCHER.exists():
            unpack_python()
            unpack_qemu()
            install_wheels()
            write_launcher()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'error: the emulated Python cannot be made ({error}): this needs Debian 12 and its package servers', file=sys.stderr)
        return 2
    environment = os.environ | {
        'PYTHONPATH': f'{SITE}{os.pathsep}{ROOT}', 'PYTHONDONTWRITEBYTECODE': '1', 'OMP_NUM_THREADS': '1',
        'EDGE_DNN_PARTITION_CACHE': str(FOLDER / 'models'),
    }  # fmt: skip
    command = [str(LAUNCHER), '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--timeout', '1800', *(sys.argv[1:] or DEFAULT)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
