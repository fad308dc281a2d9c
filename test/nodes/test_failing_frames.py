# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Frames that cannot be processed end at once, each with its reason, and hold none of the others up."""

import re
from collections import Counter

import cv2
import numpy as np
import onnx
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.msg import Result
from edge_dnn_partition.srv import Infer
from onnx import TensorProto, helper, numpy_helper
from trial_fleet import images, trial_fleet

from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.testbed import demo_model

GOOD, CUT_OFF, BLACK, WHITE = range(4)


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def picky_model(path):
    """Write the tiny network with a head that looks up what a black image does not have, and has no memory for a white one."""
    model = onnx.load_from_string(demo_model.model_bytes('tiny'))
    graph = model.graph
    scores = graph.node[-1]
    scores.output[0] = 'plain'
    table = {
        'zero': np.float32(0), 'rows': np.zeros(4, np.float32), 'far': np.int64(99), 'bright': np.float32(2),
        'many': np.float32(1e13), 'one': np.array([1], np.int64),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in table.items())
    node, scalar = helper.make_node, helper.make_tensor_value_info
    huge = helper.make_graph(
        [node('Mul', ['low', 'many'], ['size']), node('Cast', ['size'], ['count'], to=TensorProto.INT64),
         node('Reshape', ['count', 'one'], ['shape']), node('ConstantOfShape', ['shape'], ['values']),
         node('ReduceMax', ['values'], ['huge'], keepdims=0)],
        'huge', [], [scalar('huge', TensorProto.FLOAT, [])])
    small = helper.make_graph([node('Identity', ['zero'], ['small'])], 'small', [], [scalar('small', TensorProto.FLOAT, [])])
    graph.node.extend([
        node('ReduceMax', ['image'], ['high'], keepdims=0, name='high'), node('Less', ['high', 'zero'], ['dark'], name='dark'),
        node('Cast', ['dark'], ['is_dark'], to=TensorProto.INT64, name='is_dark'),
        node('Mul', ['is_dark', 'far'], ['place'], name='place'), node('Gather', ['rows', 'place'], ['row'], name='look_up'),
        node('ReduceMin', ['image'], ['low'], keepdims=0, name='low'), node('Greater', ['low', 'bright'], ['pale'], name='pale'),
        node('If', ['pale'], ['extra'], then_branch=huge, else_branch=small, name='memory'),
        node('Add', ['row', 'extra'], ['both'], name='both'), node('Add', ['plain', 'both'], ['scores'], name='sum'),
    ])  # fmt: skip
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def shown():
    good = images(1)[0]
    flat = [cv2.imencode('.jpg', np.full((120, 160, 3), value, np.uint8))[1].reshape(-1) for value in (0, 255)]
    return [good, CameraImage(good.data[: good.data.size * 2 // 3], 'jpeg'), *(CameraImage(data, 'jpeg') for data in flat)]


def test_every_other_frame_fails_and_the_others_do_not_wait(tmp_path):
    kinds = shown()
    order = [GOOD, CUT_OFF, GOOD, BLACK]
    with trial_fleet(tmp_path, shown=[kinds[i] for i in order], model=picky_model(tmp_path / 'picky.onnx')) as trial:
        layers = len(trial.model.layers)
        trial.follow(f'jetson:pre-{layers // 2} cloud:{layers // 2}-end')
        trial.more_frames(24)
        answer = trial.client.call(Infer, trial.client.topics.infer, request(kinds[BLACK]))
        assert (answer.success, answer.status, answer.result.status) == (False, Infer.Response.FAILED, Result.FAILED)
        assert 'cannot be processed: stage 0 on jetson' in answer.message and 'look_up' in answer.message
        assert trial.news.status.repeated == 0, 'nothing was waited for'
        answer = trial.client.call(Infer, trial.client.topics.infer, request(kinds[WHITE]))
        assert answer.status == Infer.Response.FAILED
        both = re.search(r'stage \d on (\w+): .*allocate.*; before that, stage 0 on (\w+): .*allocate', answer.message)
        assert both, answer.message
        last, first = both.groups()
        assert first == 'jetson' != last, 'it was tried elsewhere'
        status = trial.settle()
    ends = {GOOD: [], CUT_OFF: [], BLACK: []}
    for frame in trial.news.frames:
        if frame.stamp_ns in trial.camera.shown:
            ends[order[trial.camera.shown[frame.stamp_ns] % 4]].append(frame)
    assert {frame.status for frame in ends[GOOD]} == {Result.OK}
    assert all(frame.status == Result.FAILED and 'end is missing' in frame.reason for frame in ends[CUT_OFF])
    assert all(frame.status == Result.FAILED and 'look_up' in frame.reason for frame in ends[BLACK])
    assert min(map(len, ends.values())) >= 4
    counts = Counter(frame.status for frame in trial.news.frames)
    assert (counts[Result.FAILED], counts[Result.OK]) == (status.failed, status.delivered)
    assert (status.lost, status.accepted) == (0, status.delivered + status.failed)
    assert status.repeated == 1
    assert trial.news.missed.missed == 0


def request(image):
    message = Infer.Request()
    message.compressed.format = 'jpeg'
    message.compressed.data = image.data.tobytes()
    return message
