# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Values that somebody gives by name: what fits the model is taken, what does not is refused in words."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.graph.model import Model, TensorInfo
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing, array_in, filled
from edge_dnn_partition.inputs.given import GivenInputs, image_of
from edge_dnn_partition.inputs.images import made_up
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.planning.plans.plan import IMAGE

TENSORS = {
    name: TensorInfo(name, dtype, shape) for name, dtype, shape in
    (('front', 1, (1, 3, 4, 6)), ('depth', 1, (1, 1, 4, 6)), ('pose', 1, (1, 3)), ('tokens', 7, (1, 4)), ('task', 1, (1, 2)), ('h', 1, (1, 2)))
}  # fmt: skip
MODEL = Model('net', 'a' * 64, 'k', Path(), Path(), (), TENSORS, tuple(TENSORS), (), onnx.ModelProto(), ())
INPUTS = ModelInputs(
    {'front': IMAGE, 'depth': '@image:depth'}, ('pose', 'tokens'), frozenset({'task'}), {'h': 'hn'}
)  # fmt: skip
GIVEN = GivenInputs(MODEL, INPUTS)
PIXELS = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
ALL = {'front': PIXELS, 'depth': np.full((4, 6), 1500, np.uint16), 'pose': np.ones(3), 'tokens': np.arange(4, dtype=np.int32)}


def test_each_value_stands_under_the_name_that_it_is_sent_by():
    values = GIVEN.values(ALL)
    assert list(values) == [IMAGE, '@image:depth', 'pose', 'tokens']
    assert (values[IMAGE].encoding, values['@image:depth'].encoding) == ('rgb8', '16UC1')
    assert values['@image:depth'].data.view('<u2').reshape(4, 6).tolist() == ALL['depth'].tolist()
    assert (values['pose'].shape, values['pose'].dtype) == ((1, 3), np.float32)
    assert (values['tokens'].shape, values['tokens'].dtype) == ((1, 4), np.int64)


def test_the_first_image_may_come_beside_the_tensors():
    others = {name: value for name, value in ALL.items() if name != 'front'}
    assert GIVEN.values(others, made_up(0))[IMAGE].encoding == 'jpeg'
    with pytest.raises(WireError, match="two images for 'front'"):
        GIVEN.values(ALL, made_up(0))


@pytest.mark.parametrize(('change', 'words'), [
    ({'pose': None}, r"'pose' missing: give front \(an image\), depth \(an image\), pose \[1, 3\], tokens \[1, 4\]"),
    ({'depth': None}, "'depth' missing"),
    ({'poze': np.ones(3)}, "no input 'poze'; did you mean 'pose'"),
    ({'task': np.ones(2)}, "input 'task' is a constant in the fleet file"),
    ({'h': np.ones(2)}, "input 'h' is a state in the fleet file"),
    ({'pose': np.ones(4)}, r"input 'pose' has shape \[4\]; give \[1, 3\]"),
    ({'pose': np.ones((2, 3))}, r'has shape \[2, 3\]'),
    ({'tokens': np.array([0.5, 1, 2, 3])}, "input 'tokens' is float64; give int64"),
    ({'tokens': np.array([2**63, 0, 0, 0], np.uint64)}, "input 'tokens' is uint64; give int64"),
    ({'pose': np.ones(3, np.int64)}, None),
    ({'front': np.ones((3, 4, 6), np.float32)}, "input 'front' is made of an image, and this is float32"),
    ({'front': np.frombuffer(b'no image at all', np.uint8)}, 'neither JPEG nor PNG'),
])  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(change, words):
    given = {name: value for name, value in {**ALL, **change}.items() if value is not None}
    if words is None:
        assert GIVEN.values(given)['pose'].dtype == np.float32
        return
    with pytest.raises(WireError, match=words):
        GIVEN.values(given)


def test_a_model_without_images_takes_tensors_alone():
    audio = GivenInputs(MODEL, ModelInputs(tensors=('pose',)))
    assert list(audio.values({'pose': [[1.0, 2.0, 3.0]] * np.ones((1, 1))})) == ['pose']
    with pytest.raises(WireError, match=r'net takes no image; give the tensors pose \[1, 3\]'):
        audio.values({}, made_up(0))


def test_a_jpeg_by_its_bytes_and_depth_in_metres():
    jpeg = made_up(1)
    assert image_of(jpeg.data, 'front').encoding == 'jpeg'
    metres = image_of(np.full((2, 3), 1.5, np.float32), 'depth')
    assert metres.encoding == '32FC1' and metres.data.shape == (2, 3, 4)


@pytest.mark.parametrize(('given', 'found'), [
    (0.5, [[0.5, 0.5]]), ([1, 2], [[1, 2]]), ([[1, 2]], [[1, 2]]), (True, [[1, 1]]),
    ([1, 2, 3], r'task: \[3\] does not fit .task. \[1, 2\]'), (['a', 'b'], 'give numbers'), ([[1], [1, 2]], 'give numbers'),
    (None, 'give numbers|not all of these'), ({'a': 1}, 'give numbers|not all of these'),
])  # fmt: skip
def test_constants_become_tensors_of_the_model(given, found):
    if isinstance(found, str):
        with pytest.raises(PlanError, match=found):
            filled(given, TENSORS['task'], 'task')
        return
    made = filled(given, TENSORS['task'], 'task')
    assert made.dtype == np.float32 and made.tolist() == found


def test_whole_numbers_stay_whole():
    assert filled([1, 2, 3, 4.0], TENSORS['tokens'], 'x').tolist() == [[1, 2, 3, 4]]
    with pytest.raises(PlanError, match='takes int64'):
        filled([1, 2, 3, 4.5], TENSORS['tokens'], 'x')


def test_a_file_of_numpy(tmp_path):
    np.save(tmp_path / 'a.npy', np.arange(2.0))
    assert array_in(tmp_path / 'a.npy', 'task').tolist() == [0, 1]
    np.savez(tmp_path / 'b.npz', a=1, b=2)
    (tmp_path / 'c.npy').write_bytes(b'')
    np.save(tmp_path / 'd.npy', np.array([{}], object), allow_pickle=True)
    for name in ('b.npz', 'c.npy', 'd.npy', 'none.npy'):
        with pytest.raises(PlanError, match=r'numpy\.save'):
            array_in(tmp_path / name, 'task')


def test_every_image_has_its_own_preprocessing():
    front, depth = Preprocessing(6, 4), Preprocessing(6, 4, colour='gray', scale=1.0)
    made = FramePreprocessing(INPUTS, {'front': front, 'depth': depth})
    grey = np.full((4, 6, 1), 7, np.uint8)
    found = made.apply({IMAGE: PIXELS, '@image:depth': grey, 'pose': np.ones(3)}, {IMAGE: 'rgb8', '@image:depth': 'mono8'})
    assert set(found) == {'front', 'depth', 'pose'} and made.first is front
    np.testing.assert_array_equal(found['front'], front.apply(PIXELS, 'rgb8'))
    assert found['depth'].shape == (1, 1, 4, 6) and (found['depth'] == 7).all()
