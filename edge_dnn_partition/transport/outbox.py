# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending end of a hop to one target: messages become fragments, paced to the link, kept until they are acknowledged."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .fragments import HOLD_SECONDS, MISSING_AT_ONCE, PROBE, Fragment, TensorMessage, fragment_size
from .link import Shaper
from .outgoing import MUCH_LOST, MUCH_SMALLER, TRAIN_FRAGMENTS, BandwidthProber, Loss, Outgoing, PacingSample, Waiting, sent_ns
from .sent_probes import SentProbes

_SILENT_ROUNDS: Final = (2, 3, 4)
_IN_VAIN: Final = 0.5
"""Where this share of what was sent again is lost again, the fragments are too large, not only too fast."""
_HELD_UP_SECONDS: Final = 0.5
"""A message that began to leave this long ago is held up."""
CATCH_UP_SECONDS: Final = 0.002
BURST_SECONDS: Final = 0.001
"""This much of the link's time may leave at once, as Linux paces TCP: else fragments would wait for the sender's clock."""
BURST_BYTES: Final = 8_000_000
"""This much may be unacknowledged where no rate holds it back."""


@dataclass
class Outbox:
    """What is on its way to one target. Time is passed in; not thread safe.

    :param shaper: holds fragments back in place of the pace; None: nothing does.
    :param local: the receiver is on this device.
    :param rate: the link's estimated rate in bytes per second; None: unknown, or not worth a pace.
    :param cautious: the rate is a guess: one message at a time, until one has shown it.
    :param numbers: numbers messages that are cut anew; None: they are not.
    :param on_silence: called at most every ``retry_seconds`` when a message is not acknowledged, with the time and whether others
        have been since it was sent (if not, from the second try on); returns the new rate.
    :param retry_seconds: the last fragment is sent again after this time, then ever later, to draw an acknowledgement.
    :param give_up_seconds: a message that is not acknowledged for this long is dropped, if its deadline is not earlier.
    """

    shaper: Shaper | None = None
    local: bool = False
    rate: float | None = None
    cautious: bool = False
    numbers: Iterator[int] | None = None
    on_silence: Callable[[float, bool], float | None] | None = None
    retry_seconds: float = 0.3
    keep_bytes: int = 1 << 30
    give_up_seconds: float = 60.0
    bytes_unacknowledged: int = 0
    given_up: int = 0
    _queue: OrderedDict[int, Outgoing] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[int, Outgoing] = field(default_factory=OrderedDict)
    _next_at: float = 0.0
    _probes: SentProbes = field(default_factory=SentProbes)
    _answered_at: float = float('-inf')
    _silent_at: float = float('-inf')
    _prober: BandwidthProber = field(default_factory=BandwidthProber)
    _doubtful: bool = False
    """Nothing is acknowledged: until something is, the rate is as good as a guess."""

    def fragment_bytes(self, total: int) -> int:
        """Return how large the fragments of a message should be on the link as it is known."""
        return fragment_size(
            total, rate=self.rate, measured=not self._guessed, local=self.local, patient_packets=self._prober.patient_packets,
        )

    @property
    def _guessed(self) -> bool:
        return self.cautious or self._doubtful

    def _messages(self) -> Iterator[Outgoing]:
        return itertools.chain(self._waiting.values(), self._queue.values())

    def put(self, message: TensorMessage, now: float, *, hoped: float = 0.0) -> None:
        """Queue a message, before those of lower priority. A probe only where `may_be_probed`, and until something else is queued.

        :param hoped: the rate that a probe looks for, in bytes per second.
        """
        if message.kind == PROBE and not self.may_be_probed(now):
            return
        self.end_probe()
        looks = self._prober.next_cycle(guessed=self._guessed) or message.kind == PROBE
        gain = self._prober.gain(self.rate, message.fragment_bytes) if looks else 0.0
        bold = self.rate is not None and hoped > gain * self.rate
        if self.rate is not None and bold:
            gain = hoped / self.rate
        later = [n for n, other in self._queue.items() if message.kind == PROBE or other.message.priority < message.priority]
        self._queue[message.number] = Outgoing(message, deque(range(message.count)), gain, now, offered=message.count, bold=bold)
        for number in later:
            self._queue.move_to_end(number)
        self.bytes_unacknowledged += len(message.buffer)
        while self.bytes_unacknowledged > self.keep_bytes and self._waiting:
            self._give_up(next(iter(self._waiting)))

    def waiting(self, number: int) -> TensorMessage | None:
        """Return a message that has left and is not acknowledged."""
        outgoing = self._waiting.get(number)
        return None if outgoing is None else outgoing.message

    @property
    def idle(self) -> bool:
        """True if nothing is queued or unacknowledged."""
        return not self._queue and not self._waiting

    @property
    def quiet(self) -> bool:
        """True if nothing is queued or unacknowledged, but for what the receiver may acknowledge later, with others."""
        return not self._queue and not self._awaits_answer

    @property
    def _awaits_answer(self) -> bool:
        return not all(outgoing.may_be_held for outgoing in self._waiting.values())

    def may_be_probed(self, now: float) -> bool:
        """True if it is idle, or held up by what began to leave long ago: the link may be far better than its pace by now."""
        begun = (o.first_sent_at for o in self._messages() if o.first_sent_at)
        return self.quiet or now - min(begun, default=now) > _HELD_UP_SECONDS

    def next_at(self, now: float) -> float:
        """When :meth:`take` has something to do; infinite if it has not."""
        retry = min((o.sent_at + o.patience(self.retry_seconds) for o in self._waiting.values()), default=float('inf'))
        if not self._queue or self._held_back():
            return retry
        at = max(now, self._may_leave_at())
        if self.shaper is not None:
            at = max(at, self.shaper.free_at(now))
        return min(at, retry)

    def take(self, now: float) -> tuple[float, Fragment] | None:
        """Return the next fragment, and when it is to be published; None if none may leave now."""
        for number, outgoing in list(self._waiting.items()):
            if now >= min(outgoing.since + self.give_up_seconds, outgoing.message.deadline):
                self._give_up(number)
            elif now >= outgoing.sent_at + outgoing.patience(self.retry_seconds):
                self._retry(outgoing, now)
        if not self._queue or self._held_back():
            return None
        if now < self._may_leave_at() or (self.shaper is not None and self.shaper.free_at(now) > now):
            return None
        number, outgoing = next(iter(self._queue.items()))
        if now >= outgoing.message.deadline:
            self._give_up(number)
            return self.take(now)
        if len(outgoing.todo) == outgoing.message.count and not outgoing.rounds:
            self._cut_larger(outgoing)
        index = outgoing.todo.popleft()
        at, paced, size = now, False, outgoing.message.fragment_length(index)
        if self.shaper is not None:
            at = self.shaper.send(now, size)
        elif self.rate is not None:
            late = now - self._next_at
            start = now - late if late <= CATCH_UP_SECONDS else now  # a late wake-up is made good, a pause is not
            # Each fragment leaves after its own time on the link, so that the spacing that is seen is the pace.
            following = outgoing.message.fragment_length(outgoing.todo[0]) if outgoing.todo else size
            self._next_at = start + following / (self.rate * outgoing.gain())
            paced = not outgoing.fast
            outgoing.left(index, self.rate, now)
        outgoing.first_sent_at = outgoing.first_sent_at or now
        outgoing.sent_at = at
        if not outgoing.todo:
            self._queue.pop(number)
            if outgoing.message.kind == PROBE:
                self.bytes_unacknowledged -= len(outgoing.message.buffer)
                self._probes.add(outgoing)
            else:
                self._waiting[number] = outgoing
        return at, outgoing.message.fragment(index, paced=paced, sent_ns=sent_ns(now))

    def sample(self, number: int, since_ns: int = 0, echo_ns: int = 0) -> PacingSample:
        """Return how an unacknowledged message, or a recent probe, was sent.

        :param since_ns: only the fragments that left after this, up to ``echo_ns``; 0: all.
        """
        outgoing = self._waiting.get(number) or self._probes.get(number)
        if outgoing is None or not outgoing.pace:
            return PacingSample()
        if since_ns:
            return replace(outgoing.run(since_ns, echo_ns)[1], far=self._far(outgoing))
        return PacingSample(outgoing.pace, outgoing.shows_headroom_from, self._far(outgoing), outgoing.was_blocked)

    def _far(self, outgoing: Outgoing) -> bool:
        return self._prober.far(outgoing.probe_gain, self.rate, outgoing.message.fragment_bytes)

    def on_run(self, number: int, since_ns: int, echo_ns: int, size: int, now: float) -> PacingSample | None:
        """Record that a run of fragments has arrived; return how they were sent, None if that is unknown or some were lost.

        :param size: bytes that have arrived of those that left after ``since_ns`` up to ``echo_ns``.
        """
        outgoing = self._queue.get(number) or self._waiting.get(number)
        if outgoing is None:
            return None
        self._answered_at, self._doubtful = max(self._answered_at, now), False
        outgoing.arrived_bytes = min(outgoing.arrived_bytes + size, len(outgoing.message.buffer))
        fragments, sample = outgoing.run(since_ns, echo_ns)
        if not fragments or size < (fragments - 0.5) * outgoing.message.fragment_bytes:
            return None
        return replace(sample, far=self._far(outgoing))

    def next_train(self, number: int, sample: PacingSample, measured: float, *, sender_limited: bool) -> None:
        """Let the rest of a message look for headroom after a run of it, as the next message would after an acknowledgement.

        :param sample: of `on_run`.
        """
        if sample.asked:
            self._prober.on_answer(found=measured >= sample.asked, conclusive=not sender_limited)
        outgoing = self._queue.get(number)
        if outgoing is None or len(outgoing.todo) < TRAIN_FRAGMENTS or not (sample.asked or outgoing.train_over):
            return
        looks = self._prober.next_cycle(guessed=self._guessed)
        outgoing.begin_train(self._prober.gain(self.rate, outgoing.message.fragment_bytes) if looks else 0.0)

    def unanswered(self, now: float, frame_number: int | None = None) -> Waiting | None:
        """Return what is awaited of the message (of a frame) that has been on its way for longest; None if nothing is.

        Not one that was asked after in vain, as its receiver may have died, nor one that was lost, until it is sent again. One
        that has not begun is on its way, too, where a shaper still has a fragment of a dropped one: the link is held up.
        """
        blocked = self.shaper is not None and self.shaper.free_at(now) > now
        for outgoing in self._messages():
            reported = outgoing.silences >= _SILENT_ROUNDS[0] or (outgoing.rounds > 0 and outgoing.sent_at < self._answered_at)
            begun = outgoing.first_sent_at or (outgoing.since if blocked else 0.0)
            if begun and not reported and not outgoing.to_another and outgoing.belongs_to(frame_number):
                held = HOLD_SECONDS if outgoing.first_sent_at and outgoing.may_be_held else 0.0
                return outgoing.waiting(self.rate, max(0.0, now - max(begun, self._answered_at) - held))
        return None

    def bytes_left(self, frame_number: int) -> int:
        """Return how many bytes of a frame have not arrived yet."""
        return sum(outgoing.bytes_left for outgoing in self._messages() if outgoing.belongs_to(frame_number))

    def on_blocked(self, number: int, seconds: float) -> None:
        """Record for how long the network blocked the sending of a fragment."""
        if (outgoing := self._queue.get(number) or self._waiting.get(number) or self._probes.get(number)) is not None:
            outgoing.blocked_seconds += seconds

    def acknowledge(
        self, number: int, measured: float = 0.0, *, now: float = float('-inf'), sender_limited: bool = False,
        sample: PacingSample | None = None,
    ) -> bool:  # fmt: skip
        """Forget a message that has arrived; return whether it was waited for.

        :param measured: bytes per second at which its first fragments arrived; 0: not measured.
        :param sender_limited: they left at that rate, and say nothing of headroom if it is below the pace.
        """
        self._answered_at = max(self._answered_at, now)
        if measured:
            self._doubtful = False
        if number in self._waiting and (asked := (sample or self.sample(number)).asked):
            self._prober.on_answer(found=measured >= asked, conclusive=not sender_limited)
        return self._forget(number)

    def resend(self, number: int, missing: Sequence[int], now: float = float('-inf')) -> Loss:
        """Queue the missing fragments of a message again, before new ones; return what the loss says of the link."""
        outgoing = self._queue.get(number) or self._waiting.get(number)
        if outgoing is None:
            return Loss()
        before = outgoing.arrived_bytes
        lost = self._lost_on_the_way(outgoing, missing) if number in self._queue else self._resend(number, missing)
        if outgoing.arrived_bytes > before and len(missing) <= MUCH_LOST * outgoing.message.count:
            self._answered_at = max(self._answered_at, now)  # else the link may have collapsed
        return Loss() if outgoing.to_another else lost

    def _resend(self, number: int, missing: Sequence[int]) -> Loss:
        outgoing = self._waiting[number]
        valid = [index for index in dict.fromkeys(missing) if 0 <= index < outgoing.message.count]
        if not valid:
            self._waiting.move_to_end(number)
            return Loss()
        del self._waiting[number]
        lost = outgoing.lost(valid)
        outgoing.rounds += 1
        in_vain = outgoing.rounds > 1 and len(valid) > _IN_VAIN * outgoing.offered
        outgoing.offered = len(valid)
        if len(valid) < MISSING_AT_ONCE:
            outgoing.arrived_bytes = len(outgoing.message.buffer) - sum(map(outgoing.message.fragment_length, valid))
        self._on_loss(outgoing)
        if not self._cut_anew(outgoing, outgoing.since, in_vain=in_vain):
            outgoing.todo.extend(valid)
            self._queue[number] = outgoing
            self._queue.move_to_end(number, last=False)
        return lost

    def _lost_on_the_way(self, outgoing: Outgoing, missing: Sequence[int]) -> Loss:
        """Send fragments again that are missing of a message that is still being sent, if they are many."""
        valid, lost = outgoing.lost_on_the_way(missing)
        if lost.share <= MUCH_LOST:
            return Loss()
        outgoing.rounds += 1
        outgoing.todo.extend(valid)
        outgoing.offered = len(outgoing.todo)
        self._on_loss(outgoing)
        return lost

    def _on_loss(self, outgoing: Outgoing) -> None:
        self._prober.on_loss(self.rate, outgoing.message.fragment_bytes, first=outgoing.rounds == 1)
        outgoing.begin_train(0.0)

    def probe_lost(self, number: int, missing: Sequence[int] = ()) -> Loss | None:
        """Return what an incomplete probe says of the link; see `SentProbes.lost`."""
        return self._probes.lost(number, missing, guessed=self.cautious)

    def end_probe(self) -> None:
        """Send no more of a probe: something else is to go over its link."""
        for number, outgoing in list(self._queue.items()):
            if outgoing.message.kind == PROBE:
                self._forget(number)
                self._probes.cut_short(number)

    def drop_frame(self, frame_number: int) -> None:
        """Forget the messages of a frame that has ended or is sent again."""
        for outgoing in list(self._messages()):
            if outgoing.belongs_to(frame_number):
                self._forget(outgoing.message.number)

    def on_new_receiver(self) -> None:
        """Note that another process receives now, which knows nothing of what has been sent."""
        for outgoing in self._messages():
            outgoing.to_another = True
        self._doubtful = False

    def clear(self) -> None:
        """Forget everything: the receiver has died or restarted."""
        self._queue.clear()
        self._waiting.clear()
        self.bytes_unacknowledged = 0

    def _cut_larger(self, outgoing: Outgoing) -> None:
        """Cut a message of which nothing has left into larger fragments, if the link has turned out to bear them."""
        message = outgoing.message
        if self.rate is None or self._guessed or self.numbers is None or message.kind == PROBE:
            return
        outgoing.cut_larger(self.fragment_bytes(len(message.buffer)))

    def _cut_anew(self, outgoing: Outgoing, now: float, *, in_vain: bool = False) -> bool:
        """Replace a message by one of smaller fragments, if the link has turned out to need them.

        A fragment that is larger than the link's queue never arrives. All of the message is sent again, unless some has arrived.
        """
        message = outgoing.message
        if self.rate is None or self.numbers is None or message.kind == PROBE:
            return False
        size = self.fragment_bytes(len(message.buffer))
        if size > MUCH_SMALLER * message.fragment_bytes or message.count == 1 or (outgoing.arrived_bytes and not in_vain):
            return False
        number = next(self.numbers)
        self._queue[number] = outgoing.cut_anew(number, size, now)
        self._queue.move_to_end(number, last=False)
        return True

    def _retry(self, outgoing: Outgoing, now: float) -> None:
        """Send a message's last fragment again, to draw an acknowledgement; learn from the silence.

        If others were acknowledged, its fragments were lost; else there may be no link.
        """
        message = outgoing.message
        del self._waiting[message.number]
        outgoing.rounds += 1
        outgoing.silences += 1
        answered = self._answered_at > outgoing.sent_at
        ignored = self.shaper is not None or now - self._silent_at < self.retry_seconds or outgoing.to_another
        if self.on_silence is not None and not ignored and (answered or outgoing.rounds in _SILENT_ROUNDS):
            self._silent_at = now
            self._doubtful |= not answered
            self.rate = self.on_silence(now, answered)
        if not self._cut_anew(outgoing, now):
            outgoing.todo.append(message.count - 1)
            self._queue[message.number] = outgoing

    def _may_leave_at(self) -> float:
        """When the pace lets the next fragment leave; a small one a little early, so that several leave at once."""
        if self.rate is None or self.shaper is not None:
            return self._next_at
        outgoing = next(iter(self._queue.values()))
        if outgoing.message.kind == PROBE:
            return self._next_at
        size = outgoing.message.fragment_length(outgoing.todo[0])
        return self._next_at - max(0.0, BURST_SECONDS - size / self.rate)

    def _held_back(self) -> bool:
        """True if what is queued has to wait for an acknowledgement."""
        if self.shaper is not None:
            return False
        if self.rate is None:
            return sum(len(o.message.buffer) for o in self._waiting.values()) > BURST_BYTES
        return self.cautious and self._awaits_answer

    def _give_up(self, number: int) -> None:
        self.given_up += self._forget(number)

    def _forget(self, number: int) -> bool:
        found = self._queue.pop(number, None) or self._waiting.pop(number, None)
        if found is not None:
            self.bytes_unacknowledged -= len(found.message.buffer)
        return found is not None
