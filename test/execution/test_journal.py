# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a killed frame source had accepted and not finished is known to the next one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.execution.frames import journal as module
from edge_dnn_partition.execution.frames.journal import Journal


@given(st.lists(st.tuples(st.sampled_from(['accept', 'tell', 'finish']), st.integers(1, 8)), max_size=60), st.integers(0, 8))
def test_the_next_one_knows_what_is_unfinished(tmp_path_factory, events, torn):
    path = tmp_path_factory.mktemp('journal') / 'frames'
    journal, known, told, numbers = Journal(path, path.parent / 'images'), set(), set(), set()
    for event, frame in events:
        if event == 'accept' and frame not in numbers:  # a number is given once
            journal.accepted(frame, lambda frame=frame: bytes([frame]))
            known.add(frame)
            numbers.add(frame)
        elif event == 'tell':
            journal.publishing(frame)
            told |= {frame} & known
        elif event == 'finish':
            journal.finished(frame)
            known.discard(frame)
            told.discard(frame)
    journal.close()
    with path.open('ab') as file:
        file.write(b'+' * torn)
    again = Journal(path, path.parent / 'images')
    assert again.last == max((frame for event, frame in events if event == 'accept'), default=0)
    assert sorted(again.unfinished) == sorted(known)
    assert [frame for frame in range(1, 9) if again.may_be_published(frame)] == sorted(told)
    again.publishing(5)
    again.close()
    again = Journal(path, path.parent / 'images')
    assert [frame for frame in range(1, 9) if again.may_be_published(frame)] == sorted(told | ({5} & known))
    assert all(again.inputs(frame) == bytes([frame]) for frame in known)
    assert len(list((path.parent / 'images').glob('*'))) == len(known)
    again.close()


def test_it_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_COMPACT_BYTES', 200)
    journal = Journal(tmp_path / 'frames')
    for frame in range(1000):
        journal.accepted(frame, lambda: pytest.fail('nothing is kept'))
        if frame != 7:
            journal.finished(frame)
        assert (tmp_path / 'frames').stat().st_size < 250
    assert journal.inputs(7) is None
    journal.close()
    for runs in (1, 2, 3):
        again = Journal(tmp_path / 'frames')
        assert (again.unfinished, again.runs) == ((7,), {7: runs})
        for frame in range(1000, 1100):  # it is written anew meanwhile
            again.accepted(frame, lambda: pytest.fail('nothing is kept'))
            again.finished(frame)
        assert again.last == 1099
        again.close()


def test_a_damaged_number_is_none(tmp_path):
    (tmp_path / 'frames').write_bytes(b'+' + b'\xff' * 8 + b'=' + (5).to_bytes(8, 'little'))
    journal = Journal(tmp_path / 'frames')
    assert (journal.unfinished, journal.last) == ((), 5)
    journal.close()
