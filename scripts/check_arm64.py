# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that all that a board installs is there as aarch64 wheels, for the Python of each Ubuntu that boards run.

``make check-arm64``. Nothing is built, and of packages only their metadata is fetched. uv resolves, since pip evaluates the markers
of dependencies for the Python that runs it, whatever Python and platform it is asked for (pypa/pip#10050). The package index is the
one that pip is set to.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import clean_environment
from requirements import ROOT, names_of

UV = 'uv>=0.9'
FOLDER = ROOT / 'build' / 'arm64'
GROUPS = (None, 'dashboard', 'demo', 'replay')
"""What a board may want: the package itself, and these extras. Models are exported and benchmarks run elsewhere."""
BOARDS = {'3.10': ('Ubuntu 22.04', 'aarch64-manylinux_2_35'), '3.12': ('Ubuntu 24.04', 'aarch64-manylinux_2_39')}
"""By Python's version: the release that has it, and wheels for its C library."""


def install_uv() -> Path:
    """Return uv, which is installed into a folder of its own if it is missing."""
    uv = FOLDER / 'venv' / 'bin' / 'uv'
    if not uv.exists():
        subprocess.run([sys.executable, '-m', 'venv', '--clear', str(FOLDER / 'venv')], env=clean_environment(), check=True)
        subprocess.run([uv.with_name('python'), '-m', 'pip', 'install', '-q', '--no-input', '--disable-pip-version-check', UV],
                       env={'PIP_NO_CACHE_DIR': '1'} | clean_environment(), check=True)  # fmt: skip
    return uv


def uv_environment(uv: Path) -> dict[str, str]:
    """Return the environment for uv: a cache in this folder, and pip's index."""
    environment = {'UV_CACHE_DIR': str(FOLDER / 'cache'), 'UV_SYSTEM_CERTS': '1'} | clean_environment()
    asked = subprocess.run([uv.with_name('python'), '-m', 'pip', 'config', 'get', 'global.index-url'], env=environment,
                           capture_output=True, text=True, check=False)  # fmt: skip
    index = environment.get('PIP_INDEX_URL') or asked.stdout.strip()
    return ({'UV_DEFAULT_INDEX': index} if index else {}) | environment


def resolve(uv: Path, python: str) -> tuple[bool, str]:
    """Return whether all requirements resolve for a board, and a line that says so, or why not."""
    release, platform = BOARDS[python]
    command = [str(uv), 'pip', 'compile', '-q', '--no-header', '--no-annotate', '--no-config', '--only-binary', ':all:',
               '--python-version', python, '--python-platform', platform, '-']  # fmt: skip
    done = subprocess.run(command, input='\n'.join(names_of(*GROUPS)), capture_output=True, text=True,
                          env=uv_environment(uv), check=False)  # fmt: skip
    where = f'aarch64, CPython {python} ({release})'
    if done.returncode != 0:
        return False, f'{where}: not all dependencies have wheels\n{done.stderr.strip()}'
    return True, f'{where}: {len(done.stdout.split())} packages, all as wheels'


def main() -> int:
    """Check all boards; return 1 if one lacks something, 2 if nothing can be checked."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        uv = install_uv()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'error: uv cannot be installed ({error}): check that this machine reaches a package index', file=sys.stderr)
        return 2
    with ThreadPoolExecutor(len(BOARDS)) as pool:
        found = list(pool.map(lambda python: resolve(uv, python), BOARDS))
    for good, line in found:
        print(line, file=sys.stdout if good else sys.stderr)
    return 0 if all(good for good, _ in found) else 1


if __name__ == '__main__':
    sys.exit(main())
