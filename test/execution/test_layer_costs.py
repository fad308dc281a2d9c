# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Layer by layer: shares of a trace, joules by a meter and by a model, and the rows made of them."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.cli.model_view import draw, energy_words, print_layers
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.profiling.layer_costs import layer_costs, with_measurements
from edge_dnn_partition.execution.profiling.layer_shares import by_layer, layer_shares, operator_times
from edge_dnn_partition.execution.profiling.segment_energy import (
    SegmentEnergy,
    measure_segments,
    modelled_segments,
    segment_energy,
)
from edge_dnn_partition.graph.live import memory_bytes
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.attribution import Energy
from edge_dnn_partition.sensing.power.model import PowerModel
from edge_dnn_partition.sensing.power.reading import PowerReading
from edge_dnn_partition.testbed import demo_model


class Bench:
    """A device whose meter counts 2 W, and what a segment adds while it runs; nothing else makes time pass."""

    def __init__(self, step: float = 0.0, meter: str = 'ina3221 VDD_IN') -> None:
        self.now, self.joules, self.step, self.meter = 100.0, 0.0, step, meter

    def pass_by(self, seconds: float, watts: float = 0.0) -> None:
        self.now += seconds
        self.joules += seconds * (2.0 + watts)

    def segment(self, seconds: float, watts: float):
        return lambda: self.pass_by(seconds, watts)

    def sample(self, now: float) -> HostSample:
        self.pass_by(1e-4)
        told = math.floor(self.joules / self.step) * self.step if self.step else self.joules
        reading = PowerReading(self.meter, 'board', 2.0, told, self.now, 0.04, self.step)
        return HostSample(power=(reading,) if self.meter else ())

    def measure(self, *segments: tuple[float, float]) -> SegmentEnergy | None:
        return measure_segments([self.segment(*segment) for segment in segments], self, seconds=2.0,
                                clock=lambda: self.now, sleep=self.pass_by)  # fmt: skip


def test_a_meter_tells_each_segment_above_idleness():
    found = Bench().measure((0.010, 3.0), (0.040, 6.0))
    assert found.source == 'ina3221 VDD_IN'
    assert [energy.joules for energy in found.energies] == pytest.approx([0.03, 0.24], rel=0.02)
    assert {energy.kind for energy in found.energies} == {'measured'}


def test_a_coarse_meter_is_within_the_error_that_is_said():
    found = Bench(step=0.05).measure((0.010, 3.0), (0.040, 6.0))
    for energy, true in zip(found.energies, (0.03, 0.24)):
        assert 0 < energy.error_joules < true
        assert abs(energy.joules - true) < 4 * energy.error_joules + 0.02 * true


def test_without_a_meter_nothing_is_measured():
    assert Bench(meter='').measure((0.010, 3.0)) is None


def profile_of(boundaries, seconds, **more) -> Profile:
    return Profile(model_sha256='', device='d', provider='CPUExecutionProvider', threads=1, boundaries=boundaries,
                   segment_seconds=seconds, seam_seconds=(0.0,) * (len(seconds) - 1), **more)  # fmt: skip


def test_the_model_is_named_modelled_with_its_error_and_says_nothing_of_a_gpu():
    model = PowerModel(2.0, 3.0, relative_error=0.2, source='a test')
    found = modelled_segments(profile_of((0, 1, 2), (0.1, 0.2)), model)
    assert [energy.joules for energy in found.energies] == pytest.approx([0.3, 0.6])
    assert [energy.error_joules for energy in found.energies] == pytest.approx([0.06, 0.12])
    assert found.energies[0].kind == 'modelled'
    gpu = Profile(model_sha256='', device='d', provider='CUDAExecutionProvider', threads=1, boundaries=(0, 1),
                  segment_seconds=(0.1,), seam_seconds=())  # fmt: skip
    assert math.isnan(modelled_segments(gpu, model).energies[0].joules)


OWNERS = {'/a/Conv': 0, '/a/Conv_output_0': 0, '/b/MatMul': 1, '/b/MatMul_1': 2, '/c/Add': 9}


def test_operators_that_were_fused_or_put_in_between_find_their_layer():
    times = [('ReorderInput', 1.0), ('/a/Conv_output_0_nchwc', 2.0), ('/b/MatMul/MatMulAddFusion', 4.0),
             ('Gelu', 8.0), ('/b/MatMul_1', 16.0), ('/c/Add', 32.0)]  # fmt: skip
    assert by_layer(times, OWNERS, range(3)) == [3.0, 12.0, 48.0]  # /c/Add is of another segment
    assert by_layer([('x', 1.0)], OWNERS, range(2)) == [0.0, 0.0]


def test_the_trace_leaves_the_first_run_out():
    events = [{'cat': 'Node', 'name': 'a_kernel_time', 'ts': t, 'dur': d} for t, d in ((9, 7), (1, 1000), (5, 3))]
    events += [{'cat': 'Session', 'name': 'model_run', 'ts': 0, 'dur': 5}, {'cat': 'Node', 'name': 'a_fence', 'ts': 2, 'dur': 5}]
    assert operator_times(events, skip=1) == [('a', pytest.approx(3e-6)), ('a', pytest.approx(7e-6))]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return load_model(demo_model.build(tmp_path_factory.mktemp('model') / 'tiny.onnx', size='tiny'))


def test_shares_of_a_real_model_add_up_in_each_segment(model):
    boundaries = (0, 3, len(model.layers))
    shares = layer_shares(model, boundaries, providers=('CPUExecutionProvider',), runs=2)
    assert len(shares) == len(model.layers)
    assert all(share >= 0 for share in shares)
    for start, stop in zip(boundaries, boundaries[1:]):
        assert math.fsum(shares[start:stop]) == pytest.approx(1.0)
    assert max(shares[3:]) < 1.0


def test_rows_add_up_to_the_profile(model):
    count = len(model.layers)
    profile = replace(profile_of((0, 2, count), (0.01, 0.05)), seam_seconds=(0.004,))
    shares = (0.25, 0.75, *([1 / (count - 2)] * (count - 2)))
    energy = SegmentEnergy('a meter', (Energy(2.0, 0.1), Energy(math.nan, math.nan)))
    rows = layer_costs(model, profile, shares, energy)
    assert math.fsum(row.seconds for row in rows) == pytest.approx(profile.total_seconds)
    assert [row.joules for row in rows[:2]] == pytest.approx([0.4, 1.2])  # of 2 J, less half the boundary overhead
    assert [row.energy_kind for row in rows[:3]] == ['measured', 'measured', '']
    assert rows[2].plain()['joules'] is None
    assert [row.memory_bytes for row in rows] == list(memory_bytes(model))
    assert all(row.memory_bytes >= row.weight_bytes + row.output_bytes for row in rows)
    again = with_measurements(layer_costs(model), json.loads(json.dumps({'layers': [row.plain() for row in rows]})))
    assert [row.seconds for row in again] == [row.seconds for row in rows]
    assert math.isnan(again[2].joules)
    with pytest.raises(PlanError, match='other layers'):
        with_measurements(rows[1:], {'layers': [row.plain() for row in rows]})
    with pytest.raises(PlanError, match='has no layers'):
        with_measurements(rows, {})


def test_joules_that_may_be_none_are_a_range_and_pale(model, capsys, monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    profile = profile_of((0, len(model.layers)), (0.01,))
    shares = [1 / len(model.layers)] * len(model.layers)
    for error, said, heading, lines in ((0.0666, 'between 0 and 133 mJ', 'mJ, roughly', 1), (0.001, '66.6 ± 1.0 mJ', 'mJ ', 2)):
        rows = layer_costs(model, profile, shares, SegmentEnergy('a meter', (Energy(0.0666, error),)))
        assert f'energy: {said} above idleness' in energy_words(rows)
        print_layers('a', rows)
        assert heading in capsys.readouterr().out
        figure = Figure()
        draw(figure, 'a', rows)
        assert len([axes for axes in figure.axes if 'so far' in axes.get_ylabel()]) == lines


def test_neither_meter_nor_model_is_unknown_and_says_why(model):
    found = segment_energy(model, profile_of((0, len(model.layers)), (0.1,)), Bench(meter=''), None)
    assert math.isnan(found.energies[0].joules)
    assert 'calibrate' in found.source


def test_profile_and_inspect_show_it(model, tmp_path, capsys):
    path, out = str(model.source_path), tmp_path / 'out.json'
    command = ['profile', path, '--runs', '1', '--interval', '0 ms', '--energy', '--board', 'raspberry_pi_4', '--out',
               str(out), '--csv', str(tmp_path / 'a.csv'), '--plot', str(tmp_path / 'a.png')]  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert 'mJ' in shown
    assert 'modelled: raspberry_pi_4' in shown or 'measured' in shown
    document = json.loads(out.read_text())
    assert len(document['layers']) == len(model.layers)
    total = math.fsum(layer['seconds'] for layer in document['layers'])
    assert total == pytest.approx(document['total_seconds'])
    assert main(['inspect', path, '--profile', str(out), '--csv', str(tmp_path / 'b.csv'), '--plot', str(tmp_path / 'b.png'), '--json']) == 0
    layers = json.loads(capsys.readouterr().out)['layers']
    assert [layer['joules'] for layer in layers] == [layer['joules'] for layer in document['layers']]
    assert (tmp_path / 'a.csv').read_text() == (tmp_path / 'b.csv').read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / 'a.csv').read_text())))
    assert float(rows[0]['seconds']) == document['layers'][0]['seconds']
    assert all((tmp_path / f'{name}.png').read_bytes().startswith(b'\x89PNG') for name in 'ab')


@pytest.mark.parametrize(('options', 'words'), [
    (['--plot', 'x.txt'], '.png, .svg or .pdf'),
    (['--csv', '/nowhere/x.csv'], '--csv /nowhere/x.csv'),
    (['--profile', '/nowhere/x.json'], '--profile /nowhere/x.json'),
])  # fmt: skip
def test_bad_files_are_said_in_a_line(model, options, words, capsys):
    assert main(['inspect', str(model.source_path), *options]) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_board_is_refused_before_anything_runs(model, capsys):
    assert main(['profile', str(model.source_path), '--energy', '--board', 'toaster']) == 2
    assert 'raspberry_pi_4' in capsys.readouterr().err


def test_a_preprocessing_that_does_not_fit_the_model_is_refused_before_anything_is_timed(model, tmp_path, capsys):
    settings, image = tmp_path / 'preprocessing.yaml', tmp_path / 'image.png'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny') | {'size': [8, 8]}))
    cv2.imwrite(str(image), np.zeros((20, 20, 3), np.uint8))
    assert main(['profile', str(model.source_path), '--preprocessing', str(settings), '--image', str(image)]) == 2
    assert 'preprocessing gives [1, 3, 8, 8]' in capsys.readouterr().err
