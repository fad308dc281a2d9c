# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Detectors' heads, read as the libraries that they come from read them; heads of another kind are refused with their likely kind."""

from pathlib import Path

import numpy as np
import pytest
import synthetic_heads as heads
from synthetic_heads import CLASSES, IMAGE, POINTS, SIZE

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.results.checks import likely_kind
from edge_dnn_partition.results.postprocess import postprocessor_of

HERE = Path('/nowhere')
LETTERBOX = Preprocessing(SIZE, SIZE, resize='letterbox')
STRETCH = Preprocessing(SIZE, SIZE)
REFERENCE = {name: dict(np.load(Path(__file__).with_name(f'{name}.npz'))) for name in (
    'ultralytics', 'transformers', 'yolov5', 'yolox', 'rfdetr', 'torchvision', 'tensorflow')}  # fmt: skip
ULTRALYTICS, TRANSFORMERS = REFERENCE['ultralytics'], REFERENCE['transformers']


def read(outputs, size=IMAGE, preprocessing=LETTERBOX, **values):
    outputs = outputs if isinstance(outputs, dict) else {'output0': outputs}
    return postprocessor_of({'kind': 'detection', **values}, HERE)(outputs, size, preprocessing)


def table(boxes):
    return np.array([[box.left, box.top, box.right, box.bottom, box.what.score, box.what.index] for box in boxes]).reshape(-1, 6)


def same(boxes, expected):
    """Compare boxes with rows of four sides, score and class."""
    assert len(boxes) == len(expected)
    np.testing.assert_allclose(table(boxes), expected, atol=2e-3)


def test_yolov8_as_ultralytics():
    same(read(heads.detect(), head='yolov8').boxes, ULTRALYTICS['detect'])


def test_yolov5_as_its_own_code():
    same(read(heads.objectness(), head='yolov5').boxes, REFERENCE['yolov5']['detect'])
    rows = heads.objectness()[0].astype(np.float64)
    shares = np.clip(rows[:, 4:], 1e-9, 1 - 1e-9)
    logits = np.concatenate([rows[:, :4], np.log(shares / (1 - shares))], axis=1)
    same(read(logits[None], head='yolov5', logits=True).boxes, REFERENCE['yolov5']['detect'])


def test_an_end_to_end_head_as_ultralytics():
    same(read(heads.end_to_end(), head='end_to_end').boxes, ULTRALYTICS['end_to_end'])


def test_poses_as_ultralytics():
    expected = ULTRALYTICS['pose']
    found = read(heads.pose(), kind='pose', keypoints=POINTS).boxes
    same(found, expected[:, :6])
    points = [[(point.x, point.y, point.score) for point in box.keypoints] for box in found]
    np.testing.assert_allclose(points, expected[:, 6:].reshape(-1, POINTS, 3), atol=2e-3)


def test_masks_of_instances_as_ultralytics():
    values, prototypes = heads.segment()
    found = read({'output0': values, 'output1': prototypes}, (SIZE, SIZE), STRETCH, kind='instance_segmentation')
    masks = np.unpackbits(ULTRALYTICS['masks']).reshape(-1, SIZE, SIZE)
    assert len(found.boxes) == len(masks)
    expected = ULTRALYTICS['segment']
    expected[:, :4] = np.clip(expected[:, :4], 0, SIZE)
    same(found.boxes, expected)
    first = np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0)  # the best object has the pixel
    assert (found.mask != first).mean() < 1e-3


def test_turned_boxes_as_ultralytics():
    expected = ULTRALYTICS['oriented']
    found = read(heads.oriented(), kind='oriented_detection').boxes
    sides = table(found)
    centres = np.concatenate([(sides[:, :2] + sides[:, 2:4]) / 2, sides[:, 2:4] - sides[:, :2], sides[:, 4:]], axis=1)
    np.testing.assert_allclose(centres, expected[:, :6], atol=2e-3)
    np.testing.assert_allclose([box.angle for box in found], expected[:, 6], atol=1e-5)


def test_a_turned_box_in_a_stretched_image():
    # 160 x 160 -> 320 x 160: a box at a right angle swaps which of its sides is stretched
    row = np.array([80.0, 80, 40, 20, 0.9, np.pi / 2])
    (box,) = read(row[None, :, None], (320, 160), STRETCH, kind='oriented_detection').boxes
    assert (box.right - box.left, box.bottom - box.top, box.angle) == pytest.approx((40, 40, np.pi / 2))
    assert (box.left + box.right) / 2 == pytest.approx(160)


def test_end_to_end_heads_with_more_values():
    row = np.zeros((1, 300, 6 + POINTS * 3))
    row[0, 0, :6] = 40, 40, 80, 120, 0.9, 2
    row[0, 0, 6:9] = 60, 80, 0.7
    (box,) = read(row, kind='pose', head='end_to_end', keypoints=POINTS).boxes
    assert (box.left, box.bottom, box.keypoints[0].y) == (160, 400, 240)
    turned = np.zeros((1, 300, 7))
    turned[0, 0] = 80, 80, 40, 20, 0.9, 1, 0.5
    (box,) = read(turned, kind='oriented_detection', head='end_to_end').boxes
    assert ((box.left + box.right) / 2, box.right - box.left, box.angle) == (320, 160, 0.5)


@pytest.mark.parametrize('name', ['detect', 'agnostic'])
def test_yolox_as_its_own_code(name):
    # its evaluation suppresses within a class, its demo across classes
    rows, expected = heads.on_grid(), REFERENCE['yolox'][name]
    expected[:, :4] = np.clip(expected[:, :4], 0, SIZE)
    same(read(rows, (SIZE, SIZE), STRETCH, head='yolox', agnostic=name == 'agnostic').boxes, expected)


def test_yolox_boxes_stay_on_no_grid():
    rows = heads.on_grid()[0]
    with pytest.raises(UserError, match='grid-coded; use head: yolox'):
        read(rows[None] * [0.1, 0.1, 0.1, 0.1, *[1] * 7], head='yolov5')
    with pytest.raises(UserError, match='YOLOX has 525 boxes'):
        read(rows[None, :500], head='yolox')


@pytest.mark.parametrize('head', ['detr', 'rt_detr'])
def test_queries_as_transformers(head):
    outputs, rows = heads.queries(), TRANSFORMERS[head]
    rows = rows[np.argsort(-rows[:, 4], kind='stable')]
    assert len(rows) > 10
    rows[:, :4] = np.clip(rows[:, :4], 0, [640, 480, 640, 480])
    same(read(outputs, preprocessing=STRETCH, head=head, least_score=0.4).boxes, rows)
    backwards = dict(reversed([*outputs.items(), ('encoder', np.zeros((1, 9)))]))
    same(read(backwards, preprocessing=STRETCH, head=head, least_score=0.4).boxes, rows)


def test_three_classes_are_not_taken_for_boxes():
    # RF-DETR with three classes: four logits, four sides; the names decide
    random = np.random.default_rng(12)
    outputs = {'dets': random.uniform(0.1, 0.4, (1, 20, 4)), 'labels': random.normal(0, 2, (1, 20, 4))}
    found = table(read(outputs, preprocessing=STRETCH, head='rf_detr').boxes)
    scores = 1 / (1 + np.exp(-outputs['labels'][0, :, :3]))
    assert found[0, 4] == pytest.approx(scores.max()) and found[:, 5].max() < 3
    with pytest.raises(UserError, match='cannot be told apart'):
        read({'a': outputs['dets'], 'b': outputs['labels']}, preprocessing=STRETCH, head='rf_detr')
    named = read({'a': outputs['dets'], 'b': outputs['labels']}, preprocessing=STRETCH, head='rf_detr', output='a', scores='b')
    np.testing.assert_allclose(table(named.boxes), found)


@pytest.mark.parametrize('name', ['tuned', 'coco'])
def test_rf_detr_as_its_own_code(name, tmp_path):
    # a fine-tuned model has a last class for nothing; the published weights have COCO's numbers 0 to 90, all of them classes
    given = heads.queries() if name == 'tuned' else heads.coco_queries()
    outputs = {'dets': given['pred_boxes'], 'labels': given['logits']}
    expected = REFERENCE['rfdetr'][name]
    found = read(outputs, preprocessing=STRETCH, head='rf_detr', least_score=0.4).boxes
    same(found, expected)
    assert name == 'tuned' or 90 in expected[:, 5]
    if name == 'coco':  # 90 labels: 90 classes were trained
        (tmp_path / 'labels.txt').write_text('\n'.join(f'c{number}' for number in range(90)))
        keys = {'kind': 'detection', 'head': 'rf_detr', 'labels': 'labels.txt', 'least_score': 0.4}
        assert 90 not in table(postprocessor_of(keys, tmp_path)(outputs, IMAGE, STRETCH).boxes)[:, 5]


def test_ssd_as_torchvision():
    corners, logits = heads.priors()
    expected = REFERENCE['torchvision']['ssd'] - [0, 0, 0, 0, 0, 1]  # its labels count the background
    keys = {'size': (SIZE, SIZE), 'preprocessing': STRETCH, 'head': 'ssd'}
    same(read({'scores': logits, 'boxes': corners}, softmax=True, **keys).boxes, expected)
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    same(read({'scores': shares, 'boxes': corners}, **keys).boxes, expected)


def test_tensorflow_as_its_own_drawing():
    found = table(read(heads.google(), preprocessing=STRETCH, head='tensorflow').boxes)
    np.testing.assert_allclose(found, REFERENCE['tensorflow']['boxes'], atol=6e-3)  # it writes whole percents


def test_lists_with_masks_and_keypoints():
    # torchvision's documentation: masks above 0.5 belong to the object; boxes, masks and points are in pixels of the input
    lists = heads.rcnn()
    kept = lists['scores'] >= 0.25
    keys = {'size': (SIZE, SIZE), 'preprocessing': STRETCH, 'head': 'lists'}
    found = read({name: lists[name] for name in ('boxes', 'labels', 'scores', 'masks')}, kind='instance_segmentation', **keys)
    expected = np.concatenate([lists['boxes'], lists['scores'][:, None], lists['labels'][:, None]], axis=1)[kept]
    same(found.boxes, expected)
    down, across = np.mgrid[0:SIZE, 0:SIZE]
    first = np.zeros((SIZE, SIZE))
    for number in range(kept.sum() - 1, -1, -1):
        left, top, right, bottom = lists['boxes'][number]
        inside = (across >= left) & (across < right) & (down >= top) & (down < bottom)
        first[inside & (lists['masks'][number, 0] > 0.5)] = number + 1
    np.testing.assert_array_equal(found.mask, first)
    poses = read({name: lists[name] for name in ('boxes', 'labels', 'scores', 'keypoints')}, kind='pose', keypoints=POINTS, **keys)
    points = [[(point.x, point.y, point.score) for point in box.keypoints] for box in poses.boxes]
    np.testing.assert_allclose(points, lists['keypoints'][kept], rtol=1e-6)
    with pytest.raises(UserError, match=r'keypoints of lists are one output \[boxes, 17, 3\]'):
        read(lists, kind='pose', **keys)


def test_lists_of_boxes_scores_and_classes():
    boxes, scores, labels = np.array([[40.0, 40, 80, 80], [0, 0, 9, 9]]), np.array([0.9, 0.1]), np.array([3, 1])
    (box,) = read({'boxes': boxes, 'labels': labels, 'scores': scores}, head='lists').boxes
    assert (box.left, box.top, box.what.index) == (160, 80, 3)
    google = {'detection_classes': labels[None] * 1.0, 'detection_scores': scores[None], 'num_detections': np.array([2.0]),
              'detection_boxes': boxes[None][:, :, [1, 0, 3, 2]] / SIZE}  # fmt: skip
    (other,) = read(google, head='tensorflow').boxes
    assert (other.left, other.right, other.what.index) == (pytest.approx(160), pytest.approx(320), 2)


def test_without_an_image_boxes_are_in_pixels_of_the_input():
    (box, *_) = read(heads.detect(), (0, 0), None, head='yolov8').boxes
    assert 0 < box.right - box.left < 100


EMPTY = {'boxes': np.zeros((0, 4)), 'scores': np.zeros(0), 'labels': np.zeros(0, np.int64)}
QUIET = {'logits': np.full((1, 9, 4), -9.0), 'pred_boxes': np.zeros((1, 9, 4))}


@pytest.mark.parametrize(('outputs', 'values'), [
    (np.zeros((1, 84, 525)), {'head': 'yolov8'}), (np.zeros((1, 525, 85)), {'head': 'yolov5'}), (np.zeros((1, 0, 6)), {'head': 'end_to_end'}),
    (np.zeros((1, 525, 85)), {'head': 'yolox'}), (EMPTY, {'head': 'lists'}), (QUIET, {'head': 'rt_detr'}),
    ({'scores': np.eye(1, 4).repeat(20, 0)[None], 'boxes': np.zeros((1, 20, 4))}, {'head': 'ssd'}),
    (np.zeros((1, 56, 525)), {'kind': 'pose'}), (np.zeros((1, 20, 525)), {'kind': 'oriented_detection'}),
    ({'a': np.zeros((1, 300, 38)), 'b': np.zeros((1, 32, 40, 40))}, {'kind': 'instance_segmentation', 'head': 'end_to_end'}),
])  # fmt: skip
def test_an_image_with_nothing_in_it(outputs, values):
    found = read(outputs, **values)
    assert found.boxes == () and (found.mask is None or not found.mask.any())


def test_yolov5_masks_as_its_own_code():
    values, prototypes = heads.yolov5_segment()
    keys = {'size': (SIZE, SIZE), 'preprocessing': STRETCH, 'kind': 'instance_segmentation', 'head': 'yolov5'}
    found = read({'a': values, 'b': prototypes, 'c': np.zeros((1, 9))}, output='a', **keys)
    expected, masks = REFERENCE['yolov5']['segment'], np.unpackbits(REFERENCE['yolov5']['masks']).reshape(-1, SIZE, SIZE)
    expected[:, :4] = np.clip(expected[:, :4], 0, SIZE)
    same(found.boxes, expected)
    first = np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0)
    assert (found.mask != first).mean() < 0.02  # it interpolates shares, later versions and we what they are made of


COLUMNS = np.full((1, 4 + 1 + 51, 8400), 0.4)
COLUMNS[:, :4], COLUMNS[:, 5:] = 90.0, 70.0
ROWS = np.zeros((1, 300, 6))
ROWS[0, 0] = 10, 10, 50, 50, 0.9, 16


@pytest.mark.parametrize(('outputs', 'values', 'words'), [
    (ROWS, {'corners': True}, r'a score of 16 is no probability; .*looks like \{kind: detection, head: end_to_end\}'),
    (COLUMNS, {'head': 'yolov8'}, r'a score of 70 .*looks like \{kind: pose, head: yolov8, keypoints: 17\}'),
    ({'output0': np.concatenate([COLUMNS, -COLUMNS], 1), 'output1': np.zeros((1, 32, 160, 160))}, {'head': 'yolov8'},
     r'a score of .* looks like \{kind: instance_segmentation, head: yolov8\}'),
    ({'logits': np.zeros((1, 100, 92)), 'pred_boxes': np.zeros((1, 100, 4))}, {'output': 'pred_boxes'},
     r'no boxes of 4 values and scores.*looks like \{kind: detection, head: detr\}'),
    (np.zeros((1, 8400, 84)), {'head': 'end_to_end'}, r'four sides, score, class; .*looks like \{kind: detection, head: yolov5\}'),
    (np.full((1, 84, 8400), np.nan), {'head': 'yolov8'}, 'nan is no probability'),
    (heads.detect() / np.array([SIZE] * 4 + [1] * CLASSES)[None, :, None], {'head': 'yolov8'}, 'set normalised: true'),
    (heads.detect(), {'head': 'yolov8', 'normalised': True}, 'leave out normalised'),
    (heads.detect(), {'head': 'yolov8', 'corners': True}, 'leave out corners'),
    (heads.pose(), {'kind': 'pose', 'keypoints': 17}, 'has no boxes of 4 values, scores and 51 more'),
    (heads.detect(), {'kind': 'instance_segmentation'}, 'prototypes of masks are one output'),
    ({'logits': np.ones((1, 9, 4)) * 3, 'pred_boxes': np.zeros((1, 9, 4))}, {'head': 'ssd'}, 'set softmax: true or logits: true'),
    ({f's{n}': np.zeros((1, 3, n, n, 85)) for n in (20, 10, 5)}, {'head': 'yolov5'}, 'raw grids: export the model with its decoding'),
    ({f's{n}': np.zeros((1, 84, n, n)) for n in (20, 10, 5)}, {'head': 'yolov8'}, 'raw grids: export the model with its decoding'),
    ({'a': np.zeros(3)}, {'head': 'lists'}, 'are not called boxes, scores, labels'),
])  # fmt: skip
def test_a_head_of_another_kind_is_refused(outputs, values, words):
    with pytest.raises(UserError, match=words) as caught:
        read(outputs, **values)
    assert '\n' not in str(caught.value)


def test_a_head_with_other_classes_than_the_labels_is_refused(tmp_path):
    (tmp_path / 'labels.txt').write_text('\n'.join('abcde'))
    reader = postprocessor_of({'kind': 'detection', 'head': 'yolov8', 'labels': 'labels.txt'}, tmp_path)
    with pytest.raises(UserError, match='room for 6 classes, the labels file has 5 lines'):
        reader({'output0': heads.detect()}, IMAGE, LETTERBOX)


@pytest.mark.parametrize(('values', 'words'), [
    ({'head': 'yolo8'}, "head: 'yolo8' is none of yolov5, yolov8"), ({'kind': 'pose', 'head': 'detr'}, "'detr' is none of yolov5, yolov8, end"),
    ({'background': 'middle'}, 'none of none, first, last'), ({'kind': 'pose', 'keypoint_values': 4}, '2 or 3'),
])  # fmt: skip
def test_settings_of_heads_that_do_not_fit(values, words):
    with pytest.raises(UserError, match=words):
        read(heads.detect(), **values)


@pytest.mark.parametrize(('shapes', 'kind'), [
    ({'y': (1, 1000)}, 'classification'), ({'y': (1, 21, 65, 65)}, 'segmentation'), ({'predicted_depth': (1, 384, 384)}, 'depth'),
    ({'a': (1, 300, 38), 'b': (1, 32, 160, 160)}, 'instance_segmentation'), ({'y': (1, 20, 21504)}, 'oriented_detection'),
    ({'dets': (1, 300, 4), 'labels': (1, 300, 91)}, 'detection'), ({'y': (1, 84, 189)}, 'detection'), ({'y': ()}, None), ({}, None),
    ({'y': (1, 257, 192)}, None), ({'y': (1, 49, 768)}, None), ({'y': (1, 40, 97)}, None), ({'y': (1, 25200, 85)}, 'detection'),
    ({'y': (1, 84, 33600)}, 'detection'), ({'y': (1, 2535, 85)}, 'detection'), ({'y': (1, 102000, 85)}, 'detection'),
    ({'a': (1, 255, 13, 13), 'b': (1, 255, 26, 26)}, None), ({'out': (1, 21, 65, 65), 'aux': (1, 21, 65, 65)}, 'segmentation'),
    ({'boxes': (0, 4), 'labels': (0,), 'scores': (0,), 'masks': (0, 1, 320, 320)}, 'instance_segmentation'),
    ({'boxes': (0, 4), 'labels': (0,), 'scores': (0,), 'keypoints': (0, 17, 3), 'keypoints_scores': (0, 17)}, 'pose'),
])  # fmt: skip
def test_shapes_tell_the_likely_kind(shapes, kind):
    found = likely_kind(shapes)
    assert (found and found['kind']) == kind
