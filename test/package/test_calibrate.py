# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verb calibrate, with loads and meters that are played."""

import contextlib
import json
import math

import pytest

from edge_dnn_partition.cli import calibrate
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.host import HostSample
from edge_dnn_partition.sensing.power.fit import fit
from edge_dnn_partition.sensing.power.reading import PowerReading
from edge_dnn_partition.sensing.sources.cpu import CpuReading


class Bench:
    """Plays a device of four cores: time passes in sleep, its meter counts what the load draws."""

    def __init__(self, meter='ina3221 VDD_IN', scope='board'):
        self.now, self.busy, self.joules, self.loads = 0.0, 0, 0.0, []
        self.meter, self.scope = meter, scope

    def sleep(self, seconds):
        self.now += seconds
        self.joules += seconds * self.watts()

    def watts(self):
        return 2.0 + 1.5 * self.busy

    def clock(self):
        return self.now

    @contextlib.contextmanager
    def load(self, count):
        self.busy = count
        self.loads.append(count)
        yield
        self.busy = 0

    def sample(self, now):
        cores = tuple([100.0] * self.busy + [0.0] * (4 - self.busy))
        power = (PowerReading(self.meter, self.scope, self.watts(), self.joules, self.now, 0.04, 0.04),) if self.meter else ()
        return HostSample(cpu=CpuReading(0.0, cores), power=power)

    def parts(self):
        return {'load': self.load, 'sleep': self.sleep, 'clock': self.clock}


def test_steps_go_from_none_to_all():
    assert calibrate.steps(2) == [0, 1, 2]
    assert calibrate.steps(4) == [0, 1, 2, 3, 4]
    assert calibrate.steps(32) == [0, 1, 6, 13, 19, 26, 32]


def test_against_a_meter():
    bench, said = Bench(), []
    samples, meter = calibrate.measured_samples(
        bench, [0, 1, 2, 4], 6.0, 'auto', say=said.append, **bench.parts()
    )
    assert meter == 'ina3221 VDD_IN'
    assert bench.loads == [0, 1, 2, 4]
    assert len(samples) == 12
    found = fit(samples, source='test')
    assert (found.model.idle_watts, found.model.core_watts) == pytest.approx((2.0, 1.5))
    assert said[0] == '0 of 4 cores busy'


def test_without_a_meter_it_ends_after_the_first_step_and_says_what_to_do():
    bench = Bench(meter='')
    with pytest.raises(UserError, match='--typed with a wall meter'):
        calibrate.measured_samples(bench, [0, 4], 6.0, 'auto', say=lambda text: None, **bench.parts())
    assert bench.loads == [0]
    bench = Bench()
    with pytest.raises(UserError, match='no power meter'):
        calibrate.measured_samples(bench, [0, 4], 6.0, 'rapl', say=lambda text: None, **bench.parts())
    gpu = Bench('nvml', 'gpu')
    with pytest.raises(UserError, match='measures the cores'):
        calibrate.measured_samples(gpu, [0, 4], 6.0, 'auto', say=lambda text: None, **gpu.parts())


def test_typed():
    bench = Bench(meter='')
    answers = iter(['2,0 W\n', '8.0\n'])
    samples = calibrate.typed_samples(bench, [0, 4], 6.0, ask=lambda question: next(answers), **bench.parts())
    assert [watts for _, watts in samples] == [2.0, 8.0]
    assert [did.busy_cores for did, _ in samples] == [0.0, 4.0]
    for text in ('', 'much', '-1', 'nan', '0'):
        with pytest.raises(UserError, match='not a number of watts'):
            calibrate.parse_watts(text)


def test_noted_values_make_a_model_and_its_samples_can_be_fitted_again(tmp_path, capsys):
    out = tmp_path / 'model.json'
    noted = ['--watts', 'idle=2.7', '--watts', '2=4.6', '--watts', '4=6.4']
    assert main(['calibrate', *noted, '--board', 'raspberry_pi_4', '--out', str(out), '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['model']['core_watts'] == pytest.approx(0.925)
    assert found['path'] == str(out)
    assert math.isfinite(found['predicted_rms_watts'])
    assert json.loads(out.read_text())['source'] == 'calibrate --watts'
    again = tmp_path / 'run.json'
    again.write_text(json.dumps(found))
    assert main(['calibrate', '--samples', str(again), '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert 'core_watts       0.925 ± ' in said
    assert f'wrote {out}' in said


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--watts', 'idle'], 'write busy cores and watts'),
        (['--watts', 'idle=2', '--watts', 'x=3'], 'write busy cores and watts'),
        (['--watts', 'idle=2'], '1 of 1 samples are complete'),
        (['--watts', 'idle=2', '--board', 'toaster'], "no power model of a board 'toaster'"),
        (['--samples', '/no/such/file'], 'not what `calibrate --json` writes'),
        (['--seconds', '0'], 'must be between 1 and 3600'),
        (['--typed', '--watts', '1=2'], 'not allowed with'),
        (['--watts', 'idle=2', '--watts', '1=3', '--out', '/no/such/folder/x'], '--out /no/such/folder/x: No such file'),
    ],
)
def test_bad_input_is_one_line(options, words, capsys):
    assert main(['calibrate', *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert said.count('\n') == 1
    assert words in said
