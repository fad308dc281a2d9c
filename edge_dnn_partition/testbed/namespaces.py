# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Real network namespaces with shaped links on one machine, for benchmarks that run as root.

Each host is a network namespace with a subnet of its own; a router namespace joins them and
shapes what it sends on. The machine's own network is not touched: every interface is made
inside a namespace. A sender is not held back by the shaper, as it would be by one on its own
interface: what finds the router's queue full is lost.
"""

from __future__ import annotations

import atexit
import functools
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed.netns import (
    COMMAND_SECONDS,
    NAMESPACE_FOLDER,
    SHARED_MEMORY,
    enter,
    first_complaint,
    new_stem,
    remove,
    remove_leftovers,
    run,
)
from edge_dnn_partition.testbed.shaping import MOST_PACKETS_AT_ONCE, Counters, Shape, ShapedLink, root

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ['Counters', 'Namespaces', 'Shape', 'delays', 'remove_leftovers', 'why_not']

_HOST: Final = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,63}')
_TOOLS: Final = ('ip', 'tc', 'nsenter', 'unshare', 'mount', 'sh')
_MOST_HOSTS: Final = 250


@functools.cache
def why_not() -> str | None:
    """One line that says why namespaces cannot be used here; None if they can.

    Makes a small network and removes it (0.2 s); later calls repeat the first answer.
    """
    if not sys.platform.startswith('linux'):
        return 'network namespaces are a feature of Linux'
    if os.geteuid() != 0:
        return 'network namespaces need root'
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f'missing: {", ".join(missing)} (Debian packages iproute2, util-linux, mount)'
    try:
        with Namespaces(['a', 'b'], {('a', 'b'): Shape(1e6)}) as network:
            network.reshape('a', 'b', Shape(2e6))
            network.cut('a', 'b')
            network.heal('a', 'b')
            network.counters('a', 'b')
            probe = network.popen('a', ['true'], stderr=subprocess.PIPE, text=True)
            _, message = probe.communicate(timeout=COMMAND_SECONDS)
            if probe.returncode:
                return f'no process starts in a namespace: {first_complaint(message)}'
    except (UserError, OSError, subprocess.SubprocessError) as error:
        return f'no namespaces here: {error}'
    return None


@functools.cache
def delays() -> bool:
    """Return whether the kernel can delay packets (``netem``); later calls repeat the first answer."""
    try:
        with Namespaces(['a', 'b'], {('a', 'b'): Shape(1e6, delay_seconds=0.001)}):
            return True
    except UserError:
        return False


class Namespaces:
    """Hosts joined by a router, as a context manager: made on entry, removed on exit however that comes.

    Removed also at the interpreter's exit and, where the program has no SIGTERM handler of its
    own, after SIGTERM (which then ends it with SystemExit); what a SIGKILL leaves, the next entry
    removes. Processes that still run in the namespaces at the exit are killed.

    Multicast does not cross the router: DDS on another host is found only by its ``address``, as
    an initial peer (``ROS_STATIC_PEERS``, with ``ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET``).

    :param hosts: their names, 250 at most, each matching ``[A-Za-z][A-Za-z0-9_]*``.
    :param shapes: the directions, (sender, receiver), that are shaped; others are as fast as the machine.
    :raises UserError: if a name is malformed, repeated or unknown; on entry, if the system refuses.
    """

    def __init__(self, hosts: Sequence[str], shapes: Mapping[tuple[str, str], Shape]) -> None:
        if bad := [host for host in hosts if not _HOST.fullmatch(host)]:
            raise UserError(f'hosts: {bad[0]!r} must match [A-Za-z][A-Za-z0-9_]*, with 64 letters at most')
        if len(set(hosts)) != len(hosts) or len(hosts) > _MOST_HOSTS:
            raise UserError(f'hosts: names must differ, and be {_MOST_HOSTS} at most')
        self._index = {host: index for index, host in enumerate(hosts)}
        self._pid = os.getpid()
        self._stem = new_stem()
        self._router = f'{self._stem}.router'
        self._wanted = dict(shapes)
        for sender, receiver in self._wanted:
            self._check_pair(sender, receiver)
        self._shapes: dict[tuple[str, str], Shape] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._processes: list[subprocess.Popen[Any]] = []
        self._lock = threading.RLock()
        self._handler_set = False

    def __enter__(self) -> Self:
        remove_leftovers()
        atexit.register(self.close)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)
            self._handler_set = True
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill what runs in the namespaces and remove them; again is harmless. In a forked child it does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            for process in self._processes:
                process.kill()
            remove([self._router, *map(self.namespace, self._index)])
            for process in self._processes:
                process.wait(COMMAND_SECONDS)
            self._processes.clear()
            self._shapes.clear()
            self._cuts.clear()
            atexit.unregister(self.close)
            if self._handler_set and signal.getsignal(signal.SIGTERM) is _end:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._handler_set = False

    @property
    def slowest(self) -> float:
        """The rate of the slowest direction that was asked for, in bytes per second; infinite if none is shaped."""
        return min((shape.bits_per_second / 8 for shape in self._wanted.values()), default=math.inf)

    def namespace(self, host: str) -> str:
        """The name of a host's namespace, as ``ip netns`` lists it."""
        self._check_host(host)
        return f'{self._stem}-{host}'

    def address(self, host: str) -> str:
        """The IPv4 address at which the others reach a host: 10.77.N.2, N its place among the hosts."""
        self._check_host(host)
        return f'10.77.{self._index[host]}.2'

    def prefix(self, host: str) -> list[str]:
        """What to put before a command so that it runs on a host; it becomes the command, with the same pid."""
        return [
            'nsenter', f'--net={NAMESPACE_FOLDER}/{self.namespace(host)}', 'unshare', '--mount', 'sh', '-c',
            f'mount --bind "$0" {SHARED_MEMORY} && exec "$@"', f'{SHARED_MEMORY}/{self.namespace(host)}',
        ]  # fmt: skip

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Move this thread, and the threads that it starts, into a host's network; its shared memory stays the machine's.

        :raises UserError: if the system refuses.
        """
        with open('/proc/thread-self/ns/net', 'rb') as home, open(f'{NAMESPACE_FOLDER}/{self.namespace(host)}', 'rb') as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(home.fileno())

    def popen(
        self, host: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None, **popen_kwargs: Any
    ) -> subprocess.Popen[Any]:
        """Start a process on a host.

        Its ``/dev/shm`` is the host's: processes of one host share it, others and the machine do
        not. ``pid`` is the command's own; a command that is not found ends with code 127.

        :param environment: variables to add to ``env``, or to this process's where that is not given.
        :param popen_kwargs: as for ``subprocess.Popen``.
        """
        base = popen_kwargs.pop('env', None)
        env = {**(os.environ if base is None else base), **(environment or {})}
        process: subprocess.Popen[Any] = subprocess.Popen([*self.prefix(host), *command], env=env, **popen_kwargs)
        with self._lock:
            self._processes = [*(each for each in self._processes if each.poll() is None), process]
        return process

    def reshape(self, sender: str, receiver: str, shape: Shape) -> None:
        """Give one direction another shape, or its first; what is in its queue stays there.

        :raises UserError: if a host is unknown or the system refuses.
        """
        link = self._link(sender, receiver)
        with self._lock:
            known = (sender, receiver) in self._shapes
            self._tc(link.change(shape) if known else link.add(shape))
            self._shapes[sender, receiver] = shape
            at_once = min(each.packets_at_once for pair, each in self._shapes.items() if pair[0] == sender)
            _ip(self.namespace(sender), [_offload(at_once)])

    def cut(self, sender: str, receiver: str, *, both_ways: bool = False) -> None:
        """Drop every packet of a direction without a word to anyone, those in its queue too; the shape stays.

        :param both_ways: cut the other direction as well.
        :raises UserError: if a host is unknown or the system refuses.
        """
        for pair in self._pairs(sender, receiver, both_ways=both_ways):
            with self._lock:
                if pair not in self._cuts:
                    _ip(self._router, [f'rule add {self._blackhole(*pair)}'])
                    self._cuts.add(pair)
                if pair in self._shapes:
                    self._tc(self._link(*pair).flush(self._shapes[pair]))

    def heal(self, sender: str, receiver: str, *, both_ways: bool = False) -> None:
        """Undo ``cut``; a direction that is not cut stays as it is.

        :raises UserError: if a host is unknown or the system refuses.
        """
        for pair in self._pairs(sender, receiver, both_ways=both_ways):
            with self._lock:
                if pair in self._cuts:
                    _ip(self._router, [f'rule del {self._blackhole(*pair)}'])
                    self._cuts.remove(pair)

    def counters(self, sender: str, receiver: str) -> Counters:
        """What the shaper of a direction has sent and dropped since it was first shaped.

        :raises UserError: if the direction is not shaped.
        """
        link = self._link(sender, receiver)
        if (sender, receiver) not in self._shapes:
            raise UserError(f'{sender} to {receiver} is not shaped, and only shaped links are counted')
        return link.counters(run(['tc', '-n', self._router, '-s', 'class', 'show', 'dev', link.interface]))

    def sent_bytes(self, sender: str, receiver: str) -> int:
        """What crossed a shaped direction so far, in bytes with headers; see ``counters``."""
        return self.counters(sender, receiver).sent_bytes

    def _build(self) -> None:
        for name in (self._router, *map(self.namespace, self._index)):
            run(['ip', 'netns', 'add', name])
        for host, index in self._index.items():
            name = self.namespace(host)
            os.mkdir(f'{SHARED_MEMORY}/{name}')
            os.chmod(f'{SHARED_MEMORY}/{name}', 0o1777)  # noqa: S103 - as /dev/shm itself
            _ip(self._router, [
                f'link add name to{index} type veth peer name eth0 netns {name}',
                f'link set dev to{index} up',
                f'address add 10.77.{index}.1/24 dev to{index}',
            ])  # fmt: skip
            _ip(name, [
                'link set dev lo up',
                'link set dev eth0 up',
                _offload(MOST_PACKETS_AT_ONCE),
                f'address add {self.address(host)}/24 dev eth0',
                f'route add default via 10.77.{index}.1',
                'route add 224.0.0.0/4 dev eth0',
            ])  # fmt: skip
        self._tc([root(f'to{index}') for index in self._index.values()])
        for (sender, receiver), shape in self._wanted.items():
            self.reshape(sender, receiver, shape)
        forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward'
        run(['nsenter', f'--net={NAMESPACE_FOLDER}/{self._router}', 'sh', '-c', forward])

    def _tc(self, lines: Iterable[str]) -> None:
        run(['tc', '-n', self._router, '-batch', '-'], lines)

    def _link(self, sender: str, receiver: str) -> ShapedLink:
        self._check_pair(sender, receiver)
        return ShapedLink(f'to{self._index[receiver]}', self._index[sender] + 1, self.address(sender))

    def _blackhole(self, sender: str, receiver: str) -> str:
        return f'from {self.address(sender)} to {self.address(receiver)} priority 1000 blackhole'

    def _pairs(self, sender: str, receiver: str, *, both_ways: bool) -> list[tuple[str, str]]:
        self._check_pair(sender, receiver)
        return [(sender, receiver), (receiver, sender)] if both_ways else [(sender, receiver)]

    def _check_host(self, host: str) -> None:
        if host not in self._index:
            raise UserError(f'{host!r} is not a host here; there are: {", ".join(self._index)}')

    def _check_pair(self, sender: str, receiver: str) -> None:
        self._check_host(sender)
        self._check_host(receiver)
        if sender == receiver:
            raise UserError(f'there is no link from {sender} to itself')


def _ip(namespace: str, lines: Iterable[str]) -> None:
    run(['ip', '-n', namespace, '-batch', '-'], lines)


def _offload(packets: int) -> str:
    return f'link set dev eth0 gso_max_segs {packets}'


def _end(number: int, _frame: FrameType | None) -> None:
    """End the program by way of its ``finally`` clauses."""
    sys.exit(128 + number)
