# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments fill whole packets, and take a few milliseconds of their link at most."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.transport.fragment_codec import encode
from edge_dnn_partition.transport.fragments import (
    FRAGMENT_SECONDS,
    HEAD_BYTES,
    HEADER_BYTES,
    MAX_FRAGMENT_BYTES,
    MIN_FRAGMENT_BYTES,
    NOWHERE,
    PACKET_BYTES,
    PATIENT_PACKETS,
    PROBE,
    PROBE_FRAGMENTS,
    PROBE_PACKETS,
    TensorMessage,
    fragment_size,
    in_packets,
    packets_of,
    probe_fragment_size,
)
from edge_dnn_partition.transport.tensors import WireTensor

DDS_BYTES = 8 + 132
"""UDP, and what Fast DDS puts before a message."""


@pytest.mark.parametrize(('total', 'size'), [(10, MIN_FRAGMENT_BYTES), (160_000, 20_000), (10_000_000, 60_000)])
def test_without_a_rate_a_message_is_cut_into_eight(total, size):
    assert fragment_size(total) == size
    assert fragment_size(total, local=True) == MAX_FRAGMENT_BYTES


@given(st.integers(0, 10**8), st.floats(1e3, 1e9), st.integers(1, PATIENT_PACKETS))
def test_fragments_fill_whole_packets_and_are_short_on_their_link(total, rate, patient_packets):
    size = fragment_size(total, rate=rate, patient_packets=patient_packets)
    assert size == MAX_FRAGMENT_BYTES or (size + HEADER_BYTES) % PACKET_BYTES == 0
    packets = -(-(size + HEADER_BYTES) // PACKET_BYTES)
    assert packets * PACKET_BYTES / rate <= FRAGMENT_SECONDS + PACKET_BYTES / rate / 2 or packets <= patient_packets


@pytest.mark.parametrize(('megabits', 'total', 'packets'), [
    (1, 10**6, PATIENT_PACKETS), (6, 10**6, 3), (40, 10**7, 19), (40, 64_000, 6), (100, 10**7, 41), (1000, 64_000, 22),
])  # fmt: skip
def test_fragment_size_on_usual_links(megabits, total, packets):
    assert fragment_size(total, rate=megabits * 1e6 / 8 * 0.96) == in_packets(packets)


@given(st.integers(1, 10**7), st.floats(1e3, 1e9))
def test_the_last_fragment_of_a_few_is_about_as_long_as_the_others(total, rate):
    size = fragment_size(total, rate=rate)
    fragments = -(-total // size)
    assert total - (fragments - 1) * size > size - fragments * PACKET_BYTES


@pytest.mark.parametrize('packets', [1, 2])
def test_on_a_slow_link_a_fragment_has_no_more_packets_than_its_queue_holds(packets):
    assert fragment_size(10**6, rate=125e3, patient_packets=packets) == in_packets(packets)


def test_while_a_rate_is_only_guessed_a_fragment_fits_into_one_packet():
    assert fragment_size(10_000_000, rate=1e8, measured=False) == in_packets(1)
    assert fragment_size(10_000_000, rate=None, measured=False) == MAX_FRAGMENT_BYTES


def test_probes_are_small_on_links_that_are_not_fast():
    assert probe_fragment_size(None) == in_packets(PATIENT_PACKETS) - HEAD_BYTES
    assert probe_fragment_size(1e5) == in_packets(PATIENT_PACKETS) - HEAD_BYTES
    assert probe_fragment_size(2.5e6) == in_packets(PATIENT_PACKETS) - HEAD_BYTES


@pytest.mark.parametrize('megabits', [10, 40, 100, 300, 1000])
def test_a_probe_looks_for_a_fast_link_by_fragments_that_take_longer_than_handling_them(megabits):
    rate = 4e6  # what some tenths of a millisecond a fragment make of any link while fragments are small
    handling, wire = 0.0004, megabits * 1e6 / 8
    for _ in range(12):
        size = probe_fragment_size(rate)
        rate = size / max(handling, size / wire)
    assert rate >= 0.9 * min(wire, in_packets(PROBE_PACKETS) / handling)
    assert PROBE_FRAGMENTS * size / wire < 0.01 or size == in_packets(PATIENT_PACKETS) - HEAD_BYTES


@pytest.mark.parametrize('rate', [None, 2e3, 1e6, 2e7])
def test_the_first_fragment_of_a_probe_fills_no_packet_more_than_the_others(rate):
    for affordable in (0.0, math.inf):
        size = probe_fragment_size(rate, affordable)
        total = PROBE_FRAGMENTS * size
        layout = (WireTensor('probe', 2, (total,), 'raw', 0, total),)
        probe = TensorMessage(PROBE, 'a_long_name_of_one', 1 << 60, NOWHERE, 7, memoryview(bytes(total)), layout, fragment_bytes=size)
        packets = {-(-(len(encode(probe.fragment(i, sent_ns=1 << 60))) + DDS_BYTES) // PACKET_BYTES) for i in range(probe.count)}
        assert packets == {packets_of(size)}
