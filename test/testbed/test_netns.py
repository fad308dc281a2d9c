# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a killed or signalled owner leaves is removed, and nothing else is. As root only."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_dnn_partition.testbed import netns
from edge_dnn_partition.testbed.namespaces import Namespaces, remove_leftovers, why_not

reason = why_not()
needs_namespaces = pytest.mark.skipif(reason is not None, reason=reason or '')

SHARED_MEMORY = Path('/dev/shm')
NAMESPACES = Path('/var/run/netns')
OWNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored from birth where a shell runs tests in the background
from edge_dnn_partition.testbed.namespaces import Namespaces
with Namespaces(['pi'], {}) as network:
    child = network.popen('pi', ['sleep', '60'])
    print(network._stem, child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, '-c', OWNER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@needs_namespaces
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_signal(number: signal.Signals, owner: subprocess.Popen[str]) -> None:
    stem, child = owner.stdout.readline().split()
    owner.send_signal(number)
    owner.wait(10)
    assert not [name for folder in (NAMESPACES, SHARED_MEMORY) for name in os.listdir(folder) if name.startswith(stem)]
    assert netns._start_ticks(int(child)) is None


@needs_namespaces
def test_only_leftovers_of_a_dead_owner_are_removed(owner: subprocess.Popen[str]) -> None:
    foreign = f'foreign-{secrets.token_hex(4)}'
    lookalike = f'ednp-{secrets.token_hex(4)}'  # the prefix alone is not the form of our names
    subprocess.run(['ip', 'netns', 'add', foreign], check=True)
    subprocess.run(['ip', 'netns', 'add', lookalike], check=True)
    try:
        stem, child = owner.stdout.readline().split()
        assert not [name for name in remove_leftovers() if name.startswith(stem)]  # its owner lives
        assert (NAMESPACES / f'{stem}-pi').exists()
        owner.kill()
        owner.wait(10)
        with Namespaces(['pi'], {}) as living:  # its entry removes leftovers too
            assert living.namespace('pi') not in remove_leftovers()
            assert (NAMESPACES / living.namespace('pi')).exists()
        assert not (NAMESPACES / f'{stem}-pi').exists()
        assert not (SHARED_MEMORY / f'{stem}-pi').exists()
        assert netns._start_ticks(int(child)) is None
        assert (NAMESPACES / foreign).exists()
        assert (NAMESPACES / lookalike).exists()
    finally:
        subprocess.run(['ip', 'netns', 'del', foreign], check=False)
        subprocess.run(['ip', 'netns', 'del', lookalike], check=False)


@needs_namespaces
def test_a_pid_that_came_again_does_not_protect_a_leftover() -> None:
    name = f'ednp-{os.getpid()}-1-{secrets.token_hex(4)}-pi'  # our pid, but another start
    subprocess.run(['ip', 'netns', 'add', name], check=True)
    assert name in remove_leftovers()
    assert not (NAMESPACES / name).exists()
