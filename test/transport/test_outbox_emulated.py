# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending end of a hop over an emulated link; time is passed in."""


import numpy as np
import pytest
from outbox_drain import drain, message

from edge_dnn_partition.testbed.link import Channel, EmulatedLink
from edge_dnn_partition.transport.outbox import Outbox


def test_an_emulated_link_takes_size_over_rate_and_its_delay():
    link = EmulatedLink(1000.0, 0.25, overhead_bytes=60)
    assert link.send(10.0, 140) == pytest.approx(10.45)
    assert link.free_at(10.0) == pytest.approx(10.2)
    assert link.send(10.1, 40) == pytest.approx(10.55), 'the second waits for the first'
    assert link.send(20.0, 40) == pytest.approx(20.35), 'an idle link has no debts'


def test_links_of_one_channel_share_its_rate():
    channel = Channel()
    one, other = EmulatedLink(100.0, 0.0, 0, channel), EmulatedLink(100.0, 0.5, 0, channel)
    assert one.send(0.0, 100) == 1.0
    assert other.send(0.0, 100) == 2.5


def test_what_is_on_an_emulated_link_goes_on_at_its_new_rate():
    link = EmulatedLink(100.0, 0.5, 0)
    assert link.send(10.0, 1000) == 20.5
    assert link.change(12.0, 400.0, 0.25) == (20.5, 14.25)
    assert link.free_at(12.0) == 14.0
    assert link.change(13.0, 0.0, 0.25) is None  # a cut link: what was on it arrives
    assert link.change(13.0, 100.0, 0.25) is None
    assert link.change(15.0, 200.0, 0.25) is None
    other = EmulatedLink(100.0, 0.0, 0, link.channel)
    other.send(15.0, 100)
    assert link.change(15.5, 100.0, 0.0) is None  # the air is taken by the other's fragment
    assert link.free_at(15.5) == 16.0


def test_a_message_over_an_emulated_link():
    outbox = Outbox(shaper=EmulatedLink(700.0, 0.125), retry_seconds=100.0)
    outbox.put(message(1), 0.0)
    taken = drain(outbox)
    np.testing.assert_allclose([r[0] for *_, r in taken], np.arange(1, 11) * 0.1 + 0.125)
    np.testing.assert_allclose([at for at, *_ in taken], np.arange(10) * 0.1, atol=1e-12)
    outbox.shaper.bytes_per_second = 0.0
    outbox.put(message(2), 2.0)
    assert outbox.take(2.0) is None, 'a cut link let a fragment through'


def test_behind_a_fragment_of_a_dropped_message_that_a_cut_holds_up_the_next_one_is_waited_for():
    outbox = Outbox(shaper=EmulatedLink(7000.0, 0.0))
    outbox.put(message(1), 0.0)
    outbox.shaper.change(0.0, 1.0, 0.0)
    assert outbox.take(0.0) is not None
    outbox.drop_frame(1)
    outbox.put(message(2), 1.0)
    assert outbox.take(1.5) is None, 'the link is taken'
    assert outbox.unanswered(3.0).seconds == 2.0
    outbox.shaper.change(3.0, 7000.0, 0.0)
    assert outbox.take(4.0) is not None
    assert outbox.unanswered(4.5).seconds == 0.5
