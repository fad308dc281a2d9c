# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What pages refer to is there: other pages, their sections, images, and the checks that troubleshooting names."""

import re

import pytest
from command_checks import PAGES, ROOT


def prose(page):
    return re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)


def anchors(page):
    """Return a page's anchors as GitHub makes them of its headings."""
    headings = re.findall(r'^#+ (.*)$', prose(page), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose(page)):
        if '://' in target:
            continue
        path, _, anchor = target.partition('#')
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_readme():
    reached, ahead = set(), [ROOT / 'README.md']
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            links = re.findall(r'\]\(([^)\s#]+\.md)', prose(page))
            ahead += [(page.parent / link).resolve() for link in links if '://' not in link]
    assert set(PAGES) <= reached


def test_troubleshooting_names_checks_that_the_doctor_has():
    section = (ROOT / 'docs/troubleshooting.md').read_text()
    rows = [line.split(' | ')[1] for line in section.splitlines() if line.startswith('| ') and not line.startswith('| what you')]
    named = [name.removesuffix(' …') for row in rows for name in re.findall(r'`([^`]+)`', row)]
    sources = ''.join(path.read_text() for path in (ROOT / 'edge_dnn_partition/cli').glob('doctor*.py'))
    assert len(named) >= 10
    for name in named:
        made = name.removesuffix(' of the fleet')
        assert re.search(rf"Check\(\s*f?'{re.escape(made)}\b|_enough\('{re.escape(made)}'|_alike\('{made}'|_refusal\('{made}'|'{made}' if|\"{made}\" if", sources), name
