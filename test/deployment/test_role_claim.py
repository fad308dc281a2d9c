# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Of several nodes of one kind exactly one stays active, the one that was it first, however their claims cross."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.deployment.role_claim import (
    CLAIM_SECONDS,
    DISCOVERY_SECONDS,
    GONE_SECONDS,
    LISTENING_SECONDS,
    SILENT_SECONDS,
    Claim,
    RoleClaim,
)


def claim_of(role, now):
    return Claim(role.incarnation, role.active_since is not None, now - (role.active_since or now), role.displaces)


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=2, unique=True), st.lists(st.floats(0.0, 5.0), min_size=2, max_size=2),
    st.randoms(use_true_random=False), st.floats(0.001, 0.4),
)  # fmt: skip
def test_exactly_one_of_two_that_meet_stays_and_it_is_the_first(incarnations, ages, random, delay):
    roles = [RoleClaim(number, 0.0, 0.0, active_since=10.0 - age) for number, age in zip(incarnations, ages, strict=True)]
    claims, now = [], 10.0
    for _ in range(40):
        now += CLAIM_SECONDS / 2
        for role in roles:
            claims += [(now + random.uniform(0, delay), other, claim_of(role, now)) for other in roles if other is not role]
        for due in sorted((entry for entry in claims if entry[0] <= now), key=lambda entry: entry[0]):
            claims.remove(due)
            at, role, claim = due
            if role.on_claim(claim, at):
                role.active_since = None
    assert sum(role.active_since is not None for role in roles) == 1
    if abs(ages[0] - ages[1]) > delay:
        assert roles[ages.index(max(ages))].active_since is not None


def test_a_node_waits_for_what_may_be_there_and_no_longer():
    alone = RoleClaim(1, started=0.0, listening=0.2)
    assert not alone.free(DISCOVERY_SECONDS - 0.01, others=False)
    assert alone.free(DISCOVERY_SECONDS, others=False)
    busy = RoleClaim(1, started=0.0, listening=DISCOVERY_SECONDS)
    assert not busy.free(DISCOVERY_SECONDS + LISTENING_SECONDS - 0.01, others=False)
    assert busy.free(DISCOVERY_SECONDS + LISTENING_SECONDS, others=False)
    again = RoleClaim(1, started=0.0, listening=60.0)
    assert again.free(60.0, others=False), 'it was configured anew, and knows the network'
    dead = RoleClaim(1, started=0.0, listening=0.2)  # the network has not forgotten it yet
    assert not dead.free(0.2 + SILENT_SECONDS - 0.01, others=True)
    assert dead.free(0.2 + SILENT_SECONDS, others=True)


def test_a_node_that_stands_by_takes_over_when_the_other_is_gone():
    role = RoleClaim(1, started=0.0, listening=0.0)
    at = [CLAIM_SECONDS * n for n in range(20)]
    for now in at:
        assert not role.on_claim(Claim(2, active=True, active_seconds=now, host='robot'), now)
        assert role.holder(now).host == 'robot'
        assert not role.free(now, others=True)
    assert role.holder(at[-1] + SILENT_SECONDS) is None
    assert not role.free(at[-1] + GONE_SECONDS - 0.01, others=True), 'it may be held up'
    assert role.free(at[-1] + GONE_SECONDS, others=True)
    role.on_claim(Claim(2, active=True), 10.0)
    role.on_claim(Claim(2, active=False), 10.1)
    assert role.free(10.1, others=True), 'it has said that it gives the place up'


def test_claims_of_many_strangers_take_no_memory():
    role = RoleClaim(1, 0.0, 0.0)
    for number in range(2, 1000):
        role.on_claim(Claim(number, active=True), 1.0)
    assert len(role._others) < 20
    assert role.holder(1.0).incarnation == 999


def test_whom_a_node_has_told_to_yield_it_does_not_yield_to():
    smaller, larger = RoleClaim(1, 0.0, 0.0, active_since=0.0), Claim(2, active=True, active_seconds=5.0)
    assert not smaller.on_claim(larger, 6.0)
    assert smaller.displaces == 2
    assert not smaller.on_claim(Claim(2, active=True, active_seconds=50.0), 6.1)


def test_what_one_node_tells_another_third_ones_do_not_heed():
    for told, mine in itertools.product((0, 5, 9), (7,)):
        role = RoleClaim(mine, 0.0, 0.0, active_since=0.0)
        assert not role.on_claim(Claim(3, active=True, active_seconds=9.0, displaces=told), 1.0)
