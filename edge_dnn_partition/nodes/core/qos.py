# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of service of both ends of every topic, with the reason for each.

A publisher and its subscriptions take the same profile from here, so that they
always match (a reliable reader receives nothing from a best-effort writer).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from rclpy.exceptions import InvalidParameterTypeException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

from edge_dnn_partition.errors import UserError

BURST_FRAGMENTS: Final = 400
"""How many fragments of about 60 kB an inbox holds (24 MB): the largest message that a stage sends at once,
a 3.2 MB tensor, seven times over, while the reader is held up."""

_RESULT_BYTES: Final = 64 << 20
_LEAST_RESULTS: Final = 64


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
    )


TELEMETRY: Final = _profile(64, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""A newer sample replaces a lost one within half a second: repeating old ones would load a link that is
poor already. The depth is for one reader of many devices."""

SENSOR: Final = _profile(8, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""Of drivers that are not ours (a power meter, a battery): a best-effort reader matches reliable writers as well."""

KEPT: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Of a publisher that is not ours, sends seldom and keeps its last message for late readers, such as of a task."""

PIXELS: Final = _profile(2, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Of a camera that is not ours and offers as much: an image of many fragments hardly comes through best effort. An old one is
of no use."""

HEARTBEAT: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""One lost packet must not look like a dead device; of a device's signs only the last one counts. Readers of
many devices use `heartbeat_reader`, since the depth of a subscription is over all its writers."""

PLAN: Final = _profile(8, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""A device that joins late still learns the plan in force: of a switch it needs the proposal as well as the
activation, so more than the last one is kept."""

SHADOW: Final = _profile(8, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Of use at once or not at all, and apart from the plans in force, which it would push out of their history."""

PLAN_STATE: Final = _profile(64, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""A scheduler that starts anew still learns who is ready; one reader serves all workers."""

STATE: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""For people and tools (fleet state, the source's counters): a late reader sees the last one."""

DECISION: Final = STATE
"""The last decision is the one that is in force: a late reader sees it at once."""

DIAGNOSTICS: Final = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""What diagnostic_aggregator and diagnostic_updater use."""

PLOT: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Reliable, so that plotters receive it whichever reliability they ask for."""

EXPLORATION: Final = STATE
"""What links are worth probing now; a worker that joins receives it at once."""

CALIBRATION: Final = _profile(64, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Changes of plan are rare: whoever looks, late or for a plot, wants the last ones."""

SHARES: Final = _profile(64, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""That a fleet moves must not be lost; older ones say nothing. One reader serves all fleets of a group."""

PROFILE: Final = _profile(256, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Measured once in many minutes and needed by every scheduler that joins; one reader serves all devices, and may get all of
theirs at once."""

DEVICES: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""What a device is: who comes later learns it at once. Readers use `devices_reader`, as those of `SESSIONS` do theirs."""

BLOB_REQUESTS: Final = _profile(64, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""Who asks asks again; one reader serves all devices."""

BLOBS: Final = _profile(16, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""As with `TENSORS`, only who asked repeats. More than a question's answers."""

DESCRIPTION: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Only the last one counts, for devices that join at any time."""

SESSIONS: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Only the last list of a process counts, and a process that joins late is to be believed at once. Readers use `sessions_reader`,
since the depth of a subscription is over all its writers."""

CLAIM: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""A node that joins learns at once which node has its role. Readers use `claim_reader`, as those of `SESSIONS` do theirs."""

EMULATION: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""A worker that is started anew must be as slow as the others from its first frame on."""

TENSORS: Final = _profile(BURST_FRAGMENTS, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""The frame layer alone repeats, at the link's pace: DDS sends what was lost at once, and so fills the queue that has
just overflowed (3.2 MB at 40 Mbit/s took twice its time). Volatile: a late reader has no use for half a message."""

ACKS: Final = _profile(BURST_FRAGMENTS, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""The outbox repeats a fragment of a message that is not acknowledged, and the assembler what it asks for. Reliable, Fast DDS
acknowledged each acknowledgement: a heartbeat and an answer, and a thread more that woke at either end."""

FAILURES: Final = _profile(64, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""One that is lost costs the time after which a frame without a result is sent again. As many as there are frames under way."""

RESULT: Final = _profile(1000, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Promised: a reader that is held up (stopped, starved, out of reach) for no longer than so many results take misses none,
whatever its own depth is; what it has not acknowledged by then is overwritten, so that it never holds the stream up. Large
results are kept up to 64 MiB, but 64 of them at least (`result_writer`). How many a reader takes at a time is for its own
depth. Results are numbered (`sequence`, `incarnation`): `MissedResults` of the client counts what a reader missed. Once each,
but around a kill of the frame source: what comes again is marked `redelivered`. A depth of 64, as it
was, is half a second at 125 results a second: a reader that was stopped for 1.5 s missed 65 of them each time."""

INFER: Final = _profile(64, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Of the service: the usual depth of 10 would drop the eleventh of calls that come at once, in silence."""

ACTIONS: Final = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Each trajectory replaces the one before it, which is then of no use."""

ANNOTATED: Final = _profile(2, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Images for people: large, so few are kept; reliable, since a best-effort one of many fragments hardly comes through, and
rviz asks for reliable ones unless told."""


def claim_reader() -> QoSProfile:
    """Return CLAIM for a reader of all nodes of a kind."""
    return _profile(16, CLAIM.reliability, CLAIM.durability)


def heartbeat_reader(nodes: int = 512) -> QoSProfile:
    """Return HEARTBEAT for a node that listens to all of a fleet's nodes at once.

    :param nodes: so many may send within the time that the reader is held up.
    """
    return _profile(nodes, HEARTBEAT.reliability, HEARTBEAT.durability)


def devices_reader(devices: int = 256) -> QoSProfile:
    """Return DEVICES for a reader of so many devices."""
    return _profile(devices, DEVICES.reliability, DEVICES.durability)


def sessions_reader(processes: int = 256) -> QoSProfile:
    """Return SESSIONS for a reader of so many processes."""
    return _profile(processes, SESSIONS.reliability, SESSIONS.durability)


def result_reader() -> QoSProfile:
    """Return RESULT for the fleet's own readers of reports, which learn from them and need not have each.

    It is best effort: Fast DDS acknowledges each reliable sample, which woke a thread more at either end for every frame.
    """
    return _profile(RESULT.depth, ReliabilityPolicy.BEST_EFFORT, RESULT.durability)


def result_writer(size: int) -> QoSProfile:
    """Return RESULT for a writer of large results, of which as many are kept as a device can spare the memory for.

    :param size: bytes of one.
    """
    return _profile(max(_LEAST_RESULTS, min(RESULT.depth, _RESULT_BYTES // max(1, size))), RESULT.reliability, RESULT.durability)


def with_overrides(
    create: Callable[..., Any], message_type: type, topic: str, profile: QoSProfile, *, overridable: bool
) -> Any:
    """Return a publisher or subscription; history, depth and reliability may be set by parameters where that harms nothing.

    That is so for what people and their tools read or send, not for what the fleet's nodes send each other.

    :param create: takes type, topic and ``qos_profile``.
    :raises UserError: if such a parameter is no good.
    """
    if not overridable:
        return create(message_type, topic, qos_profile=profile)
    try:
        return create(
            message_type, topic, qos_profile=copy.copy(profile),  # rclpy writes the overrides into it
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
    except (InvalidParameterTypeException, InvalidQosOverridesError, RuntimeError) as error:
        raise UserError(f'qos_overrides of {topic}: {error}') from None
