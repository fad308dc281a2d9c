# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Real namespaces: they carry, shape, cut, and leave nothing behind. As root only; all traffic stays inside."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed import namespaces, netns
from edge_dnn_partition.testbed.namespaces import Namespaces, Shape, why_not

reason = why_not()
needs_namespaces = pytest.mark.skipif(reason is not None, reason=reason or '')

SHARED_MEMORY = Path('/dev/shm')
NAMESPACES = Path('/var/run/netns')
#: Receives until the other end closes; prints bytes, and seconds since the first.
RECEIVE = """
import socket, time
server = socket.create_server(('', 7000))
print('ready', flush=True)
connection, _ = server.accept()
total, begin, end = 0, None, 0.0
while data := connection.recv(1 << 16):
    end = time.perf_counter()
    begin = begin or end
    total += len(data)
print(total, end - begin)
"""
SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000), timeout=10) as connection:
    connection.sendall(bytes(int(sys.argv[2])))
"""
#: Prints every number that arrives.
LISTEN = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(('', 7001))
print('ready', flush=True)
while True:
    print(receiver.recv(2048)[:8].decode().strip(), flush=True)
"""
#: Sends a datagram for each line that it reads, and says so, or which error the network answered.
SPEAK = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], 7001))
for line in sys.stdin:
    try:
        sender.send(line.strip().ljust(1472).encode())
        print('sent', flush=True)
    except OSError as error:
        print(error, flush=True)
"""


def python(network: Namespaces, host: str, code: str, *arguments: str) -> subprocess.Popen[str]:
    return network.popen(
        host, [sys.executable, '-I', '-S', '-c', code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def transfer(network: Namespaces, size: int) -> tuple[int, float]:
    receiver = python(network, 'pi', RECEIVE)
    assert line(receiver) == 'ready'
    sender = python(network, 'jetson', SEND, network.address('pi'), str(size))
    assert sender.wait(15) == 0
    total, seconds = receiver.communicate(timeout=15)[0].split()
    return int(total), float(seconds)


def traces(network: Namespaces) -> list[str]:
    """What is left of a network, wherever it may be."""
    stem = network._stem
    interfaces = [name for name in os.listdir('/sys/class/net') if name in {'to0', 'to1'}]
    return interfaces + [name for folder in (NAMESPACES, SHARED_MEMORY) for name in os.listdir(folder) if name.startswith(stem)]


def alive(pid: int) -> bool:
    return netns._start_ticks(pid) is not None


@pytest.fixture
def network() -> Iterator[Namespaces]:
    if reason is not None:
        pytest.skip(reason)
    with Namespaces(['jetson', 'pi'], {('jetson', 'pi'): Shape(20e6), ('pi', 'jetson'): Shape(20e6)}) as made:
        yield made
    assert traces(made) == []


@pytest.mark.parametrize(('hosts', 'pairs', 'word'), [
    (['pi', 'pi'], [], 'differ'), (['a-b'], [], 'must match'), (['pi; reboot'], [], 'must match'),
    (['pi', 'jetson'], [('pi', 'cloud')], 'cloud'), (['pi', 'jetson'], [('pi', 'pi')], 'itself'),
    ([f'h{i}' for i in range(251)], [], '250'),
])
def test_malformed_networks_are_refused(hosts: list[str], pairs: list[tuple[str, str]], word: str) -> None:
    with pytest.raises(UserError, match=word):
        Namespaces(hosts, dict.fromkeys(pairs, Shape(1e6)))


def test_the_reason_is_one_line_that_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    assert why_not.__wrapped__() == 'network namespaces need root'
    monkeypatch.setattr(os, 'geteuid', lambda: 0)
    monkeypatch.setattr(namespaces.shutil, 'which', lambda tool: None if tool == 'tc' else f'/bin/{tool}')
    assert why_not.__wrapped__().startswith('missing: tc (')


def test_tcp_keeps_to_the_rate_and_is_counted(network: Namespaces) -> None:
    total, seconds = transfer(network, 1_500_000)
    assert total == 1_500_000
    assert total * 8 / seconds == pytest.approx(20e6 * 1448 / 1514, rel=0.15)
    counters = network.counters('jetson', 'pi')
    assert 1_500_000 < counters.sent_bytes < 1.2 * 1_500_000
    assert network.sent_bytes('jetson', 'pi') >= counters.sent_bytes
    assert 0 < network.sent_bytes('pi', 'jetson') < 200_000  # acknowledgements


def test_a_slow_link_with_a_short_queue_carries_full_packets(network: Namespaces) -> None:
    network.reshape('jetson', 'pi', Shape(1e6, 0.01))
    total, seconds = transfer(network, 100_000)
    assert total == 100_000
    assert seconds > 0.5  # it was reshaped: at 20 Mbit/s it takes 0.04
    assert network.counters('jetson', 'pi').sent_packets >= 100_000 / 1448


def test_a_link_without_a_shape_gets_one(network: Namespaces) -> None:
    with Namespaces(['jetson', 'pi'], {}) as plain:
        with pytest.raises(UserError, match='not shaped'):
            plain.sent_bytes('jetson', 'pi')
        plain.reshape('jetson', 'pi', Shape(4e6))
        total, seconds = transfer(plain, 250_000)
        assert total * 8 / seconds == pytest.approx(4e6 * 1448 / 1514, rel=0.15)


def test_senders_to_one_receiver_do_not_share_a_rate() -> None:
    if reason is not None:
        pytest.skip(reason)
    with Namespaces(['jetson', 'cloud', 'pi'], {('jetson', 'pi'): Shape(8e6), ('cloud', 'pi'): Shape(1e6)}) as network:
        total, seconds = transfer(network, 500_000)
        assert total * 8 / seconds == pytest.approx(8e6 * 1448 / 1514, rel=0.15)
        assert network.sent_bytes('cloud', 'pi') == 0


def test_a_cut_drops_silently_and_heals(network: Namespaces) -> None:
    listener = python(network, 'pi', LISTEN)
    assert line(listener) == 'ready'
    speaker = python(network, 'jetson', SPEAK, network.address('pi'))

    def say(word: str) -> str:
        speaker.stdin.write(f'{word}\n')
        speaker.stdin.flush()
        return line(speaker)

    assert say('before') == 'sent'
    assert line(listener) == 'before'
    network.cut('jetson', 'pi', both_ways=True)
    network.cut('jetson', 'pi')  # twice is once
    sent = network.sent_bytes('jetson', 'pi')
    for _ in range(3):
        assert say('cut') == 'sent'  # no error comes back
        time.sleep(0.03)
    assert network.sent_bytes('jetson', 'pi') == sent
    network.heal('jetson', 'pi', both_ways=True)
    assert say('after') == 'sent'
    assert line(listener) == 'after'
    assert network.sent_bytes('jetson', 'pi') == sent + 1514


def test_a_cut_loses_what_was_in_the_queue_and_keeps_the_shape(network: Namespaces) -> None:
    network.reshape('jetson', 'pi', Shape(100e3, 10.0))
    listener = python(network, 'pi', LISTEN)
    assert line(listener) == 'ready'
    speaker = python(network, 'jetson', SPEAK, network.address('pi'))
    speaker.stdin.write('queued\n' * 40)  # 4.8 s at this rate
    speaker.stdin.flush()
    assert [line(speaker) for _ in range(40)] == ['sent'] * 40
    assert line(listener) == 'queued'
    network.cut('jetson', 'pi')
    sent = network.sent_bytes('jetson', 'pi')
    time.sleep(0.3)
    assert 0 < network.sent_bytes('jetson', 'pi') == sent
    network.heal('jetson', 'pi')
    network.reshape('jetson', 'pi', Shape(20e6))
    total, _ = transfer(network, 100_000)
    assert total == 100_000
    assert network.sent_bytes('jetson', 'pi') < sent + 150_000


def test_shared_memory_is_the_hosts_own(network: Namespaces) -> None:
    name = f'edge_dnn_partition_test_{secrets.token_hex(4)}'
    path = SHARED_MEMORY / name
    assert network.popen('pi', ['touch', str(path)]).wait(10) == 0
    assert not path.exists()
    assert network.popen('pi', ['test', '-e', str(path)]).wait(10) == 0
    assert network.popen('jetson', ['test', '-e', str(path)]).wait(10) == 1


def test_a_process_gets_its_environment_address_and_pid(network: Namespaces) -> None:
    script = 'echo "$ADDED $GIVEN $HOME_IS_GONE $$"; exec ip -4 -o address show dev eth0'
    process = network.popen(
        'pi', ['sh', '-c', script], environment={'ADDED': 'a b'}, env={'GIVEN': 'g', 'PATH': os.environ['PATH']},
        stdout=subprocess.PIPE, text=True)
    first, second = process.communicate(timeout=10)[0].splitlines()
    assert first == f'a b g  {process.pid}'
    assert f'inet {network.address("pi")}/24' in second
    assert network.popen('pi', ['no-such-command-here'], stderr=subprocess.DEVNULL).wait(10) == 127
    with pytest.raises(UserError, match='jetson, pi'):
        network.popen('cloud', ['true'])


@needs_namespaces
def test_nothing_is_left_after_an_exception() -> None:
    network = Namespaces(['jetson', 'pi'], {('jetson', 'pi'): Shape(1e6)})
    with contextlib.suppress(ZeroDivisionError), network:
        child = network.popen('pi', ['sh', '-c', 'sleep 60 & echo $!; wait'], stdout=subprocess.PIPE, text=True)
        grandchild = int(line(child))
        assert traces(network) != []
        raise ZeroDivisionError
    assert traces(network) == []
    assert child.poll() == -signal.SIGKILL
    assert not alive(grandchild)


@needs_namespaces
def test_nothing_is_left_after_a_failed_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, 'root', lambda interface: f'qdisc add dev {interface} root nosuchqdisc')
    network = Namespaces(['jetson', 'pi'], {})
    with pytest.raises(UserError, match='tc'), network:
        pytest.fail('entered')
    assert traces(network) == []
