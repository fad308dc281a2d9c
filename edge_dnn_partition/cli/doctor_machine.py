# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of Python, its packages, the kernel and the cache."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree as ET

from edge_dnn_partition import __version__, cache, cache_limit
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.transport import shared_memory as stale
from edge_dnn_partition.units import format_bytes

Status = Literal['ok', 'warn', 'fail']

# The ranges that setup.cfg asks for, by the name of the import: (distribution, lowest version).
NEEDED: Final = {
    'numpy': ('numpy', '1.26'),
    'onnx': ('onnx', '1.16'),
    'onnxruntime': ('onnxruntime', '1.19'),
    'lz4': ('lz4', '3.1'),
    'zstandard': ('zstandard', '0.18'),
    'cv2': ('opencv-python-headless', '4.6'),
    'psutil': ('psutil', '5.9'),
    'pydantic': ('pydantic', '2.5'),
    'yaml': ('PyYAML', '6.0'),
    'rich': ('rich', '13.0'),
    'scipy': ('scipy', '1.11'),
}
_ON_NUMPY: Final = ('onnx', 'onnxruntime', 'cv2', 'scipy')
RECEIVE_BUFFER_BYTES: Final = 2 * 1024 * 1024
FRAGMENT_BYTES: Final = 128 * 1024 * 1024
FRAGMENT_SECONDS: Final = 3
SHARED_MEMORY_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Check:
    """What one check found, and what to do about it."""

    name: str
    status: Status
    found: str
    advice: str = ''
    group: str = ''
    """With others of it one line, where nothing is to be done; `short` is what it says there."""
    short: str = ''
    absent: bool = False
    """It tells that something is not here, which need not be."""


def python() -> tuple[Check, ...]:
    """Check the interpreter's version."""
    found = f'{platform.python_version()} ({sys.executable}), edge_dnn_partition {__version__}'
    return (Check('python', 'ok', found),)


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, as in (1, 26, 4) for ``1.26.4+local``."""
    match = re.match(r'\d+(?:\.\d+)*', text)
    return tuple(int(part) for part in match[0].split('.')) if match else ()


def packages() -> tuple[Check, ...]:
    """Check that every package can be imported, and its version."""
    checks: list[Check] = []
    for module, (distribution, lowest) in NEEDED.items():
        if module in _ON_NUMPY and any(check.name == 'numpy' and check.status == 'fail' for check in checks):
            checks.append(Check(module, 'fail', 'cannot be imported without numpy', 'fix numpy first'))
            continue
        try:
            imported = __import__(module)
        except Exception as error:  # noqa: BLE001 (a broken package can raise anything while it is imported)
            place, advice = _whence(module, f'{distribution}>={lowest}')
            found = f'cannot be imported{place} ({type(error).__name__}: {" ".join(str(error).split())[:120]})'
            checks.append(Check(module, 'fail', found, advice))
            continue
        version = str(getattr(imported, '__version__', '')) or _distribution_version(distribution)
        if version_tuple(version) >= version_tuple(lowest):
            checks.append(Check(module, 'ok', version, group='packages', short=f'{module} {version}'))
        else:
            place, advice = _whence(module, f'{distribution}>={lowest}')
            checks.append(Check(module, 'fail', f'{version}{place}, but {lowest} is required', advice))
    return tuple(checks)


def _whence(module: str, wanted: str) -> tuple[str, str]:
    """Return where an unusable module comes from, and what to do: another copy does not help if PYTHONPATH comes first."""
    install = f'pip install "{wanted}"'
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # so broken that it cannot even be found
        return '', install
    if spec is None or spec.origin is None:
        return '', install
    place = f' from {spec.origin}'
    for entry in filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep)):
        if Path(spec.origin).resolve().is_relative_to(Path(entry).resolve()):
            return place, f'PYTHONPATH contains {entry}, which hides installed packages: remove it, or unset PYTHONPATH'
    if spec.origin.startswith(str(Path.cwd())) and not spec.origin.startswith(sys.prefix):
        return place, 'that file is in the current folder: change to another folder, or rename it'
    return place, install if sys.prefix in spec.origin else f'{install} in this environment, or remove that copy'


def providers() -> tuple[Check, ...]:
    """Check which execution providers onnxruntime has."""
    try:
        import onnxruntime

        names = onnxruntime.get_available_providers()
    except Exception:  # noqa: BLE001 (packages() has said why)
        return ()
    if 'CPUExecutionProvider' in names:
        return (Check('execution providers', 'ok', ', '.join(names)),)
    advice = 'reinstall onnxruntime: its CPU provider is missing'
    return (Check('execution providers', 'fail', ', '.join(names) or 'none', advice),)


def cache_folder() -> tuple[Check, ...]:
    """Check that the cache can be written."""
    told: list[str] = []
    cache.tell_troubles(told.append)
    try:
        folder = cache.cache_dir()
        cache.check_writable(folder)
    except (OSError, UserError) as error:
        told.append(str(error))
    finally:
        cache.tell_troubles(None)
    if told:
        advice = 'set EDGE_DNN_PARTITION_CACHE to a writable folder; until then models are prepared again at each start'
        return (Check('cache', 'warn', told[-1], advice),)
    try:
        limit = cache_limit.limit_bytes()
    except UserError as error:
        return (Check('cache', 'warn', str(error), 'give a size such as 8 GB; until then the limit is 2 GB'),)
    return (Check('cache', 'ok', f'{folder}: {cache_limit.used_bytes() / 1e9:.2g} of {limit / 1e9:.3g} GB'),)


def socket_buffers(root: Path = Path('/')) -> tuple[Check, ...]:
    """Check the kernel's limits for received datagrams: a large tensor arrives in a burst.

    :param root: where ``proc`` lies, for tests.
    """
    checks = []
    receive = _read_int(root / 'proc/sys/net/core/rmem_max')
    if receive is not None:
        advice = f'sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}: small buffers lose datagrams of tensors'
        checks.append(_enough('receive buffer', format_bytes(receive), receive >= RECEIVE_BUFFER_BYTES, advice))
    high = _read_int(root / 'proc/sys/net/ipv4/ipfrag_high_thresh')
    seconds = _read_int(root / 'proc/sys/net/ipv4/ipfrag_time')
    if high is not None and seconds is not None:
        found = f'{format_bytes(high)}, kept {seconds} s'
        advice = (
            f'sudo sysctl -w net.ipv4.ipfrag_time={FRAGMENT_SECONDS} net.ipv4.ipfrag_high_thresh={FRAGMENT_BYTES}: '
            'on a lossy Wi-Fi, fragments of lost datagrams fill this buffer, and all others are dropped'
        )
        enough = high >= FRAGMENT_BYTES or seconds <= FRAGMENT_SECONDS
        checks.append(_enough('IP fragments', found, enough, advice))
    if not checks:
        checks.append(Check('kernel buffers', 'warn', 'cannot be read', 'run doctor outside the container'))
    return tuple(checks)


def shared_memory(folder: Path = Path('/dev/shm')) -> tuple[Check, ...]:  # noqa: S108 (it is only measured)
    """Check the room in shared memory, which Fast DDS uses between processes of one machine."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return (Check('shared memory', 'warn', f'{folder} is missing', 'Fast DDS falls back to UDP on this machine'),)
    size, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    found = f'{format_bytes(free)} free of {format_bytes(size)}'
    if free >= SHARED_MEMORY_BYTES:
        return (Check('shared memory', 'ok', found),)
    advice = 'enlarge it (in a container: --shm-size=1g), or remove files left by dead processes'
    return (Check('shared memory', 'warn', found, advice),)


def leftovers(folder: Path = Path('/dev/shm')) -> tuple[Check, ...]:  # noqa: S108 (it is only looked at)
    """Check for files that dead processes left in shared memory: they take space, and Fast DDS may trip over them."""
    if not folder.is_dir():
        return ()
    dead = [*stale.dead_ports(folder), *stale.dead_buffers(folder), *stale.dead_segments(folder)]
    if not dead:
        return (Check('stale shared memory', 'ok', 'none'),)
    size = 0
    for path in dead:
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    names = dead[0].name + (', …' if len(dead) > 1 else '')
    found = f'{len(dead)} files of dead processes, {format_bytes(size)}, in {folder}: {names}'
    advice = 'nodes of this package remove them on exit; `fastdds shm clean` removes those of Fast DDS now'
    return (Check('stale shared memory', 'warn', found, advice),)


def _enough(name: str, found: str, enough: bool, advice: str) -> Check:
    return Check(name, 'ok', found) if enough else Check(name, 'warn', found, advice)


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding='ascii').split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _distribution_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return '0'


DDS_PROFILE: Final = 'DDS profile'
IN_WORDS: Final = {
    'machine': 'loopback; invisible to other machines',
    'lan': 'UDP, tolerates Wi-Fi dropouts',
    'wan': 'as lan within a site, Zenoh between sites',
}


def dds_profile_check(fleet_file: str | None = None) -> tuple[Check, ...]:
    """Check which profile is in force: ours by the fleet's kind of network, or what the user chose.

    :param fleet_file: the fleet that is asked about; without one the answer is general.
    """
    try:
        from edge_dnn_partition.deployment.dds_environment import chosen_by_user, dds_environment, dds_profile, other_middleware
        from edge_dnn_partition.planning.fleet.fleet import load_fleet
    except ImportError:
        return ()  # a package is missing; packages() says which
    if middleware := other_middleware(os.environ):
        return (_of_other(middleware, fleet_file),)
    try:
        chosen = chosen_by_user(os.environ)
    except OSError:
        return ()  # the cache cannot be written; cache_folder() says so
    if chosen:
        return (_of_user(chosen, os.environ[chosen]),)
    if fleet_file is None:
        found = 'chosen by network in the fleet file: machine, lan or wan (doctor --fleet FLEET.yaml shows which)'
        return (Check(DDS_PROFILE, 'ok', found),)
    try:
        fleet = load_fleet(fleet_file)
        environment = dds_environment(dds_profile(fleet))
    except UserError as error:
        return (Check(DDS_PROFILE, 'fail', str(error), 'fix the fleet file'),)
    kind = fleet.network_kind
    exports = ' '.join(f'{name}={path}' for name, path in environment.items())
    interface = fleet.network.interface
    found = f'{kind}: {IN_WORDS[kind]}' + (f', on {interface} only' if interface else '')
    if interface and any(os.environ.get(name) != path for name, path in environment.items()):
        advice = f'for ros2 tools and camera drivers to find the fleet: export {exports}'
        return (Check(DDS_PROFILE, 'warn', found, advice),)
    return (Check(DDS_PROFILE, 'ok', found),)


_OTHERS: Final = {
    'rmw_zenoh': 'start its router, ros2 run rmw_zenoh_cpp rmw_zenohd, on each machine; `doctor --listen` does not hear it',
    'rmw_cyclonedds': 'what loses messages on Wi-Fi, and how long a device may be away, is for CYCLONEDDS_URI',
}


def _of_other(middleware: str, fleet_file: str | None) -> Check:
    """Say what is different with a middleware that is not Fast DDS."""
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    different = [words for name, words in _OTHERS.items() if middleware.startswith(name)]
    found = f'none: {middleware} has its own configuration, and the network of the fleet file sets nothing of it'
    if fleet_file is not None:
        try:
            fleet = load_fleet(fleet_file)
        except UserError as error:
            return Check(DDS_PROFILE, 'fail', str(error), 'fix the fleet file')
        if fleet.network_kind == 'machine':
            different.append('the fleet is not kept from other machines: export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST')
        if fleet.network.interface:
            different.append(f'it does not keep to {fleet.network.interface}: set that up in its own configuration')
    return Check(DDS_PROFILE, 'ok', '; '.join([found, *different]))


def _of_user(variable: str, value: str) -> Check:
    found = f'yours: {variable}={value}'
    if not variable.endswith('_PROFILES_FILE'):
        return Check(DDS_PROFILE, 'ok', found)
    advice = f'fix the file, or unset {variable} to get the profile that fits the fleet file: Fast DDS ignores this one'
    try:
        root = ET.fromstring(Path(value).read_bytes())  # noqa: S314 (the user's own file)
    except OSError as error:
        return Check(DDS_PROFILE, 'fail', f'{found}: {error.strerror}', advice)
    except ET.ParseError as error:
        return Check(DDS_PROFILE, 'fail', f'{found}: is not XML ({error})', advice)
    if root.tag.rpartition('}')[2] not in ('dds', 'profiles'):
        return Check(DDS_PROFILE, 'fail', f'{found}: starts with <{root.tag}> instead of <dds> or <profiles>', advice)
    return Check(DDS_PROFILE, 'ok', found)


_BETWEEN_SECONDS: Final = 0.3


def sensors(root: str = '') -> tuple[Check, ...]:
    """Say of each source what it found, or why it has nothing; only what can be mended is a warning.

    :param root: of proc and sysfs, for tests.
    """
    try:
        from edge_dnn_partition.sensing.host import HostMeter, power_meters
    except ImportError:
        return ()  # a package is missing; packages() says which
    host = HostMeter(root)
    host.sample(0.0)
    time.sleep(_BETWEEN_SECONDS)
    sample = host.sample(_BETWEEN_SECONDS)
    meters = {meter.name for meter in power_meters(root)}
    checks = []
    for state in host.states():
        kind, group = ('meter', 'power meters') if state.name in meters else ('sensor', 'sensors')
        name = f'{kind} {state.name}'
        if state.name == 'limits' and sample.limits.limited:
            checks.append(Check('limits of this process', 'ok', state.found))
        elif state.status == 'ok':
            checks.append(Check(name, 'ok', state.found, group=group, short=state.name))
        elif state.status == 'absent' and not state.advice:
            checks.append(Check(name, 'ok', f'not here: {state.found}', group=group, short=state.name, absent=True))
        else:
            advice = state.advice or 'it is skipped and retried; check that file or service'
            checks.append(Check(name, 'warn', state.found, advice))
    from edge_dnn_partition.sensing.power.reading import measured_for, total

    reading = total(sample.power)
    if reading is not None:
        whole = 'the whole board' if reading.scope == 'board' else f'{reading.scope} only'
        found = f'{reading.watts:.2f} W now, measured by {reading.source} ({whole})'
        checks.append(Check('power', 'ok', f'{found}: {reading.note}' if reading.note else found))
    if measured_for(sample.power, 'cpu') is None:
        checks.append(_model(root, 'power' if reading is None else 'power of the CPU'))
    return tuple(checks)


def _model(root: str, name: str) -> Check:
    """Say which power model stands in for a meter."""
    from edge_dnn_partition.sensing.power.boards import device_model

    advice = 'edge-dnn-partition calibrate fits a model to this device; a wall meter will do if it has no meter'
    try:
        model = device_model(root)
    except (UserError, OSError) as error:
        return Check(name, 'warn', str(error), advice)
    if model is None:
        return Check(name, 'warn', 'no meter, and no power model for this board', advice)
    found = f'no meter; modelled: {model.idle_watts:.2f} W idle, {model.core_watts:.2f} W a busy core ({model.source})'
    if model.source.startswith('calibrate'):
        return Check(name, 'ok', found)
    return Check(name, 'warn', found, advice)
