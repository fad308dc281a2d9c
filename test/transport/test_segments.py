# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Shared memory between processes of one device: reuse, bounds, wrong names, dead owners."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport import shared_memory
from edge_dnn_partition.transport.segments import HEADER_BYTES, SegmentPool, SegmentReader
from edge_dnn_partition.transport.tensors import lay_out, place, unpack


def filled(pool, value, size=100_000):
    segment = pool.take(size)
    segment.fill(size)[:] = bytes([value]) * size
    return segment


def test_tensors_are_views_and_a_segment_is_used_again_when_the_last_view_is_gone(tmp_path):
    pool, reader = SegmentPool(tmp_path), SegmentReader(tmp_path)
    arrays = {'a': np.arange(5000, dtype=np.float32).reshape(50, 100), 'b': np.arange(3000, dtype=np.int64)}
    layout, flat = lay_out(arrays)
    size = layout[-1].offset + layout[-1].size
    segment = pool.take(size)
    place(layout, flat, segment.fill(size))
    got = unpack(layout, reader.open(segment.name, size))
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
    kept = got['b'][10:20].reshape(2, 5)
    del got
    gc.collect()
    assert not segment.free
    assert pool.take(size).name != segment.name
    del kept
    gc.collect()
    assert segment.free
    assert pool.take(size).name == segment.name


def test_memory_is_bounded_and_free_segments_make_room(tmp_path):
    pool, reader = SegmentPool(tmp_path, max_bytes=400_000), SegmentReader(tmp_path)
    first, second = filled(pool, 1), filled(pool, 2)
    third = filled(pool, 3)
    assert pool.take(100_000) is None
    buffer = reader.open(second.name, 100_000)
    assert bytes(buffer[:3]) == b'\2\2\2'
    del buffer
    third.fill(0)
    reader.open(first.name, 1)  # gone at once
    assert pool.take(200_000) is not None  # in place of the first two
    assert not first.path.exists() and not second.path.exists() and third.path.exists()
    pool.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_removed_segment_stays_readable_for_who_has_it_open(tmp_path):
    pool, reader = SegmentPool(tmp_path), SegmentReader(tmp_path)
    segment = filled(pool, 7)
    buffer = reader.open(segment.name, 100_000)
    pool.clear()
    assert bytes(buffer[-2:]) == b'\7\7'
    assert reader.open(segment.name, 100_000) is not None


@pytest.mark.parametrize('name', ['', '../etc/passwd', 'edp_segment_', 'edp_segment_a/b', 'fastrtps_port7410', 'x' * 500])
def test_foreign_names_are_refused(tmp_path, name):
    with pytest.raises(WireError, match='not a name of a shared-memory segment'):
        SegmentReader(tmp_path).open(name, 10)


def test_a_segment_that_holds_another_message_is_neither_read_nor_given_back(tmp_path):
    pool, reader = SegmentPool(tmp_path), SegmentReader(tmp_path)
    segment = pool.take(100)
    segment.fill(100, (7, 3))
    for message in ((7, 2), (8, 3), (0, 0)):
        with pytest.raises(WireError, match='another message'):
            reader.open(segment.name, 100, message)
    gc.collect()
    assert not segment.free
    assert reader.open(segment.name, 100, (7, 3)) is not None


def test_sizes_are_checked_and_missing_segments_told(tmp_path):
    pool, reader = SegmentPool(tmp_path), SegmentReader(tmp_path)
    segment = filled(pool, 1)
    for size in (0, -1, segment.capacity + 1):
        with pytest.raises(WireError, match='holds'):
            reader.open(segment.name, size)
    assert reader.open('edp_segment_not_there', 10) is None
    (tmp_path / 'edp_segment_empty').touch()
    assert reader.open('edp_segment_empty', 10) is None
    (tmp_path / 'edp_segment_link').symlink_to(segment.path)
    assert reader.open('edp_segment_link', 10) is None


def test_without_room_there_is_no_segment(tmp_path):
    assert SegmentPool(tmp_path / 'missing').take(10) is None


def test_what_a_killed_owner_left_is_found_and_what_is_alive_is_not(tmp_path):
    child = (
        'import os, sys; from pathlib import Path; from edge_dnn_partition.transport.segments import SegmentPool\n'
        'pool = SegmentPool(Path(sys.argv[1])); print(pool.take(70000).name, flush=True); os.kill(os.getpid(), 9)'
    )
    done = subprocess.run([sys.executable, '-c', child, str(tmp_path)], capture_output=True, text=True, check=False)
    left = tmp_path / done.stdout.strip()
    assert left.stat().st_size > HEADER_BYTES
    alive = SegmentPool(tmp_path).take(10).path
    later = left.stat().st_ctime + 10
    assert shared_memory.dead_segments(tmp_path, now=later) == [left]
    assert shared_memory.dead_segments(tmp_path, now=left.stat().st_ctime) == []
    assert alive in shared_memory.own_segments


def test_what_another_user_has_put_into_shared_memory_is_not_read(tmp_path, monkeypatch):
    """He could cut it short while it is read, which ends the reader (SIGBUS)."""
    path = tmp_path / 'edp_segment_1_a_0'
    path.write_bytes(bytes(HEADER_BYTES + 100))
    assert SegmentReader(tmp_path).open(path.name, 100) is not None
    monkeypatch.setattr(os, 'getuid', lambda: 4321)
    assert SegmentReader(tmp_path).open(path.name, 100) is None
    monkeypatch.undo()
    (tmp_path / 'edp_segment_1_a_1').symlink_to(path)
    assert SegmentReader(tmp_path).open('edp_segment_1_a_1', 100) is None
