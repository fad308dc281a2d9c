# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Blobs over a link that loses, disorders, breaks and lies; simulated time."""

import hashlib
import heapq
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.transport.blob_fetch import BURST_SECONDS, BlobFetch
from edge_dnn_partition.transport.blobs import BLOCK_BYTES, MOST_ASKED, BlobAsk, BlobStore, Extent, answer, file_sha256


def blob_of(folder, size, seed=0):
    content = random.Random(seed).randbytes(size)
    path = folder / f'content-{size}-{seed}'
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


class Link:
    """Carries questions and answers at a rate, with a delay; ``drop`` says of each answer whether it is lost."""

    def __init__(self, holders, *, rate=1e7, delay=0.01, drop=lambda: False, jitter=lambda: 0.0):
        self.holders, self.rate, self.delay, self.drop, self.jitter = holders, rate, delay, drop, jitter
        self.free_at, self.now, self.carried, self.longest = 0.0, 0.0, 0, 0.0
        self.order = itertools.count()
        self.coming = []

    def run(self, fetch, *, until=1e4, stop=lambda fetch: False):
        while not fetch.done and not fetch.failure and self.now < until and not stop(fetch):
            self.now = max(self.now, min(fetch.ask_at, self.coming[0][0] if self.coming else until))
            while self.coming and self.coming[0][0] <= self.now:
                fetch.on_part(heapq.heappop(self.coming)[2], self.now)
            if (ask := fetch.ask(self.now)) is not None:
                for name, find in self.holders.items():
                    for part in answer(ask, name, find):
                        self.free_at = max(self.free_at, self.now + self.delay) + len(part.data) / self.rate
                        self.carried += len(part.data)
                        self.longest = max(self.longest, self.free_at - self.now - self.delay)
                        if not self.drop():
                            at = self.free_at + self.delay + self.jitter()
                            heapq.heappush(self.coming, (at, next(self.order), part))


def having(path, sha256, offset=0, size=None):
    extent = Extent(path, offset, path.stat().st_size if size is None else size)
    return lambda asked: extent if asked == sha256 else None


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, 400_000), loss=st.floats(0, 0.4), jitter=st.floats(0, 0.2), rate=st.floats(1e4, 1e8), seed=st.integers(0, 99))
def test_comes_whole_over_links_that_lose_and_disorder(tmp_path_factory, size, loss, jitter, rate, seed):
    folder = tmp_path_factory.mktemp('blobs')
    path, sha256 = blob_of(folder, size, seed)
    chance = random.Random(seed)
    link = Link({'box': having(path, sha256)}, rate=rate, drop=lambda: chance.random() < loss, jitter=lambda: jitter * chance.random())
    store = BlobStore(folder)
    fetch = BlobFetch(sha256, store)
    link.run(fetch)
    assert fetch.done
    assert file_sha256(store.find(sha256).path) == sha256


def test_a_part_of_a_file_is_a_blob_as_well(tmp_path):
    path, _ = blob_of(tmp_path, 300_000)
    sha256 = hashlib.sha256(path.read_bytes()[1000:201_000]).hexdigest()
    fetch = BlobFetch(sha256, BlobStore(tmp_path))
    Link({'box': having(path, sha256, 1000, 200_000)}).run(fetch)
    assert fetch.done


def test_is_resumed_by_another_process_where_it_broke_off(tmp_path):
    path, sha256 = blob_of(tmp_path, 3_000_000)
    link = Link({'box': having(path, sha256)})
    first = BlobFetch(sha256, BlobStore(tmp_path))
    link.run(first, stop=lambda fetch: fetch.have > 1_500_000)
    first.close()
    link.coming.clear()
    second = BlobFetch(sha256, BlobStore(tmp_path))
    assert second.have == first.have
    link.run(second)
    assert second.done
    assert link.carried < 3_000_000 + 2 * MOST_ASKED


def test_goes_on_after_an_outage_and_with_another_holder(tmp_path):
    path, sha256 = blob_of(tmp_path, 2_000_000)
    link = Link({'box': having(path, sha256)})
    fetch = BlobFetch(sha256, BlobStore(tmp_path))
    link.run(fetch, stop=lambda fetch: fetch.have > 500_000)
    link.holders = {}
    link.run(fetch, until=link.now + 60)
    assert not fetch.done
    link.holders = {'pi': having(path, sha256)}
    back = link.now
    link.run(fetch)
    assert fetch.done
    assert link.now - back < 6
    assert link.carried < 2_000_000 + 2 * MOST_ASKED


def test_what_has_another_hash_is_thrown_away_and_had_from_another(tmp_path):
    path, sha256 = blob_of(tmp_path, 200_000)
    wrong, _ = blob_of(tmp_path, 200_000, seed=1)
    fetch = BlobFetch(sha256, BlobStore(tmp_path))
    link = Link({'liar': having(wrong, sha256), 'box': having(path, sha256)})
    link.run(fetch)
    assert fetch.done
    (tmp_path / 'other').mkdir()
    alone = BlobFetch(sha256, BlobStore(tmp_path / 'other'))
    Link({'liar': having(wrong, sha256)}).run(alone)
    assert 'another hash' in alone.failure
    assert BlobStore(tmp_path / 'other').find(sha256) is None


@pytest.mark.parametrize(('rate', 'delay'), [(125_000, 0.01), (750_000, 0.02), (750_000, 0.2), (5e6, 0.002)])
def test_leaves_half_of_the_link_in_bursts_that_hold_nothing_up(tmp_path, rate, delay):
    path, sha256 = blob_of(tmp_path, int(4 * rate))
    link = Link({'box': having(path, sha256)}, rate=rate, delay=delay)
    fetch = BlobFetch(sha256, BlobStore(tmp_path))
    link.run(fetch)
    assert fetch.done
    assert link.longest < 0.15
    seconds = link.carried / rate
    assert 1.8 * seconds < link.now < (2.3 + 2 * delay / BURST_SECONDS) * seconds + 3


def test_nobody_has_it_or_it_is_too_large_or_no_question(tmp_path, monkeypatch):
    path, sha256 = blob_of(tmp_path, 100_000)
    fetch = BlobFetch(sha256, BlobStore(tmp_path))
    link = Link({'box': lambda _: None})
    link.run(fetch, until=30)
    assert not fetch.done
    assert not link.carried
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE_LIMIT', '50 kB')
    link.holders = {'box': having(path, sha256)}
    link.run(fetch)
    assert 'more than the cache may hold' in fetch.failure
    with pytest.raises(WireError, match='at most'):
        answer(BlobAsk('box', sha256, 0, 1 << 30), 'box', having(path, sha256))
    with pytest.raises(WireError, match='at most'):
        answer(BlobAsk('box', '../../etc/passwd', 0, 1), 'box', having(path, sha256))
    [part] = answer(BlobAsk('box', sha256, 0, BLOCK_BYTES), 'box', lambda _: Extent(tmp_path / 'gone', 0, 9))
    assert part.missing


def test_the_store_keeps_files_and_places_them(tmp_path):
    path, sha256 = blob_of(tmp_path, 1000)
    store = BlobStore(tmp_path / 'store')
    store.folder.mkdir()
    path.rename(store.folder / sha256)
    store.place(sha256, tmp_path / 'deep' / 'model.onnx')
    assert (tmp_path / 'deep' / 'model.onnx').read_bytes() == (store.folder / sha256).read_bytes()
    (store.folder / sha256).unlink()
    with pytest.raises(UserError, match='fetch it again'):
        store.place(sha256, tmp_path / 'again')
