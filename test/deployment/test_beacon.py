# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The file of a health check: none of an earlier start, new every five seconds, never an end of the stream."""

import pytest

from edge_dnn_partition.deployment.beacon import SECONDS, Beacon
from edge_dnn_partition.errors import UserError


def test_it_is_there_only_when_all_is_well_and_is_written_anew(tmp_path):
    path = tmp_path / 'health'
    path.write_text('of an earlier start')
    beacon = Beacon(path)
    assert not path.exists()
    beacon.alive(100.0, '2 processes')
    assert path.read_text() == '2 processes\n'
    path.unlink()
    beacon.alive(100.0 + 0.9 * SECONDS, '')
    assert not path.exists()
    beacon.alive(100.0 + SECONDS, '')
    assert path.exists()


def test_a_place_that_cannot_be_written_is_refused_at_the_start_only(tmp_path):
    with pytest.raises(UserError, match='--health-file'):
        Beacon(tmp_path / 'none' / 'health')
    folder = tmp_path / 'folder'
    folder.mkdir()
    beacon = Beacon(folder / 'health')
    folder.rmdir()
    beacon.alive(1.0, 'well')
