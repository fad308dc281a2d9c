# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors in one buffer: the same values come back, and layouts that lie are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.assembler import Handed, Received
from edge_dnn_partition.transport.fragments import FRAME, NOWHERE
from edge_dnn_partition.transport.tensor_codec import encode
from edge_dnn_partition.transport.tensors import ALIGNMENT, DTYPES, Coded, lay_out, pack, place, unpack

ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda n: hnp.arrays(DTYPES[n], hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=5), ARRAYS, max_size=4))
def test_round_trip(arrays):
    layout, buffer = pack(arrays)
    back = unpack(layout, buffer)
    assert list(back) == list(arrays)
    assert all(tensor.offset % ALIGNMENT == 0 for tensor in layout)
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


def test_strided_and_big_endian_values_survive():
    array = np.arange(24, dtype='>f4').reshape(4, 6)[::2, ::-1]
    layout, buffer = pack({'a': array})
    np.testing.assert_array_equal(unpack(layout, buffer)['a'], array)


def test_what_is_handed_over_in_a_process_is_what_would_have_arrived_and_is_not_copied():
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    arrays = {'x': np.arange(6.0).reshape(2, 3), 'c': encode(np.zeros((8, 8), np.float32), 'zstd'), 'image': pixels, 'jpeg': pixels.reshape(-1)}
    layout, flat = lay_out(arrays, {'image': 'bgr8', 'jpeg': 'jpeg'})
    ends = (layout, (), (), 0.0, 0.0)
    there, encodings = Received(FRAME, 'pi', 1, NOWHERE, 1, place(layout, flat), *ends).views()
    handed = Handed(FRAME, 'pi', 1, NOWHERE, 1, flat, *ends)
    here, same = handed.views()
    assert same == encodings and list(here) == list(there) and handed.head().total == handed.bytes
    for name, value in here.items():
        if isinstance(value, Coded):
            assert (value.shape, value.encoding) == (there[name].shape, there[name].encoding)
        mine, theirs = (one.data if isinstance(one, Coded) else one for one in (value, there[name]))
        np.testing.assert_array_equal(mine, theirs)
        assert not mine.flags.writeable, 'the sender may keep it'
    assert np.shares_memory(here['image'], pixels)


def test_one_contiguous_tensor_is_not_copied():
    array = np.zeros(8, np.float32)
    _, buffer = pack({'a': array})
    array[0] = 1.0
    assert np.frombuffer(buffer, np.float32)[0] == 1.0


@pytest.mark.parametrize('dtype', [object, 'U3', np.complex64])
def test_what_cannot_travel(dtype):
    with pytest.raises(WireError, match='cannot be sent'):
        pack({'a': np.zeros(2, dtype)})


@pytest.mark.parametrize(('change', 'words'), [
    ({'dtype': 8}, 'unknown dtype'), ({'shape': (3,)}, 'needs 12 bytes'), ({'shape': (-1, -4)}, 'impossible shape'),
    ({'shape': (1,) * 17}, 'impossible shape'), ({'offset': 4}, 'outside'), ({'offset': -4}, 'outside'),
])  # fmt: skip
def test_layouts_that_lie(change, words):
    (tensor,), buffer = pack({'a': np.zeros(4, np.float32)})
    with pytest.raises(WireError, match=words):
        unpack([dataclasses.replace(tensor, **change)], buffer)


def test_a_name_twice():
    (tensor,), buffer = pack({'a': np.zeros(4, np.float32)})
    with pytest.raises(WireError, match='twice'):
        unpack([tensor, tensor], buffer)


def test_images_keep_pixels_or_stay_flat():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    layout, buffer = pack({'p': pixels}, {'p': 'rgb8'})
    assert layout[0].encoding == 'rgb8'
    np.testing.assert_array_equal(unpack(layout, buffer)['p'], pixels)
    jpeg = dataclasses.replace(layout[0], encoding='jpeg', shape=())
    assert unpack([jpeg], buffer)['p'].shape == (12,)
