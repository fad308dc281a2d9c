# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A played device that several processes share: shares by weight, the dead count nothing, a run takes what is left to it."""

import os
import subprocess
import sys

import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed import dilation
from edge_dnn_partition.testbed.dilation import Dilation, SharedDevice, device_file, weight_of


def test_a_step_of_niceness_is_a_quarter():
    assert weight_of(0) == 1.0
    assert weight_of(5) / weight_of(6) == pytest.approx(1.25)


def test_each_at_work_has_its_share(tmp_path):
    one, two = SharedDevice(tmp_path / 'd', 0), SharedDevice(tmp_path / 'd', 5)
    assert one.share() == two.share() == 1.0
    with two.at_work():
        assert one.share() == pytest.approx(1 / (1 + 1.25**-5))
        assert two.share() == 1.0, 'nobody else is at work'
        with one.at_work():
            assert two.share() == pytest.approx(1 - one.share())
    assert one.share() == 1.0


def test_who_died_at_work_counts_nothing_and_its_place_is_free(tmp_path, monkeypatch):
    code = f"""
import os, signal
from pathlib import Path
from edge_dnn_partition.testbed.dilation import SharedDevice
device = SharedDevice(Path({str(tmp_path / "d")!r}))
with device.at_work():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    mine = SharedDevice(tmp_path / 'd')
    for _ in range(2):
        assert subprocess.run([sys.executable, '-c', code], check=False, env=dict(os.environ)).returncode < 0
        assert mine.share() == 1.0
    monkeypatch.setattr(dilation, '_SLOTS', 2)
    SharedDevice(tmp_path / 'd')
    with pytest.raises(UserError, match='share it already'):
        SharedDevice(tmp_path / 'd')


def test_a_file_that_cannot_be_is_said(tmp_path):
    with pytest.raises(UserError, match='cannot be used'):
        SharedDevice(tmp_path / 'no' / 'd')
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    (tmp_path / 'd').symlink_to(victim)
    with pytest.raises(UserError, match='cannot be used'):  # its name is known to everybody
        SharedDevice(tmp_path / 'd')
    assert victim.read_text() == 'precious'


def test_fleets_that_do_not_hear_each_other_share_nothing(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    here = device_file('robot', 'jetson')
    assert here != device_file('robot', 'pi') != device_file('rover', 'pi')
    monkeypatch.setenv('ROS_DOMAIN_ID', '8')
    assert device_file('robot', 'jetson') != here


class Shares:
    """Stands in for a shared device: the shares of the next moments."""

    def __init__(self, *values):
        self.values = list(values)

    def share(self):
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


@pytest.mark.parametrize(('shares', 'seconds'), [
    ((1.0,), 0.08), ((0.5,), 0.18), ((0.25,), 0.38), ((1.0, 0.5), 0.16), ((0.5, *[0.5] * 25, 1.0), 0.115),
])  # fmt: skip
def test_a_run_takes_as_long_as_its_share_lets_it(shares, seconds, monkeypatch):
    """20 ms of this machine are 100 ms of a device five times slower, alone; what is left of them is slept."""
    now = [0.0]
    slow = Dilation(5.0, clock=lambda: now[0], shared=Shares(*shares))

    def wait(left):
        now[0] += left

    monkeypatch.setattr(slow._condition, 'wait', wait)
    assert slow.pause(0.02) == pytest.approx(seconds, abs=0.003)


def test_a_device_that_is_as_fast_as_this_machine_waits_too(monkeypatch):
    now = [0.0]
    same = Dilation(1.0, clock=lambda: now[0], shared=Shares(0.5))
    monkeypatch.setattr(same._condition, 'wait', lambda left: now.__setitem__(0, now[0] + left))
    assert same.pause(0.02) == pytest.approx(0.02, abs=0.003)
