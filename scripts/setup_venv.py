# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Makes .venv/ with the package in it, messages built; a second run does only what changed.

Run by setup.sh with the Python that the environment is to have; needs only the standard library.
Nothing is written outside of the checkout. Usage: ``setup_venv.py [--with GROUP …]``, where a group
is an extra of setup.cfg.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from machine import GIGABYTES, SetupError, check_machine, check_room, clean_environment, disk_full, ros_is_sourced
from requirements import ROOT, constraint_lines, names_of, pinned

VENV = ROOT / '.venv'
BUILD = ROOT / 'build'
NATIVE_BUILD = BUILD / 'edge_dnn_partition'
LOG = BUILD / 'setup.log'
NATIVE_LOG = BUILD / 'setup_native.log'
"""Of the build of the messages, which runs beside pip."""
STAMP = VENV / 'edge_dnn_partition-setup.json'
PYTHON = VENV / 'bin' / 'python'
RUN_GROUPS = ('demo', 'bench', 'dashboard', 'wan')
METADATA_INPUTS = ('setup.cfg', 'setup.py', 'pyproject.toml')
NATIVE_INPUTS = ('CMakeLists.txt', 'package.xml', 'scripts/node.in', 'scripts/command.in', 'msg', 'srv')
PYTHON_INPUTS = ('edge_dnn_partition', 'benchmarks', 'launch', 'config', 'rviz', 'resource')

_SILENT_SECONDS = 8.0
"""A step that takes longer says what it is at, as often as that."""

_begun_logs: set[Path] = set()


def say(text: str) -> None:
    """Print one line of progress."""
    print(f'setup: {text}', flush=True)


def digest(paths: Iterable[str]) -> str:
    """Return a hash over names and contents of files, and of all files in folders."""
    total = hashlib.sha256()
    for name in paths:
        path = ROOT / name
        files = sorted(path.rglob('*')) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and '__pycache__' not in file.parts:
                total.update(f'{file.relative_to(ROOT)}\0{os.access(file, os.X_OK)}\0'.encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def run(command: list[str | Path], what: str, *, environment: dict[str, str], folder: Path = ROOT,
        quiet: bool = False, log: Path | None = None) -> None:  # fmt: skip
    """Run a command with its output in a log; None: in that of the setup.

    :raises SetupError: if it fails, after the end of its output was printed (unless ``quiet``).
    """
    log = log or LOG
    with log.open('ab' if log in _begun_logs else 'wb') as file:  # the log of the last run that did something is kept
        _begun_logs.add(log)
        file.write(f'\n$ {" ".join(map(str, command))}\n'.encode())
        file.flush()
        start = file.tell()
        code = call(command, what, log, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                    stderr=subprocess.STDOUT)  # fmt: skip
    if code != 0:
        output = log.read_bytes()[start:].decode(errors='replace')
        if os.strerror(errno.ENOSPC) in output:
            raise OSError(errno.ENOSPC, what)
        if not quiet:
            print('\n'.join(output.splitlines()[-25:]), file=sys.stderr)
        raise SetupError(f'{what} failed (the end of its output is above, all of it in {log.relative_to(ROOT)})')


def call(command: list[str | Path], what: str, log: Path | None = None, **options: Any) -> int:
    """Run a command, with a line now and then that says for how long and what it is at; return its exit code.

    :param log: where its output goes; the last line of it is part of what is said.
    :param options: for `subprocess.Popen`.
    """
    began = time.monotonic()
    with subprocess.Popen(command, **options) as process:
        try:
            while True:
                try:
                    return process.wait(_SILENT_SECONDS)
                except subprocess.TimeoutExpired:  # noqa: PERF203
                    last = last_line(log) if log is not None else ''
                    say(f'{what}, {time.monotonic() - began:.0f} s' + (f': {last}' if last else ''))
        except BaseException:
            process.kill()
            raise


def last_line(log: Path) -> str:
    """Return the last line of a log with something in it, cut to what fits into a line."""
    with log.open('rb') as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors='replace').splitlines()
    return next((line.strip()[:100] for line in reversed(lines) if line.strip()), '')


@contextmanager
def only_one() -> Iterator[None]:
    """Let one setup at a time work on this checkout; the others wait for it."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / 'setup.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say('waits for another setup of this checkout')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Stamp:
    """What the environment holds: a hash of each step's inputs, written when the step has ended."""

    def __init__(self) -> None:
        try:
            self._done: dict[str, str] = json.loads(STAMP.read_text())
        except (OSError, ValueError):
            self._done = {}
        self._lock = threading.Lock()

    def get(self, step: str) -> str | None:
        """Return the hash with which a step was last done."""
        return self._done.get(step)

    def set(self, **steps: str | None) -> None:
        """Record steps as done with a hash, or as to be done again (None)."""
        with self._lock:
            for step, value in steps.items():
                if value is None:
                    self._done.pop(step, None)
                else:
                    self._done[step] = value
            temporary = STAMP.with_suffix('.new')
            temporary.write_text(json.dumps(self._done, indent=1))
            temporary.replace(STAMP)

    def step(self, name: str, wanted: str, work: Callable[[], None]) -> bool:
        """Do ``work`` unless it was done with the hash ``wanted``; return whether it was done now."""
        if self.get(name) == wanted:
            return False
        self.set(**{name: None})
        work()
        self.set(**{name: wanted})
        return True


def make_venv(stamp: Stamp, *, sourced: bool) -> None:
    """Create .venv/, or check that the one there fits this shell and Python."""
    mode = 'sourced' if sourced else 'wheels'
    whole: list[str | Path] = [PYTHON, '-c', 'import pip']  # a setup that was interrupted may have left a part
    if PYTHON.exists() and subprocess.run(whole, env=clean_environment(), stderr=subprocess.DEVNULL, check=False).returncode == 0:
        before = stamp.get('mode') or mode
        if before != mode:
            now = 'a ROS 2 workspace is sourced now' if sourced else 'no ROS 2 workspace is sourced now'
            was = 'with the ROS wheels' if before == 'wheels' else 'for a sourced ROS 2'
            raise SetupError(f'.venv was made {was}, but {now}: run `make clean`, or use the other kind of shell')
    else:
        say(f'makes .venv with Python {sys.version.split()[0]}')
        options = ['--system-site-packages'] if sourced else []
        command: list[str | Path] = [sys.executable, '-m', 'venv', '--clear', *options, VENV]
        run(command, 'python -m venv', environment=clean_environment())
    version = '.'.join(map(str, sys.version_info[:2]))
    if not (VENV / 'lib' / f'python{version}').is_dir():
        raise SetupError(f'.venv was made with another Python than {version}: run `make clean`, or unset PYTHON')
    if stamp.get('mode') != mode:
        stamp.set(mode=mode)


def forget_halves() -> None:
    """Remove what says that a package is installed, where pip was interrupted in it: else it would stay a half.

    pip writes INSTALLER after all files of the package.
    """
    for notes in VENV.glob('lib/python3*/site-packages/*.dist-info'):
        if not (notes / 'INSTALLER').exists():
            shutil.rmtree(notes)


def pip_install(arguments: Sequence[str | Path], what: str, *, quiet: bool = False) -> None:
    """Run pip in the environment, without a cache outside of the checkout.

    pip would compile every module, on one core: of torch's 125 MB of them, few are ever imported. They are compiled then.
    """
    forget_halves()
    environment = clean_environment()
    if 'PIP_CACHE_DIR' not in environment:
        environment['PIP_NO_CACHE_DIR'] = '1'
    run([PYTHON, '-m', 'pip', 'install', '--no-input', '--no-compile', '--disable-pip-version-check', *arguments], what,
        environment=environment, quiet=quiet)  # fmt: skip


def install_requirements(names: list[str], *, sourced: bool, compiled: bool) -> None:
    """Install packages at their pinned versions; under a sourced ROS what its system has stays.

    :param compiled: whether all modules are compiled now, on all cores, so that the first start takes no longer than later ones.
    """
    constraints = BUILD / 'constraints.txt'
    constraints.write_text('\n'.join(constraint_lines(PYTHON if sourced else None)) + '\n')
    pip_install(['-c', constraints, *names], 'pip install')
    if compiled:  # some packages hold templates that are no Python: no failure
        call([PYTHON, '-m', 'compileall', '-qq', '-j', '0', VENV / 'lib'], 'compileall', env=clean_environment())


def install_torch() -> str:
    """Install the pinned CPU build of torch where it can be had; return what came of it.

    A build with CUDA (several GB) is never taken: without the CPU build, what needs torch is skipped.
    """
    binary = ['--only-binary', ':all:']
    try:
        pip_install([*binary, '--no-deps', pinned('torch')], 'torch', quiet=True)
    except SetupError:
        log = LOG.read_text(errors='replace')
        if not any(words in log[-4000:] for words in ('No matching distribution', 'ResolutionImpossible')):
            raise
        return 'unavailable'
    pip_install([*binary, '-c', ROOT / 'constraints.txt', *names_of('export')], 'pip install')
    return 'installed'


def build_native(*, sourced: bool) -> None:
    """Run colcon build into the environment."""
    environment = clean_environment()
    environment['PATH'] = f'{VENV / "bin"}{os.pathsep}{environment["PATH"]}'
    environment['VIRTUAL_ENV'] = str(VENV)
    environment['COLCON_HOME'] = str(BUILD / 'colcon')
    for variable in ('AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH'):
        before = environment.get(variable) if sourced else None
        environment[variable] = os.pathsep.join(filter(None, [str(VENV), before]))
    for folder in ('msg', 'srv'):  # a message that has another name now would stay
        shutil.rmtree(VENV / 'share' / 'edge_dnn_partition' / folder, ignore_errors=True)
    run([PYTHON, '-m', 'colcon', '--log-base', BUILD / 'log', 'build', '--merge-install', '--install-base', VENV,
         '--build-base', BUILD, '--paths', ROOT, '--event-handlers', 'desktop_notification-', 'terminal_title-',
         'status-', 'console_direct+', '--cmake-args', '-GNinja', f'-DPython3_EXECUTABLE={PYTHON}',
         '-DBUILD_TESTING=OFF', *([] if sourced else ['-DCMAKE_UNITY_BUILD=ON', '-DCMAKE_UNITY_BUILD_BATCH_SIZE=0'])],
        'colcon build', environment=environment, log=NATIVE_LOG)  # fmt: skip
    run([PYTHON, '-c', 'import edge_dnn_partition.msg'], 'importing the messages', environment=clean_environment(),
        folder=BUILD, log=NATIVE_LOG)  # fmt: skip


def reinstall_python() -> None:
    """Copy changed Python, launch and configuration files to where colcon build puts them."""
    environment = clean_environment()
    environment['PATH'] = f'{VENV / "bin"}{os.pathsep}{environment["PATH"]}'
    run(['cmake', '--install', NATIVE_BUILD], 'cmake --install', environment=environment)


def remove_stale_modules() -> None:
    """Delete installed modules whose source file is gone."""
    site = next(VENV.glob('lib/python3*/site-packages/edge_dnn_partition'), None)
    if site is None:
        return
    for file in site.rglob('*.py'):
        inside = file.relative_to(site)
        in_benchmarks = inside.parts[0] == 'benchmarks'
        source = ROOT / inside if in_benchmarks else ROOT / 'edge_dnn_partition' / inside
        if inside.parts[0] not in ('msg', 'srv') and not source.exists():
            file.unlink()


def main() -> int:
    """Bring .venv/ up to date with the checkout."""
    parser = argparse.ArgumentParser(prog='setup.sh', description=__doc__)
    parser.add_argument('--with', dest='groups', nargs='+', default=[], help='extras of setup.cfg to install as well')
    groups = parser.parse_args().groups
    started = time.monotonic()
    sourced = ros_is_sourced(VENV)
    try:
        check_machine(sourced=sourced)
        with only_one():
            changed = bring_up_to_date(groups, sourced=sourced)
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f'error: {disk_full(gigabytes(groups))}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('setup: interrupted; run it again, and it goes on where it was', file=sys.stderr)
        return 130
    if changed:
        say(f'done in {time.monotonic() - started:.0f} s')
    return 0


def gigabytes(steps: Iterable[str]) -> float:
    """Return what the run's packages and those of some groups take on disk."""
    return sum(GIGABYTES.get(step, 0.2) for step in {'run', *steps})


def bring_up_to_date(groups: list[str], *, sourced: bool) -> bool:
    """Do the steps whose inputs changed; return whether there were any.

    The messages are built as soon as the packages that this needs are there, beside what pip installs for the groups.
    """
    stamp = Stamp()
    there = {'run' if stamp.get('packages run') else None, 'export' if stamp.get('torch') else None}
    if missing := {'run', *groups} - there - {group for group in groups if stamp.get(f'packages {group}')}:
        check_room(ROOT, gigabytes(missing) - (GIGABYTES['run'] if 'run' in there else 0.0))
    make_venv(stamp, sourced=sourced)
    mode = f'{sys.version_info[:2]}{sourced}'
    pins = hashlib.sha256((ROOT / 'constraints.txt').read_bytes()).hexdigest() + mode

    run_names = names_of(None, *RUN_GROUPS) + names_of('build-tools') + ([] if sourced else names_of('ros-wheels'))
    changed = install_group(stamp, 'run', run_names, pins, sourced=sourced)
    changed |= install_metadata(stamp)
    nodes = sorted(path.name for path in (ROOT / 'edge_dnn_partition' / 'nodes').glob('*.py'))
    native = digest(NATIVE_INPUTS) + mode + hashlib.sha256(repr((nodes, str(ROOT))).encode()).hexdigest()
    python = digest(PYTHON_INPUTS)
    with ThreadPoolExecutor(1) as beside:
        if stamp.get('native') != native:
            say('builds the messages and installs nodes and launch files (colcon build)')
        built = beside.submit(stamp.step, 'native', native, lambda: build_native(sourced=sourced))
        for group in groups:
            if group == 'export':
                changed |= install_export(stamp, pins)
            else:
                changed |= install_group(stamp, group, names_of(group), pins, sourced=sourced)
        if not built.result():
            if stamp.get('python') == python:
                return changed
            reinstall_python()
    remove_stale_modules()
    stamp.set(python=python)
    return True


def install_group(stamp: Stamp, label: str, names: list[str], pins: str, *, sourced: bool) -> bool:
    """Install the packages of a group, but those of the extra export; return whether any were to be."""
    of_torch = set(names_of('export'))  # part of the extra bench as well; here only a CPU build is taken, see install_torch
    names = [name for name in names if name not in of_torch]
    wanted = hashlib.sha256(f'{pins}{names}'.encode()).hexdigest()
    if stamp.get(f'packages {label}') != wanted:
        say(f'installs the packages for: {label}')
    return stamp.step(
        f'packages {label}', wanted, partial(install_requirements, names, sourced=sourced, compiled=label == 'run')
    )


def install_export(stamp: Stamp, pins: str) -> bool:
    """Install torch and what comes with it, where it can be had; return whether that was to be tried."""
    known = stamp.get('torch') in (f'installed {pins}', f'unavailable {pins}')
    if not known:
        say('installs a CPU build of torch for the export tests, where there is one')
        stamp.set(torch=f'{install_torch()} {pins}')
    if (stamp.get('torch') or '').startswith('unavailable'):
        say(f'{pinned("torch")} is in none of the package indexes of this machine, so the export tests will be skipped')
    return not known


def install_metadata(stamp: Stamp) -> bool:
    """Install the Python package itself; return whether that was to be done."""
    metadata = digest(METADATA_INPUTS)
    if stamp.get('metadata') == metadata:
        return False
    say('installs the Python package')
    # pip takes ament's egg-info for an older install and removes it, msg/ included: colcon comes after it.
    stamp.set(native=None)
    for leftover in BUILD.glob('lib*'):
        run(['rm', '-rf', leftover], 'rm', environment=clean_environment())
    return stamp.step('metadata', metadata, lambda: pip_install(
        ['--no-deps', '--no-build-isolation', '--force-reinstall', ROOT], 'pip install .'))  # fmt: skip


if __name__ == '__main__':
    sys.exit(main())
