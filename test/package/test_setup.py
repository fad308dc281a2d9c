# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The setup on a machine that is full, or in the hands of somebody who has changed his mind."""

import errno
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'scripts'))

import machine
import setup_venv


@pytest.fixture
def setup(monkeypatch, tmp_path):
    """Return what runs the setup with something in place of its work."""
    for name in ('ROOT', 'BUILD', 'VENV'):
        monkeypatch.setattr(setup_venv, name, tmp_path)
    monkeypatch.setattr(setup_venv, 'LOG', tmp_path / 'setup.log')
    monkeypatch.setattr(setup_venv, 'check_machine', lambda **_: None)
    monkeypatch.setattr(sys, 'argv', ['setup.sh', '--with', 'export'])

    def run(work):
        monkeypatch.setattr(setup_venv, 'bring_up_to_date', lambda *_, **__: work())
        return setup_venv.main()

    return run


def test_a_disk_without_room_is_refused_before_anything_is_installed(tmp_path):
    machine.check_room(tmp_path, 0.0)
    with pytest.raises(machine.SetupError, match=r'has .* GB of free disk, and the setup takes 100000.0 GB: make room'):
        machine.check_room(tmp_path, 1e5)


def test_a_disk_that_becomes_full_is_one_line_with_the_size(setup, capfd):
    command = [sys.executable, '-c', 'import sys; sys.exit("OSError: [Errno 28] No space left on device")']
    assert setup(lambda: setup_venv.run(command, 'pip install', environment={})) == 2
    said = capfd.readouterr().err
    assert 'the disk is full' in said and '2.4 GB here' in said and 'TMPDIR' in said and said.count('\n') == 1

    def fails():
        raise OSError(errno.ENOSPC, 'no room')

    assert setup(fails) == 2
    assert capfd.readouterr().err.count('\n') == 1


def test_a_step_that_takes_long_says_what_it_is_at(setup, monkeypatch, capfd):
    monkeypatch.setattr(setup_venv, '_SILENT_SECONDS', 0.2)
    command = [sys.executable, '-c', 'import time; print("Collecting a", flush=True); print("Collecting b", flush=True); time.sleep(1)']
    setup_venv.run(command, 'pip install', environment={})
    said = capfd.readouterr().out.splitlines()
    assert len(said) >= 2 and 'setup: pip install, 1 s: Collecting b' in said
    assert all(line.startswith('setup: pip install, ') for line in said)


def test_a_package_that_is_half_there_is_installed_again(setup, tmp_path):
    site = tmp_path / 'lib/python3.11/site-packages'
    for name in ('whole', 'half'):
        (site / f'{name}-1.0.dist-info').mkdir(parents=True)
    (site / 'whole-1.0.dist-info' / 'INSTALLER').write_text('')
    setup_venv.forget_halves()
    assert [path.name for path in site.iterdir()] == ['whole-1.0.dist-info']


def test_an_interrupt_is_one_line(setup, capfd):
    def interrupted():
        raise KeyboardInterrupt

    assert setup(interrupted) == 130
    assert capfd.readouterr().err == 'setup: interrupted; run it again, and it goes on where it was\n'
