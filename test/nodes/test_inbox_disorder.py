# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What no sender sends does an inbox no harm: it is refused and counted, and what is sent beside it arrives once."""

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from fuzz_inbox import Trial


@pytest.mark.parametrize('seed', [1, 2])
def test_frames_arrive_once_beside_hostile_fragments(context, seed):
    trial = Trial(context, seed)
    try:
        for _ in range(15):
            trial.round()
        trial.finish()
    finally:
        trial.end()
    assert trial.frames == 15
    assert trial.refused > 50
