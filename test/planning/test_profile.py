# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The profile: prediction from segments and boundary overheads, and its form on disk and on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.plans.profile import HeldBack, Profile


def make(**changes: Any) -> Profile:
    values: dict[str, Any] = {
        'model_sha256': 'ab' * 32, 'model': 'net', 'device': 'pi', 'provider': 'CPUExecutionProvider',
        'threads': 1, 'boundaries': (0, 3, 7, 9), 'segment_seconds': (0.010, 0.020, 0.006),
        'seam_seconds': (0.001, 0.002), 'preprocess_seconds': 0.004, 'relative_error': 0.05,
        'probe_seconds': 0.0016, 'interval_seconds': 0.05, 'onnxruntime_version': '1.32.0',
        'held_back': (HeldBack(0, 9, 0.034, 0.033),)}
    return Profile(**values | changes)


@pytest.mark.parametrize(('start', 'stop', 'seconds'), [
    (0, 3, 0.010), (3, 7, 0.020), (7, 9, 0.006),
    (0, 7, 0.029), (3, 9, 0.024), (0, 9, 0.033), (3, 3, 0.0), (9, 9, 0.0)])
def test_a_stage_is_its_segments_less_the_overheads_inside(start: int, stop: int, seconds: float) -> None:
    assert make().stage_seconds(start, stop) == pytest.approx(seconds, rel=1e-12)


def test_the_whole_model_is_one_stage() -> None:
    assert make().total_seconds == pytest.approx(0.033)


@pytest.mark.parametrize(('start', 'stop', 'message'), [
    (0, 4, 'cut 4 is not a boundary'), (-1, 3, 'cut -1 is not a boundary'), (0, 10, 'cut 10 is not a boundary'),
    (7, 3, 'end comes before')])
def test_stages_that_are_none_are_refused(start: int, stop: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make().stage_seconds(start, stop)


def test_a_slower_device_takes_longer_in_everything() -> None:
    slow = make().scaled(8.0)
    assert slow.stage_seconds(0, 9) == pytest.approx(8 * 0.033)
    assert slow.preprocess_seconds == pytest.approx(0.032)
    assert slow.probe_seconds == pytest.approx(8 * 0.0016)
    assert slow.relative_error == make().relative_error
    assert slow.held_back[0].relative_error == pytest.approx(make().held_back[0].relative_error)
    assert make(preprocess_seconds=None).scaled(2.0).preprocess_seconds is None


@pytest.mark.parametrize('factor', [0.0, -1.0, float('nan'), float('inf')])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(PlanError, match='above 0'):
        make().scaled(factor)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'boundaries': (0,), 'segment_seconds': (), 'seam_seconds': ()}, 'rise from 0'),
    ({'boundaries': (1, 3, 7, 9)}, 'rise from 0'),
    ({'boundaries': (0, 3, 3, 9)}, 'rise from 0'),
    ({'segment_seconds': (0.1, 0.2)}, '4 boundaries need 3 segments'),
    ({'seam_seconds': (0.001,)}, '4 boundaries need 3 segments'),
    ({'segment_seconds': (0.01, -0.02, 0.006)}, 'not negative'),
    ({'segment_seconds': (0.01, float('nan'), 0.006)}, 'finite'),
    ({'preprocess_seconds': float('inf')}, 'finite'),
    ({'seam_seconds': (0.001, 0.007)}, 'not exceed'),
    ({'seam_seconds': (float('nan'), 0.001)}, 'boundary overhead must be finite'),
    ({'threads': 0}, 'threads')])
def test_parts_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make(**changes)


def test_json_gives_the_same_profile_back() -> None:
    assert Profile.from_json(make().to_json()) == make()
    assert Profile.from_json(make(preprocess_seconds=None, held_back=()).to_json()).preprocess_seconds is None


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('boundaries', '0379', 'boundaries'), ('boundaries', [0, 3, 7, 9.5], 'boundaries'),
    ('segment_seconds', [0.1, 'x', 0.2], 'segment_seconds'), ('segment_seconds', None, 'segment_seconds'),
    ('threads', True, 'threads'), ('throttled', 1, 'throttled'), ('device', 5, 'device'),
    ('held_back', [{'start': 0}], 'held_back'), ('version', 99, 'profile again')])
def test_json_with_a_wrong_value_is_refused_by_name(key: str, value: object, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Profile.from_json(json.dumps(make().to_dict() | {key: value}))


def test_json_without_a_part_is_refused() -> None:
    values = make().to_dict()
    del values['seam_seconds']
    with pytest.raises(PlanError, match='seam_seconds is missing'):
        Profile.from_json(json.dumps(values))


@pytest.mark.parametrize('text', ['', '{', '[]', '3', 'null'])
def test_text_that_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match='profile'):
        Profile.from_json(text)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    seconds = st.floats(1e-5, 10, allow_nan=False)
    segments = tuple(draw(st.lists(seconds, min_size=1, max_size=12)))
    shares = draw(st.lists(st.floats(-1, 1), min_size=len(segments) - 1, max_size=len(segments) - 1))
    overheads = tuple(share * min(pair) for share, pair
                  in zip(shares, zip(segments, segments[1:], strict=False), strict=True))
    steps = draw(st.lists(st.integers(1, 9), min_size=len(segments), max_size=len(segments)))
    boundaries = [0]
    for step in steps:
        boundaries.append(boundaries[-1] + step)
    return make(boundaries=tuple(boundaries), segment_seconds=segments, seam_seconds=overheads, held_back=())


@given(profiles())
def test_every_stage_takes_at_least_its_longest_segment(profile: Profile) -> None:
    cuts = profile.boundaries
    for i in range(len(cuts)):
        for j in range(i + 1, len(cuts)):
            longest = max(profile.segment_seconds[i:j])
            assert profile.stage_seconds(cuts[i], cuts[j]) >= longest * (1 - 1e-9)


@given(profiles())
def test_any_profile_survives_json(profile: Profile) -> None:
    assert Profile.from_json(profile.to_json()) == profile
    assert json.loads(profile.to_json())['version'] == 2
