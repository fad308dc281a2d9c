# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing: every encoding gives the same input, exactly; broken images are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import ModelError, UserError, WireError
from edge_dnn_partition.graph.model import TensorInfo
from edge_dnn_partition.inputs.image import decode_compressed, image_size, largest_reduction
from edge_dnn_partition.inputs.preprocess import Preprocessing


def scene(width: int = 128, height: int = 96) -> np.ndarray[Any, Any]:
    """Return a smooth BGR image with colours that differ along both axes."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 / width, y * 255 / height, 127 + 100 * np.sin(x / 17) * np.cos(y / 13)]
    return np.stack(planes, -1).astype(np.uint8)


def encoded(image: np.ndarray[Any, Any], kind: str = '.jpg', *options: int) -> np.ndarray[Any, Any]:
    done, data = cv2.imencode(kind, image, list(options))
    assert done
    return data.reshape(-1)


def test_values_are_scaled_and_normalised_by_channel() -> None:
    image = np.full((4, 6, 3), (10, 20, 30), np.uint8)
    result = Preprocessing(6, 4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)).apply(image, 'bgr8')
    assert result.shape == (1, 3, 4, 6)
    assert result.dtype == np.float32
    expected = [(30 / 255 - 0.1) / 0.5, (20 / 255 - 0.2) / 0.25, (10 / 255 - 0.3) / 2.0]
    assert np.allclose(result[0, :, 0, 0], expected, atol=1e-7)
    assert (result[0] == result[0, :, :1, :1]).all()


@pytest.mark.parametrize('resize', ['stretch', 'letterbox', 'center_crop'])
@pytest.mark.parametrize('colour', ['rgb', 'bgr', 'gray'])
def test_layouts_hold_the_same_values(resize: Any, colour: Any) -> None:
    first = Preprocessing(64, 40, resize=resize, colour=colour).apply(scene(), 'bgr8')
    last = Preprocessing(64, 40, resize=resize, colour=colour, layout='NHWC').apply(scene(), 'bgr8')
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)
    assert first.flags.c_contiguous


@pytest.mark.parametrize(('encoding', 'conversion'), [
    ('bgr8', None), ('8UC3', None), ('rgb8', cv2.COLOR_BGR2RGB), ('bgra8', cv2.COLOR_BGR2BGRA),
    ('rgba8', cv2.COLOR_BGR2RGBA)])
def test_raw_encodings_of_one_image_give_one_input(encoding: str, conversion: int | None) -> None:
    raw = scene() if conversion is None else cv2.cvtColor(scene(), conversion)
    preprocessing = Preprocessing(64, 48)
    expected = preprocessing.apply(scene(), 'bgr8')
    assert np.array_equal(preprocessing.apply(raw, encoding), expected)
    assert np.array_equal(preprocessing.apply(raw.tobytes(), encoding, width=128, height=96), expected)
    row = raw.reshape(96, -1)
    padded = np.concatenate([row, np.full((96, 5), 99, np.uint8)], axis=1)
    assert np.array_equal(preprocessing.apply(padded.tobytes(), encoding, width=128, height=96,
                                              step=padded.shape[1]), expected)
    assert np.array_equal(preprocessing.apply(encoded(scene(), '.png'), 'png'), expected)


def test_grey_images_fill_all_channels() -> None:
    grey = scene()[:, :, 0].copy()
    result = Preprocessing(64, 48).apply(grey, 'mono8')
    assert np.array_equal(result[0, 0], result[0, 2])
    assert np.array_equal(result, Preprocessing(64, 48).apply(grey.tobytes(), '8UC1', width=128, height=96))


@pytest.mark.parametrize('encoding', ['yuv422', 'yuv422_yuy2'])
def test_yuv_images_come_near_their_colours(encoding: str) -> None:
    colour = np.full((8, 8, 3), (40, 90, 200), np.uint8)
    y, u, v = (int(value) for value in _yuv(40, 90, 200))
    pair = [u, y, v, y] if encoding == 'yuv422' else [y, u, y, v]
    data = np.array(pair * (8 * 8 // 2), np.uint8)
    result = Preprocessing(8, 8, dtype='uint8', colour='bgr').apply(data, encoding, width=8, height=8)
    assert np.abs(result[0].transpose(1, 2, 0).astype(int) - colour).max() <= 4


def _yuv(blue: int, green: int, red: int) -> tuple[float, float, float]:
    """ITU-R BT.601, studio range."""
    return (16 + 0.257 * red + 0.504 * green + 0.098 * blue,
            128 - 0.148 * red - 0.291 * green + 0.439 * blue,
            128 + 0.439 * red - 0.368 * green - 0.071 * blue)


@pytest.mark.parametrize(('encoding', 'pattern'), [
    ('bayer_rggb8', 'rggb'), ('bayer_bggr8', 'bggr'), ('bayer_gbrg8', 'gbrg'), ('bayer_grbg8', 'grbg')])
def test_bayer_patterns_are_read_as_ros_names_them(encoding: str, pattern: str) -> None:
    levels = {'r': 200, 'g': 90, 'b': 40}
    tile = np.array([levels[letter] for letter in pattern], np.uint8).reshape(2, 2)
    result = Preprocessing(16, 16, dtype='uint8').apply(np.tile(tile, (8, 8)), encoding)
    assert result[0, :, 8, 8].tolist() == [200, 90, 40]


def test_a_letterbox_keeps_the_aspect_and_pads() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    result = Preprocessing(64, 64, dtype='uint8', resize='letterbox', pad_value=7).apply(image, 'bgr8')
    assert (result[0, 0, :16] == 7).all()
    assert (result[0, 0, 16:48] == 200).all()
    assert (result[0, 0, 48:] == 7).all()


def test_a_center_crop_keeps_the_middle() -> None:
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, 32:64] = 255
    result = Preprocessing(32, 32, dtype='uint8', resize='center_crop').apply(image, 'bgr8')
    assert (result == 255).all()
    tall = Preprocessing(32, 32, dtype='uint8', resize='center_crop')
    assert (tall.apply(image.transpose(1, 0, 2).copy(), 'bgr8') == 255).all()


def test_the_image_lies_at_the_top_left_of_a_letterbox() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    settings = Preprocessing(64, 64, dtype='uint8', resize='letterbox', align='top_left')
    result = settings.apply(image, 'bgr8')[0, 0]
    assert (result[:32] == 200).all() and (result[32:] == 114).all()
    assert settings.to_image(np.array([[0.0, 32.0]]), (100, 50)).tolist() == [[0, 50]]


@pytest.mark.parametrize(('size', 'width'), [((100, 50), 96), ((101, 50), 97), ((400, 50), 320)])
def test_the_width_follows_the_aspect_up_to_the_inputs(size: tuple[int, int], width: int) -> None:
    # as PaddleOCR's recognition: ceil(48 * aspect), at most 320, zeros on the right after normalisation
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    settings = Preprocessing(320, 48, resize='fit_height', mean=(0.5,), std=(0.5,), pad_value=127.5)
    result = settings.apply(image, 'bgr8')[0]
    assert (result[:, :, :width] == 1).all() and (result[:, :, width:] == 0).all()
    edge = settings.to_image(np.array([[width, 48.0]]), size)[0]
    assert tuple(edge) == pytest.approx(size)


def test_a_crop_ratio_leaves_out_the_rim() -> None:
    # Resize(256) and CenterCrop(224) of an image that is 256 high already
    image = scene(320, 256)
    settings = Preprocessing(224, 224, dtype='uint8', colour='bgr', resize='center_crop', crop_ratio=0.875)
    assert np.array_equal(settings.apply(image, 'bgr8')[0], image[16:240, 48:272].transpose(2, 0, 1))
    assert settings.from_image(np.array([[48.0, 16.0]]), (320, 256)).tolist() == [[0, 0]]
    squashed = Preprocessing(224, 224, dtype='uint8', colour='bgr', crop_ratio=0.875)  # DeiT, timm's crop_mode squash
    whole = Preprocessing(256, 256, dtype='uint8', colour='bgr').apply(image, 'bgr8')
    assert np.array_equal(squashed.apply(image, 'bgr8'), whole[:, :, 16:240, 16:240])
    assert squashed.from_image(np.array([[20.0, 16.0]]), (320, 256)).tolist() == [[0, 0]]


@pytest.mark.parametrize(('layout', 'shape'), [('CHW', (3, 40, 64)), ('HWC', (40, 64, 3)), ('NHW', (1, 40, 64)), ('HW', (40, 64))])
def test_inputs_without_a_batch_or_channels(layout: Any, shape: tuple[int, ...]) -> None:
    settings = Preprocessing(64, 40, layout=layout, colour='rgb' if 'C' in layout else 'gray')
    result = settings.apply(scene(), 'bgr8')
    assert result.shape == settings.shape == shape
    expected = Preprocessing(64, 40, colour=settings.colour).apply(scene(), 'bgr8')[0]
    assert np.array_equal(result, expected.transpose(1, 2, 0) if layout == 'HWC' else expected.reshape(shape))
    settings.check(TensorInfo('image', 1, shape))
    with pytest.raises(ModelError, match='correct size, layout'):
        settings.check(TensorInfo('image', 1, (*shape, 1)))


def test_integer_inputs() -> None:
    image = np.array([[[0, 127, 128], [200, 254, 255]]], np.uint8)
    plain = Preprocessing(2, 1, dtype='int8', colour='bgr', layout='HWC')
    assert plain.apply(image, 'bgr8').tolist() == [[[-128, -1, 0], [72, 126, 127]]]
    plain.check(TensorInfo('image', 3, (1, 2, 3)))
    # QuantizeLinear of (pixel / 255 - 0.5) / 0.5 with scale 1 / 100 and zero point 10; it saturates
    settings = dataclasses.replace(plain, mean=(0.5,), std=(0.5,), quantisation=(0.01, 10))
    values = np.rint((image / 255 - 0.5) / 0.5 / 0.01) + 10
    assert np.array_equal(settings.apply(image, 'bgr8'), np.clip(values, -128, 127))
    assert Preprocessing.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize('axes', [(0, 1, 2), (1, 2)])
def test_an_image_is_normalised_by_itself(axes: tuple[int, ...]) -> None:
    # TensorFlow: (x - mean) / max(deviation, 1 / sqrt(number of values))
    settings = Preprocessing(128, 96, standardise='channel' if len(axes) == 2 else 'image')
    values = scene()[:, :, ::-1].transpose(2, 0, 1) / 255
    expected = (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)
    result = settings.apply(scene(), 'bgr8')
    assert result[0] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(result, settings.apply(encoded(scene(), '.png'), 'png'))
    assert not settings.apply(np.full((96, 128, 3), 9, np.uint8), 'bgr8').any()


def test_a_compressed_image_gives_what_its_pixels_give() -> None:
    data = encoded(scene(640, 480))
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert np.array_equal(Preprocessing(100, 75).apply(data, 'jpeg'), Preprocessing(100, 75).apply(pixels, 'bgr8'))


@pytest.mark.parametrize('resize', ['stretch', 'letterbox', 'center_crop'])
def test_reduced_decoding_changes_little_and_is_repeatable(resize: Any) -> None:
    data = encoded(scene(640, 480), '.jpg', cv2.IMWRITE_JPEG_QUALITY, 95)
    reduced = Preprocessing(100, 75, dtype='uint8', resize=resize, reduced_decoding=True)
    full = Preprocessing(100, 75, dtype='uint8', resize=resize)
    first, second = reduced.apply(data, 'jpeg'), reduced.apply(data.tobytes(), 'jpeg')
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int) - full.apply(data, 'jpeg')).max() <= 6
    # A reduction that were too large would lose the edge between two halves.
    halves = np.zeros((480, 640, 3), np.uint8)
    halves[:, 320:] = 255
    sharp = reduced.apply(encoded(halves, '.jpg', cv2.IMWRITE_JPEG_QUALITY, 100), 'jpeg')[0, 0]
    assert (sharp[:, :48] < 12).all()
    assert (sharp[:, 52:] > 243).all()


@given(width=st.integers(1, 3000), height=st.integers(1, 3000), want_width=st.integers(1, 800),
       want_height=st.integers(1, 800))
def test_the_reduction_is_the_largest_that_is_enough(width: int, height: int, want_width: int,
                                                     want_height: int) -> None:
    def enough(factor: int) -> bool:
        return -(-width // factor) >= want_width and -(-height // factor) >= want_height

    reduction = largest_reduction(width, height, want_width, want_height)
    assert reduction == max([factor for factor in (2, 4, 8) if enough(factor)], default=1)


@pytest.mark.parametrize('size', [(17, 33), (64, 48), (1, 1), (1280, 720)])
@pytest.mark.parametrize('reduction', [1, 2, 4, 8])
def test_headers_tell_the_size_that_the_decoder_gives(size: tuple[int, int], reduction: int) -> None:
    data = encoded(scene(*size))
    assert image_size(data, 'jpeg') == size
    assert image_size(encoded(scene(*size), '.png'), 'png') == size
    pixels = decode_compressed(data, 'jpeg', reduction=reduction)
    assert pixels.shape == (-(-size[1] // reduction), -(-size[0] // reduction), 3)


def test_progressive_and_grey_jpegs_are_read() -> None:
    data = encoded(scene(), '.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert Preprocessing(16, 16).apply(data, 'jpeg').shape == (1, 3, 16, 16)
    assert Preprocessing(16, 16).apply(encoded(scene()[:, :, 0].copy()), 'jpeg').shape == (1, 3, 16, 16)


JPEG = encoded(scene())


@pytest.mark.parametrize(('data', 'encoding'), [
    (JPEG[:200], 'jpeg'), (JPEG[:-100], 'jpeg'), (JPEG[5:], 'jpeg'), (JPEG[:0], 'jpeg'),
    (np.zeros(500, np.uint8), 'jpeg'), (encoded(scene(), '.png')[:300], 'png'), (JPEG, 'png'),
    (encoded(scene(), '.png'), 'jpeg'), (np.concatenate([JPEG[:30], JPEG[-20:]]), 'jpeg'),
    (JPEG.astype(np.float32), 'jpeg'), (JPEG, 'webp')])
def test_broken_images_are_refused(data: np.ndarray[Any, Any], encoding: str) -> None:
    with pytest.raises(WireError) as caught:
        Preprocessing(16, 16).apply(data, encoding, width=128, height=96)
    assert '\n' not in str(caught.value)


@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255))
def test_a_wrong_byte_is_refused_or_decoded_but_never_fatal(at: int, value: int) -> None:
    data = JPEG.copy()
    data[at] = value
    try:
        result = Preprocessing(16, 16).apply(data, 'jpeg')
    except WireError:
        return
    assert result.shape == (1, 3, 16, 16)


def test_a_header_that_promises_too_much_is_refused_before_decoding() -> None:
    data = JPEG.copy()
    at = bytes(data).index(b'\xff\xc0')
    data[at + 5:at + 9] = 0xFF
    with pytest.raises(WireError, match='65535 x 65535'):
        Preprocessing(16, 16).apply(data, 'jpeg')


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'width': 10, 'height': 10}, 'needs 300 bytes, not 36864'),
    ({'width': 128, 'height': 96, 'step': 10}, '10 bytes in a row'),
    ({'width': 0, 'height': 96}, '0 x 96'),
    ({}, 'needs a width and height')])
def test_raw_images_whose_bytes_do_not_fit_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(WireError, match=message):
        Preprocessing(16, 16).apply(scene().tobytes(), 'bgr8', **arguments)


def test_the_models_input_is_checked() -> None:
    preprocessing = Preprocessing(64, 48)
    preprocessing.check(TensorInfo('image', 1, (1, 3, 48, 64)))
    preprocessing.check(TensorInfo('image', 1, (-1, 3, -1, -1)))
    for shape in ((1, 3, 64, 48), (1, 48, 64, 3), (1, 1, 48, 64), (2, 3, 48, 64), (3, 48, 64)):
        with pytest.raises(ModelError, match=r'gives \[1, 3, 48, 64\]'):
            preprocessing.check(TensorInfo('image', 1, shape))
    with pytest.raises(ModelError, match='element type 2'):
        preprocessing.check(TensorInfo('image', 2, (1, 3, 48, 64)))


def test_yaml_is_read_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / 'preprocessing.yaml'
    path.write_text('size: [64, 48]\nlayout: NHWC\ncolour: bgr\nmean: 0.5\nstd: [1, 2, 3]\nresize: letterbox\n')
    preprocessing = Preprocessing.from_yaml(path)
    assert (preprocessing.width, preprocessing.height, preprocessing.mean) == (64, 48, (0.5,))
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(('text', 'message'), [
    ('size: [64, 48]\nmeen: 1', "unknown key 'meen'; did you mean 'mean'"),
    ('layout: NCHW', 'size: .* is missing'),
    ('size: [64, 48]\nwidth: 64', 'not both'),
    ('size: 64', r'size: 64 must be \[width, height\]'),
    ('size: [64, 0]', 'height: 0'), ('size: [64.5, 3]', 'width: 64.5'), ('size: [true, 3]', 'width: True'),
    ('size: [64, 48]\nlayout: NCWH', 'NCHW, NHWC, CHW'), ('size: [64, 48]\nlayout: HW', 'set colour: gray'),
    ('size: [64, 48]\nresize: center_crop\ncrop_ratio: 1.2', 'above 0, up to 1'),
    ('size: [64, 48]\nresize: letterbox\ncrop_ratio: 0.9', 'belongs to resize: center_crop'),
    ('size: [64, 48]\nalign: top_left', 'belongs to resize: letterbox'),
    ('size: [64, 48]\nquantisation: [0.1, 3]', 'belongs to dtype uint8 or int8'),
    ('size: [64, 48]\ndtype: int8\nquantisation: [0.1, 128]', 'zero point from -128 to 127'),
    ('size: [64, 48]\ndtype: int8\nquantisation: 0.1', 'zero point from -128 to 127'),
    ('size: [64, 48]\ndtype: uint8\npad_value: 1.5', 'a whole number for dtype uint8'),
    ('size: [64, 48]\nstandardise: image\nmean: 0.5', 'leave mean and std out'),
    ('size: [64, 48]\nstandardise: image\ndtype: int8', 'needs quantisation'),
    ('size: [64, 48]\ncolour: [rgb]', 'rgb, bgr, gray, depth'),
    ('size: [64, 48]\nmean: [1, 2]', '1 or 3 finite numbers'),
    ('size: [64, 48]\nmean: x', '1 or 3 finite numbers'),
    ('size: [64, 48]\nstd: 0', 'above 0'), ('size: [64, 48]\nscale: .nan', 'above 0'),
    ('size: [64, 48]\npad_value: 300', 'from 0 to 255'),
    ('size: [64, 48]\nreduced_decoding: maybe', 'true or false'),
    ('- 3', 'must be a mapping'), ('', 'must be a mapping'), ('size: [64, 48', 'not valid YAML')])
def test_yaml_with_a_wrong_value_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / 'preprocessing.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Preprocessing.from_yaml(path)
    assert 'preprocessing.yaml' in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('resize', ['stretch', 'letterbox', 'center_crop'])
def test_a_camera_matrix_follows_the_image(resize: Any) -> None:
    """A point's ray through the camera's matrix hits the same bright spot in the model's input."""
    preprocessing = Preprocessing(40, 40, resize=resize, dtype='uint8', pad_value=0, interpolation='area')
    matrix = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])
    pixels, point = np.zeros((120, 160, 3), np.uint8), np.array([0.11, -0.21, 1.0])
    column, row = (matrix @ point)[:2]
    pixels[round(row) - 3:round(row) + 4, round(column) - 3:round(column) + 4] = 255
    spot = preprocessing.apply(pixels, 'bgr8')[0, 0].astype(float)
    middle = [(spot * axis).sum() / spot.sum() for axis in np.meshgrid(np.arange(40), np.arange(40))]
    found = preprocessing.intrinsics(matrix, (160, 120)) @ point
    assert np.abs(found[:2] - middle).max() < 0.1


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='No such file'):
        Preprocessing.from_yaml(tmp_path / 'none.yaml')
