# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The estimate of a link's rate on simulated links: outbox, path, assembler and estimator together, in simulated time.

Steps, ramps, noise, outages, a queue, a token bucket, a sender that holds back, and a rate that jumps about as a mobile one
does (seeded; no recording of a real network is used).
"""

import math
from collections import deque

import numpy as np
import pytest

from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.fragment_receiver import FragmentReceiver
from edge_dnn_partition.transport.fragment_sender import FragmentSender
from edge_dnn_partition.transport.fragments import FRAME, HEADER_BYTES, AckState, Address, TensorMessage
from edge_dnn_partition.transport.tensors import WireTensor

DELAY = 0.005


class Path:
    """One direction of a link: a rate over time, a queue that drops what it has no room for, tokens for bursts.

    :param rate: bytes per second by time; 0: an outage.
    :param queue_seconds: what the queue holds, by the rate.
    :param bucket_bytes: what passes without waiting once it has been saved up.
    """

    def __init__(self, rate, queue_seconds=0.2, bucket_bytes=0.0):
        self.rate, self.queue, self.bucket = rate, queue_seconds, bucket_bytes
        self.full_at = 0.0
        """When all that was sent has been paid for by the rate, and the bucket is full again."""

    def arrival(self, now, size):
        """Return when a fragment arrives, None if it is lost."""
        rate = self.rate(now)
        if rate <= 0:
            return None
        full = max(self.full_at, now) + size / rate
        leaves = max(now + size / (100 * rate), full - self.bucket / rate)
        if leaves - now > self.queue:
            return None
        self.full_at = full
        return leaves + DELAY


class Hop:
    """A sender and a receiver at the ends of a path; one message at a time, as a frame source that waits sends them."""

    def __init__(self, path, guess='8 Mbit/s'):
        fleet = parse_fleet({'fleet': 'f', 'source': 'a', 'devices': {'a': {}, 'b': {}},
                             'links': [{'between': ['a', 'b'], 'rate': guess, 'delay': '5 ms'}]}, what='fleet')  # fmt: skip
        self.path, self.now = path, 0.0
        self.sender = FragmentSender(fleet, 'a', 1)
        self.estimator = self.sender.links.to('b').estimator
        self.outbox = self.sender.connect(('b', False)).outbox
        self.receiver = FragmentReceiver('b', lambda *_: None)
        self.eligible = 0
        """Transfers that their sender did not limit: they came slower than they left."""

    @property
    def rate(self):
        return self.estimator.estimate.bytes_per_second

    def transfer(self, size, pause=0.1, limit=30.0):
        """Send a message until its acknowledgement is here, or for so long; then wait."""
        layout = (WireTensor('t', 2, (size,), 'raw', 0, size),)
        number = next(self.sender.numbers)
        message = TensorMessage(FRAME, 'a', 1, Address('m', 1, number, 0, 0), number, memoryview(bytes(size)), layout,
                                fragment_bytes=self.outbox.fragment_bytes(size))  # fmt: skip
        self.sender.put(('b', False), message, self.now)
        air, end, runs, done = [], self.now + limit, deque(), False
        while self.now < end and not done:
            leave = self.outbox.next_at(self.now)
            arrive = min((at for at, _ in air), default=math.inf)
            due = min((gap for gap in (self._overdue_at(),) if gap is not None), default=math.inf)
            run = runs[0][0] if runs else math.inf
            self.now = max(self.now, min(leave, arrive, due, run, end))
            if run <= self.now:
                self.sender.on_ack(runs.popleft()[1], self.now)
            elif arrive <= self.now:
                at, fragment = min(air, key=lambda item: item[0])
                air.remove((at, fragment))
                ack = self.receiver.on_fragment(fragment, at)
                if ack is not None and ack.state == AckState.RUN:
                    runs.append((at + DELAY, ack))
                elif ack is not None:
                    done = ack.state == AckState.COMPLETE
                    self._on_ack(ack)
            elif leave <= self.now:
                ready = self.outbox.take(self.now)
                if ready is not None:
                    at = self.path.arrival(ready[0], len(ready[1].data) + HEADER_BYTES)
                    if at is not None:
                        air.append((at, ready[1]))
            elif due <= self.now:
                for ack in list(self.receiver.on_tick(self.now)):
                    self._on_ack(ack)
        self.outbox.clear()
        self.now += pause

    def _overdue_at(self):
        at = [max(p.last_at, p.asked_at) + 0.1 * 2 ** min(p.asked, 4) for p in self.receiver.assembler._partial.values()]
        return max(self.now, min(at)) + 0.01 if at else None

    def _on_ack(self, ack):
        if ack.state == AckState.COMPLETE:
            self.now += DELAY
            sample = self.outbox.sample(ack.message, ack.since_sent_ns, ack.echo_sent_ns)
            measured = ack.spread_bytes / ack.spread_seconds if ack.spread_seconds > 0 else 0.0
            self.eligible += not ack.paced and 0 < measured < 0.95 * sample.pace
        self.sender.on_ack(ack, self.now)


def told(hop, transfers, size=150_000, **more):
    for _ in range(transfers):
        hop.transfer(size, **more)
    return hop


@pytest.mark.parametrize(('before', 'after'), [(1e6, 2e5), (1e6, 4e6), (5e5, 1e5), (2e5, 2e6), (4e6, 1.3e6), (1e6, 1.3e6)])
@pytest.mark.parametrize('noise', [0.0, 0.05])
def test_a_step_is_within_20_percent_after_5_eligible_transfers(before, after, noise):
    lot, step_at = np.random.default_rng(int(before / after * 100)), [math.inf]
    hop = told(Hop(Path(lambda now: (before if now < step_at[0] else after) * max(0.5, lot.normal(1.0, noise)))), 12)
    assert hop.rate == pytest.approx(before, rel=0.2)
    step_at[0], hop.eligible = hop.now, 0
    for _ in range(20):  # to more than is looked for at a time it takes several transfers that their sender limits
        hop.transfer(150_000)
        if hop.eligible >= 5 or hop.rate == pytest.approx(after, rel=0.2):
            break
    assert hop.rate == pytest.approx(after, rel=0.2)
    assert told(hop, 10).rate == pytest.approx(after, rel=0.2), 'and it stays there'


def test_a_ramp_under_noise_is_followed():
    lot = np.random.default_rng(3)
    hop = told(Hop(Path(lambda now: (5e5 + 2e4 * now) * max(0.5, lot.normal(1.0, 0.1)))), 10)
    for _ in range(60):
        hop.transfer(150_000)
        assert hop.rate == pytest.approx(5e5 + 2e4 * hop.now, rel=0.25)


def test_a_rate_that_jumps_about_is_not_overestimated_for_long():
    """As a mobile link: every second another rate, log-normal around 6 Mbit/s."""
    rates = 7.5e5 * np.exp(np.random.default_rng(8).normal(0.0, 0.35, 200))
    hop = told(Hop(Path(lambda now: float(rates[min(int(now), 199)]))), 8, size=60_000)
    off = []
    while hop.now < 60:
        hop.transfer(60_000)
        off.append(abs(math.log(hop.rate / rates[int(hop.now)])))
    assert np.median(off) < 0.25
    assert np.mean(np.array(off) > math.log(2)) < 0.15


def test_an_outage_ends_and_the_rate_is_found_again():
    hop = told(Hop(Path(lambda now: 0.0 if 10.0 <= now < 20.0 else 1e6)), 10)
    hop.now = max(hop.now, 10.0)
    told(hop, 3, limit=3.0)
    assert hop.estimator.silent
    assert hop.rate < 5e5
    hop.now, hop.eligible = max(hop.now, 20.0), 0
    for _ in range(60):
        hop.transfer(150_000)
        if hop.eligible >= 12:
            break
    assert not hop.estimator.silent
    assert hop.rate == pytest.approx(1e6, rel=0.2)


@pytest.mark.parametrize('bucket', [15_000.0, 60_000.0])
def test_a_token_bucket_is_not_taken_for_bandwidth(bucket):
    """A shaped link lets the first fragments pass as fast as they leave; those behind them show its rate.

    A message of 600 kB that finds 60 kB saved up really crosses at 1.11 times the rate.
    """
    hop = told(Hop(Path(lambda _: 1e6, bucket_bytes=bucket)), 20, size=600_000)
    rates = [told(hop, 1, size=600_000).rate for _ in range(12)]
    assert np.median(rates) == pytest.approx(1e6, rel=0.15)
    assert max(rates) < 1.25e6


def test_a_long_queue_is_not_taken_for_bandwidth_nor_for_latency():
    hop = told(Hop(Path(lambda _: 1e6, queue_seconds=2.0)), 20)
    assert hop.rate == pytest.approx(1e6, rel=0.2)
    assert hop.estimator.estimate.latency_seconds == pytest.approx(DELAY, abs=0.004)
