# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Every command in README.md and docs/ is run here, or marked with why not; all are held against the parser and the files.

A mark stands before the block: <!-- not run: needs a second machine; run by test/nodes/test_up.py -->. Blocks without one are
run as they stand, in a folder with what the pages speak of: model.onnx, robot.yaml and preprocessing.yaml as
docs/two_machines.md has them, a photograph, profiles, costs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_checks import PAGES, ROOT, TESTED_BY, blocks, commands, complaint, inline

BLOCKS = [block for page in PAGES for block in blocks(page)]


def fenced(page, language, holding):
    """Return the text of the one block that has some words in it."""
    found = re.findall(rf'```{language}\n(.*?)```', page.read_text(), re.DOTALL)
    (text,) = [text for text in found if holding in text]
    return text


@pytest.mark.parametrize('block', BLOCKS, ids=str)
def test_commands_fit_what_they_name(block):
    wrong = {' '.join(words): said for words in commands(block.text) if (said := complaint(words))}
    assert not wrong


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_fit_what_they_name(page):
    wrong = {f'{line}: {text}': said for line, text in inline(page) for words in commands(text) if (said := complaint(words))}
    assert not {text: said for text, said in wrong.items() if 'arguments are required' not in said}, 'a verb may be named alone'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_stand_in_fenced_blocks(page):
    """An indented one would be seen by no test."""
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    assert not re.findall(r'^(?: {4}|\t)(?:sudo |edge-dnn|ros2 |make |pip |colcon |docker ).*', text, re.MULTILINE)


@pytest.mark.parametrize('block', [block for block in BLOCKS if block.mark], ids=str)
def test_what_runs_a_block_instead_exists(block):
    for path in TESTED_BY.findall(block.mark):
        assert (ROOT / path.rstrip('.')).is_file(), path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Has what the pages' commands name."""
    import cv2
    import numpy as np

    from edge_dnn_partition.cli.main import main

    folder = tmp_path_factory.mktemp('reader')
    write_model(folder / 'model.onnx')
    for name in ('robot.yaml', 'preprocessing.yaml'):
        (folder / name).write_text(fenced(ROOT / 'docs/two_machines.md', 'yaml', f'# {name}'))
    (folder / 'wide.yaml').write_text(fenced(ROOT / 'docs/wide_area.md', 'yaml', '# wide.yaml'))
    (folder / 'costs.json').write_text(fenced(ROOT / 'docs/planning.md', 'json', '"input_bytes"'))
    photo = cv2.resize(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8), (640, 480))
    cv2.imwrite(str(folder / 'photo.jpg'), photo)
    paths = {name: str(folder / name) for name in ('model.onnx', 'preprocessing.yaml', 'photo.jpg', 'jetson.json')}
    command = ['profile', paths['model.onnx'], '--preprocessing', paths['preprocessing.yaml'], '--image', paths['photo.jpg']]
    assert main([*command, '--runs', '1', '--device', 'jetson', '--out', paths['jetson.json']]) == 0  # as if it were another's
    return folder


def write_model(path):
    """Write a network of 48 small convolutions of 224 x 224 images."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, weights, last = [], [], 'image'
    for i in range(48):
        shape, stride = ((8, 3, 3, 3), 8) if i == 0 else ((8, 8, 3, 3), 1)
        weights.append(numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), f'w{i}'))
        nodes += [
            helper.make_node('Conv', [last, f'w{i}'], [f'c{i}'], f'conv{i + 1}', strides=[stride] * 2, pads=[1] * 4),
            helper.make_node('Relu', [f'c{i}'], [f'r{i}'], f'relu{i + 1}'),
        ]
        last = f'r{i}'
    weights.append(numpy_helper.from_array(random.normal(0, 0.1, (8, 10)).astype(np.float32), 'dense'))
    nodes += [
        helper.make_node('GlobalAveragePool', [last], ['pooled'], 'pool'),
        helper.make_node('Flatten', ['pooled'], ['flat'], 'flatten'),
        helper.make_node('MatMul', ['flat', 'dense'], ['scores'], 'classifier'),
    ]
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (('image', (1, 3, 224, 224)), ('scores', (1, 10)))
    )
    graph = helper.make_graph(nodes, 'reader', [image], [scores], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9), path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize('block', [block for block in BLOCKS if not block.mark], ids=str)
def test_block_runs(block, folder):
    path = [str(Path(sys.executable).parent), os.environ['PATH']]
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', block.text], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {'PATH': os.pathsep.join(path)}, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_these_tests_can_fail():
    """Whatever a page could get wrong is noticed."""
    for wrong, words in {
        'edge-dnn-partition plann model.onnx': 'no verb plann',
        'edge-dnn-partition plan model.onnx --flet robot.yaml': '--flet',
        'edge-dnn-partition split model.onnx --cut 3 --out x && edge-dnn-partition top': 'FLEET.yaml',
        '.venv/bin/edge-dnn-partition bench plannner': 'no benchmark plannner',
        'ros2 launch edge_dnn_partition flet.launch.py': 'no launch/flet.launch.py',
        'ros2 launch edge_dnn_partition device.launch.py fleet_file:=a.yaml devise:=pi': 'no argument devise',
        'ros2 launch edge_dnn_partition device.launch.py fleet_file:=a.yaml': 'needs device',
        'ros2 run edge_dnn_partition shedule': 'no executable shedule',
        'ros2 service call /robot/pin edge_dnn_partition/srv/PinPlans "{}"': 'no edge_dnn_partition/srv/PinPlans',
        'sudo make instal': 'no target instal',
        'sudo cp systemd/edge-dnn@.service /etc/systemd/system/': 'no systemd/edge-dnn@.service',
    }.items():
        said = [complaint(words_) for words_ in commands(wrong)]
        assert any(words in one for one in said), (wrong, said)
    assert complaint(['ROS_DOMAIN_ID=3', 'edge-dnn-partition', 'doctor', '--json']) == ''


@pytest.mark.parametrize(('wrong', 'words'), [
    ('ros2 param set /robot/scheduler least_gian 0.1', 'did you mean least_gain'),
    ('ros2 param set /robot/scheduler least_gain 5', 'at most'),
    ('ros2 param set /robot/frame_source waiting 3', 'at the start only'),
])  # fmt: skip
def test_parameters_in_commands_are_known(wrong, words):
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    assert words in complaint(wrong.split())
