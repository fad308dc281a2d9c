# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A process's way to other sites of its fleet (`sites`): one Zenoh session, opened to the router, and again whenever it is lost.

Zenoh sends only what somebody elsewhere has subscribed to.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import PlanError, UserError

from .zenoh_watch import ASK_SECONDS, RouterWatch

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.network import Tls

    from .sites import Place

LEASE_SECONDS: Final = 2.0
"""Who has sent nothing for so long is taken to be gone, and one that is still there connects again."""
_STUCK_SECONDS: Final = 600.0
"""A whole tensor may take so long to leave, its connection is closed then. Zenoh's own limit of 5 s no link of 1 Mbit/s keeps."""
_WAIT: Final = 'transport/link/tx/queue/congestion_control/block/wait_before_close'
_SMALL: Final = {_WAIT: 2_000_000}
"""Microseconds, for a session that carries no tensors."""
_CONNECT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (0.2, 1.0)
_MISS_SECONDS: Final = 0.5
"""A latched topic's publisher says so often what it has sent, so that who missed it asks for it."""
_BATCH_BYTES: Final = 16_384
"""What leaves at a time: on a slow link more would take longer to come than who waits for it has patience."""
_THREADS: Final = 4
_SOURCE_BYTES: Final = 8
_COUNT_BYTES: Final = 8
_SOURCES: Final = 1024
"""Publishers of a latched topic that a reader tells apart; the one that has been silent for longest is forgotten first."""
_CLOSE_SECONDS: Final = 1.0
_ASKED: Final = 'nobody'
"""What nobody has, see `RouterWatch`."""

Take = Callable[[bytes], None]


def settings(mode: str, *, listen: Sequence[str] = (), connect: Sequence[str] = (), tls: Tls | None = None) -> dict[str, Any]:
    """Return Zenoh's configuration for a session; nothing is looked for but what is named.

    :raises PlanError: if a file of ``tls`` cannot be read.
    """
    found: dict[str, Any] = {
        'mode': mode,
        'listen/endpoints': list(listen),
        'connect/endpoints': list(connect),
        'connect/timeout_ms': int(_CONNECT_SECONDS * 1000),
        'connect/retry': {
            'period_init_ms': int(_RETRY_SECONDS[0] * 1000), 'period_max_ms': int(_RETRY_SECONDS[1] * 1000),
            'period_increase_factor': 1.5,
        },
        'scouting/multicast/enabled': False,
        'scouting/gossip/enabled': False,
        'timestamping/enabled': True,
        'transport/link/tx/lease': int(LEASE_SECONDS * 1000),
        _WAIT: int(_STUCK_SECONDS * 1e6),
        'transport/link/tx/batch_size': _BATCH_BYTES,
        'transport/shared_memory/enabled': False,
    }  # fmt: skip
    if tls is not None:
        for what in ('ca', 'certificate', 'key'):
            _look_at(what, getattr(tls, what))
        found['transport/link/tls'] = {
            'root_ca_certificate': str(tls.ca), 'enable_mtls': True, 'verify_name_on_connect': True,
            'listen_certificate': str(tls.certificate), 'listen_private_key': str(tls.key),
            'connect_certificate': str(tls.certificate), 'connect_private_key': str(tls.key),
        }  # fmt: skip
    return found


def _look_at(what: str, path: Any) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        advice = 'edge-dnn-partition keygen --wan FLEET.yaml makes such files; copy to each device its own and ca.pem'
        raise PlanError(f'network.tls, {what}: {path}: {error.strerror}; {advice}') from error


def open_session(found: dict[str, Any]) -> Any:
    """Open a session of Zenoh.

    :raises UserError: if Zenoh is not installed.
    :raises zenoh.ZError: if nobody can be reached, or an address is taken.
    """
    zenoh = _zenoh()
    config = zenoh.Config()
    for name, value in found.items():
        config.insert_json5(name, json.dumps(value))
    return zenoh.open(config)


def close_session(session: Any) -> None:
    """Close a session; Zenoh waits for who is gone, for 10 s, and then raises an error, which says nothing new."""
    with suppress(_zenoh().ZError):
        session.close()


def end_session(session: Any, name: str) -> threading.Thread:
    """Return a thread of that name in which a session is closed, see `close_session`."""
    thread = threading.Thread(target=close_session, args=(session,), name=name, daemon=True)
    thread.start()
    return thread


def runtime(threads: int) -> None:
    """Say how many threads Zenoh has of each kind; of effect before the first session alone, and unless the user has said so.

    The one that closes a connection whose other end is gone waits for up to 10 s (Zenoh 1.10 sets SO_LINGER), and what it was to
    do next with it. With Zenoh's own number (one or two of a kind) a device whose address had changed heard nothing for 5 to 9 s
    after one change in ten, others neither; with eight the longest of 20 was 2.2 s.
    """
    kinds = ', '.join(f'{kind}: (worker_threads: {threads})' for kind in ('rx', 'tx', 'net', 'acc', 'app'))
    os.environ.setdefault('ZENOH_RUNTIME', f'({kinds})')


def _zenoh() -> Any:
    runtime(_THREADS)
    try:
        import zenoh
        import zenoh.ext
    except ImportError as error:
        raise UserError('network.kind wan needs Zenoh: pip install "edge-dnn-partition[wan]", or eclipse-zenoh') from error
    return zenoh


class WidePublisher:
    """Publishes to other sites; what is latched is kept for readers that come later, and given again to those that were away."""

    def __init__(self, session: WideSession, key: str, *, latched: int, files: bool = False) -> None:
        self._session, self._key, self._latched, self._files = session, key, latched, files
        self._entity: Any = None
        self._kept: deque[tuple[bytes, bytes]] = deque(maxlen=max(1, latched))
        self._source = secrets.token_bytes(_SOURCE_BYTES)
        self._counts = itertools.count(1)

    def put(self, raw: bytes) -> None:
        """Publish a message. Nothing waits: what has no room, or no reader, is dropped."""
        if not self._latched:
            if (entity := self._entity) is not None:
                with suppress(self._session.error):  # the session is being closed
                    entity.put(raw)
            return
        with self._session.lock:
            number = self._source + next(self._counts).to_bytes(_COUNT_BYTES, 'big')
            self._kept.append((raw, number))
            if self._entity is not None:
                self._give(raw, number)

    def _give(self, raw: bytes, number: bytes) -> None:
        with suppress(self._session.error):
            self._entity.put(raw, attachment=number)

    @property
    def matched(self) -> bool:
        """Whether somebody elsewhere has subscribed; not known of what is latched."""
        entity = self._entity
        return entity is not None and not self._latched and bool(entity.matching_status.matching)

    def close(self) -> None:
        """Publish no more."""
        self._session.forget(self)

    def declare(self, zenoh: Any, session: Any) -> Any:
        """Make what Zenoh needs; called when the session is there."""
        options = {
            'congestion_control': zenoh.CongestionControl.DROP,
            'priority': zenoh.Priority.BACKGROUND if self._files else zenoh.Priority.INTERACTIVE_HIGH,
            'express': not self._files,
        }
        if not self._latched:
            return session.declare_publisher(self._key, **options)
        return zenoh.ext.declare_advanced_publisher(
            session, self._key, **options, cache=zenoh.ext.CacheConfig(max_samples=self._latched), publisher_detection=True,
            sample_miss_detection=zenoh.ext.MissDetectionConfig(heartbeat=_MISS_SECONDS),
        )  # fmt: skip

    def declared(self, entity: Any) -> None:
        """Publish what is kept, or, without a session, nothing for now; under the session's lock."""
        self._entity = entity
        if entity is not None and self._latched:
            for raw, number in self._kept:
                self._give(raw, number)


class WideSubscription:
    """Hands over what one topic's publishers of other sites send, in Zenoh's thread; what is latched once, if it comes again."""

    def __init__(self, session: WideSession, key: str, take: Take, *, latched: int) -> None:
        self._session, self._key, self._take, self._latched = session, key, take, latched
        self._taken: OrderedDict[bytes, bytes] = OrderedDict()
        """The number of the last message of each publisher."""

    def close(self) -> None:
        """Hand over no more."""
        self._session.forget(self)

    def declare(self, zenoh: Any, session: Any) -> Any:
        """Make what Zenoh needs; called when the session is there."""
        own = self._session.place.is_own

        def take(sample: Any) -> None:
            if not own(str(sample.key_expr)):
                self._take(sample.payload.to_bytes())

        def take_once(sample: Any) -> None:
            if own(str(sample.key_expr)):
                return
            number = b'' if sample.attachment is None else sample.attachment.to_bytes()
            source, count = number[:_SOURCE_BYTES], number[_SOURCE_BYTES:]
            if count > self._taken.get(source, b''):
                self._taken[source] = count
                self._taken.move_to_end(source)
                while len(self._taken) > _SOURCES:
                    self._taken.popitem(last=False)
                take(sample)

        if not self._latched:
            return session.declare_subscriber(self._key, take)
        return zenoh.ext.declare_advanced_subscriber(
            session, self._key, take_once, recovery=zenoh.ext.RecoveryConfig(heartbeat=True),
            history=zenoh.ext.HistoryConfig(detect_late_publishers=True, max_samples=self._latched),
        )  # fmt: skip

    def declared(self, entity: Any) -> None:
        """Nothing waits for it."""


class WideSession:
    """The session of one process, which a thread of its own opens as soon as the router can be reached, and again when it is lost.

    A new session each time, so that nothing depends on what the router still knows of the old one, which it may not have missed.

    :param place: where the process is.
    :param trouble: called with words, in that thread, when the router cannot be reached at first, and when it is then.
    :raises UserError: if Zenoh is not installed, or a file cannot be read.
    """

    def __init__(self, place: Place, trouble: Callable[[str], None] = lambda _: None) -> None:
        self.place = place
        self.lock = threading.Lock()
        self._zenoh = _zenoh()
        self.error = self._zenoh.ZError
        self._settings = {**settings('client', connect=[place.router], tls=place.tls), **_SMALL}
        self._trouble = trouble
        self._ends: dict[WidePublisher | WideSubscription, Any] = {}
        self._session: Any = None
        self._look = threading.Event()
        """Set when the router is lost, or this is closed."""
        self._closed = False
        self._ending: threading.Thread | None = None
        self.when_lost: list[Callable[[], None]] = []
        """Called in its thread when the router is lost."""
        self._thread = threading.Thread(target=self._run, name='wide area', daemon=True)
        self._thread.start()

    def publisher(self, leaf: str, *, latched: int = 0, files: bool = False) -> WidePublisher:
        """Return a publisher of a topic of the fleet.

        :param latched: how many messages are kept for readers that come later.
        :param files: it carries parts of files, which everything else goes before.
        """
        made = WidePublisher(self, self.place.key(leaf), latched=latched, files=files)
        self._add(made)
        return made

    def subscribe(self, leaf: str, take: Take, *, latched: int = 0) -> list[WideSubscription]:
        """Return subscriptions of a topic, one for each other site; for ``latched`` see `publisher`."""
        made = [WideSubscription(self, key, take, latched=latched) for key in self.place.heard(leaf)]
        for subscription in made:
            self._add(subscription)
        return made

    def _add(self, end: WidePublisher | WideSubscription) -> None:
        with self.lock:
            self._ends[end] = None
            session = self._session
        if session is not None:
            self._declare(end, session)

    def _declare(self, end: WidePublisher | WideSubscription, session: Any) -> None:
        with suppress(self.error):  # the session is being closed
            entity = end.declare(self._zenoh, session)
            with self.lock:
                if wanted := end in self._ends and session is self._session:
                    self._ends[end] = entity
                    end.declared(entity)
            if not wanted:
                entity.undeclare()

    def forget(self, end: WidePublisher | WideSubscription) -> None:
        """Undeclare what was made."""
        with self.lock:
            entity = self._ends.pop(end, None)
        if entity is not None:
            with suppress(self.error):
                entity.undeclare()

    def _run(self) -> None:
        said = False
        wait = _RETRY_SECONDS[0]
        while not self._closed:
            self._look.clear()
            try:
                session = open_session(self._settings)
            except self.error as error:
                if not said:
                    said = True
                    self._trouble(f'the router at {self.place.router} cannot be reached, trying on: {_short(error)}')
                self._look.wait(wait)
                wait = min(_RETRY_SECONDS[1], wait * 1.5)
                continue
            if said:
                said = False
                self._trouble(f'the router at {self.place.router} is reached')
            wait = _RETRY_SECONDS[0]
            self._use(session)

    def _use(self, session: Any) -> None:
        """Have a session carry everything until the router is lost, or this is closed."""
        lost = self._zenoh.SampleKind.DELETE
        listener = session.info.declare_transport_events_listener(lambda event: self._look.set() if event.kind == lost else None)
        with self.lock:
            self._session = None if self._closed else session
            ends = [*self._ends]
        for end in ends:
            self._declare(end, session)
        watch = RouterWatch(self._zenoh, session, self.place.key(_ASKED))
        if session.info.routers_zid():  # else it was lost before the listener was there
            with suppress(self.error):
                while not self._look.wait(ASK_SECONDS) and not watch.lost():
                    pass
        with self.lock:
            self._session = None
            for end in self._ends:
                self._ends[end] = None
                end.declared(None)
        if not self._closed:
            for act in [*self.when_lost]:
                act()
        listener.undeclare()
        self._ending = end_session(session, 'wide area end')

    def close(self) -> None:
        """End the session; what was published has been handed to the network."""
        self._closed = True
        self._look.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._ending is not None:  # a process that ends while Zenoh is at work in a thread of Python's is aborted
            self._ending.join(_CLOSE_SECONDS)


def _short(error: Exception) -> str:
    """Return the reason in what Zenoh says, which names its own source files."""
    return ' '.join(str(error).split(' at /')[0].split())[:200]
