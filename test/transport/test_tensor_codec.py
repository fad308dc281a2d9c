# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Encodings keep what they promise on any tensor; bytes that lie are refused and set nothing large aside."""

import contextlib
import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.planning.plans.encodings import (
    COMPRESSORS,
    LOSSLESS,
    TENSOR_ENCODINGS,
    Permitted,
    TensorCoding,
    is_lossy,
    names_of,
    parts,
)  # fmt: skip
from edge_dnn_partition.transport import tensor_codec
from edge_dnn_partition.transport.tensor_codec import available, decode, encode
from edge_dnn_partition.transport.tensors import DTYPES, Coded, pack, unpack

MANY = settings(deadline=None, derandomize=True, max_examples=150)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6) | st.sampled_from([(1, 3, 8, 8), (2, 5, 40)])
ANY = st.sampled_from(sorted(DTYPES)).flatmap(lambda n: hnp.arrays(DTYPES[n], SHAPES))
FLOATS = st.sampled_from([1, 11]).flatmap(lambda n: hnp.arrays(DTYPES[n], SHAPES))
FINITE = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


def back_from(array, encoding):
    """Encode, lay out, take apart and decode, as a tensor on its way does."""
    sent = encode(array, encoding)
    layout, buffer = pack({'t': sent})
    got = unpack(layout, buffer)['t']
    result = decode(got) if isinstance(got, Coded) else got
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    return sent, result


def test_all_libraries_are_here():
    assert available() == TENSOR_ENCODINGS


@MANY
@given(ANY, st.sampled_from(LOSSLESS))
def test_lossless_is_exact(array, encoding):
    sent, result = back_from(array, encoding)
    assert result.tobytes() == array.tobytes()
    assert not isinstance(sent, Coded) or sent.data.nbytes < array.nbytes


@MANY
@given(ANY.filter(lambda a: a.dtype not in (np.float32, np.float64)), st.sampled_from(TENSOR_ENCODINGS))
def test_what_is_no_float_goes_exactly(array, encoding):
    assert back_from(array, encoding)[1].tobytes() == array.tobytes()


@MANY
@given(FLOATS, st.sampled_from(['float16', 'float16+zstd', 'float16+lz4']))
def test_float16_is_off_by_half_a_unit_at_most(array, encoding):
    sent, result = back_from(array, encoding)
    if not isinstance(sent, Coded) or not is_lossy(sent.encoding):
        assert result.tobytes() == array.tobytes()
        assert not array.size or (np.abs(array[np.isfinite(array)]) > 65504).any()
        return
    finite = np.isfinite(array)
    np.testing.assert_array_equal(result[~finite], array[~finite])
    half = np.spacing(np.abs(result[finite]).astype(np.float16)).astype(np.float64) / 2
    assert (np.abs(result[finite].astype(np.float64) - array[finite]) <= half).all()


@MANY
@given(FINITE, st.sampled_from(['int8', 'int8+zstd', 'int8+lz4']))
def test_int8_is_off_by_half_a_level_at_most(array, encoding):
    sent, result = back_from(array, encoding)
    if not isinstance(sent, Coded) or not is_lossy(sent.encoding):
        assert result.tobytes() == array.tobytes()
        return
    exact, values = array.astype(np.float64), result.astype(np.float64)
    channels = array.shape[1] if array.ndim > 1 and array.size // array.shape[1] >= 16 else 1
    grouped = [a.reshape(array.shape[0] if channels > 1 else 1, channels, -1) for a in (exact, values)]
    for one, other in zip(*(np.moveaxis(g, 1, 0) for g in grouped), strict=True):
        span = one.max() - one.min()
        with np.errstate(over='ignore'):
            unit = np.spacing(np.float32(np.abs(one).max()))
        rounding = 4 * unit + np.spacing(np.float32(span / 255))
        assert np.abs(one - other).max() <= span / 255 / 2 + rounding


@pytest.mark.parametrize('encoding', ['int8', 'int8+zstd'])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_int8_leaves_what_has_no_range(encoding, bad):
    array = np.array([[1.0, bad] * 40], np.float32)
    sent, result = back_from(array, encoding)
    assert not isinstance(sent, Coded) or not is_lossy(sent.encoding)
    assert result.tobytes() == array.tobytes()


def test_int8_has_a_range_for_each_channel_and_keeps_zeros():
    rng = np.random.default_rng(0)
    array = np.maximum(rng.standard_normal((2, 4, 9, 7)), 0).astype(np.float32)
    array *= np.array([1e-3, 1, 50, 0], np.float32)[None, :, None, None]
    sent, result = back_from(array, 'int8')
    assert sent.data.nbytes == array.size + 4 + 2 * 4 * 4
    assert (result[array == 0] == 0).all()
    for channel in range(4):
        span = float(array[:, channel].max())
        assert np.abs(result[:, channel] - array[:, channel]).max() <= span / 255 * 0.501


def test_zeros_take_little():
    array = np.maximum(np.random.default_rng(1).standard_normal((1, 16, 32, 32)), 1.5).astype(np.float32) - 1.5
    sizes = {e: encode(array, e).data.nbytes for e in TENSOR_ENCODINGS if e != 'raw'}
    assert sizes['int8+zstd'] < sizes['int8'] < sizes['float16'] < array.nbytes
    assert sizes['float16+zstd'] < sizes['float16']
    assert sizes['zstd'] < array.nbytes / 3


@MANY
@given(
    st.binary(max_size=200), st.sampled_from([e for e in TENSOR_ENCODINGS if e != 'raw']), st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
)  # fmt: skip
def test_any_bytes_are_refused_or_a_tensor(data, encoding, dtype, shape):
    coded = Coded(DTYPES[dtype], shape, encoding, np.frombuffer(data, np.uint8))
    try:
        result = decode(coded)
    except WireError as error:
        assert str(error)
    else:
        assert (result.dtype, result.shape) == (DTYPES[dtype], shape)


@MANY
@given(FINITE.filter(lambda a: a.size > 0), st.sampled_from([e for e in TENSOR_ENCODINGS if e != 'raw']), st.data())
def test_changed_bytes_are_refused_or_a_tensor(array, encoding, draw):
    sent = encode(array, encoding)
    if not isinstance(sent, Coded):
        return
    data = sent.data.copy()
    for _ in range(draw.draw(st.integers(0, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = data[: draw.draw(st.integers(0, len(data)))]
    with contextlib.suppress(WireError):
        assert decode(dataclasses.replace(sent, data=cut)).shape == array.shape


@pytest.mark.parametrize('compressor', COMPRESSORS)
def test_a_bomb_sets_nothing_aside(compressor):
    whole = encode(np.zeros(50_000_000, np.uint8), compressor)
    tracemalloc.start()
    with pytest.raises(WireError):
        decode(dataclasses.replace(whole, shape=(1000,)))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_layout_may_not_claim_more_than_can_be_held():
    layout, buffer = pack({'t': encode(np.zeros(100_000, np.float32), 'zstd')})
    lie = dataclasses.replace(layout[0], shape=(1 << 40,))
    with pytest.raises(WireError, match='too large'):
        unpack((lie,), buffer)


def test_a_missing_library_is_not_offered(monkeypatch):
    monkeypatch.setitem(tensor_codec._MODULES, 'zstd', 'no_such_library')
    tensor_codec._module.cache_clear()
    try:
        assert available() == tuple(name for name in TENSOR_ENCODINGS if 'zstd' not in name)
        with pytest.raises(WireError, match='install the package no_such_library'):
            encode(np.zeros(1000, np.float32), 'int8+zstd')
        with pytest.raises(WireError, match='install the package no_such_library'):
            decode(Coded(np.dtype('<f4'), (1,), 'zstd', np.zeros(4, np.uint8)))
    finally:
        tensor_codec._module.cache_clear()


def test_names():
    assert parts('raw') == ('', '') and parts('lz4') == ('', 'lz4')
    assert parts('int8') == ('int8', '') and parts('float16+zstd') == ('float16', 'zstd')
    assert names_of('raw, int8') == ('raw', 'int8')
    with pytest.raises(PlanError, match="'int8'"):
        names_of('int9')
    with pytest.raises(PlanError, match='from 0 to 1'):
        Permitted(largest_error=1.5)
    allowed = Permitted(('int8', 'lz4'), 0.01)

    def allows(encoding, error=0.0, top_changed=False):
        return allowed.allows(TensorCoding('t', encoding, 1, 0.0, 0.0, error, top_changed))

    assert allows('raw') and allows('int8+lz4', 0.01) and allows('lz4')
    assert not any((allows('int8', 0.011), allows('zstd'), allows('float16'), allows('int8', 0.0, True)))
