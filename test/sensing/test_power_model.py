# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The power model, its shipped values, and the fit of it to samples."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.host import HostMeter
from edge_dnn_partition.sensing.power.boards import BOARDS, cloud_model, device_model, named_model, shipped_model
from edge_dnn_partition.sensing.power.fit import fit
from edge_dnn_partition.sensing.power.model import (
    Activity,
    ModelledPower,
    PowerModel,
    activity,
    default_path,
    load_model,
    save_model,
)
from edge_dnn_partition.sensing.power.reading import total
from edge_dnn_partition.sensing.sources.cpu import ClockReading, CpuReading
from edge_dnn_partition.sensing.sources.network import Interface

TRUE = PowerModel(2.7, 0.9, 2.3, 5.0, 1e-7)


def samples_of(model, noise=0.0, seed=3, count=60):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        did = Activity(rng.uniform(0, 4), rng.uniform(0.4, 1.0), rng.uniform(0, 1), rng.uniform(0, 1e7))
        found.append((did, model.watts(did) + noise * rng.normal()))
    return found


def test_the_fit_finds_what_made_the_samples():
    found = fit(samples_of(TRUE), source='test')
    assert found.model.idle_watts == pytest.approx(2.7, abs=1e-6)
    assert found.model.core_watts == pytest.approx(0.9, rel=1e-6)
    assert found.model.gpu_watts == pytest.approx(5.0, rel=1e-6)
    assert found.model.joules_per_byte == pytest.approx(1e-7, rel=1e-6)
    assert found.model.clock_exponent == pytest.approx(2.3)
    assert found.rms_watts < 1e-6
    assert found.fixed == ()


def test_the_stated_errors_are_the_true_ones():
    """The coefficients' errors over many noisy fits agree with the standard errors that each states."""
    deviations, inside = [], 0
    for seed in range(60):
        found = fit(samples_of(TRUE, noise=0.2, seed=seed), source='test')
        off = (found.model.gpu_watts - 5.0) / found.standard_errors['gpu_watts']
        deviations.append(off)
        inside += abs(off) < 2
        assert found.predicted_rms_watts == pytest.approx(0.2, rel=0.5)
        assert found.predicted_rms_watts >= found.rms_watts
    assert 0.7 < np.std(deviations) < 1.4
    assert inside >= 50


def test_what_was_not_varied_is_taken_from_the_board():
    noted = [(Activity(0.0), 2.7), (Activity(2.0), 4.6), (Activity(4.0), 6.4)]
    found = fit(noted, prior=named_model('raspberry_pi_4'), source='noted')
    assert found.fixed == ('gpu_watts', 'joules_per_byte', 'clock_exponent')
    assert found.model.joules_per_byte == named_model('raspberry_pi_4').joules_per_byte
    assert found.model.core_watts == pytest.approx(0.925)
    assert 0 < found.model.relative_error < 0.05


def test_two_samples_are_a_line_of_unknown_error():
    found = fit([(Activity(0.0), 2.0), (Activity(4.0), 6.0)], source='noted')
    assert (found.model.idle_watts, found.model.core_watts) == pytest.approx((2.0, 1.0))
    assert math.isnan(found.predicted_rms_watts)
    assert math.isnan(found.model.relative_error)
    assert all(map(math.isnan, found.standard_errors.values()))


def test_the_radio_that_runs_all_the_time_is_not_taken_for_idleness():
    noted = [(Activity(n, radio_bytes_per_second=1e6), 2.0 + n + 0.1) for n in (0, 1, 2, 3)]
    found = fit(noted, prior=PowerModel(0, 0, joules_per_byte=1e-7), source='x')
    assert found.model.idle_watts == pytest.approx(2.0)


@pytest.mark.parametrize(
    ('samples', 'words'),
    [
        ([], '0 of 0 samples are complete'),
        ([(Activity(0.0), 1.0), (Activity(1.0), math.nan)], '1 of 2 samples are complete'),
        ([(Activity(1.0), 1.0), (Activity(1.0), 2.0)], 'the same CPU load'),
    ],
)
def test_samples_that_say_too_little_are_refused(samples, words):
    with pytest.raises(UserError, match=words):
        fit(samples, source='x')


rows = st.tuples(st.floats(0, 8), st.floats(0.2, 1), st.floats(0, 1), st.floats(0, 1e8), st.floats(0, 100))


@settings(deadline=None)
@given(data=st.lists(rows, min_size=2, max_size=12))
def test_coefficients_are_never_negative(data):
    try:
        found = fit([(Activity(*row[:4]), row[4]) for row in data], source='x')
    except UserError:
        return
    model = found.model
    assert min(model.idle_watts, model.core_watts, model.gpu_watts, model.joules_per_byte) >= 0
    assert 1 <= model.clock_exponent <= 3


def test_shipped_values_have_a_source_and_are_plausible():
    for name, (_, model) in BOARDS.items():
        assert model.source, name
        assert 0.5 < model.idle_watts < 10
        assert 0.2 < model.core_watts < 3
        assert 0.1 <= model.relative_error <= 0.5
    assert shipped_model('Raspberry Pi 4 Model B Rev 1.4').watts(Activity(4.0)) == pytest.approx(6.4)
    assert shipped_model('Raspberry Pi 3 Model B Plus Rev 1.3').source.startswith('raspberry_pi_3_plus')
    assert shipped_model('Raspberry Pi 3 Model B Rev 1.2').source.startswith('raspberry_pi_3:')
    assert shipped_model('ThinkPad') is None
    with pytest.raises(UserError, match="no power model of a board 'toaster': one of raspberry_pi_4, "):
        named_model('toaster')
    assert cloud_model(8, 32e9).watts(Activity(8.0)) == pytest.approx(8 * 3.5 + 0.392 * 32)


def test_a_calibration_is_kept_and_found_before_the_shipped_model(tmp_path, monkeypatch, device):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    root = device('pi4')
    assert device_model(root).source.startswith('raspberry_pi_4')
    save_model(TRUE, default_path(), {'rms_watts': 0.1})
    assert device_model(root).clock_exponent == 2.3
    for text, words in (('{', 'not a power model'), ('{"core_watts": 1}', 'not a power model'),
                        ('{"idle_watts": -1, "core_watts": 1}', 'negative'), ('[]', 'not a power model')):  # fmt: skip
        default_path().write_text(text)
        with pytest.raises(UserError, match=words):
            load_model(default_path())


def test_a_machine_of_a_cloud_is_known_by_its_maker(device, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    assert device_model(device('server')) is None
    model = device_model(device('server', sys__class__dmi__id__sys_vendor='Amazon EC2\n'))
    assert model.idle_watts == pytest.approx(0.74 * 32 + 0.392 * 131_000_000 * 1024 / 1e9)
    assert model.source.startswith('Cloud Carbon Footprint')
    flags = 'processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n'
    guest = device_model(device('server', sys__class__dmi__id__sys_vendor='QEMU\n', proc__cpuinfo=flags))
    assert (guest.idle_watts, guest.relative_error) == (model.idle_watts, 1.0)
    assert guest.source.startswith('a virtual machine, whose is not known: Cloud Carbon Footprint')


def test_activity_of_a_host():
    did = activity(
        CpuReading(50.0, (100.0, 50.0, math.nan, 0.0)), ClockReading(1.2e9, 1.5e9),
        interfaces=[Interface('wlan0', 1e5, 2e5, signal_dbm=-50.0), Interface('eth0', 1e9, 1e9)],
    )  # fmt: skip
    assert did.busy_cores == pytest.approx(2.0)  # the core that stood still counts as the others
    assert did.clock_ratio == pytest.approx(0.8)
    assert did.radio_bytes_per_second == 3e5
    assert math.isnan(activity(CpuReading(), ClockReading()).busy_cores)


def test_modelled_power_is_named_modelled_and_never_beats_a_meter(device):
    model = named_model('raspberry_pi_4')
    both = ModelledPower(model)
    both.update(0.0, Activity(0.0))
    reading = both.update(1.0, Activity(4.0))
    assert (reading.kind, reading.scope, reading.watts) == ('modelled', 'board', pytest.approx(6.4))
    assert reading.joules == pytest.approx((2.7 + 6.4) / 2)
    assert reading.resolution_watts == pytest.approx(0.2 * 6.4)
    meter = HostMeter(device('orin_nano'), model=model)
    meter.sample(0.0)
    sample = meter.sample(1.0)
    assert {r.kind for r in sample.power} == {'measured', 'modelled'}
    assert total(sample.power).source == 'ina3221 VDD_IN'
    alone = HostMeter(device('pi4'), model=model)
    alone.sample(0.0)
    assert [r.kind for r in alone.sample(1.0).power] == ['modelled']


def test_stage_joules():
    joules, error = PowerModel(2.0, 1.0, 2.0, 4.0, 1e-6, 0.1).stage_joules(3.0, clock_ratio=0.5)
    assert joules == pytest.approx(3 * 0.25)
    assert error == pytest.approx(0.1 * joules)


def test_saved_models_are_plain_json(tmp_path):
    save_model(TRUE, tmp_path / 'm.json')
    assert json.loads((tmp_path / 'm.json').read_text())['idle_watts'] == 2.7
