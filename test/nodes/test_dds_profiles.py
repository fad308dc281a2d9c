# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fast DDS reads the profiles without complaint, and processes that have them hear each other."""

import re
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from edge_dnn_partition.deployment.dds_environment import VARIABLES, dds_environment
from edge_dnn_partition.deployment.dds_profile import DdsProfile

PEER = Path(__file__).with_name('trial_peer.py')
SEGMENT_BYTES = 8 * 1024 * 1024


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def start(nodes, own, other, profile=None, size=0):
    environment = {} if profile is None else dds_environment(profile, {})
    return nodes.start(PEER, own, other, size, environment=environment)


def segments(process):
    """The sizes of the shared memory of Fast DDS that a process has mapped."""
    lines = re.findall(r'^(\w+)-(\w+) .*/dev/shm/fast(?:rtps|dds)_[0-9a-f]{16}$', maps(process), re.MULTILINE)
    return [int(end, 16) - int(begin, 16) for begin, end in lines]


def maps(process):
    return Path(f'/proc/{process.pid}/maps').read_text()


def assert_hear_each_other(*pairs):
    for process, name in pairs:
        process.wait_for(f'heard {name} both ways')
        assert 'XMLPARSER' not in process.output


@pytest.mark.parametrize(('kind', 'reach'), [('machine', 'LOCALHOST'), ('machine', 'SUBNET'), ('lan', 'SUBNET')])
def test_two_processes_with_the_profile_hear_each_other(nodes, monkeypatch, kind, reach):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', reach)
    one = start(nodes, 'one', 'two', DdsProfile(kind, SEGMENT_BYTES), 3_000_000)
    two = start(nodes, 'two', 'one', DdsProfile(kind))
    assert_hear_each_other((one, 'two'), (two, 'one'))
    assert max(segments(one)) > SEGMENT_BYTES, 'the profile was not read'
    assert not segments(two)


@pytest.mark.parametrize('kind', ['machine', 'lan'])
def test_a_process_without_a_profile_is_heard_too(nodes, kind):
    """A camera's driver and rviz are not started by us."""
    for segment in (0, SEGMENT_BYTES):
        one, two = start(nodes, 'one', 'two', DdsProfile(kind, segment)), start(nodes, 'two', 'one')
        assert_hear_each_other((one, 'two'), (two, 'one'))
        one.assert_clean_end()
        two.assert_clean_end()


def test_a_broken_file_is_only_logged_by_fast_dds(nodes, tmp_path):
    """So it is ours to write files that are right, and the doctor's to look at the user's."""
    path = tmp_path / 'broken.xml'
    path.write_text('<dds><profiles>')
    process = nodes.start(PEER, 'one', 'two', environment=dict.fromkeys(VARIABLES, str(path)))
    process.wait_for('is there')
    assert 'XMLPARSER' in process.output
