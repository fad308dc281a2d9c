# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Pieces fill whole packets, and take a few milliseconds of their link at most."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.transport.piece_codec import encode
from edge_dnn_partition.transport.piece_size import (
    HEAD_BYTES,
    HEADER_BYTES,
    MAX_PIECE_BYTES,
    MIN_PIECE_BYTES,
    PACKET_BYTES,
    PATIENT_PACKETS,
    PIECE_SECONDS,
    PROBE_PACKETS,
    PROBE_PIECES,
    in_packets,
    packets_of,
    piece_size,
    probe_piece_size,
)
from edge_dnn_partition.transport.pieces import NOWHERE, PROBE, Bundle
from edge_dnn_partition.transport.tensors import WireTensor

DDS_BYTES = 8 + 132
"""UDP, and what Fast DDS puts before a message."""


@pytest.mark.parametrize(('total', 'size'), [(10, MIN_PIECE_BYTES), (160_000, 20_000), (10_000_000, 60_000)])
def test_without_a_rate_a_bundle_is_cut_into_eight(total, size):
    assert piece_size(total) == size
    assert piece_size(total, local=True) == MAX_PIECE_BYTES


@given(st.integers(0, 10**8), st.floats(1e3, 1e9), st.integers(1, PATIENT_PACKETS))
def test_pieces_fill_whole_packets_and_are_short_on_their_link(total, rate, patient_packets):
    size = piece_size(total, rate=rate, patient_packets=patient_packets)
    assert size == MAX_PIECE_BYTES or (size + HEADER_BYTES) % PACKET_BYTES == 0
    packets = -(-(size + HEADER_BYTES) // PACKET_BYTES)
    assert packets * PACKET_BYTES / rate <= PIECE_SECONDS + PACKET_BYTES / rate / 2 or packets <= patient_packets


@pytest.mark.parametrize(('megabits', 'total', 'packets'), [
    (1, 10**6, PATIENT_PACKETS), (6, 10**6, 3), (40, 10**7, 19), (40, 64_000, 6), (100, 10**7, 41), (1000, 64_000, 22),
])  # fmt: skip
def test_piece_size_on_usual_links(megabits, total, packets):
    assert piece_size(total, rate=megabits * 1e6 / 8 * 0.96) == in_packets(packets)


@given(st.integers(1, 10**7), st.floats(1e3, 1e9))
def test_the_last_piece_of_a_few_is_about_as_long_as_the_others(total, rate):
    size = piece_size(total, rate=rate)
    pieces = -(-total // size)
    assert total - (pieces - 1) * size > size - pieces * PACKET_BYTES


@pytest.mark.parametrize('packets', [1, 2])
def test_on_a_slow_link_a_piece_has_no_more_packets_than_its_queue_holds(packets):
    assert piece_size(10**6, rate=125e3, patient_packets=packets) == in_packets(packets)


def test_while_a_rate_is_only_guessed_a_piece_fits_into_one_packet():
    assert piece_size(10_000_000, rate=1e8, measured=False) == in_packets(1)
    assert piece_size(10_000_000, rate=None, measured=False) == MAX_PIECE_BYTES


def test_probes_are_small_on_links_that_are_not_fast():
    assert probe_piece_size(None) == in_packets(PATIENT_PACKETS) - HEAD_BYTES
    assert probe_piece_size(1e5) == in_packets(PATIENT_PACKETS) - HEAD_BYTES
    assert probe_piece_size(2.5e6) == in_packets(PATIENT_PACKETS) - HEAD_BYTES


@pytest.mark.parametrize('megabits', [10, 40, 100, 300, 1000])
def test_a_probe_looks_for_a_fast_link_by_pieces_that_take_longer_than_handling_them(megabits):
    rate = 4e6  # what some tenths of a millisecond a piece make of any link while pieces are small
    handling, wire = 0.0004, megabits * 1e6 / 8
    for _ in range(12):
        size = probe_piece_size(rate)
        rate = size / max(handling, size / wire)
    assert rate >= 0.9 * min(wire, in_packets(PROBE_PACKETS) / handling)
    assert PROBE_PIECES * size / wire < 0.01 or size == in_packets(PATIENT_PACKETS) - HEAD_BYTES


@pytest.mark.parametrize('rate', [None, 2e3, 1e6, 2e7])
def test_the_first_piece_of_a_probe_fills_no_packet_more_than_the_others(rate):
    for affordable in (0.0, math.inf):
        size = probe_piece_size(rate, affordable)
        total = PROBE_PIECES * size
        layout = (WireTensor('probe', 2, (total,), 'raw', 0, total),)
        probe = Bundle(PROBE, 'a_long_name_of_one', 1 << 60, NOWHERE, 7, memoryview(bytes(total)), layout, piece_bytes=size)
        packets = {-(-(len(encode(probe.piece(i, sent_ns=1 << 60))) + DDS_BYTES) // PACKET_BYTES) for i in range(probe.count)}
        assert packets == {packets_of(size)}
