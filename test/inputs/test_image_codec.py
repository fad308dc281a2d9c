# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images on the wire: pixels that are kept or nearly so, compressed ones untouched, broken ones refused with the reason."""

import dataclasses

import numpy as np
import pytest

from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.execution.stages.stage_store import PreparedStage
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.inputs.images import made_up
from edge_dnn_partition.inputs.kinds import ImageKind
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.plans.encodings import IMAGE_ENCODINGS
from edge_dnn_partition.planning.plans.plan import IMAGE, StagePlan
from edge_dnn_partition.transport.tensors import Coded, image_parts, pack, unpack

encode_image = ImageKind().encode
PREPROCESSING = Preprocessing(32, 24)
RUNNER = PreparedStage(StagePlan('cloud', True, (), (IMAGE,), ('x',)), FramePreprocessing.of_image('x', PREPROCESSING), None)
ROWS, COLUMNS = np.mgrid[0:48, 0:64]
SMOOTH = (4 * np.stack([ROWS, COLUMNS // 2, (ROWS + COLUMNS) // 2], axis=-1) % 256).astype(np.uint8)
PIXELS = {
    'bgr8': SMOOTH, 'rgb8': SMOOTH, 'mono8': SMOOTH[:, :, :1], 'bgra8': np.dstack([SMOOTH, SMOOTH[:, :, :1]]),
    'yuyv': SMOOTH[:, :, :2], 'bayer_rggb8': SMOOTH[:, :, :1],
}  # fmt: skip


def arrived(image, encoding, change=lambda layout: layout):
    """Return what the first stage makes of an image on its way, and the bytes sent."""
    data, kind = encode_image(image, encoding)
    layout, buffer = pack({IMAGE: data}, {IMAGE: kind})
    layout = [change(tensor) for tensor in layout]
    inputs = unpack(layout, buffer)
    return RUNNER.decode(inputs, {t.name: image_parts(t.encoding)[0] for t in layout})['x'], len(buffer)


@pytest.mark.parametrize('kind', PIXELS)
@pytest.mark.parametrize('encoding', IMAGE_ENCODINGS)
def test_pixels_come_as_they_were_or_nearly(kind, encoding):
    pixels = np.ascontiguousarray(PIXELS[kind])
    exact = PREPROCESSING.apply(pixels, kind)
    found, sent = arrived(CameraImage(pixels, kind), encoding)
    assert sent <= pixels.nbytes
    assert sent < pixels.nbytes or encoding in ('raw', 'lz4')
    if encoding == 'jpeg':
        assert np.abs(found - exact).mean() < 0.04
    else:
        np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize('encoding', IMAGE_ENCODINGS)
def test_a_compressed_image_goes_as_it_came(encoding):
    image = made_up(1)
    data, kind = encode_image(image, encoding)
    assert data is image.data and kind == 'jpeg'


def test_what_does_not_shrink_goes_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    data, kind = encode_image(CameraImage(noise, 'bgr8'), 'zstd')
    assert data is noise and kind == 'bgr8'
    with pytest.raises(PlanError, match='choose raw'):
        encode_image(CameraImage(noise, 'bgr8'), 'int8')


def test_broken_images_are_refused_with_the_reason():
    data, kind = encode_image(CameraImage(SMOOTH, 'bgr8'), 'jpeg')
    for bad, words in ((data[:-20], 'its end is missing'), (data[:10], 'broken JPEG'), (data[2:], 'lacks the header of one')):
        layout, buffer = pack({IMAGE: bad}, {IMAGE: kind})
        with pytest.raises(WireError, match=words):
            RUNNER.decode(unpack(layout, buffer), {IMAGE: kind})
    image = CameraImage(SMOOTH, 'bgr8')

    def change(**values):
        return lambda tensor: dataclasses.replace(tensor, **values)

    for values, words in (
        ({'shape': (48, 65, 3)}, 'of another size'), ({'shape': (1 << 20, 1 << 20, 3)}, 'too large'),
        ({'dtype': 1}, 'pixels are bytes'), ({'encoding': 'bgr8+lz4'}, 'from lz4'),
    ):  # fmt: skip
        with pytest.raises(WireError, match=words):
            arrived(image, 'zstd', change(**values))


def test_encodings_of_pixels_are_told_from_those_of_tensors():
    assert image_parts('bgr8+zstd') == ('bgr8', 'zstd')
    for other in ('int8+zstd', 'zstd', 'jpeg', 'bgr8', 'raw', '+zstd', ''):
        assert image_parts(other) == (other, '')
    coded, _ = encode_image(CameraImage(SMOOTH, 'bgr8'), 'zstd')
    assert isinstance(coded, Coded) and coded.encoding == 'bgr8+zstd'
