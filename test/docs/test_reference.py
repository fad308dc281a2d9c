# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The pages that scripts write are those that they would write now."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'scripts'))

import topics_in_code  # noqa: E402
import write_reference  # noqa: E402
from markdown import table  # noqa: E402

STALE = 'docs/{}.md is out of date: run .venv/bin/python scripts/write_reference.py'


def test_messages_page_is_not_stale():
    assert (ROOT / 'docs/messages.md').read_text() == write_reference.messages_page(), STALE.format('messages')


def test_parameters_page_is_not_stale():
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    assert (ROOT / 'docs/parameters.md').read_text() == write_reference.parameters_page(), STALE.format('parameters')


def test_every_topic_has_both_ends_of_one_quality():
    """What `messages_page` rests on; a topic that nodes say to each other and nobody hears would be a mistake."""
    found = topics_in_code.uses(write_reference.SOURCES)
    profiles = topics_in_code.profiles(write_reference.SOURCES / 'core' / 'qos.py')
    assert {use.profile for use in found if use.way != 'serves'} <= set(profiles)
    assert all(profile.reason for profile in profiles.values())
    published = {use.name for use in found if use.way == 'publishes'}
    assert {use.name for use in found if use.way == 'hears'} <= published
    for name in published:
        assert len({use.profile for use in found if use.name == name}) == 1, name
        assert len({use.interface for use in found if use.name == name and use.way != 'serves'}) == 1, name


def test_cells_are_cells():
    assert table(('a', 'b'), [('x|y', '/<fleet> `<code>`, 1 < 2')]) == ['| a | b |', '|---|---|', '| x\\|y | /&lt;fleet> `<code>`, 1 < 2 |']


def test_no_number_that_may_be_nan_becomes_bad_json():
    """Rosbridge makes NaN null in numbers and sequences, but leaves it in arrays of a fixed length."""
    fixed = re.compile(r'^float(32|64)\[\d+\]', re.MULTILINE)
    assert [file.name for kind in ('msg', 'srv') for file in (ROOT / kind).iterdir() if fixed.search(file.read_text(encoding='utf-8'))] == []


def test_the_figure_of_the_architecture_is_not_stale():
    image = pytest.importorskip('PIL.Image', reason='Pillow is not installed')
    pytest.importorskip('matplotlib', reason='matplotlib is not installed')
    import draw_architecture

    drawn = json.loads(image.open(draw_architecture.IMAGE).info['Description'])
    assert drawn == draw_architecture.edges(), 'run .venv/bin/python scripts/draw_architecture.py, and look at docs/architecture.png'
