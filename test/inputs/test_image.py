# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images as cameras give them: what their bytes are, whatever they are called, buffers larger than the image, depth, 16 bits."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.inputs.image import RAW_ENCODINGS, decode_raw, raw_size
from edge_dnn_partition.inputs.images import image_folder
from edge_dnn_partition.inputs.kinds import ImageKind, check_inputs, inputs_from_bytes, inputs_to_bytes
from edge_dnn_partition.inputs.preprocess import Preprocessing

ROWS, COLUMNS = np.mgrid[0:48, 0:64]
SCENE = np.stack([COLUMNS * 4, ROWS * 5, 127 + 100 * np.sin(COLUMNS / 17)], -1).astype(np.uint8)
DEPTH = (200 + 90 * ROWS + 7 * COLUMNS).astype(np.uint16)
DEPTH[5:9, 20:30] = 0


def encoded(pixels, kind='.jpg', *options):
    return cv2.imencode(kind, pixels, list(options))[1].reshape(-1)


JPEG, PNG = encoded(SCENE), encoded(SCENE, '.png')
WITH_THUMBNAIL = np.concatenate([  # an APP1 segment that holds a whole JPEG, its end marker included
    JPEG[:2], np.frombuffer(b'\xff\xe1' + struct.pack('>H', len(JPEG) + 2), np.uint8), JPEG, JPEG[2:]])  # fmt: skip
FULL = Preprocessing(64, 48, dtype='uint8', colour='bgr')


def pixels_of(image):
    return FULL.apply(image.data, image.encoding)[0].transpose(1, 2, 0)


@pytest.mark.parametrize('said', ['', 'mjpeg', 'image/jpeg', 'jpeg', 'png', 'rgb8; jpeg compressed bgr8', 'tiff'])
def test_the_first_bytes_say_what_an_image_is(said):
    for data, encoding in ((JPEG, 'jpeg'), (PNG, 'png')):
        assert CameraImage.of_bytes(data, said).encoding == encoding


@pytest.mark.parametrize('data', [b'', b'\xff\xd8', b'RIFF\x10\0\0\0WEBPVP8 ', b'\0\0\0\x01\x67\x42', b'\0' * 100])
def test_other_bytes_are_refused_with_what_they_are(data):
    with pytest.raises(WireError, match=r"format says 'h264', its first bytes are .*; set its publisher to jpeg or png"):
        CameraImage.of_bytes(np.frombuffer(data, np.uint8), 'h264')


@pytest.mark.parametrize('padding', [1, 63, 64, 200_000])
def test_zeros_behind_an_image_are_no_part_of_it(padding):
    """A UVC camera's buffer is as large as its largest image."""
    for data in (JPEG, PNG):
        padded = np.concatenate([data, np.zeros(padding, np.uint8)])
        image = CameraImage.of_bytes(padded)
        assert bytes(image.data) == bytes(data).rstrip(b'\0')
        np.testing.assert_array_equal(pixels_of(image), pixels_of(CameraImage(padded, image.encoding)))


def test_a_camera_that_leaves_out_the_usual_huffman_tables():
    """As many do in MJPEG."""
    parts, at = [JPEG[:2]], 2
    while JPEG[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(JPEG[at + 2:at + 4].tobytes(), 'big')
        parts += [] if JPEG[at + 1] == 0xC4 else [JPEG[at:end]]
        at = end
    bare = np.concatenate([*parts, JPEG[at:], np.zeros(500, np.uint8)])
    assert len(bare) < len(JPEG) + 500 - 300
    np.testing.assert_array_equal(pixels_of(CameraImage.of_bytes(bare, 'mjpeg')), pixels_of(CameraImage(JPEG, 'jpeg')))


def test_what_else_a_buffer_holds_behind_an_image_does_no_harm():
    junk = np.random.default_rng(1).integers(1, 0xFF, 5000).astype(np.uint8)
    np.testing.assert_array_equal(pixels_of(CameraImage.of_bytes(np.concatenate([JPEG, junk]))), pixels_of(CameraImage(JPEG, 'jpeg')))


@given(st.floats(0, 1), st.sampled_from(['jpeg', 'thumbnail', 'progressive']), st.integers(0, 500))
def test_a_jpeg_that_is_cut_off_is_refused_though_zeros_fill_its_place(share, form, padding):
    whole = {'jpeg': JPEG, 'thumbnail': WITH_THUMBNAIL, 'progressive': encoded(SCENE, '.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1)}[form]
    assert pixels_of(CameraImage(whole, 'jpeg')).shape == SCENE.shape
    cut = np.concatenate([whole[:3 + int(share * (len(whole) - 5))], np.zeros(padding, np.uint8)])
    with pytest.raises(WireError, match='broken JPEG'):
        pixels_of(CameraImage.of_bytes(cut))


def test_files_are_what_they_hold(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(PNG.tobytes())
    assert next(image_folder(tmp_path)).encoding == 'png'
    (tmp_path / 'a.jpg').write_bytes(b'GIF89a')
    with pytest.raises(UserError, match='a.jpg: .* neither JPEG nor PNG'):
        next(image_folder(tmp_path))


def as_encoding(name):
    """Return the scene's bytes as a camera with an encoding gives them."""
    wide = SCENE.astype(np.uint16) * 257
    if name.startswith('bayer'):
        letters = {'b': 0, 'g': 1, 'r': 2}
        source = wide if name.endswith('16') else SCENE
        mosaic = np.empty(SCENE.shape[:2], source.dtype)
        for at, letter in enumerate(name[6:10]):
            mosaic[at // 2::2, at % 2::2] = source[at // 2::2, at % 2::2, letters[letter]]
        return mosaic
    source = wide if name.endswith('16') else SCENE
    codes = {
        'rgb': cv2.COLOR_BGR2RGB, 'bgra': cv2.COLOR_BGR2BGRA, 'rgba': cv2.COLOR_BGR2RGBA, 'mono': cv2.COLOR_BGR2GRAY,
        '8UC4': cv2.COLOR_BGR2BGRA, '8UC1': cv2.COLOR_BGR2GRAY,
    }  # fmt: skip
    for prefix, code in codes.items():
        if name in (prefix, f'{prefix}8', f'{prefix}16'):
            return cv2.cvtColor(source, code)
    if name in ('bgr8', '8UC3', 'bgr16'):
        return source
    yuv = cv2.cvtColor(SCENE, cv2.COLOR_BGR2YUV_I420)
    y, u, v = yuv[:48], yuv[48:60].reshape(24, 32), yuv[60:].reshape(24, 32)
    if name.startswith('nv'):
        return np.vstack([y, np.stack([u, v] if name == 'nv12' else [v, u], -1).reshape(24, 64)])
    pairs = np.stack([u.repeat(2, 0), v.repeat(2, 0)], -1).reshape(48, 64)
    return np.stack([y, pairs] if 'yuy' in name else [pairs, y], -1)


@pytest.mark.parametrize('name', [name for name in RAW_ENCODINGS if 'C1' not in name or name == '8UC1'])
def test_every_encoding_of_a_camera_shows_the_scene(name):
    values = np.ascontiguousarray(as_encoding(name))
    data = values.reshape(*values.shape[:2], -1).view(np.uint8)
    image = CameraImage(data, name)
    assert image.size == (64, 48)
    expected = np.repeat(cv2.cvtColor(SCENE, cv2.COLOR_BGR2GRAY)[:, :, None], 3, 2) if 'mono' in name or name == '8UC1' else SCENE
    exact = not any(word in name for word in ('bayer', 'yuv', 'yuy', 'nv', 'uyvy'))
    error = np.abs(image.pixels().astype(int) - expected)[2:-2, 2:-2]
    assert error.max() == 0 if exact else (error.mean() < 6 and np.percentile(error, 95) < 20)
    np.testing.assert_array_equal(pixels_of(image), image.pixels())
    rows = np.pad(data.reshape(len(data), -1), ((0, 0), (0, 6)))  # rows with padding
    np.testing.assert_array_equal(decode_raw(rows, name, width=64, height=48, step=rows.shape[1]), image.pixels())
    assert raw_size(data.shape, name) == (64, 48)


def test_16_bits_are_rounded_to_8():
    values = np.array([[0, 128, 129, 385, 386, 65535]], '<u2')
    grey = CameraImage(values.view(np.uint8).reshape(1, 6, 2), 'mono16').pixels()[0, :, 0]
    assert grey.tolist() == np.round(values[0] * (255 / 65535)).astype(int).tolist() == [0, 0, 1, 1, 2, 255]


@pytest.mark.parametrize(('data', 'encoding', 'words'), [
    (np.zeros((6, 7, 1), np.uint8), 'nv12', 'must be even'), (np.zeros((4, 4, 1), np.uint8), 'nv24', "'nv24' is not supported"),
    (np.zeros((4, 4, 2), np.uint8), '16UC1', 'colour: depth'), (np.zeros((4, 4, 1), np.uint8), 'mono16', 'needs 32 bytes'),
])  # fmt: skip
def test_what_is_no_image_of_light_is_refused(data, encoding, words):
    with pytest.raises(WireError, match=words):
        CameraImage(data, encoding).pixels()


def compressed_depth(metres, a, b):
    """Return floats as image_transport compresses them: quantised in inverse depth, behind a header."""
    codes = np.where(metres > 0, np.round(a / np.maximum(metres, 1e-9) + b), 0).astype(np.uint16)
    return np.concatenate([np.frombuffer(struct.pack('<iff', 0, a, b), np.uint8), encoded(codes, '.png')])


def depth_images():
    metres = (DEPTH / 1000).astype('<f4')
    broken = np.where(metres > 0, metres, np.where(COLUMNS % 2, np.nan, np.inf)).astype('<f4')
    header = np.zeros(12, np.uint8)
    return {
        '16UC1': CameraImage(DEPTH.view(np.uint8).reshape(48, 64, 2), '16UC1'),
        'mono16': CameraImage(DEPTH.view(np.uint8).reshape(48, 64, 2), 'mono16'),
        '32FC1': CameraImage(broken.view(np.uint8).reshape(48, 64, 4), '32FC1'),
        'png': CameraImage.of_bytes(encoded(DEPTH, '.png'), '16UC1; png compressed'),
        'compressedDepth': CameraImage.of_bytes(np.concatenate([header, encoded(DEPTH, '.png')]), '16UC1; compressedDepth'),
        'of floats': CameraImage.of_bytes(compressed_depth(metres, 6000.0, 1.0), '32FC1; compressedDepth png'),
    }  # fmt: skip


@pytest.mark.parametrize('name', depth_images())
def test_depth_is_metres_whatever_it_came_as(name):
    image = depth_images()[name]
    found = Preprocessing.from_dict({'size': [64, 48], 'colour': 'depth'}).apply(image.data, image.encoding)
    assert found.shape == (1, 1, 48, 64) and found.dtype == np.float32 and np.isfinite(found).all()
    np.testing.assert_allclose(found[0, 0], DEPTH / 1000, rtol=2e-3 if name == 'of floats' else 1e-6)
    assert (found[0, 0, 5:9, 20:30] == 0).all()
    half = Preprocessing.from_dict({'size': [32, 40], 'colour': 'depth', 'resize': 'letterbox', 'scale': 1000, 'mean': 5, 'std': 2})
    values = half.apply(image.data, image.encoding)[0, 0] * 2 + 5
    known = np.unique(found * np.float32(1000))
    assert np.abs(values[8:32, :, None] - known).min(-1).max() < 0.01  # no distance between two others
    assert (np.abs(values[:8]) < 1e-5).all()


def test_depth_and_light_are_not_taken_for_each_other():
    depth = Preprocessing.from_dict({'size': [64, 48], 'colour': 'depth'})
    for data, encoding, words in (
        (JPEG, 'jpeg', 'no distances'), (SCENE, 'bgr8', 'no distances'), (PNG, 'png', 'one channel of 16 bits'),
    ):  # fmt: skip
        with pytest.raises(WireError, match=words):
            depth.apply(data, encoding)
    for values in ({'interpolation': 'linear'}, {'dtype': 'uint8'}):
        with pytest.raises(UserError, match='colour: depth'):
            Preprocessing.from_dict({'size': [64, 48], 'colour': 'depth', **values})
    with pytest.raises(WireError, match='rvl.*set its publisher to jpeg or png'):
        CameraImage.of_bytes(np.zeros(40, np.uint8), '16UC1; compressedDepth rvl')


def test_depth_is_shown_in_shades():
    shown = depth_images()['16UC1'].shown()
    assert shown.shape == (48, 64, 3) and shown[0, 0].tolist() == [255] * 3 and (shown[5:9, 20:30] == 0).all()
    assert (np.diff(shown[10:, 0, 0].astype(int)) <= 0).all() and shown[-1, -1, 0] > 0
    blind = CameraImage(np.zeros((4, 4, 2), np.uint8), '16UC1')
    assert not blind.shown().any()


def test_depth_travels_and_is_kept_without_loss():
    image = depth_images()['16UC1']
    for encoding in ('raw', 'zstd', 'lz4', 'jpeg'):
        sent, name = ImageKind().encode(image, encoding)
        assert name == '16UC1' and (encoding == 'raw' or sent.encoding in ('16UC1+zstd', '16UC1+lz4'))
    check_inputs(FrameInputs.of_image(image))
    kept, _ = inputs_from_bytes(inputs_to_bytes(FrameInputs.of_image(image), b''))
    np.testing.assert_array_equal(kept.image.data, image.data)
    assert kept.image.size == (64, 48)
