# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame tells of its way is told once, however often it comes by, also where something of it is unknown."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.transport.timing import HopTime, StageTime, merged


def unknown() -> float:
    """Return a NaN as it comes from the wire: an object of its own."""
    return struct.unpack('d', struct.pack('d', float('nan')))[0]


def over_the_wire(times):
    """Return equal times whose numbers are other objects."""
    return tuple(
        type(one)(*(struct.unpack('d', struct.pack('d', v))[0] if isinstance(v, float) else v for v in vars(one).values()))
        for one in times
    )


NUMBERS = st.one_of(st.floats(0, 10), st.builds(unknown))
STAGES = st.builds(StageTime, st.sampled_from('ab'), st.integers(0, 30), NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
HOPS = st.builds(
    HopTime,
    st.sampled_from('ab'),
    st.sampled_from('ab'),
    st.integers(0, 30),
    st.integers(0, 9),
    NUMBERS,
    NUMBERS,
    st.integers(0, 9),
)


@given(st.lists(st.one_of(STAGES, HOPS), max_size=8), st.randoms(use_true_random=False))
def test_what_was_told_is_not_told_again(times, random):
    told = merged((), times)
    again = list(over_the_wire(told))
    random.shuffle(again)
    assert merged(told, again) == told
    assert len({repr(one) for one in told}) == len(told) == len({repr(one) for one in times})


def test_a_frame_between_two_devices_brings_a_line_a_stage():
    """Without a meter no stage knows its joules; at each of these stages what a frame tells used to double."""
    here: tuple[StageTime, ...] = ()
    there: tuple[StageTime, ...] = ()
    for number in range(24):
        here = merged(here, over_the_wire(there))
        here = merged(here, (StageTime('ab'[number % 2], number, 0.0, 0.0, 1.0, 1.0, unknown(), unknown()),))
        here, there = there, here
    assert [one.stage for one in merged((), there)] == list(range(24)) == sorted(one.stage for one in there)
