# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The files for rviz, rqt and Foxglove are whole, and show topics and fields that there are."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from edge_dnn_partition.nodes.core.topics import Topics

ROOT = Path(__file__).resolve().parents[2]
TOPICS = Topics('robot')
TYPES = {
    'frame_report': 'FrameReport', 'source_status': 'SourceStatus', 'calibration': 'Calibration', 'decision': 'Decision',
    'state': 'FleetState',
}  # fmt: skip


def known():
    return {getattr(TOPICS, name) for name in vars(Topics) if isinstance(vars(Topics)[name], property)}


def fields(message):
    """Return the fields of one of the package's messages."""
    text = (ROOT / 'msg' / f'{message}.msg').read_text()
    return set(re.findall(r'^[\w/]+(?:\[\])? +(\w+)(?=$| +#)', text, re.MULTILINE))


def check(topic, field=''):
    assert topic in known(), topic
    if field:
        assert field in fields(TYPES[topic.removeprefix('/robot/')]), (topic, field)


def test_rviz():
    document = yaml.safe_load((ROOT / 'rviz' / 'fleet.rviz').read_text())
    displays = {d['Class'].rpartition('/')[2]: d for d in document['Visualization Manager']['Displays']}
    assert displays['MarkerArray']['Topic']['Value'] == TOPICS.markers
    assert displays['Image']['Topic']['Value'] == TOPICS.annotated
    assert set(displays['MarkerArray']['Namespaces']) == {'devices', 'links', 'labels'}


def test_rqt():
    document = json.loads((ROOT / 'config' / 'rqt.perspective').read_text())
    manager = document['groups']['pluginmanager']
    running = ast.literal_eval(manager['keys']['running-plugins']['repr'])
    names = {f'plugin__{name.replace("/", "__")}__{n}' for name, numbers in running.items() for n in numbers}
    assert set(manager['groups']) <= names
    for name, group in manager['groups'].items():
        keys = {key: ast.literal_eval(value['repr']) for key, value in group['groups']['plugin']['keys'].items()}
        for path in keys.get('topics', ()):
            topic, _, field = path.rpartition('/')
            check(topic, field)
        if 'image_view' in name:
            check(keys['topic'])


def test_foxglove():
    document = json.loads((ROOT / 'config' / 'foxglove.json').read_text())
    panels = document['configById']

    def leaves(node):
        return [node] if isinstance(node, str) else [leaf for part in ('first', 'second') for leaf in leaves(node[part])]

    assert sorted(leaves(document['layout'])) == sorted(panels)
    for name, panel in panels.items():
        for path in [p['value'] for p in panel.get('paths', ())] + [panel[k] for k in ('topicPath',) if k in panel]:
            topic, _, field = path.partition('.')
            check(topic, field)
        if name.startswith('Image'):
            check(panel['imageMode']['imageTopic'])
        for topic in panel.get('topics', {}):
            check(topic)


@pytest.mark.parametrize('folder', ['config', 'rviz'])
def test_they_are_installed(folder):
    assert re.search(rf'foreach\(folder [^)]*\b{folder}\b', (ROOT / 'CMakeLists.txt').read_text())
