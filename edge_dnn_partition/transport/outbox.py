# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The sending end of a hop: messages become fragments, paced to the link, kept until they are acknowledged."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from .bandwidth_prober import TRAIN_FRAGMENTS, BandwidthProber
from .fragments import MISSING_AT_ONCE, PROBE, Fragment, TensorMessage, fragment_size
from .outgoing import MUCH_LOST, Loss, Outgoing, PacingSample, Waiting, sent_ns

_MUCH_SMALLER: Final = 0.7
_SILENT_ROUNDS: Final = (2, 3, 4)
_IN_VAIN: Final = 0.5
"""Where so much of what was sent a second time did not come either, its fragments are too large, and not only were too fast."""

_HELD_UP_SECONDS: Final = 0.5
"""What began to leave so long ago is held up."""
CATCH_UP_SECONDS: Final = 0.002
BURST_SECONDS: Final = 0.001
"""So much may leave at once, by the link's rate: on a fast link the fragments would wait for their sender's clock rather
than for the link (as Linux paces TCP, a millisecond at a time)."""

BURST_BYTES: Final = 8_000_000
"""What may be on its way to a device without an acknowledgement where no rate holds it back."""


class Shaper(Protocol):
    """What holds fragments back in place of the pace."""

    def free_at(self, now: float) -> float:
        """When the next fragment may leave."""

    def send(self, now: float, size: int) -> float:
        """Take a fragment; return when it is to be handed over."""


@dataclass(frozen=True)
class Ready:
    """A fragment and when it is to be published (seconds)."""

    at: float
    fragment: Fragment


@dataclass
class Outbox:
    """What is on its way to one device. Time is passed in; not thread safe.

    :param shaper: holds fragments back in place of the pace; None: nothing does.
    :param local: the receiver is on this device.
    :param rate: the link's estimated rate in bytes per second; None: unknown or not worth a pace.
    :param cautious: the rate is only a guess: one message at a time, until one has shown it.
    :param numbers: gives numbers to messages that are cut anew; None: they are not.
    :param on_silence: called when a message has drawn no acknowledgement, with the time and whether others have since it was
        sent; returns the rate from now on. Not more often than every ``retry_seconds``; and where nothing at all is
        answered, not before the second try.
    :param give_up_seconds: a message without an acknowledgement for so long is forgotten: its frame has been sent anew.
    :param retry_seconds: without an acknowledgement for so long, the message's last fragment is sent again, to draw one; later and
        later, but soon enough for a link that has been mended. The first fragments to a reader that has just come are
        lost, since it does not know this writer yet.
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
    _queue: OrderedDict[int, Outgoing] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[int, Outgoing] = field(default_factory=OrderedDict)
    _next_at: float = 0.0
    _probes: deque[Outgoing] = field(default_factory=lambda: deque(maxlen=8))
    """Those that were sent whole last."""
    _ended: deque[int] = field(default_factory=lambda: deque(maxlen=8))
    """Probes that were not sent whole."""
    _heard_at: float = float('-inf')
    _silent_at: float = float('-inf')
    _room: BandwidthProber = field(default_factory=BandwidthProber)
    _doubtful: bool = False
    """Nothing was answered: until something is, the rate is as good as guessed."""
    bytes_unacknowledged: int = 0
    fragments_repeated: int = 0
    given_up: int = 0

    def fragment_bytes(self, total: int) -> int:
        """Return how large the fragments of a message should be, by what is known of the link."""
        return fragment_size(
            total, rate=self.rate, measured=not (self.cautious or self._doubtful), local=self.local,
            patient_packets=self._room.patient_packets,
        )

    def put(self, message: TensorMessage, now: float, *, seen: float = 0.0) -> None:
        """Queue a message. A probe goes only where it may (`may_be_probed`), and no further once something else is to go.

        :param seen: so many bytes per second the link was seen to carry not long ago; a probe looks for as much again.
        """
        if message.kind == PROBE and not self.may_be_probed(now):
            return
        self.end_probe()
        looks = self._room.next_cycle(guessed=self.cautious or self._doubtful) or message.kind == PROBE
        gain = self._room.gain(self.rate, message.fragment_bytes) if looks else 0.0
        bold = self.rate is not None and seen > gain * self.rate
        if self.rate is not None and bold:
            gain = seen / self.rate
        self._queue[message.number] = Outgoing(message, deque(range(message.count)), gain, now, offered=message.count, bold=bold)
        if message.kind == PROBE:
            self._queue.move_to_end(message.number, last=False)
        self.bytes_unacknowledged += len(message.buffer)
        while self.bytes_unacknowledged > self.keep_bytes and self._waiting:
            self._forget(next(iter(self._waiting)))
            self.given_up += 1

    @property
    def idle(self) -> bool:
        """True if nothing is queued or unacknowledged."""
        return not self._queue and not self._waiting

    def may_be_probed(self, now: float) -> bool:
        """True if it is idle, or held up by what began to leave long ago: the link may be far better than its pace by now."""
        begun = (o.first_sent_at for o in itertools.chain(self._queue.values(), self._waiting.values()) if o.first_sent_at)
        return self.idle or now - min(begun, default=now) > _HELD_UP_SECONDS

    def next_at(self, now: float) -> float:
        """When :meth:`take` has something to do; infinite if it has not."""
        retry = min((o.sent_at + self._patience(o) for o in self._waiting.values()), default=float('inf'))
        if not self._queue or self._held_back():
            return retry
        at = max(now, self._may_leave_at())
        if self.shaper is not None:
            at = max(at, self.shaper.free_at(now))
        return min(at, retry)

    def take(self, now: float) -> Ready | None:
        """Return the next fragment if one may leave now."""
        for number, outgoing in list(self._waiting.items()):
            if now - outgoing.since >= self.give_up_seconds:
                self._forget(number)
                self.given_up += 1
            elif now >= outgoing.sent_at + self._patience(outgoing):
                self._waiting.pop(number)
                outgoing.rounds += 1
                outgoing.silences += 1
                self.fragments_repeated += 1
                self._note_silence(outgoing, now)
                if not self._cut_anew(outgoing, now):
                    outgoing.todo.append(outgoing.message.count - 1)
                    self._queue[number] = outgoing
        if not self._queue:
            return None
        if now < self._may_leave_at() or (self.shaper is not None and self.shaper.free_at(now) > now):
            return None
        if self._held_back():
            return None
        number, outgoing = next(iter(self._queue.items()))
        if len(outgoing.todo) == outgoing.message.count and not outgoing.rounds:
            self._cut_larger(outgoing)
        index = outgoing.todo.popleft()
        at = now
        size = outgoing.message.fragment_length(index)
        paced = False
        if self.shaper is not None:
            at = self.shaper.send(now, size)
        elif self.rate is not None:
            late = now - self._next_at
            start = now - late if late <= CATCH_UP_SECONDS else now  # a late wake-up is made good, a pause is not
            # Each fragment comes after its own time on the link, so that what is seen of their spacing is the pace.
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
                self._probes.append(outgoing)
            else:
                self._waiting[number] = outgoing
        return Ready(at, outgoing.message.fragment(index, paced=paced, sent_ns=sent_ns(now)))

    def look(self, number: int, since_ns: int = 0, echo_ns: int = 0) -> PacingSample:
        """Return how a message that waits for its acknowledgement, or the last probe, was sent.

        :param since_ns: only its fragments are meant that left after this, up to ``echo_ns``; 0: all.
        """
        outgoing = self._sent(number)
        if outgoing is None or not outgoing.pace:
            return PacingSample()
        far = self._room.far(outgoing.probe_gain, self.rate, outgoing.message.fragment_bytes)
        if since_ns:
            return replace(outgoing.run(since_ns, echo_ns)[1], far=far)
        return PacingSample(outgoing.pace, outgoing.shows_room_from, far, outgoing.was_blocked)

    def came(self, number: int, since_ns: int, echo_ns: int, size: int, now: float) -> PacingSample | None:
        """Take in that a run of a message's fragments has come; return how they were sent, None if some were lost or it is
        not known.

        :param size: bytes that have come of those that left after ``since_ns`` up to ``echo_ns``.
        """
        outgoing = self._queue.get(number) or self._waiting.get(number)
        if outgoing is None:
            return None
        self._heard_at, self._doubtful = max(self._heard_at, now), False
        outgoing.came_bytes = min(outgoing.came_bytes + size, len(outgoing.message.buffer))
        fragments, look = outgoing.run(since_ns, echo_ns)
        if not fragments or size < (fragments - 0.5) * outgoing.message.fragment_bytes:
            return None
        return replace(look, far=self._room.far(outgoing.probe_gain, self.rate, outgoing.message.fragment_bytes))

    def look_on(self, number: int, look: PacingSample, measured: float, *, sender_limited: bool) -> None:
        """Let the rest of a message look for room, after a run of it has shown whether there was: as `acknowledge` at its end.

        :param look: of `came`.
        """
        if look.asked:
            self._room.looked(found=measured >= look.asked, told=not sender_limited)
        outgoing = self._queue.get(number)
        if outgoing is None or len(outgoing.todo) < TRAIN_FRAGMENTS or not (look.asked or outgoing.train_over):
            return
        looks = self._room.next_cycle(guessed=self.cautious or self._doubtful)
        outgoing.look_for_room(self._room.gain(self.rate, outgoing.message.fragment_bytes) if looks else 0.0)

    def unanswered(self, now: float, frame_id: int | None = None) -> Waiting | None:
        """Return what is waited for of the message that has been on its way for longest, since when it alone has been.

        One that has been asked after in vain tells elsewhere (`on_silence`): its receiver may have died. One that was lost before
        tells nothing until something of it is sent again.

        :param frame_id: of this frame only.
        """
        for outgoing in itertools.chain(self._waiting.values(), self._queue.values()):
            message = outgoing.message
            told = outgoing.silences >= _SILENT_ROUNDS[0] or outgoing.to_another
            told |= outgoing.rounds > 0 and outgoing.sent_at < self._heard_at
            if message.kind != PROBE and outgoing.first_sent_at and not told and frame_id in (None, message.address.frame_id):
                return outgoing.waiting(self.rate, now - max(outgoing.first_sent_at, self._heard_at))
        return None

    def bytes_left(self, frame_id: int) -> int:
        """Return what of a frame is still to come there, in bytes."""
        messages = (o for o in itertools.chain(self._waiting.values(), self._queue.values()) if o.message.kind != PROBE)
        return sum(o.bytes_left for o in messages if o.message.address.frame_id == frame_id)

    def blocked(self, number: int, seconds: float) -> None:
        """Take in for how long the network held a fragment of a message up as it was sent."""
        outgoing = self._queue.get(number) or self._sent(number)
        if outgoing is not None:
            outgoing.blocked_seconds += seconds

    def _sent(self, number: int) -> Outgoing | None:
        return self._waiting.get(number) or self._probe(number)

    def _probe(self, number: int) -> Outgoing | None:
        return next((probe for probe in self._probes if probe.message.number == number), None)

    def acknowledge(
        self, number: int, measured: float = 0.0, *, now: float = float('-inf'), sender_limited: bool = False,
        look: PacingSample | None = None,
    ) -> bool:  # fmt: skip
        """Forget a message that has arrived; return whether it was waited for.

        :param measured: the rate at which its first fragments came, in bytes per second; 0 if it was not measured.
        :param sender_limited: that is how they left, the link may bear more: if they left more slowly than they were to,
            they say nothing of its room.
        :param look: what `look` says of it; None: of all its fragments.
        """
        self._heard_at = max(self._heard_at, now)
        if measured:
            self._doubtful = False
        if number in self._waiting and (asked := (look or self.look(number)).asked):
            self._room.looked(found=measured >= asked, told=not sender_limited)
        return self._forget(number)

    def resend(self, number: int, missing: Sequence[int], now: float = float('-inf')) -> Loss:
        """Queue the missing fragments of a message again, before those that are new; return what that says of the link."""
        outgoing = self._queue.get(number) or self._waiting.get(number)
        before = outgoing.came_bytes if outgoing is not None else 0
        lost = self._resend(number, missing)
        if outgoing is not None and outgoing.came_bytes > before and len(missing) <= MUCH_LOST * outgoing.message.count:
            self._heard_at = max(self._heard_at, now)  # else the link may have collapsed
        return Loss() if outgoing is not None and outgoing.to_another else lost

    def _resend(self, number: int, missing: Sequence[int]) -> Loss:
        if number in self._queue:
            return self._lost_on_the_way(self._queue[number], missing)
        outgoing = self._waiting.pop(number, None)
        if outgoing is None:
            return Loss()
        valid = [index for index in dict.fromkeys(missing) if 0 <= index < outgoing.message.count]
        if not valid:
            self._waiting[number] = outgoing
            return Loss()
        lost = outgoing.lost(valid)
        outgoing.rounds += 1
        in_vain = outgoing.rounds > 1 and len(valid) > _IN_VAIN * outgoing.offered
        outgoing.offered = len(valid)
        if len(valid) < MISSING_AT_ONCE:
            outgoing.came_bytes = len(outgoing.message.buffer) - sum(map(outgoing.message.fragment_length, valid))
        self._no_room(outgoing)
        if self._cut_anew(outgoing, outgoing.since, in_vain=in_vain):
            return lost
        outgoing.todo.extend(valid)
        self.fragments_repeated += len(valid)
        self._queue[number] = outgoing
        self._queue.move_to_end(number, last=False)
        return lost

    def probe_lost(self, number: int, missing: Sequence[int] = ()) -> Loss | None:
        """Return what it says of the link that a probe did not arrive whole; None: nothing, nor does what came of it.

        Of one that was cut short, or that looked for much more than is believed, only what came counts; if much of the latter is
        lost not even that, unless the rate is a guess: the link does not carry what it left at, however close together some came.
        """
        if number in self._ended:
            return Loss()
        probe = self._probe(number)
        if probe is None:
            return None
        if probe.bold:
            return None if len(missing) > MUCH_LOST * probe.message.count and not self.cautious else Loss()
        return probe.lost(missing) if missing else Loss(1.0)

    def end_probe(self) -> None:
        """Send no more of a probe: something else is to go over its link."""
        for number, outgoing in list(self._queue.items()):
            if outgoing.message.kind == PROBE:
                self._forget(number)
                self._ended.append(number)

    def _lost_on_the_way(self, outgoing: Outgoing, missing: Sequence[int]) -> Loss:
        """Take in that fragments of a message that is still being sent are missing; of interest only if they are many."""
        valid, lost = outgoing.lost_on_the_way(missing)
        if lost.share <= MUCH_LOST:
            return Loss()
        outgoing.rounds += 1
        self._no_room(outgoing)
        outgoing.todo.extend(valid)
        outgoing.offered = len(outgoing.todo)
        self.fragments_repeated += len(valid)
        return lost

    def _no_room(self, outgoing: Outgoing) -> None:
        """Note that fragments of a message were lost."""
        self._room.none(self.rate, outgoing.message.fragment_bytes, first=outgoing.rounds == 1)
        outgoing.look_for_room(0.0)

    def drop_frame(self, frame_id: int) -> None:
        """Forget the messages of a frame that is finished or sent anew."""
        for table in (self._queue, self._waiting):
            for number, outgoing in list(table.items()):
                if outgoing.message.address.frame_id == frame_id and outgoing.message.kind != PROBE:
                    self._forget(number)

    def receiver_anew(self) -> None:
        """Take in that the receiver is another process now, which knows nothing of what has been sent to the one before."""
        for outgoing in itertools.chain(self._queue.values(), self._waiting.values()):
            outgoing.to_another = True
        self._doubtful = False

    def clear(self) -> None:
        """Forget everything: the receiver has died or started anew."""
        self._queue.clear()
        self._waiting.clear()
        self.bytes_unacknowledged = 0

    def _cut_larger(self, outgoing: Outgoing) -> None:
        """Cut a message of which nothing has been sent to what has become known of the link since it was queued."""
        message = outgoing.message
        if self.rate is None or self.cautious or self._doubtful or self.numbers is None or message.kind == PROBE:
            return
        size = self.fragment_bytes(len(message.buffer))
        if size > message.fragment_bytes / _MUCH_SMALLER:
            outgoing.message = replace(message, fragment_bytes=size)
            outgoing.todo = deque(range(outgoing.message.count))
            outgoing.offered = outgoing.message.count

    def _cut_anew(self, outgoing: Outgoing, now: float, *, in_vain: bool = False) -> bool:
        """Replace a message by one of smaller fragments, if its fragments are too large for what the link has turned out to be.

        A fragment that is larger than the link's queue never arrives, however slowly the fragments follow one another. All of the
        message is sent again then, so not where some of it is there and the rest may follow.
        """
        message = outgoing.message
        if self.rate is None or self.numbers is None or message.kind == PROBE:
            return False
        size = self.fragment_bytes(len(message.buffer))
        if size > _MUCH_SMALLER * message.fragment_bytes or message.count == 1 or (outgoing.came_bytes and not in_vain):
            return False
        smaller = replace(message, number=next(self.numbers), fragment_bytes=size)
        self._queue[smaller.number] = Outgoing(
            smaller, deque(range(smaller.count)), 0.0, now, rounds=outgoing.rounds, offered=smaller.count,
            to_another=outgoing.to_another,
        )
        self._queue.move_to_end(smaller.number, last=False)
        return True

    def _note_silence(self, outgoing: Outgoing, now: float) -> None:
        """Say that a message has drawn no acknowledgement: if others have, its fragments were lost, else there may be no link."""
        heard = self._heard_at > outgoing.sent_at
        if self.on_silence is None or self.shaper is not None or now - self._silent_at < self.retry_seconds or outgoing.to_another:
            return
        if heard or outgoing.rounds in _SILENT_ROUNDS:
            self._silent_at = now
            self._doubtful |= not heard
            self.rate = self.on_silence(now, heard)

    def _may_leave_at(self) -> float:
        """When the pace lets the next fragment leave; a small one a little early, so that several leave at once."""
        if self.rate is None or self.shaper is not None:
            return self._next_at
        outgoing = next(iter(self._queue.values()))
        if outgoing.message.kind == PROBE:
            return self._next_at
        size = outgoing.message.fragment_length(outgoing.todo[0])
        return self._next_at - max(0.0, BURST_SECONDS - size / self.rate)

    def _patience(self, outgoing: Outgoing) -> float:
        return float(self.retry_seconds * min(2**outgoing.rounds, 8))

    def _held_back(self) -> bool:
        """True if what is queued has to wait for an acknowledgement."""
        if self.shaper is not None:
            return False
        if self.rate is None:
            return self._in_flight() > BURST_BYTES
        return self.cautious and bool(self._waiting)

    def _in_flight(self) -> int:
        return sum(len(o.message.buffer) for o in self._waiting.values())

    def _forget(self, number: int) -> bool:
        found = self._queue.pop(number, None) or self._waiting.pop(number, None)
        if found is not None:
            self.bytes_unacknowledged -= len(found.message.buffer)
        return found is not None
