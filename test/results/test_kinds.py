# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Masks, depths, keypoints, vectors and text, as other libraries read them; outputs of another kind are refused."""

from pathlib import Path

import numpy as np
import pytest
import synthetic_heads as heads
from hypothesis import given
from hypothesis import strategies as st
from synthetic_heads import CHARACTERS, IMAGE, SIZE

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.results.annotate import annotated
from edge_dnn_partition.results.planes import Resampling
from edge_dnn_partition.results.postprocess import postprocessor_of, read_labels, topics_of

HERE = Path('/nowhere')
INPUT = Preprocessing(160, 120)
TRANSFORMERS, MMPOSE, RAPIDOCR = (  # record_reference.py
    np.load(Path(__file__).with_name(f'{name}.npz')) for name in ('transformers', 'mmpose', 'rapidocr'))


def read(outputs, size=IMAGE, preprocessing=INPUT, base=HERE, **values):
    return postprocessor_of(values, base)(outputs if isinstance(outputs, dict) else {'y': outputs}, size, preprocessing)


def test_a_segmentation_as_transformers():
    mask = read(heads.planes(), kind='segmentation').mask
    assert (mask != TRANSFORMERS['mask']).mean() < 1e-4  # equal scores of two classes aside
    last = read(heads.planes().transpose(0, 2, 3, 1), kind='segmentation', layout='NHWC').mask
    np.testing.assert_array_equal(last, mask)


@given(st.integers(0, 999), st.floats(0, 3), st.sampled_from(['stretch', 'letterbox', 'center_crop']))
def test_the_highest_of_interpolated_scores(seed, spread, resize):
    random = np.random.default_rng(seed)
    planes = (random.normal(0, 1, (12, 5, 7)) + random.normal(0, spread, (12, 1, 1))).astype(np.float32)
    resampling = Resampling.of((5, 7), (33, 21), Preprocessing(14, 10, resize=resize))
    expected = np.stack([resampling.linear(plane) for plane in planes]).argmax(axis=0)
    np.testing.assert_array_equal(resampling.strongest(planes), expected)


def test_one_probability_a_pixel():
    logits = heads.planes(1)
    shares = 1 / (1 + np.exp(-logits))
    mask = read(shares, kind='segmentation').mask
    assert 0.3 < mask.mean() < 0.7 and set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(read(logits, kind='segmentation', logits=True).mask, mask)
    assert read(shares, kind='segmentation', threshold=0.9).mask.mean() < mask.mean()
    assert read(shares * 0.4, kind='segmentation').mask.max() == 0


def test_a_depth_as_torch():
    depth = read(heads.planes(1)[:, 0], (80, 60), kind='depth').depth
    np.testing.assert_allclose(depth, TRANSFORMERS['depth'], atol=1e-5)
    assert depth.dtype == np.float32
    inverse = read(np.array([[[2.0, 0.0], [4.0, -1.0]]]), (2, 2), None, kind='depth', inverse=True, scale=0.5).depth
    np.testing.assert_array_equal(inverse, np.array([[1, np.nan], [0.5, np.nan]], np.float32))
    cropped = read(np.ones((1, 1, 8, 8)), (200, 100), Preprocessing(100, 100, resize='center_crop'), kind='depth').depth
    assert np.isnan(cropped[:, :50]).all() and (cropped[:, 50:150] == 1).all()


def test_heatmaps_as_transformers():
    settings = Preprocessing(48, 64)  # four pixels for each of a heatmap
    (box,) = read(heads.heatmaps(), (48, 64), settings, kind='keypoints').boxes
    expected = TRANSFORMERS['points'] * 4
    found = np.array([(point.x, point.y) for point in box.keypoints])
    assert np.abs(found - expected).max() == 1  # moved by a quarter of a pixel towards the higher neighbour
    np.testing.assert_allclose([point.score for point in box.keypoints], TRANSFORMERS['point_scores'][:, 0], rtol=1e-6)
    random = np.random.default_rng(15)
    true = random.uniform(2, 10, (heads.POINTS, 2)) * 4
    assert np.abs(found - true).mean() < np.abs(expected - true).mean()


def test_simcc_and_coordinates():
    columns, rows = np.zeros((1, 2, 320)), np.zeros((1, 2, 240))
    columns[0, 0, 30], rows[0, 0, 40], columns[0, 1, 200], rows[0, 1, 100] = 0.9, 0.8, 0.7, 0.6
    (box,) = read({'simcc_x': columns, 'simcc_y': rows}, kind='keypoints', form='simcc').boxes
    assert [(p.x, p.y, p.score) for p in box.keypoints] == [(60, 80, 0.8), (400, 200, 0.6)]
    assert (box.left, box.top, box.right, box.bottom, box.what.score) == (60, 80, 400, 200, pytest.approx(0.7))
    (same,) = read(np.array([[[15.0, 20, 0.8], [100, 50, 0.6]]]), kind='keypoints', form='coordinates').boxes
    assert same == box
    (shares,) = read(np.array([[[0.25, 0.5]]]), kind='keypoints', form='coordinates', normalised=True).boxes
    assert (shares.keypoints[0].x, shares.keypoints[0].y, shares.keypoints[0].score) == (160, 240, 1)


def test_simcc_as_mmpose():
    (box,) = read(dict(zip('xy', heads.simcc(), strict=True)), (SIZE, SIZE), Preprocessing(SIZE, SIZE), kind='keypoints', form='simcc').boxes
    np.testing.assert_allclose([(point.x, point.y) for point in box.keypoints], MMPOSE['points'])
    np.testing.assert_allclose([point.score for point in box.keypoints], MMPOSE['scores'])


def test_text_as_paddleocr(tmp_path):
    (tmp_path / 'characters.txt').write_text('\n'.join(CHARACTERS[:-1]) + '\n')
    (found,) = read(heads.spaced_steps(), base=tmp_path, kind='text', labels='characters.txt', softmax=True, space=True).scores
    assert found.label == str(RAPIDOCR['text']) and ' ' in found.label
    assert found.score == pytest.approx(float(RAPIDOCR['score']), abs=2e-5)  # it rounds


def test_vectors_and_what_they_are_near_to(tmp_path):
    np.save(tmp_path / 'known.npy', np.array([[0.0, 2.0], [3.0, 0.0], [1.0, 1.0]]))
    (tmp_path / 'names.txt').write_text('kitchen\nhall\ndock\n')
    keys = {'kind': 'embedding', 'gallery': 'known.npy', 'labels': 'names.txt', 'top': 2}
    found = read(np.array([[4.0, 3.0]], np.float32), base=tmp_path, **keys)
    np.testing.assert_allclose(found.vector, [0.8, 0.6], rtol=1e-6)
    assert [(s.label, s.score) for s in found.scores] == [('dock', pytest.approx(1.4 / 2**0.5)), ('hall', pytest.approx(0.8))]
    assert topics_of(postprocessor_of(keys, tmp_path)) == ('embedding', 'classification')
    tokens = np.array([[[1.0, 0.0], [5.0, 6.0]]])
    assert read(tokens, kind='embedding', normalise=False).vector.tolist() == [3, 3]
    assert read(tokens, kind='embedding', pool='first', normalise=False).vector.tolist() == [1, 0]
    with pytest.raises(UserError, match='vectors of 2 values, the output 3'):
        read(np.ones((1, 3)), base=tmp_path, **keys)
    with pytest.raises(UserError, match='cannot be read'):
        read(np.ones((1, 3)), kind='embedding', gallery='none.npy')


@pytest.mark.parametrize('blank', ['first', 'last'])
def test_text_as_transformers(tmp_path, blank):
    (tmp_path / 'characters.txt').write_text('\n'.join(CHARACTERS) + '\n')
    logits = heads.steps() if blank == 'first' else np.roll(heads.steps(), -1, axis=2)
    (found,) = read(logits, base=tmp_path, kind='text', labels='characters.txt', softmax=True, blank=blank).scores
    assert found.label == str(TRANSFORMERS['text']) and len(found.label) > 5
    assert 0.3 < found.score < 1


def test_characters_that_are_blanks_themselves(tmp_path):
    # PaddleOCR's files have the space, or a line for it, and no blank
    (tmp_path / 'characters.txt').write_bytes('\ufeffa\r\n \r\nb\r\n'.encode())
    steps = np.eye(4)[[1, 1, 0, 1, 2, 2, 3]][None]
    keys = {'kind': 'text', 'labels': 'characters.txt', 'base': tmp_path}
    assert read(steps, **keys).scores[0].label == 'aa b'
    (tmp_path / 'characters.txt').write_text('a\nb\n')
    assert read(np.eye(4)[[1, 3, 2]][None], space=True, **keys).scores[0].label == 'a b'
    assert read(np.eye(3)[[0, 0]][None], **keys).scores == ()
    with pytest.raises(UserError, match='is no row of 2 characters and a blank; see labels and space'):
        read(steps, **keys)


def test_labels_as_editors_write_them(tmp_path):
    (tmp_path / 'labels.txt').write_bytes('\ufeffcat\r\n\r\nowl \r\n\r\n'.encode())
    assert read_labels('labels.txt', tmp_path) == ('cat', '', 'owl')
    found = read(np.array([[0.1, 0.7, 0.2]]), base=tmp_path, kind='classification', labels='labels.txt', softmax=False)
    assert [score.label for score in found.scores] == ['class 1', 'owl', 'cat']


def test_names_that_would_be_moved_are_refused(tmp_path):
    (tmp_path / 'labels.txt').write_text('cat\nowl\n')
    keys = {'base': tmp_path, 'kind': 'classification', 'labels': 'labels.txt'}
    assert read(np.zeros((1, 9)), **keys).scores[2].label == 'class 2'
    for count in (1, 3):
        with pytest.raises(UserError, match=f'room for {count} classes, the labels file has 2 lines'):
            read(np.zeros((1, count)), **keys)


def test_classes_that_do_not_exclude_each_other():
    found = read(np.array([[0.0, 2.0]]), kind='classification', logits=True)
    assert [score.score for score in found.scores] == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


@pytest.mark.parametrize(('outputs', 'values', 'words'), [
    (np.array([[0.2, 0.5, 0.3]]), {'kind': 'classification'}, 'probabilities already .*set softmax: false'),
    (np.array([3]), {'kind': 'classification'}, 'holds int64: classes or quantised values; name another output'),
    (np.array([[0.2, 9.0]]), {'kind': 'classification', 'softmax': False}, 'a score of 9 is no probability'),
    (np.zeros((1, 84, 8400)), {'kind': 'classification'}, r'no list of classes.*looks like \{kind: detection, head: yolov8\}'),
    (heads.planes(1), {'kind': 'segmentation'}, 'set logits: true'),
    (np.zeros((1, 60, 80, 21)), {'kind': 'segmentation'}, 'planes of 80 x 21 have another aspect .*is the layout not NCHW'),
    (np.zeros((1, 480, 640, 21)), {'kind': 'segmentation'}, '256 classes at most, not 480; is the layout not NCHW'),
    (np.zeros((1, 0, 4, 4)), {'kind': 'segmentation'}, 'is no mask'),
    (np.zeros((1, 2, 60, 80)), {'kind': 'depth'}, 'is no depth of one value a pixel'),
    (np.zeros((1, 5)), {'kind': 'keypoints'}, 'heatmaps of points are'),
    (np.zeros((1, 5, 4)), {'kind': 'keypoints', 'form': 'coordinates'}, 'coordinates of points are'),
    (np.zeros((1, 3, 4, 4)), {'kind': 'embedding'}, 'is no vector'),
])  # fmt: skip
def test_outputs_of_another_kind_are_refused(outputs, values, words):
    with pytest.raises(UserError, match=words) as caught:
        read(outputs, **values)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('values', 'words'), [
    ({'kind': 'text'}, 'text needs labels'), ({'kind': 'segmentation', 'layout': 'CHW'}, 'none of NCHW, NHWC'),
    ({'kind': 'keypoints', 'form': 'points'}, 'none of heatmaps, simcc, coordinates'), ({'kind': 'embedding', 'pool': 'max'}, 'mean, first'),
])  # fmt: skip
def test_settings_that_do_not_fit(values, words):
    with pytest.raises(UserError, match=words):
        postprocessor_of(values, HERE)


def test_depths_keypoints_and_turned_boxes_are_drawn():
    pixels = np.full((120, 160, 3), 128, np.uint8)
    near = read(np.arange(120 * 160.0).reshape(1, 120, 160), (160, 120), kind='depth')
    assert (annotated(pixels, near)[0, 0] != annotated(pixels, near)[-1, -1]).any()
    turned = np.array([80.0, 60, 100, 10, 0.9, np.pi / 2])[None, :, None]
    drawn = annotated(pixels, read(turned, (160, 120), kind='oriented_detection'))
    assert (drawn[100, 70:90] != 128).any() and not (drawn[55:66, 120:140] != 128).any()
    given = np.array([[[20.0, 20, 0.9], [140, 100, 0.9], [80, 60, 0.9], [60, 60, 0.1]]])
    (box,) = read(given, (160, 120), kind='keypoints', form='coordinates').boxes
    points = annotated(pixels, type(near)('keypoints', boxes=(box,)))
    assert (points[60, 80] != 128).any() and (points[60, 60] == 128).all()
