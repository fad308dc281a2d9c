# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A frame's inputs: several named values, kept on disk and read again, checked before a device is kept busy with them."""

import json

import numpy as np
import pytest

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.inputs.frame import CameraImage, FrameInputs
from edge_dnn_partition.inputs.images import made_up
from edge_dnn_partition.inputs.kinds import KINDS, check_inputs, inputs_from_bytes, inputs_to_bytes, kind_of
from edge_dnn_partition.planning.plans.plan import IMAGE, is_image

PIXELS = CameraImage(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 'bgr8')


def test_inputs_of_every_kind_are_kept_and_read_again():
    pose = np.array([[1.5, -2.5, np.nan]], np.float32)
    depth = CameraImage(np.full((2, 3), 1500, '<u2').view(np.uint8).reshape(2, 3, 2), '16UC1')
    kept = FrameInputs({IMAGE: PIXELS, '@image:depth': depth, 'pose': pose, 'empty': np.zeros((0, 3), np.int64)})
    assert {kind_of(value).name for value in kept.values.values()} == {kind.name for kind in KINDS}
    found, header = inputs_from_bytes(inputs_to_bytes(kept, b'a header'))
    assert header == b'a header' and list(found.values) == list(kept.values)
    assert found.image.encoding == 'bgr8' and found.nbytes == kept.nbytes == 24 + 12 + 12
    for name, value in kept.values.items():
        one, other = (v.data if is_image(name) else v for v in (found.values[name], value))
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('content', [
    b'', b'{}', b'not JSON\n', b'[1]\n', inputs_to_bytes(FrameInputs.of_image(PIXELS), b'')[:-1],
    json.dumps({'inputs': [{'name': 'x', 'kind': 'sound', 'size': 0}], 'header': ''}).encode(),
    json.dumps({'encoding': 'jpeg', 'shape': [3], 'header': ''}).encode() + b'\nabc',  # as releases before 0.2.0 kept an image
])  # fmt: skip
def test_what_is_damaged_or_of_another_release_is_refused(content):
    with pytest.raises(ValueError, match='damaged, or another release'):
        inputs_from_bytes(content)


def test_inputs_that_no_worker_can_take_are_refused():
    check_inputs(FrameInputs({IMAGE: made_up(0), 'pose': np.zeros(3)}))
    broken = CameraImage(made_up(0).data[:-20], 'jpeg')
    for values, words in (
        ({IMAGE: broken}, 'its end is missing'), ({'pose': np.array(['text'])}, 'cannot be sent'), ({'pose': 3}, 'inputs of type int'),
    ):  # fmt: skip
        with pytest.raises(WireError, match=words):
            check_inputs(FrameInputs(values))


def test_a_tensor_is_encoded_as_others_are():
    tensor = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 64)
    kind = kind_of(tensor)
    assert kind.is_encoded(tensor, 'raw') and not kind.is_encoded(tensor, 'float16')
    assert np.shares_memory(kind.encode(tensor, 'raw')[0], tensor)
    assert kind.encode(tensor, 'float16')[0].encoding == 'float16'
