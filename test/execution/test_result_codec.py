# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Results and reports as CDR: the bytes are those of the generated messages, and no bytes do harm."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.execution.frames.ledger import DELIVERED, EXPIRED, FAILED, LOST, Frame
from edge_dnn_partition.execution.frames.result_codec import (
    STATUS,
    Report,
    decode_report,
    encode_report,
    encode_result,
    report_of,
    shadow_report,
)
from edge_dnn_partition.execution.frames.shadow_run import FIRST_NUMBER, Shadow
from edge_dnn_partition.inputs.frame import FrameInputs
from edge_dnn_partition.transport.timing import HopTime, Radio, StageTime

TEXT = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=20)
U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
I16 = st.integers(-(2**15), 2**15 - 1)
TIME, JOULES = st.floats(0, 1e18), st.floats(-1e18, 1e18)
STAGES = st.lists(st.builds(StageTime, TEXT, I16, TIME, TIME, TIME, TIME, JOULES, JOULES, st.booleans()), max_size=3).map(tuple)
HOPS = st.lists(st.builds(HopTime, TEXT, TEXT, I16, U64, TIME, TIME, U64), max_size=3).map(tuple)
REPORTS = st.builds(
    Report, U8, U64, TEXT, U32, U16, TIME, U32, st.booleans(), STAGES, HOPS, st.lists(JOULES, max_size=3).map(tuple), JOULES, JOULES,
    JOULES, st.booleans(),
)  # fmt: skip
STAGE = StageTime('pi', 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.1, True)
HOP = HopTime('pi', 'jetson', -1, 1000, 0.1, 0.2, 900)
OUTPUTS = {'scores': np.arange(3, dtype=np.float32), 'count': np.array(7, np.int64), 'none': np.zeros((0, 4), np.float16),
           'odd': np.arange(10, dtype=np.uint8)[::2]}  # fmt: skip


def messages():
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    from edge_dnn_partition import msg

    return msg


def timings(report):
    msg = messages()
    return {
        'stages': [msg.StageTiming(**vars(stage)) for stage in report.stages],
        'hops': [msg.HopTiming(**vars(hop)) for hop in report.hops],
        **{name: getattr(report, name) for name in ('hop_radio_joules', 'energy_joules', 'radio_joules', 'energy_deviation_joules',
                                                    'energy_measured')},
    }  # fmt: skip


def report_message(report):
    names = ('status', 'frame_number', 'reason', 'plan_version', 'attempt', 'latency_seconds', 'in_flight', 'shadow')
    return messages().FrameReport(**{name: getattr(report, name) for name in names}, **timings(report))


def a_frame(**changes):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=-5, nanosec=6), frame_id='camera')
    frame = Frame(9, FrameInputs({}, header), 1.0, 3, 2, outputs=OUTPUTS, stages=(STAGE,), hops=(HOP, HOP), finished_at=1.5,
                  status=DELIVERED, reason='why')  # fmt: skip
    return dataclasses.replace(frame, **changes)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(REPORTS)
def test_the_generated_report_reads_and_writes_the_same(report):
    msg = messages()
    from rclpy.serialization import deserialize_message, serialize_message

    message = report_message(report)
    assert decode_report(serialize_message(message)) == report
    assert deserialize_message(encode_report(report), msg.FrameReport) == message


@pytest.mark.parametrize('status', [DELIVERED, LOST, EXPIRED, FAILED])
@pytest.mark.parametrize('header', [True, False])
@pytest.mark.parametrize('count', [0, 1, 4])
def test_the_generated_result_reads_the_same(status, header, count):
    msg = messages()
    from rclpy.serialization import deserialize_message
    from std_msgs.msg import Header

    from edge_dnn_partition.nodes.conversions.wire import tensor_message

    assert STATUS == {DELIVERED: msg.Result.OK, LOST: msg.Result.LOST, EXPIRED: msg.Result.EXPIRED, FAILED: msg.Result.FAILED}
    names = list(OUTPUTS)[:count]
    frame = a_frame(status=status, outputs={name: OUTPUTS[name] for name in reversed(names)})
    if not header:
        frame = dataclasses.replace(frame, inputs=FrameInputs({}))
    report = report_of(frame, Radio({'pi': 2.0}, {}), 4)
    expected = msg.Result(
        status=STATUS[status], incarnation=2**64 - 1, sequence=8, frame_number=9, redelivered=True, plan_version=3, attempt=2,
        outputs=[tensor_message(name, OUTPUTS[name]) for name in names], reason='why', latency_seconds=0.5, **timings(report),
    )  # fmt: skip
    if header:
        expected.header = Header(frame_id='camera')
        expected.header.stamp.sec, expected.header.stamp.nanosec = -5, 6
    raw = encode_result(frame, report, tuple(OUTPUTS), incarnation=2**64 - 1, sequence=8, redelivered=True)
    assert deserialize_message(raw, msg.Result) == expected


def test_a_report_has_what_the_frame_has():
    report = report_of(a_frame(), Radio({'pi': 2.0}, {}), 4)
    assert (report.energy_joules, report.energy_measured, report.in_flight, report.shadow) == (0.5, True, 4, False)
    assert report.hop_radio_joules == pytest.approx([2 * 1000 * 0.2 / 900] * 2)
    assert report.radio_joules == pytest.approx(sum(report.hop_radio_joules))
    shadow = shadow_report(Shadow(FIRST_NUMBER, SimpleNamespace(version=5), 0.0, 1.0, stages=(STAGE,), taken_seconds=0.25))
    assert (shadow.shadow, shadow.plan_version, shadow.latency_seconds, shadow.stages) == (True, 5, 0.25, (STAGE,))
    assert math.isnan(decode_report(encode_report(shadow)).radio_joules)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(REPORTS, st.data())
def test_a_damaged_report_is_one_or_is_refused(report, data):
    raw = bytearray(encode_report(report))
    with pytest.raises(WireError):
        decode_report(bytes(raw[: data.draw(st.integers(0, len(raw) - 1))]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_report(bytes(raw)).latency_seconds >= 0
    except WireError:
        return


@pytest.mark.parametrize(
    'change',
    [{'latency_seconds': math.nan}, {'latency_seconds': -1.0}, {'energy_joules': math.inf}, {'hop_radio_joules': (-math.inf,)},
     {'stages': (dataclasses.replace(STAGE, run_seconds=math.inf),)}, {'hops': (dataclasses.replace(HOP, spread_seconds=-1.0),)}],
)  # fmt: skip
def test_impossible_figures_are_refused(change):
    report = report_of(a_frame(), Radio({}, {}), 1)
    assert decode_report(encode_report(report)).frame_number == 9, 'unknown energy is no fault'
    with pytest.raises(WireError):
        decode_report(encode_report(dataclasses.replace(report, **change)))
