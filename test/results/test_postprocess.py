# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""From outputs to their meaning: classes, boxes in the image's pixels, masks; bad settings and outputs."""

import importlib.metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.results import postprocess
from edge_dnn_partition.results.annotate import annotated, class_colour
from edge_dnn_partition.results.postprocess import Box, Prediction, Score, postprocessor_of

HERE = Path('/nowhere')
IMAGE = (640, 480)


def test_the_best_classes_with_their_labels(tmp_path):
    (tmp_path / 'labels.txt').write_text('cat\ndog\n\nowl\n')
    read = postprocessor_of({'kind': 'classification', 'labels': 'labels.txt', 'top': 3}, tmp_path)
    logits = np.array([[0.0, 3.0, 1.0, 2.0]], np.float32)
    prediction = read({'y': logits}, IMAGE, None)
    assert [score.label for score in prediction.scores] == ['dog', 'owl', 'class 2']
    exact = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert [score.score for score in prediction.scores] == pytest.approx([exact[1], exact[3], exact[2]], rel=1e-6)
    plain = postprocessor_of({'kind': 'classification', 'softmax': False, 'top': 9}, tmp_path)({'y': logits / 4}, IMAGE, None)
    assert [score.score for score in plain.scores] == [0.75, 0.5, 0.25, 0]


def letterbox(**more):
    return Preprocessing(320, 320, resize='letterbox', **more)


def head(box, label, classes=3, score=0.9):
    """Return one row of a head: a box in the model's input, by its centre."""
    left, top, right, bottom = box
    row = np.zeros(4 + classes)
    row[:4] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    row[4 + label] = score
    return row


@pytest.mark.parametrize('transposed', [False, True])
def test_boxes_come_back_into_the_image(transposed):
    # 640 x 480 in 320 x 320: halved, with 40 rows above
    rows = np.stack([head((50, 90, 150, 190), 2), head((52, 90, 150, 190), 2, score=0.8), head((0, 0, 20, 60), 1), head((1, 1, 9, 9), 0, score=0.1)])
    read = postprocessor_of({'kind': 'detection', 'transposed': transposed}, HERE)
    output = rows.T[None] if transposed else rows[None]
    boxes = read({'y': output.astype(np.float32)}, IMAGE, letterbox()).boxes
    assert [(box.what.index, round(box.what.score, 3)) for box in boxes] == [(2, 0.9), (1, 0.9)]
    assert (boxes[0].left, boxes[0].top, boxes[0].right, boxes[0].bottom) == pytest.approx((100, 100, 300, 300))
    assert (boxes[1].left, boxes[1].top, boxes[1].right, boxes[1].bottom) == pytest.approx((0, 0, 40, 40))


def test_other_heads_say_the_same():
    corners = np.array([[50, 90, 150, 190, 0.5, 0.0, 0.8]])
    objectness = {'kind': 'detection', 'objectness': True, 'corners': True}
    (box,) = postprocessor_of(objectness, HERE)({'y': corners[None]}, IMAGE, letterbox()).boxes
    assert (box.what.index, box.what.score) == (1, pytest.approx(0.4))
    shares = np.concatenate([corners[:, :4] / 320, np.log(corners[:, 4:] / (1 - corners[:, 4:]) + 1e-12)], axis=1)
    (same,) = postprocessor_of({**objectness, 'normalised': True, 'logits': True}, HERE)({'y': shares[None]}, IMAGE, letterbox()).boxes
    assert (same.left, same.bottom, same.what.score) == pytest.approx((box.left, box.bottom, box.what.score), abs=1e-6)


SIZE = st.integers(2, 500)


@given(SIZE, SIZE, st.sampled_from(['stretch', 'letterbox', 'center_crop']), st.lists(st.tuples(SIZE, SIZE), min_size=1, max_size=4))
def test_points_there_and_back(width, height, resize, points):
    settings = Preprocessing(96, 64, resize=resize)
    given_points = np.array(points, float)
    there = settings.from_image(given_points, (width, height))
    assert settings.to_image(there, (width, height)) == pytest.approx(given_points)


@pytest.mark.parametrize('resize', ['stretch', 'letterbox', 'center_crop'])
def test_a_point_is_where_the_preprocessing_puts_it(resize):
    pixels = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(pixels, (250, 300), 12, (255, 255, 255), -1)
    settings = Preprocessing(160, 160, resize=resize, pad_value=0)
    seen = settings.apply(pixels, 'bgr8')[0, 0]
    ys, xs = np.nonzero(seen > 0.5)
    expected = settings.from_image(np.array([[250.0, 300.0]]), IMAGE)[0]
    assert (xs.mean(), ys.mean()) == pytest.approx(tuple(expected), abs=1.0)


def test_a_mask_lies_on_what_it_is_of():
    pixels = np.zeros((480, 640, 3), np.uint8)
    cv2.rectangle(pixels, (200, 120), (440, 360), (255, 255, 255), -1)
    settings = letterbox(pad_value=0)
    seen = settings.apply(pixels, 'bgr8')[0, 0]
    scores = np.stack([1 - seen, seen])[None, :, ::2, ::2]  # a mask of half the input's size, as many networks give
    mask = postprocessor_of({'kind': 'segmentation'}, HERE)({'y': scores}, IMAGE, settings).mask
    assert mask.shape == (480, 640) and set(np.unique(mask)) == {0, 1}
    assert (mask != (pixels[:, :, 0] > 127)).mean() < 0.01
    classes = postprocessor_of({'kind': 'segmentation'}, HERE)({'y': scores.argmax(1)}, IMAGE, settings).mask
    assert (classes != mask).mean() < 0.01  # classes cannot be interpolated, scores are


def test_what_was_cut_away_has_no_class():
    settings = Preprocessing(100, 100, resize='center_crop')
    mask = postprocessor_of({'kind': 'segmentation'}, HERE)({'y': np.full((1, 100, 100), 7)}, (200, 100), settings).mask
    assert (mask[:, 50:150] == 7).all() and not mask[:, :50].any() and not mask[:, 150:].any()


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'kind': 'clasification'}, "did you mean 'classification'"),
        ({}, 'kind: is missing; known are classification, detection, instance_segmentation, pose, .*, raw'),
        ({'kind': 'classification', 'lables': 'x'}, "unknown key 'lables'; did you mean 'labels'"),
        ({'kind': 'classification', 'top': 'five'}, "'five' is not a whole number"),
        ({'kind': 'classification', 'top': True}, 'is not a whole number'),
        ({'kind': 'classification', 'top': 0}, 'at least 1'),
        ({'kind': 'classification', 'labels': 'no.txt'}, 'no.txt cannot be read'),
        ({'kind': 'classification', 'names': ['x']}, "unknown key 'names'"),
        ({'kind': 'detection', 'overlap': 1.5}, 'from 0 to 1'),
        ({'kind': 'raw', 'top': 5}, "unknown key 'top'"),
    ],
)
def test_settings_that_do_not_fit(values, words):
    with pytest.raises(UserError, match=words):
        postprocessor_of(values, HERE)


@pytest.mark.parametrize(
    ('values', 'output', 'words'),
    [
        ({'kind': 'classification'}, np.zeros((1, 3, 4, 4)), 'is no list of classes'),
        ({'kind': 'classification', 'output': 'z'}, np.zeros((1, 3)), "no 'z'"),
        ({'kind': 'detection'}, np.zeros((1, 3)), 'has no boxes'),
        ({'kind': 'detection', 'normalised': True}, np.zeros((1, 3, 9)), 'need the preprocessing'),
        ({'kind': 'segmentation'}, np.zeros((2, 3, 9)), 'is no mask'),
    ],
)
def test_outputs_that_do_not_fit(values, output, words):
    with pytest.raises(UserError, match=words):
        postprocessor_of(values, HERE)({'y': output}, IMAGE, None)


def test_a_plugin_of_another_package(monkeypatch):
    point = importlib.metadata.EntryPoint('count', f'{__name__}:none', postprocess.GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, 'load', lambda _: lambda values, _base: lambda *_: Prediction(values['what']))
    monkeypatch.setattr(postprocess, 'entry_points', lambda group: [point] if group == postprocess.GROUP else [])
    postprocess.kinds.cache_clear()
    try:
        assert postprocessor_of({'kind': 'count', 'what': 'sheep'}, HERE)({}, IMAGE, None).kind == 'sheep'
    finally:
        postprocess.kinds.cache_clear()


def test_the_fleet_file_says_it():
    document = {'source': 'pi', 'devices': {'pi': {}}, 'model': {'path': 'm.onnx', 'postprocessing': {'kind': 'raw'}}}
    fleet = parse_fleet(document, base=Path('/base'))
    assert fleet.model.postprocessing == {'kind': 'raw'} and fleet.model.path == Path('/base/m.onnx')
    with pytest.raises(UserError, match="did you mean 'postprocessing'"):
        parse_fleet({**document, 'model': {'path': 'm.onnx', 'postprocesing': {}}})


def test_a_image_is_drawn_on():
    pixels = np.full((120, 160, 3), 128, np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[60:, :] = 3
    prediction = Prediction('detection', scores=(Score(0, 'käse', 0.5),), boxes=(Box(60, 30, 140, 90, Score(1, 'box', 0.9)),), mask=mask)
    before = pixels.copy()
    drawn = annotated(pixels, prediction, ['plan 3, 12 ms'])
    np.testing.assert_array_equal(pixels, before)
    assert tuple(drawn[60, 140]) == class_colour(1)
    assert (drawn[110, 20] != 128).any() and (drawn[55, 20] == 128).all()
    assert (drawn[:20, :60] != 128).any()
    assert len({class_colour(index) for index in range(20)}) == 20
