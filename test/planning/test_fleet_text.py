# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What people and accidents put into a fleet file: whatever it is, a fleet comes out, or one line that says what to do."""

import copy
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet, parse_fleet

GOOD = b"""fleet: demo
model: {path: model.onnx, preprocessing: preprocessing.yaml}
source: pi
objective: deadline
deadline: 200 ms
weights: [0.5, 0.5]
devices:
  pi: &board {threads: 4, memory: 1 GiB, power: {idle: 2.7 W, active: 4 W}, emulate: {slowdown: 8}}
  jetson: {<<: *board, providers: [CPUExecutionProvider]}
links:
  - {between: [pi, jetson], rate: 40 Mbit/s, delay: 2 ms, channel: wifi}
constraints: {private_until: conv2, pin: {fc: pi}}
camera: {topic: image/compressed}
parameters: {worker: {profile_runs: 1}}
"""


def change(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(('content', 'words'), [
    (change(b'fleet: demo', b'fleet: demo\nsource: jetson'), "line 4: the key 'source' is in line 2 already; keep one"),
    (change(b'  jetson:', b'  pi:'), "line 9: the key 'pi' is in line 8 already"),
    (change(b'rate: 40 Mbit/s', b'rate: 40'), r'links.0.rate: 40 has no unit; write 40 Mbit/s if you mean that \(units: bit/s, '),
    (change(b'rate: 40 Mbit/s', b'rate: "40"'), 'links.0.rate: 40 has no unit'),
    (change(b'memory: 1 GiB', b'memory: 4'), 'devices.pi.memory: 4 has no unit; write 4 GiB'),
    (change(b'deadline: 200 ms', b'deadline: 200'), 'deadline: 200 has no unit; write 200 ms'),
    (change(b'idle: 2.7 W', b'idle: 2.7'), 'devices.pi.power.idle: 2.7 has no unit; write 2.7 W'),
    (change(b'40 Mbit/s', b'40 Mbit'), "links.0.rate: '40 Mbit' is not a rate; did you mean 40 Mbit/s"),
    (change(b'40 Mbit/s', b'40 Mb/s'), 'did you mean 40 Mbit/s'),
    (change(b'40 Mbit/s', b'40 mb/s'), r'is not a rate; write a number and a unit \(bit/s, '),
    (change(b'1 GiB', b'4G'), 'did you mean 4 GB'),
    (change(b'200 ms', b'200 msec'), 'did you mean 200 ms'),
    (change(b'{path: model.onnx, preprocessing: preprocessing.yaml}', b'model.onnx'), 'model must be a table such as {path: model.onnx'),
    (change(b'camera: {topic: image/compressed}', b'camera: /image'), r'camera must be a table such as \{topic: '),
    (change(b'[pi, jetson]', b'pi'), r'links.0.between must be a list such as \[pi, jetson\], not .pi.'),
    (change(b'[pi, jetson]', b'[pi, jetson, pi]'), r'links.0.between has 3 values; keep 2'),
    (change(b'providers: [CPUExecutionProvider]', b'providers: CPUExecutionProvider'), r'such as \[CPUExecutionProvider\]'),
    (change(b'preprocessing.yaml}', b'{size: [8, 8]}}'), 'model.preprocessing must be a path such as preprocessing.yaml'),
    (change(b'{topic: image/compressed}', b'{topic: "TODO: of the front camera"}'), r'to be filled in: camera.topic \(of the front camera\)'),
    (change(b'delay: 2 ms', b'delay: 1:30'), "'1:30' is not a time"),
    (change(b'rate: 40 Mbit/s', b'rate: ' + b'9' * 400), 'line 11: a number of 400 digits'),
    (change(b'rate: 40 Mbit/s', b'rate: ' + b'9' * 400 + b' Mbit/s'), 'must be finite'),
    (change(b'rate: 40 Mbit/s', b'rate: 1e400 bit/s'), 'must be finite'),
    (change(b'slowdown: 8', b'slowdown: .nan'), 'slowdown must be a finite number'),
    (change(b'slowdown: 8', b'slowdown: .inf'), 'slowdown must be a finite number'),
    (change(b'  jetson: {<<: *board, providers: [CPUExecutionProvider]}', b'  jetson:'), r'devices.jetson is empty; write .* \{\} for'),
    (change(b'  jetson:', b'  no:'), "line 9: the key no is read as false in YAML; put it in quotes: 'no'"),
    (change(b'  jetson:', b'  on:'), 'the key on is read as true in YAML'),
    (change(b'  jetson:', b'  7:'), 'the key 7 is read as 7 in YAML; put it in quotes'),
    (change(b'source: pi', b'source: no'), 'source must be a text, but without quotes it is read as false; put it in quotes'),
    (change(b'between: [pi, jetson]', b'between: [pi, yes]'), 'links.0.between.1 must be a text, but without quotes it is read as true'),
    (change(b'fleet: demo', b'fleet: 12'), 'fleet must be a text, but without quotes it is read as a number'),
    (change(b'  jetson:', b'  "jetson\\n":'), r"the name 'jetson\\n' is not a ROS name; .* such as 'jetson'"),
    (change(b'  jetson:', b'  "\\e[2J":'), r"the name '\\x1b\[2J' is not a ROS name"),
    (change(b'fleet: demo', b'fleet: ' + b'a' * 300), 'has 300 letters'),
    (change(b'fleet: demo', b'fleet: ' + b'[' * 5000), 'line 1: brackets or indents are nested more than 32 deep'),
    (change(b'fleet: demo', b'\tfleet: demo'), 'line 1: is not valid YAML: .*; indent with spaces, not with tabs'),
    (change(b'fleet: demo', b'fleet: d\xe9mo'), 'line 1: byte 0xe9 is not UTF-8'),
    (GOOD.decode().encode('utf-16'), 'not UTF-8; save the file as UTF-8 text'),
    (change(b'fleet: demo', b'fleet: demo\0'), 'is not valid YAML'),
    (change(b'fleet: demo', b'fleet: !!python/name:os.system demo'), 'the tag .* is not supported; remove it'),
    (change(b'*board', b'*bord'), r'\*bord refers to no anchor'),
    (GOOD + b'---\n' + GOOD, r'a second document begins \(---\)'),
    (b'a0: &a0 [x, x]\n' + b''.join(b'a%d: &a%d [%s]\n' % (i, i, b','.join([b'*a%d' % (i - 1)] * 9)) for i in range(1, 30)), 'more than 2'),
    (b'#' * (1 << 21), 'is larger than 1 MiB'),
    (b'', 'write a table'),
    (change(b'topic: image/compressed', b'topic: "image compressed"'), "camera.topic: 'image compressed' is not a ROS topic"),
    (change(b'path: model.onnx', b'path: ""'), "model.path: '' is not a path"),
    (change(b'path: model.onnx', b'path: "a\\0b"'), 'is not a path'),
])  # fmt: skip
def test_each_mistake_is_one_line_that_says_what_to_do(tmp_path, content, words):
    path = tmp_path / 'fleet.yaml'
    path.write_bytes(content)
    with pytest.raises(PlanError, match=words) as caught:
        load_fleet(path)
    assert str(caught.value).startswith(f'{path}: ') and str(caught.value).isprintable()


@pytest.mark.parametrize('content', [
    GOOD, b'\xef\xbb\xbf' + GOOD, GOOD.replace(b'\n', b'\r\n'), change(b'  jetson:', b'  "no":').replace(b'[pi, jetson]', b'[pi, "no"]'),
    change(b'delay: 2 ms', b'delay: 0'), change(b'slowdown: 8', b'slowdown: 8e0'), change(b'fleet: demo', b'fleet: "demo" # 2026-11-01'),
])  # fmt: skip
def test_what_is_meant_to_work(tmp_path, content):
    path = tmp_path / 'fleet.yaml'
    path.write_bytes(content)
    fleet = load_fleet(path)
    assert [device.threads for device in fleet.devices.values()] == [4, 4]
    assert Fleet.model_validate(fleet.model_dump(mode='json', exclude_defaults=True)) == fleet, 'what is written is read again'


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for name, words in (('pipe', 'is not a regular file'), ('', 'is not a regular file'), ('none', 'No such file'), ('a\0b', 'null byte')):
        with pytest.raises(PlanError, match=words):
            load_fleet(f'{tmp_path}/{name}')
    with pytest.raises(UserError, match='is not a regular file; give the path of a preprocessing file'):
        Preprocessing.from_yaml(tmp_path / 'pipe')


NASTY = st.sampled_from([
    b'no', b'~', b'[', b'{', b'}', b']', b'-', b': ', b'\n', b'\t', b'&a ', b'*a', b'<<: ', b'"', b"'", b'|\n', b'? ', b'!!int ', b'\xff',
    b'\0', b'\xef\xbb\xbf', b'.nan', b'-.inf', b'1e999', b'0x10', b'9' * 400, b'-1', b'%YAML 1.1\n', b'---\n', b'...\n', b'pi', b'jetson', b' ',
]) | st.binary(max_size=3)  # fmt: skip


def expect_a_fleet_or_a_line(read):
    try:
        assert isinstance(read(), Fleet)
    except PlanError as error:
        assert '\n' not in str(error) and len(str(error)) < 1000


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 8), NASTY), min_size=1, max_size=4))
def test_a_mangled_file(tmp_path_factory, cuts):
    content = GOOD
    for at, gone, new in cuts:
        content = content[:at] + new + content[at + gone :]
    path = tmp_path_factory.getbasetemp() / 'mangled.yaml'
    path.write_bytes(content)
    expect_a_fleet_or_a_line(lambda: load_fleet(path))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5) | st.sampled_from(['pi', '3 ms', '']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(['pi', 'path', 'idle', 'threads', 'a b']), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.data())
def test_any_value_at_any_key(data):
    document = copy.deepcopy(DOCUMENT)
    table = document
    while True:
        key = data.draw(st.sampled_from(sorted(table)) if isinstance(table, dict) else st.integers(0, len(table) - 1))
        if not isinstance(table[key], (dict, list)) or not table[key] or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = data.draw(VALUES)
    expect_a_fleet_or_a_line(lambda: parse_fleet(document))


DOCUMENT = {
    'fleet': 'demo', 'model': {'path': 'm.onnx'}, 'source': 'pi', 'sink': 'pi', 'objective': 'latency', 'weights': [0.5, 0.5],
    'devices': {'pi': {'threads': 2, 'memory': '1 GiB', 'power': {'idle': '1 W', 'weight': 1.0}, 'emulate': {'slowdown': 2}}, 'box': {}},
    'links': [{'between': ['pi', 'box'], 'rate': '1 MB/s', 'delay': '2 ms', 'channel': 'wifi', 'emulate': True}],
    'constraints': {'pin': {'a': 'pi'}, 'exclude': ['box']}, 'camera': {'topic': 'a', 'rate': 5.0},
    'network': {'kind': 'wan', 'router': 'tcp/a.org:7447', 'router_device': 'box', 'sites': {'b': ['box']}}, 'share': {'group': 'g', 'hosts': {'pi': 'h'}},
}  # fmt: skip
