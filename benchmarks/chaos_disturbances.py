# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What befalls a stream in ``bench chaos``, a class each."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.inputs.frame import CameraImage

if TYPE_CHECKING:
    from edge_dnn_partition.cli.testbed import Testbed

Row = dict[str, Any]

ENDED: Final = 'ended by itself'
"""The kind of what none of these did."""
_UP_SECONDS: Final = 60.0


class Disturbance(ABC):
    """Something that happens to a fleet and passes.

    :param choose: the source of all that is random.
    """

    name: str

    def __init__(self, testbed: Testbed, choose: random.Random) -> None:
        self.testbed, self.choose = testbed, choose

    @abstractmethod
    def happen(self) -> Row:
        """Let it happen, and pass; return ``victim`` and, where a process was away, when it was ``up`` again."""

    def __call__(self) -> Row:
        """Let it happen; return a row with ``kind``, ``at`` and ``until`` as well, times of this process's steady clock."""
        at = time.monotonic()
        row = {'kind': self.name, 'at': at, 'victim': '', 'up': None} | self.happen()
        return row | {'until': time.monotonic()}


class Kill(Disturbance):
    """SIGKILL to one process, which is started again after a while, as a supervisor does."""

    name = 'SIGKILL'
    least_delay_seconds, most_delay_seconds = 0.2, 2.0

    def happen(self) -> Row:
        """Kill one, wait until the one in its place is active."""
        label = self.choose.choice(self.victims())
        self.testbed.kill(label)
        self.testbed.supervisor.ended()  # that was this
        time.sleep(self.choose.uniform(self.least_delay_seconds, self.most_delay_seconds))
        start_again(self.testbed, label)
        return {'victim': label, 'up': time.monotonic()}

    def victims(self) -> list[str]:
        """Return the labels of the processes that it may be."""
        return sorted(label for label in self.testbed.processes if 'device_monitor' not in label)


def start_again(testbed: Testbed, label: str) -> None:
    """Start a process that has ended, and wait until it is active."""
    lines = len(testbed.log)
    testbed.start(label)
    testbed.wait_for(lambda: any(who == label and line.rstrip().endswith(': active') for who, line in testbed.log[lines:]),
                 _UP_SECONDS, f'{label} active again')  # fmt: skip


def restart(testbed: Testbed) -> list[Row]:
    """Start what has ended by itself again; return a row for each."""
    rows = []
    for label, code in testbed.supervisor.ended().items():
        at = time.monotonic()
        last = ' | '.join([line for who, line in testbed.log if who == label][-4:])
        start_again(testbed, label)
        rows.append({'kind': ENDED, 'at': at, 'victim': label, 'up': time.monotonic(), 'until': time.monotonic(),
                     'code': code, 'last_lines': last[-600:]})  # fmt: skip
    return rows


class KillSource(Kill):
    """SIGKILL to the frame source, without which there are no results."""

    name = 'SIGKILL, source'

    def victims(self) -> list[str]:
        """Return the frame source."""
        return [label for label in self.testbed.processes if label.endswith('frame_source')]


class Stop(Disturbance):
    """SIGSTOP to one process for some seconds: it is there, and does nothing."""

    name = 'SIGSTOP'

    def happen(self) -> Row:
        """Stop one; only the frame source's standing still is an excuse for results."""
        label = self.choose.choice(sorted(self.testbed.processes))
        self.testbed.supervisor.signal(label, signal.SIGSTOP)
        try:
            time.sleep(self.choose.uniform(1.0, 5.0))
        finally:
            self.testbed.supervisor.signal(label, signal.SIGCONT)
        return {'victim': label, 'up': time.monotonic() if label.endswith('frame_source') else None}


class Cut(Disturbance):
    """A link carries nothing for some seconds, both ways."""

    name = 'link cut'

    def happen(self) -> Row:
        """Cut one."""
        pair = self.choose.choice([link.between for link in self.testbed.file.links])
        self.testbed.cut(*pair)
        try:
            time.sleep(self.choose.uniform(0.5, 8.0))
        finally:
            self.testbed.heal(*pair)
        return {'victim': '–'.join(pair)}


class StepClock(Disturbance):
    """The wall clock of all processes jumps.

    :param step: sets it, by seconds from the true time.
    """

    name = 'clock step'

    def __init__(self, testbed: Testbed, choose: random.Random, step: Callable[[float], None]) -> None:
        super().__init__(testbed, choose)
        self._step = step

    def happen(self) -> Row:
        """Step it forth or back; it stays there until the next step."""
        seconds = self.choose.choice((-3600.0, -60.0, -1.0, 0.0, 0.5, 60.0, 3600.0))
        self._step(seconds)
        time.sleep(2.0)
        return {'victim': f'{seconds:+g} s'}


class FillDisk(Disturbance):
    """The disk with the cache and the journal has no byte left for some seconds.

    :param folder: somewhere on it.
    """

    name = 'disk full'

    def __init__(self, testbed: Testbed, choose: random.Random, folder: Path) -> None:
        super().__init__(testbed, choose)
        self._file = folder / 'filler'

    def happen(self) -> Row:
        """Fill it."""
        try:
            with self._file.open('wb', buffering=0) as stream:
                while stream.write(bytes(1 << 16)):
                    pass
        except OSError:
            pass  # it is full
        try:
            time.sleep(self.choose.uniform(2.0, 6.0))
        finally:
            self._file.unlink(missing_ok=True)
        return {'victim': 'cache'}


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a disk of a size in memory. Needs root."""
    folder.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size_bytes}', 'chaos', str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(['umount', '--lazy', str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def bad_images(good: CameraImage) -> dict[str, CameraImage]:
    """Return images that cannot be read, by what is wrong with them."""
    data = good.data
    noise = data.copy()
    noise[len(noise) // 4 :] = 0x55
    return {
        'cut off': CameraImage(data[: len(data) * 2 // 3], 'jpeg'), 'header alone': CameraImage(data[:100], 'jpeg'),
        'no bytes': CameraImage(data[:0], 'jpeg'), 'no image': CameraImage(noise[len(noise) // 4 :], 'jpeg'),
        'wrong format': CameraImage(data, 'h264'),
    }  # fmt: skip
