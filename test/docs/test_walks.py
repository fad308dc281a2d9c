# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The walks in docs/architecture.md name files that are there, and count them right.

A walk is a line such as ``**On one device: 18 files.**`` or ``**On two devices: 3 more files, 21 in all.**``, then a numbered
list whose entries begin with a path below ``edge_dnn_partition/``. One with more files continues the numbers of the one before.
"""

import re

import pytest
from command_checks import ROOT

TITLE = re.compile(r'^\*\*(?P<name>[^*:]+): (?P<count>\d+) (?P<more>more )?files(?:, (?P<whole>\d+) in all)?\.\*\*', re.MULTILINE)
ENTRY = re.compile(r'^(\d+)\. (`([^`]+)`)?', re.MULTILINE)
WALKS = {'The way of a frame': ('On one device', 'On two devices'), 'The way of a decision': ('From telemetry to a new plan in force',)}


@pytest.mark.parametrize('heading', WALKS)
def test_a_walk_names_files_that_are_there_and_counts_them(heading):
    text = (ROOT / 'docs/architecture.md').read_text()
    section = re.split(r'^## ', text.partition(f'## {heading}\n')[2], maxsplit=1, flags=re.MULTILINE)[0]
    titles = list(TITLE.finditer(section))
    assert [title['name'] for title in titles] == list(WALKS[heading])
    passed = []
    for title, end in zip(titles, [*(other.start() for other in titles[1:]), len(section)], strict=True):
        if not title['more']:
            passed = []
        entries = ENTRY.findall(section[title.end() : end])
        assert [int(number) for number, *_ in entries] == list(range(len(passed) + 1, len(passed) + int(title['count']) + 1))
        passed += [path for *_, path in entries]
        assert len(set(passed)) == len(passed), 'a file stands twice in a walk'
        assert title['whole'] is None or int(title['whole']) == len(passed)
        for path in passed:
            assert path and (ROOT / 'edge_dnn_partition' / path).is_file(), f'{path!r} is not there'
