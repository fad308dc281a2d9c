# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Seals: what was changed, comes twice or is a recording is not believed; what lives is, in whatever order it comes."""

from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.transport.seals import Reader, Sealer, Verdict, Vouchers, Window

KEY = bytes(range(32))
MESSAGES = st.integers(0, 20).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))


@given(MESSAGES, st.data())
def test_a_seal_holds_for_this_message_topic_and_key_alone(message, data):
    sealer = Sealer(KEY, 7)
    raw = sealer.seal('/demo/plan', message)
    assert sealer.check('/demo/plan', raw).session == 7
    assert Sealer(KEY, 8).check('/demo/plan', raw) == sealer.check('/demo/plan', raw)
    assert sealer.check('/demo/shadow', raw) is None
    assert Sealer(KEY[::-1], 7).check('/demo/plan', raw) is None
    at, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    assert sealer.check('/demo/plan', raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]) is None
    assert sealer.check('/demo/plan', raw[: data.draw(st.integers(0, len(raw) - 1))]) is None
    assert sealer.check('/demo/plan', raw + b'\0') is None


@given(st.binary(max_size=120))
def test_any_bytes_can_be_checked(raw):
    assert Sealer(KEY, 7).check('/demo/plan', raw) is None


@given(st.lists(st.integers(1, 3000), max_size=60), st.booleans())
def test_no_count_is_taken_twice(counts, ordered):
    window, taken = Window(ordered), []
    for count in counts:
        if window.take(count):
            taken.append(count)
    assert len(taken) == len(set(taken))
    assert taken == sorted(taken) if ordered else set(taken) == set(counts)


def test_a_window_forgets_only_what_it_refuses_from_then_on():
    window = Window(ordered=False)
    for count in range(2, 4000):
        assert window.take(count)
    assert not any(window.take(count) for count in range(1, 4000))


class Process:
    """One that says and hears, over one latched and one volatile topic."""

    def __init__(self, session):
        self.sealer, self.vouchers = Sealer(KEY, session), Vouchers(session)
        self.readers = {latched: Reader(self.vouchers, latched, latched) for latched in (True, False)}

    def say(self, latched):
        return latched, self.sealer.check('t', self.sealer.seal('t', b''))

    def hear(self, said):
        return self.readers[said[0]].take(said[1])

    def meet(self, other):
        self.vouchers.take(other.say(False)[1], other.vouchers.heard)


def test_a_process_is_believed_once_it_has_named_the_reader():
    one, other = Process(1), Process(2)
    plan, beat = one.say(True), one.say(False)
    assert other.hear(plan) is other.hear(beat) is Verdict.STRANGER
    other.meet(one)
    assert other.hear(plan) is Verdict.STRANGER
    one.meet(other)
    other.meet(one)
    assert other.hear(plan) is Verdict.BELIEVED
    assert other.hear(plan) is Verdict.KNOWN
    assert other.hear(beat) is Verdict.EARLY
    beat = one.say(False)
    assert [other.hear(beat), other.hear(beat)] == [Verdict.BELIEVED, Verdict.KNOWN]
    assert one.hear(one.say(False)) is Verdict.BELIEVED, 'a process hears itself'


@given(st.lists(st.tuples(st.sampled_from(['say', 'meet', 'hear']), st.booleans(), st.integers(0, 30)), max_size=60))
def test_a_recording_of_a_dead_process_is_never_believed_by_one_that_starts_later(steps):
    """Whatever was recorded, the lists of sessions included, and in whatever order it is played back."""
    dead, reader, recorded, lists = Process(1), Process(2), [], []
    witness = Process(3)
    for step, latched, _ in steps:
        if step == 'meet':
            dead.meet(witness)
            witness.meet(dead)
        recorded.append(dead.say(latched))
        lists.append((dead.say(False)[1], dead.vouchers.heard))
    reader.meet(witness)
    witness.meet(reader)
    for _, _, which in steps:
        reader.vouchers.take(*lists[which % len(lists)])
        assert reader.hear(recorded[which % len(recorded)]) is Verdict.STRANGER


def test_memory_is_bounded_whoever_is_heard():
    process = Process(1)
    for session in range(2, 5000):
        stranger = Sealer(KEY, session)
        process.vouchers.take(stranger.check('t', stranger.seal('t', b'')), (1,))
    assert len(process.vouchers.heard) <= 1024
