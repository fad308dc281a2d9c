# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is written to disk is an aid and no condition: full disks, read-only ones, users without a home."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from edge_dnn_partition import cache
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.frames import journal as journal_module
from edge_dnn_partition.execution.frames.journal import Journal
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.execution.stages.stage_cache import stage_file
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.testbed import demo_model


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What is told; the cache is as in a new process, with temporary files of its own."""
    lines = []
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(cache, '_roots', {})
    monkeypatch.setattr(cache, '_troubles', {})
    monkeypatch.setattr(cache.tempfile, 'tempdir', str(tmp_path / 'temporary'))
    cache.tell_troubles(lines.append)
    yield lines
    cache.tell_troubles(None)


@pytest.fixture
def model_file(tmp_path):
    return demo_model.build(tmp_path / 'model.onnx', size='demo')


def use(monkeypatch, folder):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder))


def test_a_full_disk_is_told_once_and_used_again_when_there_is_room(told, tmp_path, small_disk, monkeypatch, model_file):
    use(monkeypatch, small_disk.folder / 'cache')
    assert cache.keep(cache.cache_dir('plans') / 'plan', b'1')
    small_disk.fill()
    model = load_model(model_file)  # 8 MB: onnxruntime writes it
    engine = Engine(stage_file(model, range(3)).path, optimised_cache=True)
    assert engine.run(engine.made_up_feeds())
    assert model.path.is_relative_to(tmp_path / 'temporary')
    assert not cache.keep(cache.cache_dir('plans') / 'plan', bytes(8192))
    assert (cache.cache_dir('plans') / 'plan').read_bytes() == b'1'
    assert len(told) == 1 and str(small_disk.folder / 'cache') in told[0]
    assert os.strerror(errno.ENOSPC) in told[0] and 'free some space' in told[0]
    assert cache.troubles() == tuple(told)
    assert model.path.parents[2] in cache.places()
    assert load_model(model_file).path == model.path, 'it is prepared again'
    small_disk.free()
    assert cache.keep(cache.cache_dir('plans') / 'plan', bytes(8192))
    assert len(told) == 1, 'there is room for a plan, not for a model'
    small_disk.remount('size=300m')
    assert cache.keep(cache.cache_dir('plans') / 'plan', bytes(8192))
    assert told[1:] == [f'{small_disk.folder / "cache"} can be written again']
    assert cache.troubles() == ()


def test_a_model_that_is_no_good_is_not_blamed_on_the_disk(told, tmp_path, monkeypatch):
    import onnx

    use(monkeypatch, tmp_path / 'cache')
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('NoSuchOperator', ['x'], ['y'])], 'bad',
        [onnx.helper.make_tensor_value_info('x', 1, [1])], [onnx.helper.make_tensor_value_info('y', 1, [1])])
    onnx.save(onnx.helper.make_model(graph, ir_version=7, opset_imports=[onnx.helper.make_opsetid('', 13)]), tmp_path / 'bad.onnx')
    with pytest.raises(UserError, match='NoSuchOperator'):
        load_model(tmp_path / 'bad.onnx')
    assert told == []


def test_a_read_only_cache_is_read_and_done_without(told, tmp_path, small_disk, monkeypatch):
    small_disk.remount('size=8m')
    use(monkeypatch, small_disk.folder)
    tiny = demo_model.build(tmp_path / 'tiny.onnx', size='tiny')
    before = load_model(tiny)
    small_disk.remount('ro')
    monkeypatch.setattr(cache, '_roots', {})  # a process that starts now
    assert load_model(tiny).path == before.path, 'what is there is used'
    other = load_model(demo_model.build(tmp_path / 'other.onnx', size='demo'))
    assert other.path.is_relative_to(tmp_path / 'temporary')
    assert cache.keep(cache.cache_dir('plans') / 'plan', b'1'), 'until the next boot'
    assert len(told) == 1 and os.strerror(errno.EROFS) in told[0]
    small_disk.remount('rw')
    with monkeypatch.context() as patch:
        now = cache.time.monotonic()
        patch.setattr(cache.time, 'monotonic', lambda: now + 60)
        assert cache.troubles() == (), 'it looks now and then'
    assert cache.cache_dir() == small_disk.folder


def test_a_disk_that_becomes_read_only_in_the_run(told, small_disk, monkeypatch):
    """As Linux remounts an SD card that fails."""
    use(monkeypatch, small_disk.folder)
    path = cache.cache_dir('plans') / 'plan'
    assert cache.keep(path, b'1')
    small_disk.remount('ro')
    for _ in range(3):
        assert not cache.keep(path, b'2')
    assert len(told) == 1


@pytest.mark.parametrize('home', ['/proc/none', None])
def test_a_user_without_a_home_has_a_private_folder(tmp_path, home):
    """As in a container with --user 4321: there is no entry for him, and perhaps no variable."""
    code = (
        'import os, sys; from edge_dnn_partition import cache; os.geteuid() or os.setuid(4321); '
        'sys.stdout.write(str(cache.cache_dir("x")))'
    )
    tmp_path.chmod(0o1777)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k not in ('EDGE_DNN_PARTITION_CACHE', 'XDG_CACHE_HOME', 'HOME')}
    environment |= {'TMPDIR': str(tmp_path), 'PYTHONSAFEPATH': '1', **({'HOME': home} if home else {})}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment, check=False)
    if os.geteuid() != 0 and home is None:
        pytest.skip('only root can become a user without a home')
    spare = tmp_path / f'edge_dnn_partition-{os.getuid() or 4321}'
    assert (done.returncode, done.stdout) == (0, str(spare / 'x')), done.stderr
    assert done.stderr.count('warning: ') == 1 and (home or 'no home folder') in done.stderr
    assert spare.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_else_has_put_there_is_not_used(told, tmp_path, monkeypatch):
    target = tmp_path / 'target'
    target.mkdir(mode=0o700)
    name = tmp_path / 'temporary' / f'edge_dnn_partition-{os.getuid()}'
    name.symlink_to(target)
    with pytest.raises(OSError, match='no folder'):
        cache.private_dir(name)
    name.unlink()
    name.mkdir(mode=0o755)
    with pytest.raises(OSError, match='others may enter'):
        cache.private_dir(name)
    name.chmod(0o700)
    assert cache.private_dir(name) == name
    monkeypatch.setattr(cache.os, 'getuid', lambda: 4321)
    with pytest.raises(OSError, match="another user's"):
        cache.private_dir(name)


def test_a_shared_file_that_somebody_else_has_put_there_is_not_used(tmp_path):
    victim, path = tmp_path / 'victim', tmp_path / 'shared'
    victim.write_text('precious')
    for put in (lambda: path.symlink_to(victim), lambda: os.link(victim, path), lambda: os.mkfifo(path)):
        put()
        with pytest.raises(OSError):
            cache.open_private(path)
        path.unlink()
    os.close(cache.open_private(path))
    path.chmod(0o644)
    os.close(cache.open_private(path))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    with pytest.raises(PermissionError):
        cache.open_private(path)
    assert victim.read_text() == 'precious'


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_journal_on_a_full_disk_is_taken_up_again(told, small_disk):
    clock, image = Clock(), np.zeros(40_000, np.uint8).tobytes()
    path = small_disk.folder / 'journal' / 'frames'
    journal = Journal(path, path.parent / 'images', clock)
    journal.accepted(1, lambda: image)
    small_disk.fill()
    for frame in range(2, 3000):  # more records than fit into what the file has
        journal.accepted(frame, lambda: image)
        if frame > 3:
            journal.finished(frame - 1)
    assert len(told) == 1 and 'No space left' in told[0]
    assert journal.inputs(1) == image and journal.inputs(2) is None
    small_disk.free()
    clock.now += journal_module._LONGEST_WAIT_SECONDS
    journal.accepted(3000, lambda: image)
    assert told[1:] == [f'{path.parent / "images"} can be written again'] or told[1].endswith('can be written again')
    assert Journal(path, path.parent / 'images').unfinished == (1, 2, 2999, 3000)
    assert journal.inputs(3000) == image


def test_a_journal_that_cannot_be_written_tells_no_old_frames_again_and_again(told, small_disk):
    path = small_disk.folder / 'frames'
    journal = Journal(path)
    journal.accepted(1, bytes)
    journal.close()
    small_disk.remount('ro')
    journal = Journal(path)
    assert journal.unfinished == ()
    journal.accepted(2, bytes)
    journal.finished(2)
    assert len(told) == 1


def test_where_the_temporary_files_are_full_too_memory_is_used(told, tmp_path, small_disk, monkeypatch):
    """A robot often has one partition for all of it."""
    use(monkeypatch, small_disk.folder / 'cache')
    cache.cache_dir()
    monkeypatch.setattr(cache.tempfile, 'tempdir', str(small_disk.folder))
    memory = tmp_path / 'memory'
    memory.mkdir()
    monkeypatch.setattr(cache, '_MEMORY', memory)
    small_disk.fill()

    def make(path):
        cache.write_atomic(path, bytes(100_000))

    assert cache.needed(make, 'dds', 'profile.xml').is_relative_to(memory)
    assert cache.spare_dir('log').is_relative_to(memory)
    monkeypatch.setattr(cache, '_MEMORY', small_disk.folder)
    with pytest.raises(UserError, match='cannot be written anywhere .*No space left.*free some space, or set EDGE_DNN_PARTITION_CACHE'):
        cache.needed(make, 'dds', 'other.xml')
