# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What comes is not believed without a bound: memory is taken as bytes come, and only for what the model has."""

import dataclasses
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.execution.frames.pipeline import FramePipeline
from edge_dnn_partition.graph.tensor_info import TensorInfo
from edge_dnn_partition.planning.plans.plan import IMAGE, Plan, StagePlan, check_figures, check_layers
from edge_dnn_partition.transport import tensor_codec
from edge_dnn_partition.transport.assembler import MOST_MESSAGES, Assembler
from edge_dnn_partition.transport.expected import Expected, largest_message, memory_bytes
from edge_dnn_partition.transport.fragments import FRAME, PROBE, Address, Fragment, TensorMessage
from edge_dnn_partition.transport.tensors import Coded, WireTensor, lay_out
from edge_dnn_partition.transport.timing import HopTime, StageTime

ADDRESS = Address('m', 1, 7, 0, -1)
MODEL = Expected(
    {'fixed': TensorInfo('fixed', 1, (1, 8, 4, 4)), 'open': TensorInfo('open', 7, (3, 2), observed=True)}, image=True,
    most_bytes=1_000_000,
)  # fmt: skip


def resident_bytes():
    with open('/proc/self/statm', encoding='ascii') as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def message(number, size, *, sender='pi', fragment_bytes=60_000):
    layout = (WireTensor('t', 2, (size,), 'raw', 0, size),)
    return TensorMessage(FRAME, sender, 1, dataclasses.replace(ADDRESS, frame_number=number), number, memoryview(bytes(size)), layout, fragment_bytes=fragment_bytes)


def claimed(number, total, index, *, sender='pi', length=60_000):
    """A fragment of a message of which nothing else need be there."""
    return Fragment(FRAME, sender, 1, number, index, -(-total // length), total, bytes(length))


def test_fragments_that_claim_900_megabytes_each_take_what_they_have():
    assembler, before = Assembler(1 << 30), resident_bytes()
    for number in range(90):
        assembler.add(claimed(number, 900_000_000, 14_000 - 99 * number), 0.0)
    assert resident_bytes() - before < 30e6
    assert assembler.held_bytes == 90 * 60_000
    assert assembler.evicted == 0


@pytest.mark.parametrize('total', [3_000_000, 30_000_000])
def test_what_is_counted_is_no_less_than_what_is_taken(total):
    """Nor does it grow as messages come and go, of which other parts are written each time."""
    assembler, before = Assembler(100_000_000), resident_bytes()
    for number in range(1500):
        assembler.add(claimed(number, total, 7 * number % (total // 60_000)), 0.0)
        assert assembler.held_bytes <= 100_000_000
    assert resident_bytes() - before < 130e6


def test_more_than_the_inbox_holds_is_refused_and_what_has_waited_longest_makes_room():
    assembler = Assembler(1_000_000)
    with pytest.raises(WireError, match='exceed what this device holds'):
        assembler.add(claimed(1, 1_000_001, 3), 0.0)
    for number in range(30):
        assembler.add(claimed(number, 300_000, 3), 0.0)
    assert assembler.held_bytes <= 1_000_000
    assert assembler.evicted == 30 - 3
    first, last = message(99, 700_000), message(100, 700_000)
    whole = [assembler.add(sent.fragment(i), 0.0) for sent in (first, last) for i in range(sent.count)]
    assert [received.number for received in whole if received] == [99, 100]


def test_one_sender_has_so_many_messages_under_way_and_does_not_push_out_anothers():
    assembler = Assembler()
    assembler.add(claimed(1, 200_000, 1, sender='jetson'), 0.0)
    for number in range(MOST_MESSAGES + 5):
        assembler.add(claimed(number, 200_000, 1), 0.0)
    assert assembler.evicted == 5
    rest = message(1, 200_000, sender='jetson')
    assert [assembler.add(rest.fragment(i), 0.0) for i in (0, 2, 3)][-1].sender == 'jetson'


def test_of_a_message_that_nobody_waits_for_nothing_is_kept():
    def expect(fragment):
        raise WireError('not waited for')

    assembler, sent = Assembler(expect=expect), message(1, 200_000)
    assembler.add(sent.fragment(1), 0.0)
    with pytest.raises(WireError, match='not waited for'):
        assembler.add(sent.fragment(0), 0.0)
    assert assembler.add(sent.fragment(2), 0.0) is None
    assert assembler.held_bytes == 0
    assert list(assembler.overdue(100.0, 0.1)) == []


@pytest.mark.parametrize(('kind', 'total'), [(PROBE, 400_000), (7, 100)])
def test_a_large_probe_and_an_unknown_kind_are_refused(kind, total):
    with pytest.raises(WireError):
        Assembler().add(dataclasses.replace(claimed(1, total, 0, length=100), kind=kind), 0.0)


def head(*tensors, stages=(), hops=(), **changes):
    total = tensors[-1].offset + tensors[-1].size if tensors else 0
    fragment = Fragment(FRAME, 'pi', 1, 5, 0, 1, total, b'', address=ADDRESS, layout=tensors, stages=stages, hops=hops)
    return dataclasses.replace(fragment, **changes)


FIXED = WireTensor('fixed', 1, (1, 8, 4, 4), 'raw', 0, 512)


@pytest.mark.parametrize(
    ('tensor', 'words'),
    [(dataclasses.replace(FIXED, shape=(1, 8, 4, 5), size=640), 'has shape'),
     (dataclasses.replace(FIXED, shape=(128,)), 'has dtype 1 and shape'),
     (dataclasses.replace(FIXED, dtype=11, size=1024), 'has dtype 11'),
     (dataclasses.replace(FIXED, encoding='zstd', size=513), 'without that'),
     (dataclasses.replace(FIXED, name='other'), 'not expected here'),
     (WireTensor('open', 7, (1 << 40, 2), 'zstd', 0, 33_000), 'more than this device holds'),
     (WireTensor('open', 7, (200_000, 1), 'zstd', 0, 33_000), 'more than this device holds'),
     (WireTensor(IMAGE, 2, (60_000, 60_000, 3), 'bgr8+zstd', 0, 33_000), 'more than this device holds'),
     (WireTensor(IMAGE, 1, (4, 4, 3), 'bgr8', 0, 48), 'pixels are bytes')],
)  # fmt: skip
def test_what_the_model_does_not_have_is_refused(tensor, words):
    with pytest.raises(WireError, match=words):
        MODEL.check(head(tensor))


def test_what_the_model_has_is_taken():
    MODEL.check(head(FIXED, WireTensor('open', 7, (500, 2), 'raw', 512, 8_000)))
    MODEL.check(head(WireTensor(IMAGE, 2, (9_000,), 'jpeg', 0, 9_000)))
    nothing = dataclasses.replace(FIXED, shape=(0,) * len(FIXED.shape), size=0)
    dataclasses.replace(MODEL, kept={FIXED.name}).check(head(nothing))  # state that stays where it was made
    with pytest.raises(WireError, match='has shape'):
        MODEL.check(head(nothing))
    with pytest.raises(WireError, match='do not match its tensors'):
        MODEL.check(head(FIXED, total=700))


@given(st.sampled_from(['raw', 'zstd', 'lz4', 'int8', 'float16', 'int8+zstd']), st.integers(0, 2**32 - 1))
def test_what_this_build_sends_is_taken(encoding, seed):
    values = np.random.default_rng(seed).standard_normal((1, 8, 4, 4)).astype(np.float32)
    layout, flat = lay_out({'fixed': tensor_codec.encode(values, encoding)})
    MODEL.check(head(*layout, total=sum(array.nbytes for array in flat)))


SECONDS = st.sampled_from([math.nan, math.inf, -math.inf, -1.0])


@given(SECONDS, st.integers(0, 6))
def test_times_that_cannot_be_are_refused(wrong, which):
    seconds = [0.1] * 7
    seconds[which] = wrong
    stage, hop = StageTime('pi', 0, *seconds[:4]), HopTime('pi', 'jetson', 0, 9, *seconds[4:6], 8)
    MODEL.check(head(FIXED, stages=(StageTime('pi', 0, 0.1, 0.1, 0.1, 0.1),)))
    with pytest.raises(WireError, match='figures cannot be'):
        MODEL.check(head(FIXED, stages=(stage,), hops=(hop,), encode_seconds=seconds[6]))


@pytest.mark.parametrize('compressor', ['zstd', 'lz4'])
def test_a_bomb_is_not_unpacked_beyond_what_its_shape_has(compressor):
    if compressor not in tensor_codec.available():
        pytest.skip(f'{compressor} is not installed')
    bomb = tensor_codec.encode(np.zeros((1, 1 << 28), np.uint8), compressor)
    assert bomb.data.nbytes < 2_000_000
    before = resident_bytes()
    for shape in ((1, 4), (1, 1 << 27)):
        with pytest.raises(WireError):
            tensor_codec.decode(Coded(bomb.dtype, shape, bomb.encoding, bomb.data))
    assert resident_bytes() - before < 200e6


def test_the_largest_message_follows_the_devices_memory():
    assert largest_message(1 << 30) == 1 << 28
    assert largest_message(1 << 20) == 64 << 20
    assert largest_message(float('inf')) == min(1 << 30, max(64 << 20, memory_bytes() // 4))


def plan(*ranges):
    return Plan(3, 'm', 'pi', 'pi', tuple(StagePlan('pi', i == 0, (pair,)) for i, pair in enumerate(ranges)), ())


@pytest.mark.parametrize(
    ('ranges', 'words'),
    [([(0, 2**32 - 1)], 'do not exist'), ([(0, 5), (4, 10)], 'layer 4 does not'), ([(0, 5), (6, 10)], 'layer 5 does not'),
     ([(0, 9)], 'ends with layer 9 of 10'), ([(0, 5), (7, 6)], 'do not exist'), ([(1, 10)], 'layer 0 does not'),
     ([(0, 5)] * 1000, 'layer 0 does not')],
)  # fmt: skip
def test_layers_that_are_not_the_models_are_refused_without_counting_them_out(ranges, words):
    before = resident_bytes()
    with pytest.raises(PlanError, match=words):
        check_layers(plan(*ranges), 10)
    assert resident_bytes() - before < 50e6


def test_layers_are_bounded_where_the_model_is_not_known():
    check_layers(plan((0, 50_000)), None)
    check_layers(plan((5, 10), (0, 5)), 10)
    with pytest.raises(PlanError, match='do not exist'):
        check_layers(plan((0, 2**32 - 1)), None)


@given(st.sampled_from(['latency_seconds', 'latency_deviation', 'energy_joules', 'bottleneck_seconds']),
       st.sampled_from([math.inf, -math.inf, -1.0, 1e30]))  # fmt: skip
def test_costs_that_cannot_be_are_refused(name, wrong):
    check_figures(plan((0, 10)))
    with pytest.raises(PlanError, match='predicted costs are impossible'):
        check_figures(dataclasses.replace(plan((0, 10)), **{name: wrong}))


def test_frames_that_wait_for_tensors_are_bounded():
    stages = (StagePlan('pi', False, ((0, 1),), ('a', 'b'), ('c',)), StagePlan('pi', False, ((1, 2),), ('d',), ('e',)))
    pipeline = FramePipeline('pi', max_bytes=10_000)
    pipeline.add_plan(Plan(1, 'm', 'pi', 'pi', stages, ()))

    def come(number, name):
        return pipeline.receive(Address('m', 1, number, 0, -1), {name: np.zeros(1000, np.uint8)}, {}, (), (), 0.0)

    for number in range(50):
        assert come(number, 'a') == []
    assert (pipeline.frames, pipeline.crowded) == (10, 40)
    assert [job.stage for job in come(45, 'b')] == [0], 'those that came last are still there'
    jobs = [come(number, 'd')[0] for number in range(100, 108)]
    with pytest.raises(WireError, match='waiting frames already'):
        come(108, 'd')
    assert come(107, 'd') == [], 'what is here already needs no room'
    pipeline.failed(jobs[0])
    assert come(109, 'd'), 'there is room again'
    for number in range(100, 110):
        pipeline.failed(dataclasses.replace(jobs[0], frame=dataclasses.replace(jobs[0].frame, address=Address('m', 1, number, 0, -1))))
    pipeline.remove_plan(1)
    assert pipeline._held_bytes == 0
