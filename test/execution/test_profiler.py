# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Profiling: the method on devices that are made up, and one small model that is really run."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.profiling import profiler
from edge_dnn_partition.execution.profiling.image_samples import ImageSamples
from edge_dnn_partition.execution.profiling.profiler import (
    ProfileOptions,
    ProfilingCancelledError,
    load_or_profile,
    profile_model,
    with_held_back,
)
from edge_dnn_partition.execution.profiling.spans import (
    Bench,
    Span,
    fit_spans,
    in_groups,
    spans_to_fit,
    spans_to_hold_back,
    time_spans,
)
from edge_dnn_partition.execution.profiling.speed_probe import Reading, SpeedProbe, is_throttled, remember_best
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.inputs.images import made_up
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.testbed import demo_model

SAMPLES = ImageSamples.of(Preprocessing.from_dict(demo_model.preprocessing('tiny')), made_up(0), (made_up(0), made_up(1)))


class Device:
    """A made-up device: segments, boundary overheads, noise, and an idleness that costs; it has its own clock."""

    def __init__(self, segments: int, *, noise: float = 0.0, bursts: float = 0.0, seed: int = 5) -> None:
        self.random = random.Random(seed)
        self.segments = [self.random.uniform(0.001, 0.004) for _ in range(segments)]
        self.overheads = [self.random.uniform(-0.0002, 0.0006) for _ in range(segments - 1)]
        self.noise, self.bursts = noise, bursts
        self.now = 0.0
        self.rested = False
        self.opened: list[list[Span]] = []
        self.runs: list[tuple[Span, bool]] = []
        self.probes = 0
        self.shares: list[float] = []
        self.cancel_after = 10**9

    def true_seconds(self, span: Span) -> float:
        first, last = span
        return sum(self.segments[first:last]) - sum(self.overheads[first:last - 1])

    def bench(self) -> Bench:
        return Bench(open_spans=self._open, idle=self._idle, between_rounds=self._probe,
                     clock=lambda: self.now, cancelled=lambda: len(self.runs) >= self.cancel_after,
                     progress=self.shares.append)

    def _open(self, spans: Sequence[Span]) -> dict[Span, Callable[[], float]]:
        self.opened.append(list(spans))
        return {span: lambda span=span: self._run(span) for span in spans}

    def _idle(self, seconds: float) -> None:
        self.now += seconds
        self.rested = True

    def _probe(self) -> None:
        self.probes += 1

    def _run(self, span: Span) -> float:
        seconds = self.true_seconds(span) * self.random.uniform(1 - self.noise, 1 + self.noise)
        if self.random.random() < self.bursts:
            seconds *= 3
        self.runs.append((span, self.rested))
        self.now += seconds
        seconds *= 1.0 if self.rested else 0.7  # warm: not what a stream sees
        self.rested = False
        return seconds


def fitted(device: Device, groups: Sequence[Sequence[Span]], **options: Any) -> tuple[Profile, dict[Span, float]]:
    settings: dict[str, Any] = {'rounds': 5, 'interval_seconds': 0.05, 'limit_seconds': 1e9, 'seed': 's'}
    samples = time_spans(groups, device.bench(), **settings | options)
    count = len(device.segments)
    seconds, overheads = fit_spans({span: samples[span] for span in spans_to_fit(count)}, count)
    profile = Profile(model_sha256='', device='made up', provider='none', threads=1,
                      boundaries=tuple(range(count + 1)), segment_seconds=seconds, seam_seconds=overheads)
    return profile, {span: median(values) for span, values in samples.items()}


@pytest.mark.parametrize('segments', [1, 2, 3, 4, 12, 19])
def test_without_noise_every_stage_is_predicted_almost_exactly(segments: int) -> None:
    device = Device(segments)
    profile, _ = fitted(device, [spans_to_fit(segments)])
    for start in range(segments):
        for stop in range(start + 1, segments + 1):
            assert profile.stage_seconds(start, stop) == pytest.approx(device.true_seconds((start, stop)), rel=0.005)


def worst_error(profile: Profile, device: Device, least_segments: int = 3) -> float:
    count = len(device.segments)
    return max(abs(profile.stage_seconds(start, stop) / device.true_seconds((start, stop)) - 1)
               for start in range(count) for stop in range(start + least_segments, count + 1))


@pytest.mark.parametrize('seed', range(5))
def test_with_noise_and_bursts_held_back_stages_stay_within_a_tenth(seed: int) -> None:
    device = Device(19, noise=0.05, bursts=0.1, seed=seed)
    held_back = spans_to_hold_back(19, spans_to_fit(19), 6, 'seed')
    profile, times = fitted(device, [[*spans_to_fit(19), *held_back]])
    tested = with_held_back(profile, {span: times[span] for span in held_back})
    assert len(tested.held_back) == 6
    assert 0 < tested.relative_error < 0.1
    assert tested.relative_error == max(abs(stage.relative_error) for stage in tested.held_back)
    assert worst_error(profile, device) < 0.1


def test_long_stages_are_fitted_better_than_by_segments_and_pairs_taken_at_their_word() -> None:
    ratios = []
    for seed in range(40):
        device = Device(19, noise=0.15, seed=seed)
        profile, times = fitted(device, [spans_to_fit(19)])
        plain = tuple(min(times[i - 1, i] + times[i, i + 1] - times[i - 1, i + 1], times[i - 1, i], times[i, i + 1])
                      for i in range(1, 19))
        naive = replace(profile, seam_seconds=plain, segment_seconds=tuple(times[i, i + 1] for i in range(19)))
        ratios.append(worst_error(profile, device, 8) / worst_error(naive, device, 8))
    assert median(ratios) < 0.9, ratios


def test_a_wrong_prediction_is_told() -> None:
    device = Device(6)
    profile, _ = fitted(device, [spans_to_fit(6)])
    measured = 2 * profile.stage_seconds(1, 5)
    assert with_held_back(profile, {(1, 5): measured}).relative_error == pytest.approx(0.5)


def test_only_runs_after_idleness_are_timed_and_each_round_runs_every_span_once() -> None:
    device = Device(4)
    spans = spans_to_fit(4)
    _, times = fitted(device, [spans], rounds=3)
    assert times[0, 1] == pytest.approx(device.true_seconds((0, 1)))
    timed = [span for span, rested in device.runs if rested]
    assert [sorted(timed[at:at + len(spans)]) for at in range(0, len(timed), len(spans))] == [sorted(spans)] * 3
    assert timed[:len(spans)] != timed[len(spans):2 * len(spans)]  # rotated
    assert device.probes == 4


def test_uncertain_spans_get_more_rounds_and_certain_ones_do_not() -> None:
    calm, wild = Device(3), Device(3, noise=0.5)
    fitted(calm, [spans_to_fit(3)], rounds=4)
    fitted(wild, [spans_to_fit(3)], rounds=4)
    assert len(calm.runs) == 2 * 4 * 6
    assert len(calm.runs) < len(wild.runs) <= 2 * 8 * 6


def test_no_round_begins_after_the_time_is_up() -> None:
    device = Device(5)
    _, times = fitted(device, [spans_to_fit(5)], rounds=1000, limit_seconds=3.0)
    assert len(times) == len(spans_to_fit(5)) == 11
    assert 3.0 < device.now < 3.0 + 11 * 0.08
    hurried = Device(5)
    fitted(hurried, [spans_to_fit(5)], rounds=1000, limit_seconds=1e-9)
    assert len(hurried.runs) == 2 * 2 * 11


def test_groups_are_opened_one_after_the_other_and_progress_rises_to_one() -> None:
    device = Device(4)
    groups = in_groups(spans_to_fit(4), lambda span: span[1] - span[0], 4)
    fitted(device, groups)
    assert device.opened == groups
    assert len(groups) > 1
    assert device.shares == sorted(device.shares)
    assert device.shares[-1] == 1.0


def test_cancelling_ends_it_at_the_next_run() -> None:
    device = Device(4)
    device.cancel_after = 7
    with pytest.raises(ProfilingCancelledError):
        fitted(device, [spans_to_fit(4)])
    assert len(device.runs) <= 8


@given(segments=st.integers(1, 25), count=st.integers(0, 40))
def test_held_back_stages_are_none_of_those_that_were_fitted(segments: int, count: int) -> None:
    fit = spans_to_fit(segments)
    chosen = spans_to_hold_back(segments, fit, count, 'seed')
    assert chosen == spans_to_hold_back(segments, fit, count, 'seed')
    assert len(set(chosen)) == len(chosen) <= count
    assert not set(chosen) & set(fit)
    assert all(0 <= start < stop - 2 <= segments - 2 for start, stop in chosen)


@given(st.integers(1, 25))
def test_fitted_are_segments_pairs_and_the_whole(segments: int) -> None:
    spans = spans_to_fit(segments)
    assert len(set(spans)) == len(spans)
    assert all(0 <= start < stop <= segments for start, stop in spans)
    short = {(at, at + length) for at in range(segments) for length in (1, 2) if at + length <= segments}
    assert short | {(0, segments)} <= set(spans)


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 150))
def test_groups_keep_the_order_and_the_limit(sizes: list[int], limit: int) -> None:
    spans = [(index, index + 1) for index in range(len(sizes))]
    groups = in_groups(spans, lambda span: sizes[span[0]], limit)
    assert [span for group in groups for span in group] == spans
    for group in groups:
        assert len(group) == 1 or sum(sizes[start] for start, _ in group) <= limit


@given(st.data(), st.integers(1, 8))
def test_no_fit_gives_a_stage_less_than_a_segment_of_it(data: st.DataObject, segments: int) -> None:
    seconds = st.floats(1e-4, 1.0)
    samples = {span: [data.draw(seconds)] for span in spans_to_fit(segments)}
    fitted_seconds, fitted_overheads = fit_spans(samples, segments)
    assert all(value > 0 for value in fitted_seconds)
    Profile(model_sha256='', device='any', provider='none', threads=1, boundaries=tuple(range(segments + 1)),
            segment_seconds=fitted_seconds, seam_seconds=fitted_overheads)  # refuses a boundary overhead that is too large


@pytest.mark.parametrize(('busy', 'share', 'best', 'throttled'), [
    ([1.0] * 8, 1.0, None, False),
    ([1.0, 1.1, 0.95, 1.05, 1.0, 1.1], 1.1, 0.9, False),
    ([1.0] * 7 + [2.0], 1.0, None, False),  # one burst
    ([1.0] * 5 + [1.5] * 5, 1.0, None, True),  # the clock fell
    ([1.0, 1.5], 1.0, None, True),
    ([1.0] * 8, 2.5, None, True),  # a quota, or others
    ([1.5] * 8, 1.0, 1.0, True),  # slower than it was once
    ([], 1.0, None, False)])
def test_a_throttled_run_is_noticed(busy: list[float], share: float, best: float | None,
                                    throttled: bool) -> None:
    assert is_throttled([Reading(value, value * share) for value in busy], best) is throttled


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_the_best_reading_is_remembered(cache: Path) -> None:
    assert remember_best(0.002) == 0.002
    assert remember_best(0.001) == 0.001
    assert remember_best(0.003) == 0.001
    for file in (cache / 'probe').glob('best-*'):
        file.write_text('{"seconds": "nonsense"}')
    assert remember_best(0.004) == 0.004


def test_the_probe_reads(cache: Path) -> None:
    reading = SpeedProbe().read()
    assert reading.busy_seconds > 0
    assert reading.wall_seconds > 0


@pytest.fixture
def model(cache: Path, tmp_path: Path) -> Model:
    return load_model(demo_model.build(tmp_path / 'tiny.onnx', size='tiny'))


QUICK = ProfileOptions(device='here', runs=2, interval_seconds=0.0, boundaries=8, held_back=3)


def test_a_small_model_is_really_profiled(model: Model, cache: Path) -> None:
    shares: list[float] = []
    profile = profile_model(model, QUICK, samples=SAMPLES, progress=shares.append)
    assert profile.boundaries[0] == 0
    assert profile.boundaries[-1] == len(model.layers)
    assert 2 <= len(profile.segment_seconds) <= 7
    assert all(seconds > 0 for seconds in profile.segment_seconds)
    assert profile.preprocess_seconds is not None
    assert profile.image_bytes == SAMPLES.bytes
    assert len(profile.held_back) == 3
    assert (profile.model_sha256, profile.device, profile.threads) == (model.sha256, 'here', 1)
    assert profile.probe_seconds > 0
    assert shares[-1] == 1.0
    assert Profile.from_json(profile.to_json()) == profile
    files = sorted((cache / 'stages').rglob('*.onnx'))
    written = [file.stat().st_ino for file in files]
    profile_model(model, QUICK)
    assert [file.stat().st_ino for file in sorted((cache / 'stages').rglob('*.onnx'))] == written


def test_little_memory_means_more_groups_and_the_same_spans(model: Model,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, '_SHARE_OF_FREE_MEMORY', 1e-9)
    profile = profile_model(model, QUICK)
    assert len(profile.held_back) == 3
    assert len(profile.seam_seconds) == len(profile.segment_seconds) - 1


def test_a_first_guess_comes_before_the_measurement_and_is_not_kept(model: Model, cache: Path) -> None:
    cancel, guesses = threading.Event(), list[Profile]()

    def guessed(guess: Profile) -> None:
        guesses.append(guess)
        cancel.set()

    for _ in range(2):
        cancel.clear()
        with pytest.raises(ProfilingCancelledError):
            load_or_profile(model, QUICK, samples=SAMPLES, cancel=cancel, guessed=guessed)
        assert not list((cache / 'profiles').glob('*'))
    guess, measured = guesses[0], load_or_profile(model, QUICK, samples=SAMPLES, accept_throttled=True)
    assert len(guesses) == 2
    assert guess.guessed
    assert not measured.guessed
    assert guess.boundaries == measured.boundaries
    assert guess.total_seconds > 0
    assert guess.preprocess_seconds is not None
    assert guess.segment_seconds[0] > 0
    with pytest.raises(ValueError, match='JSON'):
        guess.to_json()
    again = load_or_profile(model, QUICK, samples=SAMPLES, accept_throttled=True, guessed=guessed)
    assert again == measured, 'nobody guesses what is known'
    assert len(guesses) == 2


def test_a_run_that_a_frame_disturbs_is_repeated(model: Model, cache: Path) -> None:
    looked = [0]

    def turns() -> int:  # a frame begins or ends whenever it is looked for, at first
        looked[0] += 1
        return 2 * looked[0] if looked[0] < 20 else 0

    options = replace(QUICK, threads=2, runs=1)
    assert profile_model(model, options, turns=turns).total_seconds > 0
    assert looked[0] > 20


def test_a_cancelled_profile_leaves_nothing_in_the_cache(model: Model, cache: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(ProfilingCancelledError):
        load_or_profile(model, QUICK, cancel=cancel)
    assert not list((cache / 'profiles').glob('*'))


def test_the_cache_gives_the_profile_again_for_the_same_question_only(
        model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    throttled = [False]

    def measure(model: Model, options: ProfileOptions, **_: Any) -> Profile:
        made.append(options.device)
        return Profile(model_sha256=model.sha256, device=options.device, provider='x', threads=1,
                       boundaries=(0, 1), segment_seconds=(float(len(made)),), seam_seconds=(),
                       throttled=throttled[0])

    monkeypatch.setattr(profiler, 'profile_model', measure)
    first = load_or_profile(model, QUICK)
    assert load_or_profile(model, QUICK) == first
    assert made == ['here']
    load_or_profile(model, ProfileOptions(device='there'))
    load_or_profile(model, ProfileOptions(device='there', threads=2))
    load_or_profile(model, QUICK, refresh=True)
    load_or_profile(model, QUICK, samples=SAMPLES)  # the cached one has no such time
    assert made == ['here', 'there', 'there', 'here', 'here']
    throttled[0] = True
    load_or_profile(model, QUICK, refresh=True)
    load_or_profile(model, QUICK)
    assert len(made) == 7  # a throttled one is not trusted …
    load_or_profile(model, QUICK, accept_throttled=True)
    assert len(made) == 7  # … unless that is accepted
    for file in (cache / 'profiles').iterdir():
        file.write_text('{"broken": ')
    load_or_profile(model, QUICK)
    assert len(made) == 8


@pytest.mark.parametrize('values', [{'runs': 0}, {'threads': 0}, {'boundaries': 1}, {'held_back': -1},
                                    {'interval_seconds': -1.0}, {'limit_seconds': 0.0}])
def test_options_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        ProfileOptions(**values)
