# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which of Fast DDS's files in shared memory may go."""

import fcntl
import os
import time

import pytest

from edge_dnn_partition.transport.shared_memory import dead_buffers, dead_ports, own_files, remove_leftovers

LATER = time.time() + 3600


@pytest.fixture
def folder(tmp_path):
    for name in (
        'fastrtps_port7410', 'fastrtps_port7410_el', 'sem.fastrtps_port7410_mutex',  # its listener has died
        'fastrtps_port7412', 'sem.fastrtps_port7412_mutex',  # a sender made it for a listener that was gone
        'fastrtps_port7414', 'fastrtps_port7414_el', 'sem.fastrtps_port7414_mutex',
        'fastrtps_port7400', 'fastrtps_port7400_sl',
        'fastrtps_0123456789abcdef', 'fastrtps_0123456789abcdef_el', 'sem.mine', 'other',
    ):  # fmt: skip
        (tmp_path / name).touch()
    return tmp_path


def test_ports_without_a_listener_are_dead(folder):
    with (folder / 'fastrtps_port7414_el').open() as alone, (folder / 'fastrtps_port7400_sl').open() as shared:
        fcntl.flock(alone, fcntl.LOCK_EX)
        fcntl.flock(shared, fcntl.LOCK_SH)
        assert [path.name for path in dead_ports(folder, now=LATER)] == [
            'fastrtps_port7410', 'fastrtps_port7410_el', 'sem.fastrtps_port7410_mutex',
            'fastrtps_port7412', 'sem.fastrtps_port7412_mutex',
        ]  # fmt: skip
    assert {path.name[:17] for path in dead_ports(folder, now=LATER)} >= {'fastrtps_port7414', 'fastrtps_port7400'}


def test_the_buffers_of_a_killed_participant_are_dead(folder):
    names = ['fastrtps_0123456789abcdef', 'fastrtps_0123456789abcdef_el']
    lock = folder / names[1]
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert dead_buffers(folder, now=LATER) == []
    assert dead_buffers(folder, now=lock.stat().st_ctime + 0.05) == []
    assert [path.name for path in dead_buffers(folder, now=LATER)] == names


def test_a_port_that_has_just_been_made_is_left_alone(folder):
    assert dead_ports(folder, now=(folder / 'fastrtps_port7412').stat().st_ctime + 0.05) == []
    before = sorted(path.name for path in folder.iterdir())
    remove_leftovers(folder / 'not there')
    assert sorted(path.name for path in folder.iterdir()) == before


def test_own_files_are_those_that_only_this_process_has_locked(folder):
    lock = folder / 'fastrtps_0123456789abcdef_el'
    other = folder / 'fastrtps_port7414_el'
    (folder / 'locks').write_text(
        f'1: FLOCK  ADVISORY  WRITE {os.getpid()} 00:1a:{lock.stat().st_ino} 0 EOF\n'
        f'2: FLOCK  ADVISORY  WRITE {os.getpid() + 1} 00:1a:{other.stat().st_ino} 0 EOF\n'
        '3: nonsense\n'
    )
    assert own_files(folder, folder / 'locks') == [lock, folder / 'fastrtps_0123456789abcdef']
    assert own_files(folder, folder / 'no such file') == []
