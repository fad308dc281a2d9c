# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The best permitted encoding of every transfer, and a plan that keeps to the largest error."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.cost_model.evaluate import evaluate
from edge_dnn_partition.planning.cost_model.parts import Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.objectives import ENERGY, LATENCY
from edge_dnn_partition.planning.plans.coding import CodingChooser, Pixels, image_encoding, with_encodings, within_error
from edge_dnn_partition.planning.plans.encodings import (
    ENCODINGS,
    IMAGE_ENCODINGS,
    NAMES,
    TENSOR_ENCODINGS,
    Permitted,
    TensorCoding,
)
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan, StagePlan, Transfer
from edge_dnn_partition.planning.plans.profile import Profile

SIZES = {'a': 4e5, 'b': 1e5, 'c': 2e4}
DEVICES = ('d0', 'd1', 'd2')
IMAGE_BYTES, PROFILED_BYTES = 9e5, 3e5
PIXELS = Pixels()


def profiles(seed):
    rng = np.random.default_rng(seed)
    ways = [*itertools.product(SIZES, TENSOR_ENCODINGS[1:]), *((IMAGE, e) for e in IMAGE_ENCODINGS[1:])]
    shares = {key: rng.uniform(0.1, 0.9) for key in ways}
    errors = {key: float(rng.uniform(0.001, 0.04)) if key[1][0] in 'fij' else 0.0 for key in shares}
    sizes = SIZES | {IMAGE: PROFILED_BYTES}
    return {
        device: Profile(
            model_sha256='0', device=device, provider='p', threads=1, boundaries=(0, 1, 2), segment_seconds=(0.1, 0.1),
            seam_seconds=(0.0,), image_bytes=PROFILED_BYTES,
            codings=tuple(
                TensorCoding(name, e, int(sizes[name] * shares[name, e]), rng.uniform(0, 0.01), rng.uniform(0, 0.01), errors[name, e])
                for name, e in shares if not (device == 'd2' and 'lz4' in e)
            ),
        )
        for device in DEVICES
    }  # fmt: skip


def problem(seed):
    rng = np.random.default_rng(seed)
    return Problem(
        source='d0', sink='d0',
        devices=tuple(Device(name=n, active_watts=rng.uniform(1, 9), idle_watts=0.5, radio_watts=2.0) for n in DEVICES),
        links=tuple(
            Link(sender=a, reader=b, bytes_per_second=10 ** rng.uniform(6, 8)) for a, b in itertools.permutations(DEVICES, 2)
        ),
        node_names=('n0', 'n1'), seconds=np.full((2, 3), 0.1), weight_bytes=np.zeros(2),
        tensors=(
            Tensor(name=IMAGE, producer=-1, readers=(0,), bytes=IMAGE_BYTES),
            Tensor(name='a b', producer=0, readers=(1,), bytes=SIZES['a'] + SIZES['b']),
            Tensor(name='c', producer=1, readers=(), bytes=SIZES['c'], at_sink=True),
        ),
    )  # fmt: skip


BUNDLES = ((IMAGE,), ('a', 'b'), ('c',))


@pytest.mark.parametrize('criterion', [LATENCY, ENERGY])
@pytest.mark.parametrize('seed', range(4))
def test_the_least_of_all_encodings(criterion, seed):
    base, known = problem(seed), profiles(seed)
    chooser = CodingChooser(SIZES, known)
    permitted, factors = Permitted(NAMES, 0.02), {'d0': 2.0, 'd1': 1.0, 'd2': 0.5}
    chosen = chooser.choose(base, BUNDLES, permitted, criterion, factors, pixels=PIXELS)

    def value(costs):
        return costs.latency_seconds if criterion == LATENCY else costs.energy_joules

    own = {(c.tensor, c.encoding): c for c in known['d0'].codings}
    for plan in itertools.product(DEVICES, repeat=2):
        costs = evaluate(chosen, plan)
        raw = value(evaluate(chooser.choose(base, BUNDLES, permitted, criterion, factors, {}, PIXELS), plan))
        least = raw
        for name in (IMAGE, *SIZES):  # costs add up, so that each tensor can be looked at alone
            found = [raw]
            for encoding in (e for e in ENCODINGS[1:] if (name, e) in own and permitted.allows(own[name, e])):
                ways = [w for w in itertools.permutations(DEVICES, 2) if 'lz4' not in encoding or 'd2' not in w]
                table = {(name, *way): encoding for way in ways}
                found.append(value(evaluate(chooser.choose(base, BUNDLES, permitted, criterion, factors, table, PIXELS), plan)))
            least += min(found) - raw
        assert value(costs) == pytest.approx(least, rel=1e-9)
    assert not any('lz4' in e for (_, *ends), e in chosen.coding.encodings.items() if 'd2' in ends)


def test_only_what_is_permitted():
    base, known = problem(1), profiles(1)
    chooser = CodingChooser(SIZES, known)

    def used(*arguments):
        return set(chooser.choose(base, BUNDLES, Permitted(*arguments), LATENCY, {}).coding.encodings.values())

    assert used(('raw',)) == set()
    assert used(('raw', 'zstd', 'lz4')) <= {'zstd', 'lz4'}
    assert used(('raw', 'int8'), 0.0) == set()
    assert used(('raw', 'int8'), 1.0) == {'int8'}
    flipped = {
        name: dataclasses.replace(p, codings=tuple(dataclasses.replace(c, top_changed=True) for c in p.codings))
        for name, p in known.items()
    }
    found = CodingChooser(SIZES, flipped).choose(base, BUNDLES, Permitted(('int8',), 1.0), LATENCY, {})
    assert not found.coding.encodings


def test_each_cameras_images_are_encoded_if_they_come_as_pixels():
    wrist, size = '@image:wrist', 6e5
    base, known = problem(2), profiles(2)
    two = dataclasses.replace(base, tensors=(*base.tensors, Tensor(name=wrist, producer=-1, readers=(0,), bytes=size)))
    bundles = (*BUNDLES, (wrist,))
    both = {
        name: dataclasses.replace(p, codings=(*p.codings, *(dataclasses.replace(c, tensor=wrist) for c in p.codings if c.tensor == IMAGE)))
        for name, p in known.items()
    }  # fmt: skip
    there = ('d1', 'd1')
    rate = two.rate[0, 1]
    for given in ((), (wrist,)):
        chooser = CodingChooser(SIZES, both, given)
        table = {(wrist, 'd0', 'd1'): 'jpeg'}
        plain, coded = (evaluate(chooser.choose(two, bundles, Permitted(), LATENCY, {}, way), there) for way in ({}, table))
        jpeg = {name: next(c for c in p.codings if (c.tensor, c.encoding) == (wrist, 'jpeg')) for name, p in both.items()}
        saved = size * (1 - jpeg['d0'].size / PROFILED_BYTES) / rate
        spent = (jpeg['d0'].encode_seconds + jpeg['d1'].decode_seconds) * size / PROFILED_BYTES
        gained = plain.latency_seconds - coded.latency_seconds
        assert gained == pytest.approx(saved - spent if given else 0.0, abs=1e-9)
        chosen = chooser.choose(two, bundles, Permitted(NAMES, 1.0), LATENCY, {}, pixels=None).coding.encodings
        assert (IMAGE, 'd0', 'd1') not in chosen, 'that of the first camera is compressed already'
        assert given or (wrist, 'd0', 'd1') not in chosen


def test_images_that_come_as_pixels():
    base, known = problem(3), profiles(3)
    chooser = CodingChooser(SIZES, known)

    def costs(permitted, **more):
        found = chooser.choose(base, BUNDLES, permitted, LATENCY, {'d1': 2.0}, **more)
        ways = {e for (tensor, *_), e in found.coding.encodings.items() if tensor == IMAGE}
        return ways, evaluate(found, ('d1', 'd1')).latency_seconds

    raw = costs(Permitted(NAMES, 1.0))
    assert raw[0] == set(), 'a camera that compresses images itself'
    assert costs(Permitted(('raw',)), pixels=PIXELS)[1] >= raw[1]
    given = {(IMAGE, 'd0', 'd1'): 'jpeg'}
    assert costs(Permitted(NAMES, 1.0), given=given)[1] == costs(Permitted(NAMES, 1.0), given={})[1], 'it goes as it came'
    plain = costs(Permitted(('raw',)), given={}, pixels=PIXELS)[1]
    jpeg = next(c for c in known['d0'].codings if (c.tensor, c.encoding) == (IMAGE, 'jpeg'))
    reads = next(c for c in known['d1'].codings if (c.tensor, c.encoding) == (IMAGE, 'jpeg'))
    times, rate = IMAGE_BYTES / PROFILED_BYTES, base.rate[base.position['d0'], base.position['d1']]
    for pixels, size in ((PIXELS, times * jpeg.size), (Pixels({'jpeg': 0.25}), 0.25 * IMAGE_BYTES)):
        spent = times * (jpeg.encode_seconds + 2.0 * reads.decode_seconds) + size / rate
        assert costs(Permitted(NAMES, 1.0), given=given, pixels=pixels)[1] == pytest.approx(plain - IMAGE_BYTES / rate + spent)
    assert 'jpeg' not in costs(Permitted(NAMES, jpeg.error / 2), pixels=PIXELS)[0]
    assert 'jpeg' not in costs(Permitted(('raw', 'zstd'), 1.0), pixels=PIXELS)[0]
    assert costs(Permitted(('raw', 'jpeg'), 1.0), pixels=Pixels({'jpeg': 0.01}))[0] == {'jpeg'}
    with pytest.raises(PlanError, match='cannot be sent as int8'):
        TensorCoding(IMAGE, 'int8', 1, 0.0, 0.0)
    with pytest.raises(PlanError, match='cannot be sent as jpeg'):
        TensorCoding('a', 'jpeg', 1, 0.0, 0.0)


def test_errors_of_several_tensors_add_up():
    known = profiles(2)
    ends = ('a', 0, 'd0', 'd1'), ('b', 0, 'd0', 'd1'), ('c', 1, 'd1', 'd0')
    stages = (StagePlan('d0', True, ((0, 1),), (), ('a', 'b')), StagePlan('d1', False, ((1, 2),), ('a', 'b'), ('c',)))
    plan = Plan(1, '0', 'd0', 'd0', stages, tuple(Transfer(*e, to_sink=e[0] == 'c') for e in ends))
    coded = with_encodings(plan, {(t, a, b): 'int8' for t, _, a, b in ends})
    assert {t.encoding for t in coded.transfers} == {'int8'}
    errors = {c.tensor: c.error for c in known['d0'].codings if c.encoding == 'int8'}
    assert within_error(coded, known, Permitted(NAMES, 1.0)).transfers == coded.transfers
    limit = sum(errors.values()) - max(errors.values())
    kept = within_error(coded, known, Permitted(('int8', 'zstd'), limit))
    assert {t.encoding for t in kept.transfers if errors[t.tensor] == max(errors.values())} == {'zstd'}
    assert sum(t.encoding == 'int8' for t in kept.transfers) == 2
    assert {t.encoding for t in within_error(coded, known, Permitted(('int8',), 0.0)).transfers} == {'raw'}
    away = dataclasses.replace(plan, transfers=(Transfer(IMAGE, SOURCE_STAGE, 'd0', 'd1'), *plan.transfers))
    coded = with_encodings(away, {(IMAGE, 'd0', 'd1'): 'jpeg', ('b', 'd0', 'd1'): 'int8'})
    error = next(c.error for c in known['d0'].codings if c.encoding == 'jpeg')
    assert image_encoding(within_error(coded, known, Permitted(NAMES, error + errors['b']))) == 'jpeg'
    kept = within_error(coded, known, Permitted(NAMES, min(error, errors['b'])))
    assert sum(t.encoding in ('jpeg', 'int8') for t in kept.transfers) == 1


def test_profiles_carry_codings():
    profile = profiles(3)['d0']
    assert Profile.from_json(profile.to_json()) == profile
    slow = profile.scaled(3.0)
    assert slow.codings[0].encode_seconds == pytest.approx(3 * profile.codings[0].encode_seconds)
    assert slow.codings[0].size == profile.codings[0].size
    document = profile.to_dict()
    document['codings'] = [dict(document['codings'][0], encoding='int9')]
    with pytest.raises(PlanError, match='int9'):
        Profile.from_json(json.dumps(document))
